/* Opening, the group commit, and closing.
 *
 * A commit: checkpoint if due ─▶ BEGIN IMMEDIATE (an outside lock is waited out) ─▶ nobody else wrote? ─▶
 * operations ─▶ a slice of the index, a step of the sweeper ─▶ COMMIT ─▶ promote what was staged.
 * Before COMMIT every failure is undone. COMMIT's own failure leaves the outcome open: the frames may be in
 * the file, so nothing is answered, the store refuses everything from then on, and a new start finds out. */
#include "sqlite_store.h"

#include "migrate.h"
#include "reader.h"
#include "recovery.h"
#include "schema.h"
#include "subscriptions.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    OPEN_WAIT_MS = 30 * 1000,
    COMMIT_WAIT_MS = 100,
    LOCK_LOG_MS = 1000,
    TRUNCATE_WAIT_MS = 1000,
    DISK_SAMPLE_MS = 100,
    SWEEP_EVERY_MS = 100,
    MAX_TOPICS = 100 * 1000,
    EPOCH_ROWS = 65536,
    EPOCH_BYTES = 64 * 1024 * 1024,
    CHECKPOINT_BYTES = 8 * 1024 * 1024,
    SLICE_RUNS = 256,       /* with each commit, and two more for each message in it */
    IDLE_SLICE_RUNS = 4096, /* in a commit of its own */
    SWEEP_ROWS = 4096
};
static const uint64_t WAL_HARD_BYTES = 1024u * 1024 * 1024;
static const int64_t CLAMP_LOG_MICROSECONDS = 60 * 1000000;

uint64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t monotonic_ms(void)
{
    return monotonic_us() / 1000;
}

void store_log(const struct sqlite_store *store, int level, const char *format, ...)
{
    char text[512];
    va_list arguments;

    if (store->config.log == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    store->config.log(store->config.log_ctx, level, text);
}

/* ---------------------------------------------------------------------------------------------- the state */

/* By path only: a second descriptor of the database, once closed, would drop SQLite's locks. */
static void sample_disk(struct sqlite_store *store)
{
    uint64_t now = monotonic_ms();
    struct statvfs fs;
    struct stat file;

    if (store->disk_sampled_at != 0 && now - store->disk_sampled_at < DISK_SAMPLE_MS)
        return;
    store->disk_sampled_at = now;
    if (statvfs(store->config.directory, &fs) == 0)
        store->free_disk_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (stat(store->path, &file) == 0)
        store->database_bytes = (uint64_t)file.st_size;
}

static void get_state(struct sqlite_store *store, struct store_state *state)
{
    sample_disk(store);
    *state = (struct store_state){.mark = store->next_seq,
                                  .indexed_through = store->epochs.indexed_through,
                                  .wal_bytes = store->checkpoint.wal_bytes,
                                  .database_bytes = store->database_bytes,
                                  .free_disk_bytes = store->free_disk_bytes,
                                  .checkpoints = store->checkpoint.completed,
                                  .falling_behind = store->epochs.closed >= 2};
}

/* Never below the last one, so that a time is found by binary search over seq. */
static void stamp(struct sqlite_store *store)
{
    struct timespec now;
    uint64_t at = monotonic_ms();

    clock_gettime(CLOCK_REALTIME, &now);
    store->now = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (store->now >= store->last_published)
        return;
    if (store->last_published - store->now > CLAMP_LOG_MICROSECONDS &&
        (store->clamped_logged_at == 0 || at - store->clamped_logged_at > 60 * 1000)) {
        store->clamped_logged_at = at;
        store_log(store, 4,
                  "event=clock_behind microseconds=%lld text=\"the clock is behind the last message; "
                  "new ones carry its time\"",
                  (long long)(store->last_published - store->now));
    }
    store->now = store->last_published;
}

/* -------------------------------------------------------------------------------------------- transactions */

static int64_t read_data_version(struct sqlite_store *store)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_DATA_VERSION);
    int64_t version = -1;

    if (select != NULL && sqlite3_step(select) == SQLITE_ROW)
        version = sqlite3_column_int64(select, 0);
    sqlite3_reset(select);
    return version;
}

