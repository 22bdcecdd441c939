/* A commit: checkpoint if due, BEGIN, rows by one statement, new topics, whole epochs that it fills, COMMIT. */
#include "ceiling_log.h"

#include "migrate.h"
#include "vfs.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    EPOCH_ROWS = 65536,
    EPOCH_BYTES = 64 * 1024 * 1024,
    RUN_ROWS = 1024,
    BUSY_TOPICS = 64,
    CACHE_KIB = 16 * 1024,
    WAL_FRAME_HEADER = 24
};

struct topic {
    uint64_t next_offset;
    uint64_t indexed_offset, last_seq; /* of the rows in an epoch */
    uint64_t rows;                     /* in the open epoch */
    uint64_t quiet_from;
    bool stored, busy;
};

struct row {
    uint32_t topic; /* the topic_id is one more */
    uint64_t offset;
};

struct run {
    uint32_t topic, count;
    uint64_t first_offset, first_seq;
};

static struct ceiling_config config;
static sqlite3 *db;
static struct topic *topics;
static struct row *rows;
static size_t row_count;
static struct run *runs, *sorted_runs;
static size_t run_count;
static size_t *places; /* per topic */
static char *payload;
static int64_t now_us;
static uint64_t next_seq = 1, epoch = 1, epoch_first_seq = 1;
static uint64_t wal_bytes, checkpoints;

static void die(const char *what)
{
    fprintf(stderr, "ceiling: %s: %s\n", what, db == NULL ? "failed" : sqlite3_errmsg(db));
    exit(1);
}

static void *array(size_t count, size_t size)
{
    void *made = calloc(count == 0 ? 1 : count, size);

    if (made == NULL)
        die("memory");
    return made;
}

/* -------------------------------------------------------------------------------------- the virtual tables */

struct cursor {
    sqlite3_vtab_cursor base;
    size_t at;
};

static int connect_table(sqlite3 *handle, void *declaration, int argc, const char *const *argv,
                         sqlite3_vtab **table, char **error)
{
    (void)argc, (void)argv, (void)error;
    *table = array(1, sizeof **table);
    return sqlite3_declare_vtab(handle, declaration);
}

static int disconnect_table(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table, (void)info;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **cursor)
{
    struct cursor *made = array(1, sizeof *made);

    (void)table;
    *cursor = &made->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc, sqlite3_value **argv)
{
    (void)number, (void)text, (void)argc, (void)argv;
    ((struct cursor *)cursor)->at = 0;
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *cursor)
{
    ((struct cursor *)cursor)->at++;
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *id)
{
    *id = (sqlite3_int64)((struct cursor *)cursor)->at;
    return SQLITE_OK;
}

static int rows_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct cursor *)cursor)->at >= row_count;
}

static int runs_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct cursor *)cursor)->at >= run_count;
}

static int rows_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    size_t at = ((struct cursor *)cursor)->at;

    switch (column) {
    case 0:
        sqlite3_result_int64(context, rows[at].topic + 1);
        break;
    case 1:
        sqlite3_result_int64(context, (sqlite3_int64)rows[at].offset);
        break;
    case 2: /* eight bytes, as a real one */
        sqlite3_result_int64(context, (sqlite3_int64)((next_seq + at) * 0x9e3779b97f4a7c15U | 1));
        break;
    default:
        sqlite3_result_text64(context, payload, config.size, SQLITE_STATIC, SQLITE_UTF8);
    }
    return SQLITE_OK;
}

static int runs_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    const struct run *run = &sorted_runs[((struct cursor *)cursor)->at];
    const uint64_t values[] = {epoch,          run->topic + 1, run->first_offset,
                               run->first_seq, run->count,     topics[run->topic].busy};

    sqlite3_result_int64(context, (sqlite3_int64)values[column]);
    return SQLITE_OK;
}

#define MODULE(name)                                                                                         \
    {                                                                                                        \
        .xConnect = connect_table, .xBestIndex = best_index, .xDisconnect = disconnect_table,                \
        .xOpen = open_cursor, .xClose = close_cursor, .xFilter = filter, .xNext = next, .xEof = name##_eof,  \
        .xColumn = name##_column, .xRowid = rowid                                                            \
    }

static const sqlite3_module rows_module = MODULE(rows);
static const sqlite3_module runs_module = MODULE(runs);

static char rows_declaration[] = "CREATE TABLE x (topic_id, offset, checksum, payload)";
static char runs_declaration[] = "CREATE TABLE x (epoch, topic_id, first_offset, first_seq, count, busy)";

/* -------------------------------------------------------------------------------------------- statements */

enum statement {
    BEGIN,
    COMMIT,
    INSERT_ROWS,
    INSERT_RUNS,
    NEW_TOPIC,
    INDEX_TOPIC,
    INSERT_EPOCH,
    PUT_SETTING,
    STATEMENTS
};

