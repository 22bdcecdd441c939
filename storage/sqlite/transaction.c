/* BEGIN IMMEDIATE is the first statement, so that nothing is read before the lock is ours. A failure before COMMIT
 * is undone whole; COMMIT's own failure leaves the outcome open: the frames may be in the file. */
#include "transaction.h"
#include "sqlite_store.h"

#include <time.h>

static const int64_t CLAMP_LOG_MICROSECONDS = 60 * 1000000;

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

enum ps_status transaction_data_version(struct sqlite_store *store, int64_t *version)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_DATA_VERSION);
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        *version = sqlite3_column_int64(select, 0);
    sqlite3_reset(select);
    return rc == SQLITE_DONE ? PS_INTERNAL : database_status(rc);
}

void transaction_roll_back(struct sqlite_store *store)
{
    if (!sqlite3_get_autocommit(store->db.handle))
        database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK));
    store->staged_subscriptions = store->subscriptions;
    append_discard(store);
    sqlite_topics_discard(&store->topics);
    epochs_discard(&store->epochs);
    sweeper_discard(&store->sweeper);
}

static enum ps_status check_names(struct sqlite_store *store)
{
    const char *lost = file_names_lost(&store->names);

    if (lost == NULL)
        return PS_OK;
    store_log(store, 3,
              "event=file_lost path=%s text=\"it was removed or replaced while the broker was running\"",
              lost);
    return PS_STORAGE_FAILED;
}

enum ps_status transaction_begin(struct sqlite_store *store)
{
    struct lock_wait wait;
    enum ps_status status;
    int64_t version;

    lock_wait_begin(&wait);
    while ((status = database_run(&store->db, database_statement(&store->db, STATEMENT_BEGIN_WRITE))) ==
           PS_STORAGE_BUSY)
        lock_wait_tell(&wait, store, "publishing");
    if (status == PS_OK)
        status = transaction_data_version(store, &version);
    if (status != PS_OK)
        return status;
    if (store->is_version_lost) {
        store->is_version_lost = false;
        store->data_version = version;
    }
    if (version != store->data_version) {
        store_log(store, 3,
                  "event=foreign_writer text=\"another program wrote to psbroker.db while the broker "
                  "was running\"");
        return PS_FOREIGN_WRITER;
    }
    stamp(store);
    status = wal_match_stamp(store);
    return status == PS_OK ? check_names(store) : status;
}

enum ps_status transaction_end(struct sqlite_store *store)
{
    sqlite3_stmt *commit = database_statement(&store->db, STATEMENT_COMMIT);
    int rc = sqlite3_step(commit);
    int extended = sqlite3_extended_errcode(store->db.handle);

    sqlite3_reset(commit);
    if (rc == SQLITE_DONE) {
        append_promote(store);
        store->subscriptions = store->staged_subscriptions;
        sqlite_topics_promote(&store->topics);
        epochs_promote(&store->epochs);
        sweeper_promote(&store->sweeper);
        wal_match_promote(store);
        loss_note(store);
        return PS_OK;
    }
    transaction_roll_back(store);
    /* Without room the last frame, which carries the commit mark, was not written whole, and no sync follows. */
    if ((rc & 0xff) == SQLITE_FULL && sqlite3_get_autocommit(store->db.handle))
        return PS_DISK_FULL;
    store_log(store, 3, "event=commit_failed code=%d text=\"%s\"", extended, sqlite3_errstr(extended));
    return PS_UNKNOWN;
}