static void roll_back(struct sqlite_store *store)
{
    if (!sqlite3_get_autocommit(store->db.handle))
        database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK));
    append_discard(store);
    sqlite_topics_discard(&store->topics);
    epochs_discard(&store->epochs);
    sweeper_discard(&store->sweeper);
}

/* PS_OK; PS_FOREIGN_WRITER; or what SQLite met. An outside lock is waited for as long as it is held. */
static enum ps_status begin(struct sqlite_store *store)
{
    uint64_t started = monotonic_ms();
    uint64_t logged = 0;
    enum ps_status status;

    while ((status = database_run(&store->db, database_statement(&store->db, STATEMENT_BEGIN_WRITE))) ==
           PS_STORAGE_BUSY) {
        uint64_t waited = monotonic_ms() - started;

        if (waited >= LOCK_LOG_MS && (logged == 0 || waited - logged >= 10 * LOCK_LOG_MS)) {
            logged = waited;
            store_log(store, 4,
                      "event=database_locked waited_ms=%llu text=\"another process holds a lock on "
                      "psbroker.db; publishing waits\"",
                      (unsigned long long)waited);
        }
    }
    if (status != PS_OK)
        return status;
    if (read_data_version(store) != store->data_version) {
        store_log(store, 3,
                  "event=foreign_writer text=\"another program wrote to psbroker.db while the broker "
                  "was running\"");
        return PS_FOREIGN_WRITER;
    }
    stamp(store);
    return PS_OK;
}

/* PS_OK; PS_DISK_FULL: nothing of it is in the file; PS_UNKNOWN. */
static enum ps_status end(struct sqlite_store *store)
{
    sqlite3_stmt *commit = database_statement(&store->db, STATEMENT_COMMIT);
    int rc = commit == NULL ? SQLITE_NOMEM : sqlite3_step(commit);
    int extended = sqlite3_extended_errcode(store->db.handle);

    sqlite3_reset(commit);
    if (rc == SQLITE_DONE) {
        append_promote(store);
        sqlite_topics_promote(&store->topics);
        epochs_promote(&store->epochs);
        sweeper_promote(&store->sweeper);
        return PS_OK;
    }
    roll_back(store);
    /* Without room the last frame, which carries the commit mark, was not written whole, and no sync follows. */
    if ((rc & 0xff) == SQLITE_FULL && sqlite3_get_autocommit(store->db.handle))
        return PS_DISK_FULL;
    store_log(store, 3, "event=commit_failed code=%d text=\"%s\"", extended, sqlite3_errstr(extended));
    return PS_UNKNOWN;
}

/* ------------------------------------------------------------------------------------------------- commit */

static void set_status(struct store_op *op, enum ps_status status)
{
    op->status = status;
    if (op->kind == STORE_APPEND) {
        op->append.accepted = 0;
        for (uint32_t i = 0; i < op->append.count; i++)
            op->append.messages[i].status = status;
    }
}

/* Whether publications are taken: PS_OK, PS_DISK_FULL, PS_STORAGE_BUSY. */
static enum ps_status admission(struct sqlite_store *store)
{
    sample_disk(store);
    if (store->free_disk_bytes < store->config.disk_floor_bytes)
        return PS_DISK_FULL;
    return store->checkpoint.wal_bytes > store->config.wal_hard_bytes ? PS_STORAGE_BUSY : PS_OK;
}

/* An outcome that store.h lists for an operation of this kind; everything else undoes the transaction. */
static bool is_outcome(enum ps_status status)
{
    return status == PS_OK || status == PS_NO_SUCH_SUBSCRIPTION || status == PS_NO_SUCH_TOPIC ||
           status == PS_OUT_OF_RANGE;
}

