/* What the parts of the store share: its clock, its log, what it knows about the disk. */
#include "sqlite_store.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

enum {
    DISK_SAMPLE_MS = 100,
    NEAR_THE_FLOOR = 4 /* times as much: a tenth of a second is too long */
};

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

/* By path only: a second descriptor of the database, once closed, would drop SQLite's locks. */
void store_sample_disk(struct sqlite_store *store)
{
    uint64_t now = monotonic_ms();
    struct statvfs fs;
    struct stat file;

    if (store->disk_sampled_at != 0 && now - store->disk_sampled_at < DISK_SAMPLE_MS &&
        store->free_disk_bytes / NEAR_THE_FLOOR >=
            store->config.disk_floor_bytes + store->checkpoint.wal_bytes / NEAR_THE_FLOOR)
        return;
    store->disk_sampled_at = now;
    if (statvfs(store->config.directory, &fs) == 0)
        store->free_disk_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (stat(store->path, &file) == 0)
        store->database_bytes = (uint64_t)file.st_size;
}

void store_get_state(struct sqlite_store *store, struct store_state *state)
{
    store_sample_disk(store);
    *state = (struct store_state){.mark = store->next_seq,
                                  .indexed_through = store->epochs.indexed_through,
                                  .wal_bytes = store->checkpoint.wal_bytes,
                                  .database_bytes = store->database_bytes,
                                  .free_disk_bytes = store->free_disk_bytes,
                                  .checkpoints = store->checkpoint.completed,
                                  .falling_behind = store->epochs.closed >= 2,
                                  .backup = store->backup.state};
}
