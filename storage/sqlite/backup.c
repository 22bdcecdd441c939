/* sqlite3_backup on the writer's own connection: what it commits meanwhile is carried into the pages that were copied
 * already, while a commit of another connection would make it begin again.
 *
 * The copy loses its log_id, so that the first start with it takes a new one: what clients know of the log that it was
 * copied from may be ahead of it. Its wal_id is its own, so that it goes with no WAL: it was made in the middle of
 * one, and what that one took later would be missing beside the next. It is not synced: it is only on its way, and a
 * start removes it. */
#include "backup.h"

#include "database.h"
#include "seal.h"
#include "sqlite_store.h"
#include "vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGES_AT_ONCE = 16, STEP_MICROSECONDS = 2000, GAIN_PAGES = 64 };

static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};

static void remove_files(const struct backup *backup)
{
    char *path;

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (asprintf(&path, "%s%s", backup->path, suffixes[i]) < 0)
            continue;
        unlink(path);
        free(path);
    }
}

enum ps_status backup_init(struct backup *backup, const char *directory)
{
    *backup = (struct backup){0};
    if (asprintf(&backup->path, "%s/psbroker.backup", directory) < 0) {
        backup->path = NULL;
        return PS_NO_MEMORY;
    }
    remove_files(backup);
    return PS_OK;
}

/* Keeps the state. */
static void close_copy(struct backup *backup)
{
    sqlite3_backup_finish(backup->copier);
    sqlite3_close(backup->copy);
    backup->copier = NULL;
    backup->copy = NULL;
}

void backup_deinit(struct backup *backup)
{
    if (backup->path == NULL)
        return;
    close_copy(backup);
    remove_files(backup);
    free(backup->path);
    *backup = (struct backup){0};
}

enum ps_status backup_admit(struct sqlite_store *store)
{
    uint64_t needed = store->database_bytes + store->checkpoint.wal_bytes + store->config.disk_floor_bytes;

    if (store->backup.state.phase != STORE_BACKUP_NONE)
        return PS_LIMIT_EXCEEDED;
    store->disk_sampled_at = 0;
    store_sample_disk(store);
    return store->free_disk_bytes < needed ? PS_DISK_FULL : PS_OK;
}

void backup_begin(struct sqlite_store *store)
{
    store->backup.state =
        (struct store_backup_state){.phase = STORE_BACKUP_COPYING, .total = store->database_bytes};
}

void backup_end(struct sqlite_store *store)
{
    close_copy(&store->backup);
    remove_files(&store->backup);
    store->backup.state = (struct store_backup_state){.phase = STORE_BACKUP_NONE};
}

static void fail(struct sqlite_store *store, int rc)
{
    struct backup *backup = &store->backup;
    enum ps_status status = database_status(rc);

    store_log(store, 4, "event=backup_failed code=%d text=\"%s\"", rc, sqlite3_errstr(rc));
    close_copy(backup);
    remove_files(backup);
    backup->state.phase = STORE_BACKUP_FAILED;
    backup->state.status =
        status == PS_DISK_FULL || status == PS_NO_MEMORY || status == PS_DAMAGED ? status : PS_STORAGE_FAILED;
}