static enum ps_status execute(struct sqlite_store *store, struct store_op *op)
{
    switch (op->kind) {
    case STORE_ATTACH:
        return subscription_attach(store, &op->attach);
    case STORE_OFFSETS:
        return subscription_offsets(store, &op->offsets);
    case STORE_SEEK:
        return subscription_seek(store, &op->seek);
    case STORE_FORGET:
        return subscription_forget(store, &op->forget);
    case STORE_DELETE_TOPIC:
        return topic_delete(store, &op->delete_topic);
    default:
        return append_queue(store, op);
    }
}

/* Appends gather, to be grouped by topic, until an operation of another kind comes. */
static enum ps_status execute_all(struct sqlite_store *store, struct store_op **ops, size_t count,
                                  enum ps_status admitted)
{
    enum ps_status status = PS_OK;

    for (size_t i = 0; i < count && status == PS_OK; i++) {
        if (ops[i]->kind == STORE_APPEND && admitted != PS_OK) {
            set_status(ops[i], admitted);
            continue;
        }
        if (ops[i]->kind != STORE_APPEND)
            status = append_flush(store);
        if (status != PS_OK)
            break;
        status = execute(store, ops[i]);
        if (is_outcome(status)) {
            ops[i]->status = status;
            status = PS_OK;
        }
    }
    return status == PS_OK ? append_flush(store) : status;
}

static enum ps_status flush_index(struct sqlite_store *store, size_t budget)
{
    bool due = epochs_due(&store->epochs);
    enum ps_status status = epochs_flush(&store->epochs, &store->db, &store->source, budget, store->now);

    if (status == PS_OK && due && store->epochs.staged_last) {
        status = store_put_number(store, "next_seq", (int64_t)store->staged_next_seq);
        if (status == PS_OK)
            status = store_put_number(store, "last_published_at", store->last_published);
    }
    return status;
}

/* Background work that shares the commit's sync. */
static enum ps_status ride_along(struct sqlite_store *store)
{
    size_t budget = store->config.slice_runs + 2 * (size_t)store->appender.staged_rows;
    enum ps_status status = flush_index(store, budget);

    if (status == PS_OK && sweeper_due(store) && monotonic_ms() - store->sweeper.stepped_at >= SWEEP_EVERY_MS)
        status = sweeper_step(store);
    return status;
}

static enum ps_status refuse_all(struct store_op **ops, size_t count, enum ps_status status)
{
    for (size_t i = 0; i < count; i++)
        set_status(ops[i], status);
    return status;
}

/* A refusal that keeps the store alive: the whole transaction was undone. */
static bool is_survivable(enum ps_status status)
{
    return status == PS_DISK_FULL || status == PS_NO_MEMORY || status == PS_STORAGE_BUSY;
}

static enum ps_status fail(struct sqlite_store *store, struct store_op **ops, size_t count,
                           enum ps_status status)
{
    if (status == PS_UNKNOWN) {
        store->failed = true;
        for (size_t i = 0; i < count; i++)
            if (ops[i]->status == PS_OK)
                set_status(ops[i], PS_UNKNOWN);
        return status;
    }
    if (is_survivable(status)) {
        refuse_all(ops, count, status);
        return PS_OK;
    }
    store->failed = true;
    if (status != PS_FOREIGN_WRITER) {
        store_log(store, 3, "event=storage_failed status=%s code=%d text=\"%s\"", ps_status_name(status),
                  sqlite3_extended_errcode(store->db.handle), sqlite3_errmsg(store->db.handle));
        status = PS_STORAGE_FAILED;
    }
    return refuse_all(ops, count, status);
}

static enum ps_status commit_ops(struct sqlite_store *store, struct store_op **ops, size_t count)
{
    enum ps_status status = checkpoint_if_due(store);
    enum ps_status admitted;

    if (status == PS_OK)
        status = begin(store);
    if (status == PS_OK) {
        admitted = admission(store);
        status = execute_all(store, ops, count, admitted);
        if (status == PS_OK && admitted == PS_OK)
            status = ride_along(store);
        if (status == PS_OK)
            status = end(store);
    }
    if (status == PS_OK)
        return PS_OK;
    roll_back(store);
    return fail(store, ops, count, status);
}

