/* The scan reads (seq, topic_id, offset) of the rows behind the last listed epoch, never a payload, and those
 * rows are at most three epochs: two that wait to be written and the open one. They must be seqs and offsets
 * without a hole; one that is not is damage, and named. */
#include "recovery.h"
#include "failpoint.h"
#include "sqlite_store.h"
#include "subscriptions.h"
#include "verify.h"

#include <sys/random.h>

static enum ps_status find_or_make_log_id(struct sqlite_store *store)
{
    sqlite3_stmt *row;
    enum ps_status status = database_setting(&store->db, "log_id", &row);
    struct span id;

    if (row != NULL && !loss_is_unmarked(store)) {
        id = column_span(row, 0);
        status = id.size == LOG_ID_BYTES ? PS_OK : PS_DAMAGED;
        if (status == PS_OK)
            memcpy(store->log_id, id.data, LOG_ID_BYTES);
        sqlite3_reset(row);
        return status;
    }
    sqlite3_reset(row);
    if (status != PS_OK)
        return status;
    if (getrandom(store->log_id, LOG_ID_BYTES, 0) != LOG_ID_BYTES)
        return PS_IO_ERROR;
    return database_put_bytes(&store->db, "log_id", (struct span){store->log_id, LOG_ID_BYTES});
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
    enum ps_status status;

    FAILPOINT(start);
    status = database_run(&store->db, database_statement(&store->db, STATEMENT_BEGIN_WRITE));
    if (status != PS_OK)
        return status;
    status = find_or_make_log_id(store);
    if (status == PS_OK)
        status = database_number(&store->db, "start_count", &store->start_count);
    if (status == PS_OK)
        status = database_put_number(&store->db, "start_count", (int64_t)++store->start_count);
    if (status == PS_OK)
        status = wal_match_begin(store);
    if (status == PS_OK)
        status = database_run(&store->db, database_statement(&store->db, STATEMENT_COMMIT));
    if (status == PS_OK)
        wal_match_promote(store);
    FAILPOINT(started);
    if (status != PS_OK && !sqlite3_get_autocommit(store->db.handle))
        database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK));
    return status;
}

/* ------------------------------------------------------------------------------------------------- topics */

/* Deleted topics are remembered only while the tail is read: their rows may stand there. */
static enum ps_status load_topic(struct sqlite_store *store, sqlite3_stmt *row, struct roster *roster,
                                 const struct finding *finding)
{
    struct topic_facts facts = {.exists = sqlite3_column_int(row, 7) == 0,
                                .created_seq = column_u64(row, 2),
                                .first_offset = column_u64(row, 3),
                                .next_offset = column_u64(row, 4),
                                .last_seq = column_u64(row, 5)};
    uint64_t topic_id = column_u64(row, 0);
    uint64_t swept = column_u64(row, 6);
    struct span name = column_span(row, 1);
    enum ps_status status = verify_topic_row(row, finding);
    struct topic *topic;

    if (status == PS_OK &&
        (topic_id < store->topics.next_id || sqlite_topics_find(&store->topics, name) != NULL))
        status = finding_set(finding, NULL, "topic_id %llu or its name stands twice in `topics`",
                             (unsigned long long)topic_id);
    if (status == PS_OK && swept < facts.first_offset)
        status = sweeper_note(&store->sweeper, topic_id, facts.first_offset,
                              facts.exists ? facts.created_seq - 1 : facts.last_seq);
    if (status != PS_OK)
        return status;
    store->topics.next_id = store->topics.staged_next_id = topic_id + 1;
    status = sqlite_topics_reserve(&store->topics);
    if (status != PS_OK)
        return status;
    topic = sqlite_topics_add(&store->topics, name, topic_id, &facts);
    if (topic == NULL)
        return PS_NO_MEMORY;
    /* Leaves with sqlite_topics_discard(), when the tail has been read. */
    if (!facts.exists)
        sqlite_topics_touch(&store->topics, topic);
    return roster_add(roster, topic_id, topic);
}

static enum ps_status load_topics(struct sqlite_store *store, struct roster *roster,
                                  const struct finding *finding)
{
    sqlite3_stmt *list = database_statement(&store->db, STATEMENT_LIST_TOPICS);
    enum ps_status status = PS_OK;
    int rc = SQLITE_DONE;

    if (list == NULL)
        return database_error(&store->db);
    while (status == PS_OK && (rc = sqlite3_step(list)) == SQLITE_ROW)
        status = load_topic(store, list, roster, finding);
    sqlite3_reset(list);
    store->sweeper.committed_count = store->sweeper.topic_count;
    return status == PS_OK ? database_status(rc) : status;
}

/* --------------------------------------------------------------------------------------------------- tail */

/* Whether this is where the topic goes on. Up to its last_seq the row of `topics` knows the rows already, as a slice
 * of an epoch that was not finished has brought it up to date, or a deletion. */
static bool follows(const struct listed_topic *listed, uint64_t seq, uint64_t offset)
{
    const struct topic_facts *facts = &listed->topic->committed;

    if (listed->tail_next != 0 && offset != listed->tail_next)
        return false;
    return seq <= facts->last_seq ? offset < facts->next_offset : offset == facts->next_offset;
}

