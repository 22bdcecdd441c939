/* The scan reads (seq, topic_id, offset) of the rows behind the last listed epoch, never a payload, and those
 * rows are at most three epochs: two that wait to be written and the open one. They must be seqs and offsets
 * without a hole; one that is not is damage, and named. */
#include "recovery.h"
#include "sqlite_store.h"

#include "topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* Topics by id, while the tail is read. */
struct by_id {
    struct topic **topics;
    size_t count, capacity;
};

static enum ps_status get_setting(struct sqlite_store *store, const char *name, sqlite3_stmt **row)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_GET_SETTING);
    int rc;

    *row = NULL;
    if (select == NULL)
        return database_error(&store->db);
    bind_text(select, 1, span_of(name));
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        *row = select;
    return database_status(rc);
}

static enum ps_status get_number(struct sqlite_store *store, const char *name, uint64_t *number)
{
    sqlite3_stmt *row;
    enum ps_status status = get_setting(store, name, &row);

    if (row != NULL)
        *number = column_u64(row, 0);
    sqlite3_reset(row);
    return status;
}

enum ps_status store_put_number(struct sqlite_store *store, const char *name, int64_t value)
{
    sqlite3_stmt *put = database_statement(&store->db, STATEMENT_PUT_SETTING);

    if (put != NULL) {
        bind_text(put, 1, span_of(name));
        sqlite3_bind_int64(put, 2, value);
    }
    return database_run(&store->db, put);
}

static enum ps_status find_or_make_log_id(struct sqlite_store *store)
{
    sqlite3_stmt *row;
    enum ps_status status = get_setting(store, "log_id", &row);

    if (row != NULL) {
        struct span id = column_span(row, 0);

        status = id.size == LOG_ID_BYTES ? PS_OK : PS_DAMAGED;
        if (status == PS_OK)
            memcpy(store->log_id, id.data, LOG_ID_BYTES);
        sqlite3_reset(row);
        return status;
    }
    if (status != PS_OK)
        return status;
    if (getrandom(store->log_id, LOG_ID_BYTES, 0) != LOG_ID_BYTES)
        return PS_IO_ERROR;
    row = database_statement(&store->db, STATEMENT_PUT_SETTING);
    if (row != NULL) {
        bind_text(row, 1, span_of("log_id"));
        sqlite3_bind_blob(row, 2, store->log_id, LOG_ID_BYTES, SQLITE_STATIC);
    }
    return database_run(&store->db, row);
}

static enum ps_status read_last_epoch(struct sqlite_store *store)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_LAST_EPOCH);
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        store->epochs.next_number = column_u64(select, 0) + 1;
        store->epochs.indexed_through = column_u64(select, 1);
    }
    sqlite3_reset(select);
    return database_status(rc);
}

enum ps_status recovery_begin(struct sqlite_store *store)
{
    enum ps_status status = database_run(&store->db, database_statement(&store->db, STATEMENT_BEGIN_WRITE));
    sqlite3_stmt *drop;

    if (status != PS_OK)
        return status;
    status = read_last_epoch(store);
    if (status == PS_OK)
        status = find_or_make_log_id(store);
    if (status == PS_OK)
        status = get_number(store, "start_count", &store->start_count);
    if (status == PS_OK)
        status = store_put_number(store, "start_count", (int64_t)++store->start_count);
    if (status == PS_OK) {
        drop = database_statement(&store->db, STATEMENT_DROP_UNLISTED);
        if (drop != NULL)
            bind_u64(drop, 1, store->epochs.next_number - 1);
        status = database_run(&store->db, drop);
    }
    if (status == PS_OK)
        status = database_run(&store->db, database_statement(&store->db, STATEMENT_COMMIT));
    if (status != PS_OK && !sqlite3_get_autocommit(store->db.handle))
        database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK));
    return status;
}