static enum ps_status sqlite_commit(struct store *base, struct store_op **ops, size_t count,
                                    struct store_state *state)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    enum ps_status status =
        store->failed ? refuse_all(ops, count, PS_STORAGE_FAILED) : commit_ops(store, ops, count);

    get_state(store, state);
    return status;
}

/* --------------------------------------------------------------------------------------------------- work */

/* A commit of background work alone. */
static enum ps_status work_step(struct sqlite_store *store, bool index, size_t budget)
{
    enum ps_status status = begin(store);

    if (status == PS_OK)
        status = index ? flush_index(store, budget) : sweeper_step(store);
    if (status == PS_OK)
        status = end(store);
    if (status == PS_OK)
        return PS_OK;
    roll_back(store);
    return fail(store, NULL, 0, status) == PS_OK ? status : PS_STORAGE_FAILED;
}

static bool sqlite_work(struct store *base, struct store_state *state)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    size_t slice = store->config.idle_slice_runs;
    enum ps_status status = PS_OK;
    bool more = false;

    if (!store->failed)
        status = checkpoint_if_due(store);
    if (status != PS_OK)
        store->failed = true;
    if (!store->failed && admission(store) == PS_OK) {
        if (epochs_due(&store->epochs))
            status = work_step(store, true, slice);
        else if (sweeper_due(store))
            status = work_step(store, false, 0);
        more = status == PS_OK && (epochs_due(&store->epochs) || sweeper_due(store));
    }
    get_state(store, state);
    return more;
}

/* --------------------------------------------------------------------------------------------------- load */

struct loaded_run {
    uint64_t topic_id;
    struct store_run run;
};

static int by_topic_and_seq(const void *left, const void *right)
{
    const struct loaded_run *a = left;
    const struct loaded_run *b = right;

    if (a->topic_id != b->topic_id)
        return a->topic_id < b->topic_id ? -1 : 1;
    return a->run.first_seq < b->run.first_seq ? -1 : a->run.first_seq > b->run.first_seq;
}

/* Every run that is not indexed yet, by topic. NULL with `*count` 0 when there is none; a start without memory
 * for a few megabytes ends the process. */
static struct loaded_run *gather_runs(const struct sqlite_store *store, size_t *count)
{
    struct loaded_run *runs;
    size_t total = 0;

    for (const struct epoch *epoch = store->epochs.oldest; epoch != NULL; epoch = epoch->next)
        total += epoch->count;
    *count = 0;
    runs = calloc(total + 1, sizeof(*runs));
    if (runs == NULL)
        abort();
    for (const struct epoch *epoch = store->epochs.oldest; epoch != NULL; epoch = epoch->next)
        for (size_t i = 0; i < epoch->count; i++)
            runs[(*count)++] = (struct loaded_run){
                epoch->runs[i].topic_id,
                {epoch->runs[i].first_offset, epoch->runs[i].first_seq, epoch->runs[i].count}};
    qsort(runs, *count, sizeof(*runs), by_topic_and_seq);
    return runs;
}

