/* Opening: is it ours, and all of it? ─▶ WAL ─▶ migrations ─▶ is everything as we made it? ─▶ recovery ─▶ a commit at
 * FULL ─▶ the WAL is emptied. Nothing is written before the file is known to be ours, and sound. Closing completes
 * the index, empties the WAL and leaves the database file alone, as a clean end; a failed store leaves everything to
 * the next start. */
#include "sqlite_store.h"

#include "commit.h"
#include "load.h"
#include "loss.h"
#include "migrate.h"
#include "reader.h"
#include "recovery.h"
#include "schema.h"
#include "scrub.h"
#include "seal.h"
#include "transaction.h"
#include "vfs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    OPEN_WAIT_MS = 30 * 1000,
    LOCK_PAUSE_MS = 20,
    TRUNCATE_WAIT_MS = 1000,
    EPOCH_ROWS = 65536,
    EPOCH_BYTES = 64 * 1024 * 1024,
    CHECKPOINT_BYTES = 8 * 1024 * 1024,
    SLICE_RUNS = 256,       /* with each commit, and two more for each message in it */
    IDLE_SLICE_RUNS = 4096, /* in a commit of its own */
    SWEEP_ROWS = 4096
};
static const uint64_t WAL_HARD_BYTES = 1024u * 1024 * 1024;

static void sqlite_free(struct sqlite_store *store)
{
    if (store == NULL)
        return;
    /* The VFS closes a descriptor of the file, which would drop their locks. */
    assert(store->gate.readers == 0);
    if (store->failure != PS_OK && store->db.handle != NULL)
        sqlite3_db_config(store->db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    backup_deinit(&store->backup);
    database_close(&store->db);
    library_listen_stop(&store->listener);
    appender_deinit(&store->appender);
    sweeper_deinit(&store->sweeper);
    epochs_deinit(&store->epochs);
    sqlite_topics_deinit(&store->topics);
    gate_deinit(&store->gate);
    free((char *)store->config.directory);
    file_names_deinit(&store->names);
    if (store->head_file >= 0)
        close(store->head_file);
    free(store->head_path);
    room_deinit(&store->room);
    free(store->path);
    free(store);
}

static enum ps_status sqlite_close(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    enum ps_status status;

    if (store->failure == PS_OK)
        commit_index(store);
    if (store->failure == PS_OK)
        store->failure = checkpoint_truncate(store, TRUNCATE_WAIT_MS);
    if (store->failure == PS_DAMAGED)
        store->failure = PS_STORAGE_FAILED;
    status = store->failure;
    sqlite_free(store);
    return status;
}

static enum ps_status sqlite_reader_new(struct store *base, struct store_reader **reader)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    return reader_open(store->base.vtable, store->path, store->backup.path, &store->gate, reader);
}

static const struct store_vtable sqlite_vtable = {.commit = commit_group,
                                                  .work = commit_work,
                                                  .load = load_show,
                                                  .reader_new = sqlite_reader_new,
                                                  .reader_free = reader_close,
                                                  .read = reader_read,
                                                  .resolve = reader_resolve,
                                                  .list = reader_list,
                                                  .verify = reader_verify,
                                                  .read_backup = reader_read_backup,
                                                  .close = sqlite_close};

static void fill_in(struct store_sqlite_config *config)
{
#define DEFAULT(field, value) config->field = config->field == 0 ? (value) : config->field
    DEFAULT(wal_hard_bytes, WAL_HARD_BYTES);
    DEFAULT(limits.max_topics, STORE_MAX_TOPICS);
    DEFAULT(limits.max_durable, STORE_MAX_DURABLE);
    DEFAULT(epoch_rows, EPOCH_ROWS);
    DEFAULT(epoch_bytes, EPOCH_BYTES);
    DEFAULT(slice_runs, SLICE_RUNS);
    DEFAULT(idle_slice_runs, IDLE_SLICE_RUNS);
    DEFAULT(checkpoint_bytes, CHECKPOINT_BYTES);
    DEFAULT(sweep_rows, SWEEP_ROWS);
#undef DEFAULT
}

static bool make_paths(struct sqlite_store *store)
{
    if (asprintf(&store->path, "%s/psbroker.db", store->config.directory) < 0)
        store->path = NULL;
    if (asprintf(&store->head_path, "%s/psbroker.head", store->config.directory) < 0)
        store->head_path = NULL;
    return store->path != NULL && store->head_path != NULL;
}

static enum ps_status store_new(const struct store_sqlite_config *config, struct sqlite_store **made)
{
    struct sqlite_store *store = calloc(1, sizeof(*store));