/* Ids are dense: a row is never removed. */
static enum ps_status remember(struct by_id *by_id, uint64_t topic_id, struct topic *topic)
{
    while (topic_id >= by_id->capacity) {
        size_t capacity = by_id->capacity * 2 + 1024;
        struct topic **topics = realloc(by_id->topics, capacity * sizeof(struct topic *));

        if (topics == NULL)
            return PS_NO_MEMORY;
        memset(topics + by_id->capacity, 0, (capacity - by_id->capacity) * sizeof(struct topic *));
        by_id->topics = topics;
        by_id->capacity = capacity;
    }
    by_id->topics[topic_id] = topic;
    return PS_OK;
}

static enum ps_status damaged_topic(uint64_t topic_id, char *error, size_t error_size)
{
    snprintf(error, error_size,
             "the row with topic_id %lld of table topics in psbroker.db is damaged; restore the database "
             "from a backup",
             (long long)topic_id);
    return PS_DAMAGED;
}

/* Nobody writes a negative number, a name that was not checked or a topic without a first message. */
static bool is_topic(sqlite3_stmt *row, uint64_t topic_id, const struct topic_facts *facts)
{
    for (int column = 2; column <= 6; column++)
        if (sqlite3_column_int64(row, column) < 0)
            return false;
    return topic_id > 0 && topic_id <= UINT32_MAX && facts->created_seq > 0 &&
           topic_validate(column_span(row, 1)) == PS_OK;
}

/* Deleted topics are remembered only while the tail is read: their rows may stand there. */
static enum ps_status load_topic(struct sqlite_store *store, sqlite3_stmt *row, struct by_id *by_id,
                                 char *error, size_t error_size)
{
    struct topic_facts facts = {.exists = sqlite3_column_int(row, 7) == 0,
                                .created_seq = column_u64(row, 2),
                                .first_offset = column_u64(row, 3),
                                .next_offset = column_u64(row, 4),
                                .last_seq = column_u64(row, 5)};
    uint64_t topic_id = column_u64(row, 0);
    uint64_t swept = column_u64(row, 6);
    enum ps_status status = PS_OK;
    struct topic *topic;

    if (!is_topic(row, topic_id, &facts))
        return damaged_topic(topic_id, error, error_size);
    if (swept < facts.first_offset)
        status = sweeper_note(&store->sweeper, topic_id, facts.first_offset,
                              facts.exists ? facts.created_seq - 1 : facts.last_seq);
    if (status != PS_OK)
        return status;
    store->topics.next_id = store->topics.staged_next_id = topic_id + 1;
    topic = sqlite_topics_add(&store->topics, column_span(row, 1), topic_id, &facts);
    if (topic == NULL)
        return PS_NO_MEMORY;
    /* Leaves with sqlite_topics_discard(), when the tail has been read. */
    if (!facts.exists)
        sqlite_topics_touch(&store->topics, topic);
    return remember(by_id, topic_id, topic);
}

static enum ps_status load_topics(struct sqlite_store *store, struct by_id *by_id, char *error,
                                  size_t error_size)
{
    sqlite3_stmt *list = database_statement(&store->db, STATEMENT_LIST_TOPICS);
    enum ps_status status = PS_OK;
    int rc = SQLITE_DONE;

    if (list == NULL)
        return database_error(&store->db);
    while (status == PS_OK && (rc = sqlite3_step(list)) == SQLITE_ROW)
        status = load_topic(store, list, by_id, error, error_size);
    sqlite3_reset(list);
    store->sweeper.committed_count = store->sweeper.topic_count;
    return status == PS_OK ? database_status(rc) : status;
}

/* One row of the tail. The first of a topic goes on from what the last epoch left, or from what a slice of an
 * epoch that was not finished has already put there. */