/* The first run of a topic; `count` when it has none. */
static size_t first_run_of(const struct loaded_run *runs, size_t count, uint64_t topic_id)
{
    size_t low = 0;

    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (runs[middle].topic_id < topic_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void sqlite_load(struct store *base, store_topic_fn *show, void *ctx)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    size_t count;
    struct loaded_run *runs = gather_runs(store, &count);
    struct store_run *recent = calloc(count + 1, sizeof(*recent));

    if (recent == NULL)
        abort();
    for (size_t bucket = 0; bucket < store->topics.bucket_count; bucket++) {
        for (const struct topic *topic = store->topics.buckets[bucket]; topic != NULL; topic = topic->next) {
            const struct topic_facts *facts = &topic->committed;
            size_t at = first_run_of(runs, count, topic->topic_id);
            struct store_topic shown = {.topic_id = topic->topic_id,
                                        .name = topic_name(topic),
                                        .first_offset = facts->first_offset,
                                        .next_offset = facts->next_offset,
                                        .created_seq = facts->created_seq,
                                        .last_seq = facts->last_seq,
                                        .recent = recent};

            for (; at < count && runs[at].topic_id == topic->topic_id; at++)
                recent[shown.recent_count++] = runs[at].run;
            show(ctx, &shown);
        }
    }
    free(recent);
    free(runs);
}

/* -------------------------------------------------------------------------------------------- open, close */

static void sqlite_free(struct sqlite_store *store)
{
    if (store == NULL)
        return;
    if (store->failed && store->db.handle != NULL)
        sqlite3_db_config(store->db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    database_close(&store->db);
    appender_deinit(&store->appender);
    sweeper_deinit(&store->sweeper);
    epochs_deinit(&store->epochs);
    sqlite_topics_deinit(&store->topics);
    gate_deinit(&store->gate);
    free((char *)store->config.directory);
    free(store->path);
    free(store);
}

static void sqlite_close(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    if (!store->failed && epochs_close_open(&store->epochs) == PS_OK) {
        while (!store->failed && epochs_due(&store->epochs) &&
               work_step(store, true, store->config.idle_slice_runs) == PS_OK)
            ;
        if (!store->failed)
            checkpoint_truncate(store, TRUNCATE_WAIT_MS);
    }
    sqlite_free(store);
}

static enum ps_status sqlite_reader_new(struct store *base, struct store_reader **reader)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    return reader_open(store->base.vtable, store->path, &store->gate, reader);
}

static const struct store_vtable sqlite_vtable = {.commit = sqlite_commit,
                                                  .work = sqlite_work,
                                                  .load = sqlite_load,
                                                  .reader_new = sqlite_reader_new,
                                                  .reader_free = reader_close,
                                                  .read = reader_read,
                                                  .resolve = reader_resolve,
                                                  .list = reader_list,
                                                  .close = sqlite_close};

static void fill_in(struct store_sqlite_config *config)
{
#define DEFAULT(field, value) config->field = config->field == 0 ? (value) : config->field
    DEFAULT(wal_hard_bytes, WAL_HARD_BYTES);
    DEFAULT(max_topics, MAX_TOPICS);
    DEFAULT(epoch_rows, EPOCH_ROWS);
    DEFAULT(epoch_bytes, EPOCH_BYTES);
    DEFAULT(slice_runs, SLICE_RUNS);
    DEFAULT(idle_slice_runs, IDLE_SLICE_RUNS);
    DEFAULT(checkpoint_bytes, CHECKPOINT_BYTES);
    DEFAULT(sweep_rows, SWEEP_ROWS);
#undef DEFAULT
}

static enum ps_status store_new(const struct store_sqlite_config *config, struct sqlite_store **made)
{
    struct sqlite_store *store = calloc(1, sizeof(*store));

    if (store == NULL)
        return PS_NO_MEMORY;
    if (!gate_init(&store->gate)) {
        free(store);
        return PS_NO_MEMORY;
    }
    store->base.vtable = &sqlite_vtable;
    store->config = *config;
    fill_in(&store->config);
    store->config.directory = strdup(config->directory);
    store->checkpoint.threshold = store->config.checkpoint_bytes;
    store->sweeper.max_rows = store->config.sweep_rows;
    if (store->config.directory == NULL || asprintf(&store->path, "%s/psbroker.db", config->directory) < 0 ||
        sqlite_topics_init(&store->topics) != PS_OK ||
        epochs_init(&store->epochs, store->config.epoch_rows, store->config.epoch_bytes) != PS_OK) {
        sqlite_free(store);
        return PS_NO_MEMORY;
    }
    *made = store;
    return PS_OK;
}

static enum ps_status enter_wal(struct sqlite_store *store)
{
    sqlite3_stmt *pragma = NULL;
    int rc = sqlite3_prepare_v2(store->db.handle, "PRAGMA journal_mode=WAL", -1, &pragma, NULL);
    bool entered = false;

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(pragma);
        entered = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(pragma, 0), "wal") == 0;
    }
    sqlite3_finalize(pragma);
    return database_status(rc) == PS_OK && !entered ? PS_ACCESS_DENIED : database_status(rc);
}

