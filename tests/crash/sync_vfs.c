/* Only the WAL is wrapped; every other file is opened by the VFS beneath, in the caller's own memory.
 *
 * SQLite writes a frame as a header of 24 bytes, whose second word is not zero in the frame that commits, and
 * then the page. So markers found in a page count as committed once a page behind a committing header was
 * written. What a rolled back transaction wrote is never committed by itself and does not matter: nobody may
 * acknowledge it. */
#include "sync_vfs.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FRAME_HEADER_BYTES = 24, WAL_HEADER_BYTES = 32 };

struct wal_file {
    sqlite3_file base;
    sqlite3_file *real;
    bool commit_header; /* the frame whose page comes next commits */
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs our_vfs;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t written[SYNC_VFS_TOPICS], committed[SYNC_VFS_TOPICS], durable[SYNC_VFS_TOPICS];
static uint64_t syncs, commits;
static unsigned delay_ms;
static bool hold;
static void (*held)(void *ctx);
static void *held_ctx;

/* ----------------------------------------------------------------------------------------------- markers */

void sync_vfs_marker(char text[SYNC_VFS_MARKER_BYTES], unsigned topic, uint64_t number)
{
    snprintf(text, SYNC_VFS_MARKER_BYTES, "mark-%u-%06u;", topic % 10, (unsigned)(number % 1000000));
}

/* Whether a marker stands at `at`. */
static bool parse(const char *at, size_t left, unsigned *topic, uint64_t *number)
{
    enum { LENGTH = 14 };
    if (left < LENGTH || memcmp(at, "mark-", 5) != 0 || at[6] != '-' || at[LENGTH - 1] != ';')
        return false;
    *topic = (unsigned)(at[5] - '0');
    *number = 0;
    for (int i = 7; i < LENGTH - 1; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(at[i] - '0');
    }
    return *topic < SYNC_VFS_TOPICS;
}

uint64_t sync_vfs_number(const void *payload, size_t size, unsigned topic)
{
    unsigned found;
    uint64_t number;
    cr_assert(parse(payload, size, &found, &number), "not a marker: %.*s", (int)size, (const char *)payload);
    cr_assert_eq(found, topic);
    return number;
}

static void scan(const char *page, size_t size)
{
    const char *at = page;
    while ((at = memmem(at, size - (size_t)(at - page), "mark-", 5)) != NULL) {
        unsigned topic;
        uint64_t number;
        if (parse(at, size - (size_t)(at - page), &topic, &number) && number > written[topic])
            written[topic] = number;
        at += 5;
    }
}

/* ---------------------------------------------------------------------------------------------- the WAL */

static struct wal_file *wal(sqlite3_file *file)
{
    return (struct wal_file *)file;
}

static void read_along(struct wal_file *file, const unsigned char *bytes, size_t size, sqlite3_int64 offset)
{
    if (offset < WAL_HEADER_BYTES)
        return;
    if (size == FRAME_HEADER_BYTES) {
        file->commit_header = (bytes[4] | bytes[5] | bytes[6] | bytes[7]) != 0;
        return;
    }
    scan((const char *)bytes, size);
    if (file->commit_header) {
        memcpy(committed, written, sizeof committed);
        commits++;
    }
    file->commit_header = false;
}

static int wal_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    int rc = wal(file)->real->pMethods->xWrite(wal(file)->real, bytes, size, offset);
    pthread_mutex_lock(&mutex);
    if (rc == SQLITE_OK)
        read_along(wal(file), bytes, (size_t)size, offset);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int wal_sync(sqlite3_file *file, int flags)
{
    uint64_t covered[SYNC_VFS_TOPICS];
    pthread_mutex_lock(&mutex);
    while (hold) {
        if (held != NULL)
            held(held_ctx);
        held = NULL;
        pthread_cond_wait(&changed, &mutex);
    }
    memcpy(covered, committed, sizeof covered);
    struct timespec delay = {.tv_sec = delay_ms / 1000, .tv_nsec = (long)(delay_ms % 1000) * 1000000};
    pthread_mutex_unlock(&mutex);
    if (delay.tv_sec != 0 || delay.tv_nsec != 0)
        nanosleep(&delay, NULL);
    int rc = wal(file)->real->pMethods->xSync(wal(file)->real, flags);
    pthread_mutex_lock(&mutex);
    if (rc == SQLITE_OK) {
        memcpy(durable, covered, sizeof durable);
        syncs++;
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int wal_close(sqlite3_file *file)
{
    return wal(file)->real->pMethods->xClose(wal(file)->real);
}
static int wal_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    return wal(file)->real->pMethods->xRead(wal(file)->real, to, size, offset);
}
static int wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return wal(file)->real->pMethods->xTruncate(wal(file)->real, size);
}
static int wal_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return wal(file)->real->pMethods->xFileSize(wal(file)->real, size);
}
static int wal_lock(sqlite3_file *file, int level)
{
    return wal(file)->real->pMethods->xLock(wal(file)->real, level);
}
static int wal_unlock(sqlite3_file *file, int level)
{
    return wal(file)->real->pMethods->xUnlock(wal(file)->real, level);
}
static int wal_check_reserved(sqlite3_file *file, int *result)
{
    return wal(file)->real->pMethods->xCheckReservedLock(wal(file)->real, result);
}
static int wal_control(sqlite3_file *file, int operation, void *arg)
{
    return wal(file)->real->pMethods->xFileControl(wal(file)->real, operation, arg);
}
static int wal_sector_size(sqlite3_file *file)
{
    return wal(file)->real->pMethods->xSectorSize(wal(file)->real);
}
static int wal_characteristics(sqlite3_file *file)
{
    return wal(file)->real->pMethods->xDeviceCharacteristics(wal(file)->real);
}