static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [INSERT_ROWS] = "INSERT INTO messages (topic_id, offset, published_at, flags, checksum, payload)"
                    " SELECT topic_id, offset, ?1, 0, checksum, payload FROM row_batch",
    [INSERT_RUNS] = "INSERT INTO topic_runs (epoch, topic_id, first_offset, first_seq, count, busy)"
                    " SELECT * FROM run_batch",
    [NEW_TOPIC] = "INSERT INTO topics (topic_id, name, created_seq, first_offset, next_offset, last_seq,"
                  " swept_offset) VALUES (?1, 'bench/' || ?1, ?2, 0, 0, 0, 0)",
    [INDEX_TOPIC] = "UPDATE topics SET next_offset = ?2, last_seq = ?3, quiet_from = ?4, quiet_to = ?5"
                    " WHERE topic_id = ?1",
    [INSERT_EPOCH] = "INSERT INTO epochs (epoch, first_seq, last_seq, quiet_runs, closed_at)"
                     " VALUES (?1, ?2, ?3, ?4, ?5)",
    [PUT_SETTING] = "INSERT INTO settings (name, value) VALUES (?1, ?2)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
};

static sqlite3_stmt *statements[STATEMENTS];

static void step(enum statement statement)
{
    if (sqlite3_step(statements[statement]) != SQLITE_DONE)
        die(sql[statement]);
    sqlite3_reset(statements[statement]);
}

/* 0 stands for NULL. */
static void bind(enum statement statement, int index, uint64_t value)
{
    if (value == 0)
        sqlite3_bind_null(statements[statement], index);
    else
        sqlite3_bind_int64(statements[statement], index, (sqlite3_int64)value);
}

static int count_wal(void *ctx, sqlite3 *handle, const char *name, int pages)
{
    (void)ctx, (void)handle, (void)name;
    wal_bytes = (uint64_t)pages * (config.page_bytes + WAL_FRAME_HEADER);
    return SQLITE_OK;
}

static void open_database(void)
{
    char text[4096];

    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    snprintf(text, sizeof text, "%s/psbroker.db", config.directory);
    if (sqlite3_open_v2(text, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        config.store_vfs ? vfs_name() : NULL) != SQLITE_OK)
        die(text);
    snprintf(text, sizeof text,
             "PRAGMA page_size=%llu;PRAGMA auto_vacuum=INCREMENTAL;PRAGMA journal_mode=WAL;"
             "PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint=0;PRAGMA mmap_size=0;"
             "PRAGMA temp_store=MEMORY;PRAGMA cache_size=-%d;PRAGMA secure_delete=OFF;"
             "PRAGMA journal_size_limit=67108864",
             (unsigned long long)config.page_bytes, CACHE_KIB);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        die("pragmas");
    if (migrate(db) != SQLITE_OK)
        die("migrations");
    sqlite3_wal_hook(db, count_wal, NULL);
    if (sqlite3_create_module(db, "row_batch", &rows_module, rows_declaration) != SQLITE_OK ||
        sqlite3_create_module(db, "run_batch", &runs_module, runs_declaration) != SQLITE_OK)
        die("virtual tables");
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i], NULL) != SQLITE_OK)
            die(sql[i]);
}

/* ---------------------------------------------------------------------------------------------- the index */

static int by_rows(const void *left, const void *right)
{
    uint64_t a = topics[*(const uint32_t *)left].rows;
    uint64_t b = topics[*(const uint32_t *)right].rows;

    return a > b ? -1 : a < b;
}

/* The topics with the most rows in the epoch. */
static void mark_busy(void)
{
    uint32_t *order = array(config.topics, sizeof *order);
    size_t count = 0;

    for (uint32_t i = 0; i < config.topics; i++)
        if (topics[i].rows > 0)
            order[count++] = i;
    if (count > BUSY_TOPICS)
        qsort(order, count, sizeof *order, by_rows);
    for (size_t i = 0; i < count; i++)
        topics[order[i]].busy = i < BUSY_TOPICS;
    free(order);
}

/* By topic; within one they are in order already. Returns how many are of topics that are not busy. */
static size_t sort_runs(void)
{
    size_t place = 0, quiet = 0;

    memset(places, 0, config.topics * sizeof *places);
    for (size_t i = 0; i < run_count; i++)
        places[runs[i].topic]++;
    for (size_t i = 0; i < config.topics; i++) {
        size_t count = places[i];

        places[i] = place;
        place += count;
    }
    for (size_t i = 0; i < run_count; i++) {
        sorted_runs[places[runs[i].topic]++] = runs[i];
        quiet += !topics[runs[i].topic].busy;
    }
    return quiet;
}

static void update_topics(void)
{
    for (uint32_t i = 0; i < config.topics; i++) {
        struct topic *topic = &topics[i];

        if (topic->rows == 0)
            continue;
        if (!topic->busy && topic->quiet_from == 0)
            topic->quiet_from = epoch;
        bind(INDEX_TOPIC, 1, i + 1);
        bind(INDEX_TOPIC, 2, topic->indexed_offset);
        bind(INDEX_TOPIC, 3, topic->last_seq);
        bind(INDEX_TOPIC, 4, topic->quiet_from);
        bind(INDEX_TOPIC, 5, topic->quiet_from == 0 ? 0 : epoch);
        step(INDEX_TOPIC);
        topic->rows = 0;
    }
}