/* Nothing is written before the file is known to be ours. */
static enum ps_status open_database(struct sqlite_store *store, char *error, size_t error_size)
{
    int rc = database_open(&store->db, store->path, DATABASE_WRITER);
    enum ps_status status = database_status(rc);

    if (store->db.handle != NULL)
        sqlite3_busy_timeout(store->db.handle, OPEN_WAIT_MS);
    if (status == PS_OK)
        status = schema_identify(store->db.handle, error, error_size);
    if (status == PS_OK && sqlite3_db_readonly(store->db.handle, "main") == 1)
        status = PS_ACCESS_DENIED;
    if (status == PS_OK)
        status = enter_wal(store);
    if (status == PS_OK)
        status = database_status(migrate(store->db.handle));
    if (status == PS_OK)
        status = schema_check(store->db.handle, error, error_size);
    if (status == PS_OK)
        status = database_status(rows_register(store->db.handle, &store->source));
    return status;
}

static enum ps_status start(struct sqlite_store *store, char *error, size_t error_size)
{
    enum ps_status status = recovery_begin(store);

    checkpoint_watch(store);
    if (status == PS_OK)
        status = checkpoint_truncate(store, TRUNCATE_WAIT_MS);
    if (status == PS_OK)
        status = recovery_load(store, error, error_size);
    store->data_version = read_data_version(store);
    sqlite3_busy_timeout(store->db.handle, COMMIT_WAIT_MS);
    return status;
}

/* The sentence for what has none yet. */
static void explain(const struct sqlite_store *store, enum ps_status status, char *error, size_t error_size)
{
    const char *reason = store->db.handle == NULL ? "out of memory" : sqlite3_errmsg(store->db.handle);
    const char *path = store->path;

    switch (status) {
    case PS_FOREIGN_FILE:
        snprintf(error, error_size,
                 "%s is not an SQLite database; move it away or choose another data directory", path);
        break;
    case PS_DAMAGED:
        snprintf(error, error_size,
                 "%s is damaged (%s); restore it from a backup, or see storage/README.md on "
                 "how to rescue what is readable",
                 path, reason);
        break;
    case PS_ACCESS_DENIED:
        snprintf(error, error_size,
                 "%s cannot be read and written (%s); check the rights of the directory and "
                 "its files",
                 path, reason);
        break;
    case PS_STORAGE_BUSY:
        snprintf(error, error_size, "%s has been locked by another process for 30 seconds; end that process",
                 path);
        break;
    case PS_DISK_FULL:
        snprintf(error, error_size, "the disk that holds %s is full", path);
        break;
    default:
        snprintf(error, error_size, "%s cannot be opened (%s)", path, reason);
    }
}

enum ps_status store_sqlite_open(const struct store_sqlite_config *config, struct store **opened_store,
                                 struct store_opened *opened, char *error, size_t error_size)
{
    struct sqlite_store *store = NULL;
    enum ps_status status = store_new(config, &store);

    if (error_size > 0)
        error[0] = '\0';
    if (status != PS_OK) {
        snprintf(error, error_size, "out of memory");
        return status;
    }
    status = open_database(store, error, error_size);
    if (status == PS_OK)
        status = start(store, error, error_size);
    if (status == PS_STORAGE_FAILED)
        status = PS_IO_ERROR;
    if (status != PS_OK) {
        if (error_size > 0 && error[0] == '\0')
            explain(store, status, error, error_size);
        store->failed = true;
        sqlite_free(store);
        return status;
    }
    memcpy(opened->log_id, store->log_id, LOG_ID_BYTES);
    opened->start_count = store->start_count;
    get_state(store, &opened->state);
    *opened_store = &store->base;
    return PS_OK;
}
