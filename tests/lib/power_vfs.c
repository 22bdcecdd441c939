/* Each file is kept twice: on the disk beneath as SQLite sees it, and here as what is certain plus the writes since. */
#include "power_vfs.h"

#include "shim_vfs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 6, SECTOR_BYTES = 512, PATH_BYTES = 256 };

/* A write, or with `bytes` NULL a change of size to `offset`. */
struct change {
    uint8_t *bytes;
    size_t size, offset;
};

struct content {
    uint8_t *certain;
    size_t size;
    struct change *changes;
    size_t count, capacity;
};

struct disk_file {
    char path[PATH_BYTES];
    struct content content;
    struct content removed; /* what the name stood for before a removal that is not certain yet */
    bool is_removal_open;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct disk_file files[FILES];
static struct disk_file killed[FILES]; /* as they were when the process died */
static bool is_killed;
static void (*watcher)(void *ctx);
static void *watcher_ctx;

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ------------------------------------------------------------------------------------------------- a file */

static void resize(uint8_t **bytes, size_t *size, size_t to)
{
    *bytes = must(realloc(*bytes, to + 1));
    if (to > *size)
        memset(*bytes + *size, 0, to - *size);
    *size = to;
}

static void apply(uint8_t **bytes, size_t *size, const struct change *change, size_t from, size_t to)
{
    if (change->offset + to > *size)
        resize(bytes, size, change->offset + to);
    memcpy(*bytes + change->offset + from, change->bytes + from, to - from);
}

static void drop_changes(struct content *content)
{
    for (size_t i = 0; i < content->count; i++)
        free(content->changes[i].bytes);
    content->count = 0;
}

static void drop(struct content *content)
{
    drop_changes(content);
    free(content->changes);
    free(content->certain);
    *content = (struct content){0};
}

static void settle_removal(struct disk_file *file)
{
    drop(&file->removed);
    file->is_removal_open = false;
}

static void make_certain(struct disk_file *file)
{
    struct content *content = &file->content;
    for (size_t i = 0; i < content->count; i++) {
        const struct change *change = &content->changes[i];
        if (change->bytes == NULL)
            resize(&content->certain, &content->size, change->offset);
        else
            apply(&content->certain, &content->size, change, 0, change->size);
    }
    drop_changes(content);
}

static void add_change(struct content *file, const void *bytes, size_t size, size_t offset)
{
    if (file->count == file->capacity) {
        file->capacity = file->capacity * 2 + 64;
        file->changes = must(realloc(file->changes, file->capacity * sizeof *file->changes));
    }
    struct change *change = &file->changes[file->count++];
    *change = (struct change){.size = size, .offset = offset};
    if (bytes != NULL)
        change->bytes = memcpy(must(malloc(size)), bytes, size);
}

static void read_certain(struct disk_file *disk_file)
{
    struct content *file = &disk_file->content;
    uint8_t block[65536];
    FILE *stream = fopen(disk_file->path, "rb");
    for (size_t got; stream != NULL && (got = fread(block, 1, sizeof block, stream)) > 0;) {
        size_t at = file->size;
        resize(&file->certain, &file->size, at + got);
        memcpy(file->certain + at, block, got);
    }
    if (stream != NULL)
        fclose(stream);
}

static struct disk_file *find(const char *path)
{
    for (size_t i = 0; i < FILES; i++) {
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    }
    return NULL;
}

/* -------------------------------------------------------------------------------------------------- hooks */

static struct disk_file *enter(const char *path)
{
    pthread_mutex_lock(&mutex);
    struct disk_file *file = must(find(path));
    if (watcher != NULL)
        watcher(watcher_ctx);
    return file;
}

static int power_write(struct shim_file *shim, const void *bytes, int size, sqlite3_int64 offset)
{
    struct disk_file *file = enter(shim->path);
    int rc = shim_write(shim, bytes, size, offset);
    if (rc == SQLITE_OK) {
        add_change(&file->content, bytes, (size_t)size, (size_t)offset);
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int power_truncate(struct shim_file *shim, sqlite3_int64 size)
{
    struct disk_file *file = enter(shim->path);
    int rc = shim_truncate(shim, size);
    if (rc == SQLITE_OK)
        add_change(&file->content, NULL, 0, (size_t)size);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static size_t size_of(const struct content *content)
{
    size_t size = content->size;
    for (size_t i = 0; i < content->count; i++) {
        const struct change *change = &content->changes[i];
        size_t end = change->offset + change->size;
        size = change->bytes == NULL || end > size ? end : size;
    }
    return size;
}

static void power_size_hint(struct shim_file *shim, sqlite3_int64 size)
{
    struct disk_file *file = enter(shim->path);
    if ((size_t)size > size_of(&file->content))
        add_change(&file->content, NULL, 0, (size_t)size);
    pthread_mutex_unlock(&mutex);
}

static int power_sync(struct shim_file *shim, int flags)
{
    struct disk_file *file = enter(shim->path);
    int rc = shim_sync(shim, flags);
    if (rc == SQLITE_OK)
        make_certain(file);
    /* With the first sync of a WAL or journal that it opened, SQLite syncs the directory too. */
    for (size_t i = 0; rc == SQLITE_OK && shim->kind != SHIM_DATABASE && i < FILES; i++)
        settle_removal(&files[i]);
    pthread_mutex_unlock(&mutex);
    return rc;
}

static int power_remove(const char *path, int sync_directory)
{
    pthread_mutex_lock(&mutex);
    struct disk_file *file = find(path);
    if (file != NULL && watcher != NULL)
        watcher(watcher_ctx);
    int rc = shim_remove(path, sync_directory);
    if (rc == SQLITE_OK && file != NULL) {
        settle_removal(file);
        file->removed = file->content;
        file->content = (struct content){0};
        file->is_removal_open = true;
        if (sync_directory)
            settle_removal(file);
    }
    pthread_mutex_unlock(&mutex);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ control */

void power_vfs_install(void)
{
    shim_vfs_install("power", &(struct shim_hooks){.write = power_write,
                                                   .sync = power_sync,
                                                   .truncate = power_truncate,
                                                   .remove = power_remove,
                                                   .size_hint = power_size_hint});
}

void power_vfs_begin(const char *directory)
{
    static const char *const names[FILES] = {"psbroker.db",         "psbroker.db-wal",
                                             "psbroker.db-journal", "psbroker.backup",
                                             "psbroker.backup-wal", "psbroker.backup-journal"};
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < FILES; i++) {
        drop(&files[i].content);
        drop(&files[i].removed);
        if (directory == NULL) {
            drop(&killed[i].content);
            drop(&killed[i].removed);
        }
        files[i] = is_killed ? killed[i] : (struct disk_file){0};
        killed[i] = (struct disk_file){0};
        if (directory == NULL)
            continue;
        snprintf(files[i].path, sizeof files[i].path, "%s/%s", directory, names[i]);
        if (!is_killed)
            read_certain(&files[i]);
    }
    is_killed = false;
    pthread_mutex_unlock(&mutex);
}

void power_vfs_watch(void (*moment)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&mutex);
    watcher = moment;
    watcher_ctx = ctx;
    pthread_mutex_unlock(&mutex);
}

static bool is_kept(struct dice *dice, unsigned kept)
{
    return dice_below(dice, 256) < kept;
}

static void keep_some(uint8_t **bytes, size_t *size, const struct change *change, struct dice *dice,
                      unsigned kept)
{
    for (size_t from = 0; from < change->size;) {
        size_t to = from + SECTOR_BYTES - (change->offset + from) % SECTOR_BYTES;
        to = to < change->size ? to : change->size;
        if (is_kept(dice, kept))
            apply(bytes, size, change, from, to);
        from = to;
    }
}

static bool write_image(const struct disk_file *disk_file, const char *directory, struct dice *dice,
                        unsigned kept)
{
    char path[PATH_BYTES * 2];
    const struct content *file = &disk_file->content;
    if (disk_file->is_removal_open && !is_kept(dice, 128))
        file = &disk_file->removed;
    size_t size = file->size;
    uint8_t *bytes = must(malloc(size + 1));
    if (size > 0)
        memcpy(bytes, file->certain, size);
    for (size_t i = 0; i < file->count; i++) {
        const struct change *change = &file->changes[i];
        if (change->bytes != NULL)
            keep_some(&bytes, &size, change, dice, kept);
        else if (is_kept(dice, kept))
            resize(&bytes, &size, change->offset);
    }
    snprintf(path, sizeof path, "%s/%s", directory, strrchr(disk_file->path, '/') + 1);
    FILE *stream = fopen(path, "wb");
    bool written = stream != NULL && fwrite(bytes, 1, size, stream) == size;
    if (stream != NULL)
        written = fclose(stream) == 0 && written;
    free(bytes);
    return written;
}

bool power_vfs_image(const char *directory, struct dice *dice, unsigned kept)
{
    for (size_t i = 0; i < FILES; i++) {
        if (!write_image(&files[i], directory, dice, kept))
            return false;
    }
    return true;
}

static struct content copy_of(const struct content *content)
{
    struct content copy = {.size = content->size};
    resize(&copy.certain, &copy.size, content->size);
    if (content->size > 0)
        memcpy(copy.certain, content->certain, content->size);
    for (size_t i = 0; i < content->count; i++)
        add_change(&copy, content->changes[i].bytes, content->changes[i].size, content->changes[i].offset);
    return copy;
}

bool power_vfs_kill(const char *directory)
{
    struct dice unused = {1};
    for (size_t i = 0; i < FILES; i++) {
        struct disk_file visible = {.content = files[i].content};
        memcpy(visible.path, files[i].path, sizeof visible.path);
        if (!write_image(&visible, directory, &unused, 256))
            return false;
        killed[i] = (struct disk_file){.content = copy_of(&files[i].content),
                                       .removed = copy_of(&files[i].removed),
                                       .is_removal_open = files[i].is_removal_open};
    }
    is_killed = true;
    return true;
}
