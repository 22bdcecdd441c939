/* A frame of the WAL is a header of 24 bytes, whose second word is not zero in the frame that commits, and then the
 * page. They arrive in pieces of any size. So markers found in a page count as committed once a page behind a
 * committing header was written. What a rolled back transaction wrote is never committed by itself and does not
 * matter: nobody may acknowledge it. */
#include "sync_vfs.h"

#include "shim_vfs.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FRAME_HEADER_BYTES = 24, WAL_HEADER_BYTES = 32, FRAME_BYTES = FRAME_HEADER_BYTES + 16384 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t written[SYNC_VFS_TOPICS], committed[SYNC_VFS_TOPICS], durable[SYNC_VFS_TOPICS];
static uint64_t syncs, commits;
static unsigned char frame[FRAME_BYTES]; /* the one that is being written; one connection writes */
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

static void take_frame(void)
{
    scan((const char *)frame + FRAME_HEADER_BYTES, FRAME_BYTES - FRAME_HEADER_BYTES);
    if ((frame[4] | frame[5] | frame[6] | frame[7]) == 0)
        return;
    memcpy(committed, written, sizeof committed);
    commits++;
}

static void read_along(const unsigned char *bytes, size_t size, sqlite3_int64 offset)
{
    size_t skip = offset < WAL_HEADER_BYTES ? (size_t)(WAL_HEADER_BYTES - offset) : 0;
    while (skip < size) {
        size_t at = (size_t)(offset + (sqlite3_int64)skip - WAL_HEADER_BYTES) % FRAME_BYTES;
        size_t part = size - skip < FRAME_BYTES - at ? size - skip : FRAME_BYTES - at;
        memcpy(frame + at, bytes + skip, part);
        if (at + part == FRAME_BYTES)
            take_frame();
        skip += part;
    }
}

static int watched_write(struct shim_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    int rc = shim_write(file, bytes, size, offset);
    pthread_mutex_lock(&mutex);
    if (rc == SQLITE_OK && file->kind == SHIM_WAL)
        read_along(bytes, (size_t)size, offset);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int watched_sync(struct shim_file *file, int flags)
{
    if (file->kind != SHIM_WAL)
        return shim_sync(file, flags);
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
    int rc = shim_sync(file, flags);
    pthread_mutex_lock(&mutex);
    if (rc == SQLITE_OK) {
        memcpy(durable, covered, sizeof durable);
        syncs++;
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

/* ----------------------------------------------------------------------------------------------- control */

void sync_vfs_install(void)
{
    shim_vfs_install("sync-watch", &(struct shim_hooks){.write = watched_write, .sync = watched_sync});
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
