/* A pass takes all topics whose dead rows lie in listed epochs, and walks the epochs from the oldest. In each
 * it collects the dead runs of those topics, sorts them by seq, so that a page is rewritten once and not once
 * for each topic, and removes rows and runs step by step. An epoch without runs goes too, except the newest,
 * which says where the tail begins. At the end `topics.swept_offset` says that the topic is clean; until then
 * a restart begins the pass again and finds only what is left.
 *
 *   idle ──noted──▶ waiting ──all rows indexed──▶ passing ──last epoch done──▶ idle */
#include "failpoint.h"
#include "sqlite_store.h"

#include <stdlib.h>

enum {
    MAX_RUNS = 256, /* in a step: each may touch a page of its own */
    MAX_MICROSECONDS = 5000
};

void sweeper_deinit(struct sweeper *sweeper)
{
    free(sweeper->topics);
    free(sweeper->runs);
    *sweeper = (struct sweeper){0};
}

enum ps_status sweeper_note(struct sweeper *sweeper, uint64_t topic_id, uint64_t below, uint64_t through)
{
    if (sweeper->topic_count == sweeper->topic_capacity) {
        size_t capacity = sweeper->topic_capacity * 2 + 8;
        struct dead_topic *topics = realloc(sweeper->topics, capacity * sizeof(*topics));

        if (topics == NULL)
            return PS_NO_MEMORY;
        sweeper->topics = topics;
        sweeper->topic_capacity = capacity;
    }
    sweeper->topics[sweeper->topic_count++] = (struct dead_topic){topic_id, below, through, false};
    return PS_OK;
}

bool sweeper_due(const struct sqlite_store *store)
{
    const struct sweeper *sweeper = &store->sweeper;

    if (sweeper->passing)
        return true;
    for (size_t i = 0; i < sweeper->committed_count; i++)
        if (sweeper->topics[i].through <= store->epochs.indexed_through)
            return true;
    return false;
}

static void begin_pass(struct sqlite_store *store)
{
    struct sweeper *sweeper = &store->sweeper;

    for (size_t i = 0; i < sweeper->committed_count; i++)
        sweeper->topics[i].in_pass = sweeper->topics[i].through <= store->epochs.indexed_through;
    sweeper->passing = true;
    sweeper->next_epoch = 0;
    sweeper->last_epoch = store->epochs.next_number - 1;
    sweeper->run_count = sweeper->run_at = 0;
}

static enum ps_status add_run(struct sweeper *sweeper, const struct dead_run *run)
{
    if (sweeper->run_count == sweeper->run_capacity) {
        size_t capacity = sweeper->run_capacity * 2 + 256;
        struct dead_run *runs = realloc(sweeper->runs, capacity * sizeof(*runs));

        if (runs == NULL)
            return PS_NO_MEMORY;
        sweeper->runs = runs;
        sweeper->run_capacity = capacity;
    }
    sweeper->runs[sweeper->run_count++] = *run;
    return PS_OK;
}

static enum ps_status collect_topic(struct sqlite_store *store, const struct dead_topic *topic)
{
    struct sweeper *sweeper = &store->sweeper;
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_DEAD_RUNS);
    enum ps_status status = PS_OK;
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    bind_u64(select, 1, sweeper->epoch);
    bind_u64(select, 2, topic->topic_id);
    bind_u64(select, 3, topic->below);
    while ((rc = sqlite3_step(select)) == SQLITE_ROW && status == PS_OK) {
        struct dead_run run = {topic->topic_id, column_u64(select, 0), column_u64(select, 1),
                               column_u64(select, 2), true};

        /* A topic that was made again at once may go on in the same run. */
        if (run.first_offset + run.count > topic->below) {
            run.count = topic->below - run.first_offset;
            run.whole = false;
        }
        status = add_run(sweeper, &run);
    }
    sqlite3_reset(select);
    return status == PS_OK ? database_status(rc) : status;
}

static int by_seq(const void *left, const void *right)
{
    const struct dead_run *a = left;
    const struct dead_run *b = right;

    return a->first_seq < b->first_seq ? -1 : a->first_seq > b->first_seq;
}

/* Goes to the next epoch and collects its dead runs; `staged_end` when there is none. */
static enum ps_status enter_epoch(struct sqlite_store *store)
{
    struct sweeper *sweeper = &store->sweeper;
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_NEXT_EPOCH);
    enum ps_status status = PS_OK;
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    bind_u64(select, 1, sweeper->next_epoch);
    bind_u64(select, 2, sweeper->last_epoch);
    rc = sqlite3_step(select);
    sweeper->epoch = rc == SQLITE_ROW ? column_u64(select, 0) : 0;
    sqlite3_reset(select);
    if (rc != SQLITE_ROW) {
        sweeper->staged_end = rc == SQLITE_DONE;
        return database_status(rc);
    }
    sweeper->next_epoch = sweeper->epoch + 1;
    sweeper->run_count = sweeper->run_at = 0;
    for (size_t i = 0; i < sweeper->committed_count && status == PS_OK; i++) {
        sweeper->suspect = sweeper->topics[i].topic_id;
        if (sweeper->topics[i].in_pass)
            status = collect_topic(store, &sweeper->topics[i]);
    }
    if (sweeper->run_count > 0)
        qsort(sweeper->runs, sweeper->run_count, sizeof(sweeper->runs[0]), by_seq);
    return status;
}