    if (store == NULL)
        return PS_NO_MEMORY;
    store->head_file = -1;
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
    if (store->config.directory == NULL || !make_paths(store) ||
        room_init(&store->room, store->config.directory, store->config.disk_floor_bytes) != PS_OK ||
        backup_init(&store->backup, config->directory) != PS_OK ||
        sqlite_topics_init(&store->topics) != PS_OK ||
        epochs_init(&store->epochs, store->config.epoch_rows, store->config.epoch_bytes) != PS_OK) {
        sqlite_free(store);
        return PS_NO_MEMORY;
    }
    *made = store;
    return PS_OK;
}

/* Only an empty file can be given a way to shrink, and room for seals; later it would have to be rewritten as a
 * whole. */
static enum ps_status shape_new_file(struct sqlite_store *store)
{
    int reserved = SEAL_BYTES;
    int rc = sqlite3_file_control(store->db.handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);

    /* Last, as it writes the first page. */
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(store->db.handle, "PRAGMA auto_vacuum=INCREMENTAL", NULL, NULL, NULL);
    return database_status(rc);
}

static enum ps_status enter_wal(struct sqlite_store *store)
{
    sqlite3_stmt *pragma = NULL;
    int rc = sqlite3_prepare_v2(store->db.handle, "PRAGMA journal_mode=WAL", -1, &pragma, NULL);
    bool entered = false;

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(pragma);
        const char *mode = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(pragma, 0) : NULL;
        entered = mode != NULL && strcmp(mode, "wal") == 0;
        if (rc == SQLITE_ROW && mode == NULL)
            rc = SQLITE_NOMEM;
    }
    sqlite3_finalize(pragma);
    return database_status(rc) == PS_OK && !entered ? PS_ACCESS_DENIED : database_status(rc);
}

/* Whatever the start meets a lock at, it is waited for, and said. */
static int wait_for_lock(void *ctx, int times)
{
    struct sqlite_store *store = ctx;

    if (times == 0)
        lock_wait_begin(&store->opening);
    if (lock_wait_tell(&store->opening, store, "starting") >= OPEN_WAIT_MS)
        return 0;
    sqlite3_sleep(times < 10 ? 1 : LOCK_PAUSE_MS);
    return 1;
}

/* Another name of a file would let another broker open it past our lock, and be written to in the file's place. */
static enum ps_status check_files(struct sqlite_store *store, char *error, size_t error_size)
{
    static const char *const names[] = {"psbroker.db", "psbroker.db-wal", "psbroker.db-shm",
                                        "psbroker.db-journal"};
    const char *oddity = NULL;
    char *path;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (asprintf(&path, "%s/%s", store->config.directory, names[i]) < 0)
            return PS_NO_MEMORY;
        oddity = file_oddity(path);
        if (oddity != NULL)
            snprintf(error, error_size,
                     "%s %s; a log's files must be plain files with one name: remove it, or use the "
                     "directory where the log is",
                     path, oddity);
        free(path);
        if (oddity != NULL)
            return PS_FOREIGN_FILE;
    }
    return PS_OK;
}

static enum ps_status check_wal(struct sqlite_store *store, char *error, size_t error_size)
{
    struct wal_facts both;

    wal_match_read(&store->db, &both);
    if (wal_match_fits(&store->file_alone, &both))
        return PS_OK;
    snprintf(error, error_size, WAL_IS_ANOTHERS);
    return PS_DAMAGED;
}

/* Nothing is written before the file is known to be ours. */
static enum ps_status open_database(struct sqlite_store *store, char *error, size_t error_size)
{
    enum database_role role = store->config.accept_changes ? DATABASE_ACCEPTER : DATABASE_WRITER;
    int rc = database_open(&store->db, store->path, role, wait_for_lock, store);
    enum ps_status status = database_status(rc);
    bool fresh = false;

    if (status == PS_OK)
        status = schema_identify(store->db.handle, &fresh, error, error_size);
    if (status == PS_OK && sqlite3_db_readonly(store->db.handle, "main") == 1)
        status = PS_ACCESS_DENIED;
    if (status == PS_OK && !fresh)
        status = check_wal(store, error, error_size);
    if (status == PS_OK)
        status = fresh ? shape_new_file(store) : loss_check(store, error, error_size);
    if (status == PS_OK)
        status = enter_wal(store);
    if (status == PS_OK)
        status = database_status(migrate(store->db.handle));
    if (status == PS_OK)
        status = schema_check(store->db.handle, error, error_size);
    if (status == PS_OK)
        status = database_status(rows_register(store->db.handle, &store->source));
    if (status == PS_OK)
        status = database_status(database_prepare_ends(&store->db));
    return status;
}