static enum ps_status load_row(struct sqlite_store *store, const struct by_id *by_id, uint64_t seq,
                               uint64_t topic_id, uint64_t offset, char *error, size_t error_size)
{
    struct topic *topic = topic_id < by_id->capacity ? by_id->topics[topic_id] : NULL;
    struct store_run run = {offset, seq, 1};
    bool seen = topic != NULL && topic->group != NULL;

    if (topic == NULL || seq != store->next_seq || offset > topic->committed.next_offset ||
        (seen && offset != topic->committed.next_offset && topic->committed.last_seq < seq)) {
        snprintf(error, error_size,
                 "the record with seq %llu in psbroker.db is damaged or missing (topic_id %llu, "
                 "offset %llu); restore the database from a backup",
                 (unsigned long long)store->next_seq, (unsigned long long)topic_id,
                 (unsigned long long)offset);
        return PS_DAMAGED;
    }
    topic->group = topic;
    if (offset + 1 > topic->committed.next_offset)
        topic->committed.next_offset = offset + 1;
    if (seq > topic->committed.last_seq)
        topic->committed.last_seq = seq;
    store->next_seq = seq + 1;
    if (epochs_reserve(&store->epochs, 1, 1) != PS_OK)
        return PS_NO_MEMORY;
    epochs_add(&store->epochs, &run, topic_id);
    return PS_OK;
}

static enum ps_status load_tail(struct sqlite_store *store, const struct by_id *by_id, char *error,
                                size_t error_size)
{
    sqlite3_stmt *rows = database_statement(&store->db, STATEMENT_TAIL_ROWS);
    enum ps_status status = PS_OK;
    int rc = SQLITE_DONE;

    if (rows == NULL)
        return database_error(&store->db);
    bind_u64(rows, 1, store->epochs.indexed_through);
    store->next_seq = store->epochs.indexed_through + 1;
    while (status == PS_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW)
        status = load_row(store, by_id, column_u64(rows, 0), column_u64(rows, 1), column_u64(rows, 2), error,
                          error_size);
    sqlite3_reset(rows);
    return status == PS_OK ? database_status(rc) : status;
}

/* Ends that only the tail could complete. */
static enum ps_status check_topics(const struct by_id *by_id, char *error, size_t error_size)
{
    for (size_t i = 0; i < by_id->capacity; i++) {
        const struct topic *topic = by_id->topics[i];

        if (topic != NULL && topic->committed.exists &&
            topic->committed.first_offset > topic->committed.next_offset)
            return damaged_topic(topic->topic_id, error, error_size);
    }
    return PS_OK;
}

/* A floor is committed together with the rows below it: one above them says that rows are missing. */
static enum ps_status load_floors(struct sqlite_store *store, char *error, size_t error_size)
{
    sqlite3_stmt *last = database_statement(&store->db, STATEMENT_LAST_ROW);
    uint64_t seq = 0;
    uint64_t published = 0;
    enum ps_status status;
    int rc;

    if (last == NULL)
        return database_error(&store->db);
    rc = sqlite3_step(last);
    if (rc == SQLITE_ROW)
        store->last_published = sqlite3_column_int64(last, 1);
    sqlite3_reset(last);
    status = database_status(rc);
    if (status == PS_OK)
        status = get_number(store, "next_seq", &seq);
    if (status == PS_OK)
        status = get_number(store, "last_published_at", &published);
    if (status == PS_OK && seq > store->next_seq) {
        snprintf(error, error_size,
                 "records of psbroker.db are missing between seq %llu and %llu; restore the database from a "
                 "backup",
                 (unsigned long long)store->next_seq, (unsigned long long)seq);
        return PS_DAMAGED;
    }
    if ((int64_t)published > store->last_published)
        store->last_published = (int64_t)published;
    store->staged_next_seq = store->next_seq;
    return status;
}

enum ps_status recovery_load(struct sqlite_store *store, char *error, size_t error_size)
{
    struct by_id by_id = {0};
    enum ps_status status = load_topics(store, &by_id, error, error_size);

    if (status == PS_OK)
        status = load_tail(store, &by_id, error, error_size);
    if (status == PS_OK)
        status = check_topics(&by_id, error, error_size);
    for (size_t i = 0; i < by_id.capacity; i++)
        if (by_id.topics[i] != NULL)
            by_id.topics[i]->group = NULL;
    free(by_id.topics);
    /* The topics' next id must survive: it is what the rows said. */
    sqlite_topics_discard(&store->topics);
    if (status == PS_OK)
        status = load_floors(store, error, error_size);
    /* How many bytes the tail holds is not known, so it becomes epochs of its own at once. */
    return status == PS_OK ? epochs_close_open(&store->epochs) : status;
}