static enum ps_status remove_run(struct database *db, uint64_t epoch, const struct dead_run *run)
{
    sqlite3_stmt *delete = database_statement(db, STATEMENT_DELETE_ROWS);
    enum ps_status status;

    if (delete != NULL) {
        bind_u64(delete, 1, run->first_seq);
        bind_u64(delete, 2, run->first_seq + run->count - 1);
    }
    status = database_run(db, delete);
    if (status != PS_OK || !run->whole)
        return status;
    delete = database_statement(db, STATEMENT_DELETE_RUN);
    if (delete != NULL) {
        bind_u64(delete, 1, epoch);
        bind_u64(delete, 2, run->topic_id);
        bind_u64(delete, 3, run->first_offset);
    }
    return database_run(db, delete);
}

static enum ps_status drop_epoch_if_empty(struct sqlite_store *store)
{
    uint64_t epoch = store->sweeper.epoch;
    sqlite3_stmt *statement = database_statement(&store->db, STATEMENT_EPOCH_IN_USE);
    int rc;

    if (statement == NULL)
        return database_error(&store->db);
    bind_u64(statement, 1, epoch);
    rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (rc != SQLITE_DONE)
        return database_status(rc);
    statement = database_statement(&store->db, STATEMENT_DELETE_EPOCH);
    if (statement != NULL)
        bind_u64(statement, 1, epoch);
    return database_run(&store->db, statement);
}

static enum ps_status end_pass(struct sqlite_store *store)
{
    const struct sweeper *sweeper = &store->sweeper;
    enum ps_status status = PS_OK;

    for (size_t i = 0; i < sweeper->committed_count && status == PS_OK; i++) {
        sqlite3_stmt *update;

        if (!sweeper->topics[i].in_pass)
            continue;
        update = database_statement(&store->db, STATEMENT_SWEPT_TOPIC);
        if (update != NULL) {
            bind_u64(update, 1, sweeper->topics[i].topic_id);
            bind_u64(update, 2, sweeper->topics[i].below);
        }
        status = database_run(&store->db, update);
    }
    return status;
}

static enum ps_status remove_some(struct sqlite_store *store)
{
    struct sweeper *sweeper = &store->sweeper;
    uint64_t until = monotonic_us() + MAX_MICROSECONDS;
    uint64_t rows = 0;
    enum ps_status status = PS_OK;

    for (int runs = 0; sweeper->run_at < sweeper->run_count && runs < MAX_RUNS && rows < sweeper->max_rows &&
                       monotonic_us() < until;
         runs++) {
        const struct dead_run *run = &sweeper->runs[sweeper->run_at];

        sweeper->suspect = run->topic_id;
        status = remove_run(&store->db, sweeper->epoch, run);
        if (status != PS_OK)
            return status;
        rows += run->count;
        sweeper->run_at++;
        FAILPOINT(sweep_run);
    }
    sweeper->suspect = 0;
    return sweeper->run_at == sweeper->run_count ? drop_epoch_if_empty(store) : PS_OK;
}

enum ps_status sweeper_step(struct sqlite_store *store)
{
    struct sweeper *sweeper = &store->sweeper;
    enum ps_status status = PS_OK;

    sweeper->suspect = 0;
    if (!sweeper->passing)
        begin_pass(store);
    if (sweeper->run_at == sweeper->run_count)
        status = enter_epoch(store);
    if (status == PS_OK)
        status = sweeper->staged_end ? end_pass(store) : remove_some(store);
    sweeper->stepped_at = monotonic_ms();
    return status;
}

static void forget_pass(struct sweeper *sweeper)
{
    sweeper->passing = sweeper->staged_end = false;
    sweeper->run_count = sweeper->run_at = 0;
}

void sweeper_promote(struct sweeper *sweeper)
{
    if (sweeper->passing)
        FAILPOINT(sweep_step);
    if (sweeper->staged_end) {
        size_t kept = 0;

        for (size_t i = 0; i < sweeper->topic_count; i++)
            if (!sweeper->topics[i].in_pass)
                sweeper->topics[kept++] = sweeper->topics[i];
        sweeper->topic_count = kept;
        forget_pass(sweeper);
    }
    sweeper->committed_count = sweeper->topic_count;
}

void sweeper_give_up(struct sqlite_store *store)
{
    struct sweeper *sweeper = &store->sweeper;
    size_t kept = 0;

    for (size_t i = 0; i < sweeper->topic_count; i++) {
        const struct dead_topic *topic = &sweeper->topics[i];

        if (topic->through > store->epochs.indexed_through ||
            (sweeper->suspect != 0 && sweeper->suspect != topic->topic_id)) {
            sweeper->topics[kept++] = *topic;
            continue;
        }
        store_log(
            store, 4,
            "event=sweep_given_up topic_id=%llu text=\"rows of a deleted topic stand on a damaged page; "
            "they stay until the next start tries again\"",
            (unsigned long long)topic->topic_id);
    }
    sweeper->topic_count = sweeper->committed_count = kept;
}

/* Steps that were rolled back are taken again: the pass starts over and finds what is left. */
void sweeper_discard(struct sweeper *sweeper)
{
    sweeper->topic_count = sweeper->committed_count;
    forget_pass(sweeper);
    for (size_t i = 0; i < sweeper->topic_count; i++)
        sweeper->topics[i].in_pass = false;
}