static void put_setting(const char *name, int64_t value)
{
    sqlite3_bind_text(statements[PUT_SETTING], 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statements[PUT_SETTING], 2, value);
    step(PUT_SETTING);
}

static void write_epoch(uint64_t last_seq)
{
    size_t quiet;

    mark_busy();
    quiet = sort_runs();
    step(INSERT_RUNS);
    update_topics();
    sqlite3_bind_int64(statements[INSERT_EPOCH], 1, (sqlite3_int64)epoch);
    sqlite3_bind_int64(statements[INSERT_EPOCH], 2, (sqlite3_int64)epoch_first_seq);
    sqlite3_bind_int64(statements[INSERT_EPOCH], 3, (sqlite3_int64)last_seq);
    sqlite3_bind_int64(statements[INSERT_EPOCH], 4, (sqlite3_int64)quiet);
    sqlite3_bind_int64(statements[INSERT_EPOCH], 5, now_us);
    step(INSERT_EPOCH);
    put_setting("next_seq", (int64_t)last_seq + 1);
    put_setting("last_published_at", now_us);
    epoch++;
    epoch_first_seq = last_seq + 1;
    run_count = 0;
}

static void index_row(const struct row *row, uint64_t seq)
{
    struct run *last = run_count > 0 ? &runs[run_count - 1] : NULL;

    topics[row->topic].rows++;
    topics[row->topic].indexed_offset = row->offset + 1;
    topics[row->topic].last_seq = seq;
    if (last != NULL && last->topic == row->topic && last->count < RUN_ROWS)
        last->count++;
    else
        runs[run_count++] = (struct run){row->topic, 1, row->offset, seq};
}

/* ------------------------------------------------------------------------------------------------ commits */

static uint32_t random_topic(void)
{
    static uint64_t dice = 88172645463325252U;

    if (config.topics == 1)
        return 0;
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)(dice % config.topics);
}

/* The messages of one commit, each to a topic at random, grouped by topic. */
static void lay_out(size_t count)
{
    size_t place = 0;

    memset(places, 0, config.topics * sizeof *places);
    for (size_t i = 0; i < count; i++)
        places[random_topic()]++;
    for (uint32_t i = 0; i < config.topics; i++)
        for (size_t k = places[i]; k > 0; k--)
            rows[place++] = (struct row){i, topics[i].next_offset++};
    row_count = count;
}

static void store_topics(void)
{
    for (size_t i = 0; i < row_count; i++) {
        struct topic *topic = &topics[rows[i].topic];

        if (topic->stored)
            continue;
        topic->stored = true;
        bind(NEW_TOPIC, 1, rows[i].topic + 1);
        bind(NEW_TOPIC, 2, next_seq + i);
        step(NEW_TOPIC);
    }
}

static void checkpoint_if_due(void)
{
    if (wal_bytes < config.checkpoint_bytes)
        return;
    if (sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_RESTART, NULL, NULL) != SQLITE_OK)
        die("checkpoint");
    wal_bytes = 0;
    checkpoints++;
}

void ceiling_commit(size_t count)
{
    uint64_t epoch_rows =
        EPOCH_BYTES / (config.size + 1) < EPOCH_ROWS ? EPOCH_BYTES / (config.size + 1) : EPOCH_ROWS;
    struct timespec time;

    checkpoint_if_due();
    clock_gettime(CLOCK_REALTIME, &time);
    now_us = (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
    lay_out(count);
    step(BEGIN);
    sqlite3_bind_int64(statements[INSERT_ROWS], 1, now_us);
    step(INSERT_ROWS);
    store_topics();
    for (size_t i = 0; i < count; i++) {
        index_row(&rows[i], next_seq + i);
        if (next_seq + i + 1 - epoch_first_seq == epoch_rows)
            write_epoch(next_seq + i);
    }
    step(COMMIT);
    next_seq += count;
}

uint64_t ceiling_checkpoints(void)
{
    return checkpoints;
}

void ceiling_open(const struct ceiling_config *given)
{
    config = *given;
    topics = array(config.topics, sizeof *topics);
    places = array(config.topics, sizeof *places);
    rows = array(config.batch, sizeof *rows);
    runs = array(EPOCH_ROWS, sizeof *runs);
    sorted_runs = array(EPOCH_ROWS, sizeof *sorted_runs);
    payload = array(config.size + 1, 1);
    memset(payload, 'x', config.size);
    open_database();
}

void ceiling_close(void)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(statements[i]);
    if (sqlite3_close(db) != SQLITE_OK)
        die("close");
    free(payload);
    free(sorted_runs);
    free(runs);
    free(rows);
    free(places);
    free(topics);
}