static enum ps_status load_row(struct sqlite_store *store, const struct roster *roster, uint64_t seq,
                               uint64_t topic_id, uint64_t offset, const struct finding *finding)
{
    struct listed_topic *listed = roster_find(roster, topic_id);
    struct store_run run = {offset, seq, 1};

    if (listed == NULL || seq != store->next_seq || !follows(listed, seq, offset))
        return finding_set(finding, listed == NULL ? NULL : listed->topic,
                           "the record with seq %llu is missing, or is not its offset %llu",
                           (unsigned long long)store->next_seq, (unsigned long long)offset);
    listed->tail_next = offset + 1;
    if (seq > listed->topic->committed.last_seq) {
        listed->topic->committed.last_seq = seq;
        listed->topic->committed.next_offset = offset + 1;
    }
    store->next_seq = seq + 1;
    if (epochs_reserve(&store->epochs, 1, 1) != PS_OK)
        return PS_NO_MEMORY;
    epochs_add(&store->epochs, &run, topic_id);
    return PS_OK;
}

static enum ps_status load_tail(struct sqlite_store *store, const struct roster *roster,
                                const struct finding *finding)
{
    sqlite3_stmt *rows = database_statement(&store->db, STATEMENT_TAIL_ROWS);
    enum ps_status status = PS_OK;
    int rc = SQLITE_DONE;

    if (rows == NULL)
        return database_error(&store->db);
    bind_u64(rows, 1, store->epochs.indexed_through);
    store->next_seq = store->epochs.indexed_through + 1;
    while (status == PS_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW)
        status =
            load_row(store, roster, column_u64(rows, 0), column_u64(rows, 1), column_u64(rows, 2), finding);
    sqlite3_reset(rows);
    return status == PS_OK ? database_status(rc) : status;
}

/* The floor of seq was committed with the last listed epoch and covers its rows and those of that commit. A floor
 * above the last row means that rows at the end are gone; one below the epoch, that the epoch is wrong. */
static enum ps_status load_floors(struct sqlite_store *store, const struct finding *finding)
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
        status = database_number(&store->db, "next_seq", &seq);
    if (status == PS_OK)
        status = database_number(&store->db, "last_published_at", &published);
    if (status == PS_OK && seq > store->next_seq)
        status = finding_set(finding, NULL, "the records from seq %llu to %llu are missing",
                             (unsigned long long)store->next_seq, (unsigned long long)seq - 1);
    if (status == PS_OK && store->epochs.indexed_through > 0 && seq <= store->epochs.indexed_through)
        status = finding_set(finding, NULL, "the epochs end at seq %llu, which the log had not reached",
                             (unsigned long long)store->epochs.indexed_through);
    if ((int64_t)published > store->last_published)
        store->last_published = (int64_t)published;
    store->staged_next_seq = store->next_seq;
    return status;
}

/* ------------------------------------------------------------------------------------------------ together */

/* Only now that everything agrees: a start that refuses the file leaves it as it was. */
static enum ps_status drop_unlisted(struct sqlite_store *store)
{
    sqlite3_stmt *statement = database_statement(&store->db, STATEMENT_UNLISTED_RUN);
    int rc;

    if (statement == NULL)
        return database_error(&store->db);
    bind_u64(statement, 1, store->epochs.next_number - 1);
    rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (rc != SQLITE_ROW)
        return database_status(rc);
    statement = database_statement(&store->db, STATEMENT_DROP_UNLISTED);
    if (statement != NULL)
        bind_u64(statement, 1, store->epochs.next_number - 1);
    return database_run(&store->db, statement);
}

static void tell(const struct sqlite_store *store, uint64_t started)
{
    int pages = 0;
    int unused = 0;

    sqlite3_db_status(store->db.handle, SQLITE_DBSTATUS_CACHE_MISS, &pages, &unused, 0);
    store_log(
        store, 6,
        "event=recovered rows=%llu pages=%d milliseconds=%llu topics=%zu text=\"rows behind the last epoch "
        "were read\"",
        (unsigned long long)(store->next_seq - 1 - store->epochs.indexed_through), pages,
        (unsigned long long)(monotonic_ms() - started), store->topics.count);
}

enum ps_status recovery_load(struct sqlite_store *store, char *error, size_t error_size)
{
    struct finding finding = {error, error_size};
    struct roster roster = {0};
    uint64_t started = monotonic_ms();
    enum ps_status status = read_last_epoch(store);

    if (status == PS_OK)
        status = load_topics(store, &roster, &finding);
    if (status == PS_OK)
        status = verify_last_epoch(store, &roster, &finding);
    if (status == PS_OK)
        status = load_tail(store, &roster, &finding);
    if (status == PS_OK)
        status = load_floors(store, &finding);
    if (status == PS_OK)
        status = verify_topics(store, &roster, &finding);
    if (status == PS_OK)
        status = subscriptions_count(store);
    roster_deinit(&roster);
    /* The topics' next id must survive: it is what the rows said. */
    sqlite_topics_discard(&store->topics);
    FAILPOINT(loaded);
    if (status == PS_OK)
        tell(store, started);
    return status;
}

enum ps_status recovery_finish(struct sqlite_store *store)
{
    enum ps_status status = drop_unlisted(store);

    FAILPOINT(recovered);
    if (status != PS_OK)
        return status;
    /* How many bytes the tail holds is not known, so it becomes epochs of its own at once. */
    return epochs_close_open(&store->epochs);
}