/* Behind everything that may refuse the file. What was read of the pages so far has no seal in SQLite's cache. */
static enum ps_status accept_changes(struct sqlite_store *store)
{
    uint64_t pages = 0;
    enum ps_status status;

    if (!store->config.accept_changes)
        return PS_OK;
    status = vfs_seal_anew(store->db.handle, &pages);
    vfs_tolerate(store->db.handle, false);
    store_log(
        store, 4,
        "event=changes_accepted pages=%llu text=\"pages that did not match their checksum were sealed\"",
        (unsigned long long)pages);
    return status;
}

static enum ps_status start(struct sqlite_store *store, char *error, size_t error_size)
{
    enum ps_status status = recovery_load(store, error, error_size);

    checkpoint_watch(store);
    if (status == PS_OK)
        status = accept_changes(store);
    if (status == PS_OK)
        status = recovery_begin(store);
    if (status == PS_OK)
        status = checkpoint_truncate(store, TRUNCATE_WAIT_MS);
    if (status == PS_OK)
        status = recovery_finish(store);
    if (status == PS_OK && !file_names_init(&store->names, store->path))
        status = PS_IO_ERROR;
    if (status == PS_OK)
        status = transaction_data_version(store, &store->data_version);
    if (status == PS_OK && store->config.accept_loss)
        status = loss_accept(store);
    if (status == PS_OK)
        loss_watch(store);
    sqlite3_busy_timeout(store->db.handle, COMMIT_WAIT_MS);
    return status;
}

/* The sentence for what has none yet. */
static void explain(const struct sqlite_store *store, enum ps_status status, char *error, size_t error_size)
{
    const char *reason = store->db.handle == NULL ? "out of memory" : sqlite3_errmsg(store->db.handle);
    const char *path = store->path;

    /* SQLite saw nothing wrong, we did. */
    if (status == PS_DAMAGED && database_status(sqlite3_extended_errcode(store->db.handle)) == PS_OK)
        reason = "what it holds contradicts itself";
    switch (status) {
    case PS_FOREIGN_FILE:
        snprintf(error, error_size,
                 "%s is not an SQLite database; move it away or choose another data directory", path);
        break;
    case PS_DAMAGED:
        if (sqlite3_extended_errcode(store->db.handle) == SQLITE_IOERR_DATA) {
            snprintf(
                error, error_size,
                "%s is damaged (a page does not match its checksum); restore it from a backup, or, if it was "
                "changed on purpose while no broker ran, start once with --accept-changes",
                path);
            break;
        }
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
        snprintf(error, error_size,
                 "the disk that holds %s is full, and there is no psbroker.reserve beside it to give up; "
                 "free some "
                 "megabytes",
                 path);
        break;
    default:
        snprintf(error, error_size, "%s cannot be opened (%s)", path, reason);
    }
}

/* Looks at every file before it opens one. */
static enum ps_status open_and_start(struct sqlite_store *store, char *error, size_t error_size)
{
    enum ps_status status = check_files(store, error, error_size);

    if (status == PS_OK) {
        room_look_first(store);
        status = loss_check_file(store, error, error_size);
    }
    if (status == PS_OK && wal_is_beside(store->path))
        wal_match_read_file(store->path, &store->file_alone);
    if (status == PS_OK)
        status = open_database(store, error, error_size);
    return status == PS_OK ? start(store, error, error_size) : status;
}

/* What an outcome means at a start. */
static enum ps_status as_start(const struct sqlite_store *store, enum ps_status status)
{
    if (status == PS_STORAGE_FAILED)
        status = PS_IO_ERROR;
    /* Our own SQL fails on the tables as they are, or a value in them is larger than any that we wrote. */
    if (status == PS_INTERNAL || status == PS_MESSAGE_TOO_LARGE)
        status = PS_DAMAGED;
    /* Without room for its index of the WAL, SQLite speaks of an error. */
    if (status == PS_IO_ERROR && room_is_full(store))
        status = PS_DISK_FULL;
    return status;
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
    library_listen_start(&store->listener, config->log, config->log_ctx);
    if (!library_init())
        store_log(
            store, 6,
            "event=sqlite_in_use text=\"this process used SQLite before: its memory statistics and its log "
            "stay as they were\"");
    status = as_start(store, open_and_start(store, error, error_size));
    if (status != PS_OK) {
        if (error_size > 0 && error[0] == '\0')
            explain(store, status, error, error_size);
        store->failure = status;
        sqlite_free(store);
        return status;
    }
    memcpy(opened->log_id, store->log_id, LOG_ID_BYTES);
    opened->start_count = store->start_count;
    store_get_state(store, &opened->state);
    *opened_store = &store->base;
    return PS_OK;
}