static const sqlite3_io_methods wal_methods = {.iVersion = 1,
                                               .xClose = wal_close,
                                               .xRead = wal_read,
                                               .xWrite = wal_write,
                                               .xTruncate = wal_truncate,
                                               .xSync = wal_sync,
                                               .xFileSize = wal_file_size,
                                               .xLock = wal_lock,
                                               .xUnlock = wal_unlock,
                                               .xCheckReservedLock = wal_check_reserved,
                                               .xFileControl = wal_control,
                                               .xSectorSize = wal_sector_size,
                                               .xDeviceCharacteristics = wal_characteristics};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    if ((flags & SQLITE_OPEN_WAL) == 0)
        return real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
    struct wal_file *opened = wal(file);
    *opened = (struct wal_file){.real = (sqlite3_file *)(opened + 1)};
    int rc = real_vfs->xOpen(real_vfs, name, opened->real, flags, out_flags);
    if (opened->real->pMethods != NULL)
        opened->base.pMethods = &wal_methods;
    return rc;
}

/* ----------------------------------------------------------------------------------------------- control */

void sync_vfs_install(void)
{
    if (real_vfs != NULL)
        return;
    real_vfs = sqlite3_vfs_find(NULL);
    our_vfs = *real_vfs;
    our_vfs.zName = "sync-watch";
    our_vfs.pNext = NULL;
    our_vfs.szOsFile = (int)sizeof(struct wal_file) + real_vfs->szOsFile;
    our_vfs.xOpen = open_file;
    cr_assert_eq(sqlite3_vfs_register(&our_vfs, 1), SQLITE_OK);
}

static uint64_t locked(const uint64_t *value)
{
    pthread_mutex_lock(&mutex);
    uint64_t copy = *value;
    pthread_mutex_unlock(&mutex);
    return copy;
}

uint64_t sync_vfs_durable(unsigned topic)
{
    return locked(&durable[topic]);
}

uint64_t sync_vfs_syncs(void)
{
    return locked(&syncs);
}

uint64_t sync_vfs_commits(void)
{
    return locked(&commits);
}

void sync_vfs_delay(unsigned milliseconds)
{
    pthread_mutex_lock(&mutex);
    delay_ms = milliseconds;
    pthread_mutex_unlock(&mutex);
}

void sync_vfs_hold(bool on, void (*when_held)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&mutex);
    hold = on;
    held = when_held;
    held_ctx = ctx;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}
