/* A PASSIVE checkpoint never restarts the WAL while readers come and go, so it grows without end. Our own
 * readers are kept out by the gate for the few milliseconds that a RESTART takes; an outside reader cannot
 * be, so a busy checkpoint is tried again after a pause that doubles up to a second. Meanwhile everything
 * that could be copied has been copied: only the file keeps growing, up to the hard bound. */
#include "sqlite_store.h"

enum {
    GATE_WAIT_MS = 20,
    OTHERS_WAIT_MS = 20,
    FIRST_PAUSE_MS = 10,
    LAST_PAUSE_MS = 1000,
    LOG_EVERY_MS = 10 * 1000,
    FRAME_BYTES = PAGE_BYTES + 24, /* a page in the WAL with its header */
    SHORT_WAL_BYTES = 1024 * 1024  /* worth a checkpoint when the disk is nearly full */
};

static int count_pages(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_store *store = ctx;

    (void)db, (void)name;
    store->checkpoint.wal_bytes = (uint64_t)pages * FRAME_BYTES;
    return SQLITE_OK;
}

void checkpoint_watch(struct sqlite_store *store)
{
    sqlite3_wal_hook(store->db.handle, count_pages, store);
}

static void log_busy(struct sqlite_store *store)
{
    struct checkpoint *checkpoint = &store->checkpoint;
    uint64_t now = monotonic_ms();

    if (checkpoint->logged_at != 0 && now - checkpoint->logged_at < LOG_EVERY_MS)
        return;
    checkpoint->logged_at = now;
    store_log(store, 4,
              "event=checkpoint_busy attempts=%llu wal_bytes=%llu text=\"a reader outside the broker "
              "keeps the WAL from being emptied\"",
              (unsigned long long)checkpoint->busy, (unsigned long long)checkpoint->wal_bytes);
}

static enum ps_status back_off(struct sqlite_store *store)
{
    struct checkpoint *checkpoint = &store->checkpoint;
    uint64_t pause = LAST_PAUSE_MS;

    if (checkpoint->busy < 7)
        pause = (uint64_t)FIRST_PAUSE_MS << checkpoint->busy;
    checkpoint->busy++;
    checkpoint->retry_at = monotonic_ms() + pause;
    log_busy(store);
    return PS_OK;
}

static enum ps_status run(struct sqlite_store *store, int mode, int milliseconds)
{
    int rc;

    gate_close(&store->gate, GATE_WAIT_MS);
    sqlite3_busy_timeout(store->db.handle, milliseconds);
    rc = sqlite3_wal_checkpoint_v2(store->db.handle, "main", mode, NULL, NULL);
    sqlite3_busy_timeout(store->db.handle, COMMIT_WAIT_MS);
    gate_open(&store->gate);

    if (database_status(rc) == PS_STORAGE_BUSY || database_status(rc) == PS_DISK_FULL)
        return back_off(store);
    if (rc != SQLITE_OK) {
        store_log(store, 3, "event=checkpoint_failed code=%d text=\"%s\"", rc, sqlite3_errstr(rc));
        return database_status(rc) == PS_DAMAGED ? PS_DAMAGED : PS_STORAGE_FAILED;
    }
    store->wal_match.due = true;
    store->checkpoint.completed++;
    store->checkpoint.wal_bytes = 0;
    store->checkpoint.busy = 0;
    store->checkpoint.retry_at = 0;
    store->room.files_too_long = false;
    return PS_OK;
}

/* SQLite uses the WAL's file again and never shortens it; where room is short, it does. */
enum ps_status checkpoint_now(struct sqlite_store *store)
{
    int mode = room_is_short(store) ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_RESTART;
    enum ps_status status;

    if (store->checkpoint.busy > 0 && monotonic_ms() < store->checkpoint.retry_at)
        return PS_OK;
    status = run(store, mode, OTHERS_WAIT_MS);
    return status == PS_DAMAGED ? PS_STORAGE_FAILED : status;
}

enum ps_status checkpoint_if_due(struct sqlite_store *store)
{
    uint64_t threshold = store->checkpoint.threshold;

    if (room_is_short(store) && threshold > SHORT_WAL_BYTES)
        threshold = SHORT_WAL_BYTES;
    return store->checkpoint.wal_bytes < threshold ? PS_OK : checkpoint_now(store);
}

enum ps_status checkpoint_truncate(struct sqlite_store *store, int milliseconds)
{
    return run(store, SQLITE_CHECKPOINT_TRUNCATE, milliseconds);
}