/* Empty, of the same shape: seals are put on pages only when the first one says so. */
static int open_copy(struct sqlite_store *store)
{
    struct backup *backup = &store->backup;
    char sql[200];
    int reserved = -1;
    int rc = sqlite3_open_v2(backup->path, &backup->copy,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_EXRESCODE,
                             vfs_reader_name());

    if (rc == SQLITE_OK)
        rc = sqlite3_file_control(store->db.handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    if (rc == SQLITE_OK && reserved == SEAL_BYTES)
        rc = sqlite3_file_control(backup->copy, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    /* Setting user_version writes the first page; with none, the first that is copied would go without its seal. */
    snprintf(sql, sizeof(sql),
             "PRAGMA page_size=%d;PRAGMA journal_mode=OFF;PRAGMA synchronous=OFF;"
             "PRAGMA locking_mode=EXCLUSIVE;PRAGMA cache_size=-2048;PRAGMA user_version=1",
             PAGE_BYTES);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(backup->copy, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return rc;
    backup->copier = sqlite3_backup_init(backup->copy, "main", store->db.handle, "main");
    return backup->copier == NULL ? sqlite3_extended_errcode(backup->copy) : SQLITE_OK;
}

/* All pages are there. What SQLite writes on closing is whole: the WAL of the last change goes into the file. */
static int finish_copy(struct sqlite_store *store)
{
    struct backup *backup = &store->backup;
    struct stat file;
    int rc = sqlite3_backup_finish(backup->copier);

    backup->copier = NULL;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(backup->copy,
                          "PRAGMA secure_delete=OFF;DELETE FROM settings WHERE name = 'log_id';"
                          "UPDATE settings SET value = random() & ~(1 << 63) | 1 WHERE name = 'wal_id'",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(backup->copy, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_close(backup->copy);
    backup->copy = NULL;
    if (rc != SQLITE_OK || stat(backup->path, &file) != 0)
        return rc != SQLITE_OK ? rc : SQLITE_IOERR;
    backup->state.copied = backup->state.total = (uint64_t)file.st_size;
    backup->state.mark = store->next_seq;
    backup->state.phase = STORE_BACKUP_READY;
    return SQLITE_OK;
}

void backup_give_way(struct sqlite_store *store)
{
    enum store_backup_phase phase = store->backup.state.phase;

    if (phase == STORE_BACKUP_COPYING || phase == STORE_BACKUP_READY)
        fail(store, SQLITE_FULL);
}

/* Pages that came since the last step. Commits may add more than is copied in a moment: were they not copied too, and
 * some of the others, it might never end. */
static int added(const struct backup *backup)
{
    return sqlite3_backup_pagecount(backup->copier) - (int)(backup->state.total / PAGE_BYTES);
}

static int copy_some(const struct sqlite_store *store)
{
    const struct backup *backup = &store->backup;
    uint64_t until = monotonic_us() + STEP_MICROSECONDS;
    int rc = SQLITE_OK, copied = 0;

    if (store->config.backup_pages > 0)
        return sqlite3_backup_step(backup->copier, (int)store->config.backup_pages);
    for (; rc == SQLITE_OK && (monotonic_us() < until || copied < added(backup) + GAIN_PAGES);
         copied += PAGES_AT_ONCE)
        rc = sqlite3_backup_step(backup->copier, PAGES_AT_ONCE);
    return rc;
}

void backup_step(struct sqlite_store *store)
{
    struct backup *backup = &store->backup;
    int rc = SQLITE_OK;

    if (room_is_short(store) || room_is_full(store))
        backup_give_way(store);
    if (backup->state.phase != STORE_BACKUP_COPYING)
        return;
    if (backup->copier == NULL)
        rc = open_copy(store);
    if (rc == SQLITE_OK)
        rc = copy_some(store);
    if (backup->copier != NULL) {
        uint64_t pages = (uint64_t)sqlite3_backup_pagecount(backup->copier);
        int left = sqlite3_backup_remaining(backup->copier);

        backup->state.total = pages * PAGE_BYTES;
        backup->state.copied = (pages - (uint64_t)left) * PAGE_BYTES;
    }
    if (rc == SQLITE_DONE)
        rc = finish_copy(store);
    if (rc != SQLITE_OK && database_status(rc) != PS_STORAGE_BUSY)
        fail(store, rc);
}

enum ps_status backup_read(const char *path, struct store_backup_read *read)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    if (file < 0)
        return PS_OUT_OF_RANGE;
    read->got = 0;
    /* No file reaches that far, and pread() takes it for a mistake of ours. */
    if (read->offset > (uint64_t)INT64_MAX - read->size)
        read->size = 0;
    while (read->got < read->size && (got = pread(file, read->to + read->got, read->size - read->got,
                                                  (off_t)(read->offset + read->got))) > 0)
        read->got += (size_t)got;
    close(file);
    return got < 0 ? PS_IO_ERROR : PS_OK;
}
