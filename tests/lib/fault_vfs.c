#include "fault_vfs.h"

#include "shim_vfs.h"

#include <pthread.h>

struct fault {
    uint64_t after, count, failed;
    int code;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct fault faults[FAULT_PLACES];

void fault_vfs_set(enum fault_place place, uint64_t after, int code)
{
    pthread_mutex_lock(&mutex);
    faults[place] = (struct fault){.after = after, .code = code};
    pthread_mutex_unlock(&mutex);
}

uint64_t fault_vfs_count(enum fault_place place)
{
    pthread_mutex_lock(&mutex);
    uint64_t count = faults[place].count;
    pthread_mutex_unlock(&mutex);
    return count;
}

uint64_t fault_vfs_failed(enum fault_place place)
{
    pthread_mutex_lock(&mutex);
    uint64_t failed = faults[place].failed;
    pthread_mutex_unlock(&mutex);
    return failed;
}

/* SQLITE_OK, or the code that this operation fails with. */
static int verdict(enum fault_place place)
{
    int code = SQLITE_OK;
    pthread_mutex_lock(&mutex);
    struct fault *fault = &faults[place];
    if (fault->count++ >= fault->after && fault->code != SQLITE_OK) {
        fault->failed++;
        code = fault->code;
    }
    pthread_mutex_unlock(&mutex);
    return code;
}

static int fault_write(struct shim_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    int code = SQLITE_OK;
    if (file->kind != SHIM_JOURNAL)
        code = verdict(file->kind == SHIM_WAL ? FAULT_WAL_WRITE : FAULT_DATABASE_WRITE);
    return code != SQLITE_OK ? code : shim_write(file, bytes, size, offset);
}

static int fault_sync(struct shim_file *file, int flags)
{
    int code = SQLITE_OK;
    if (file->kind != SHIM_JOURNAL)
        code = verdict(file->kind == SHIM_WAL ? FAULT_WAL_SYNC : FAULT_DATABASE_SYNC);
    return code != SQLITE_OK ? code : shim_sync(file, flags);
}

void fault_vfs_install(void)
{
    shim_vfs_install("faults", &(struct shim_hooks){.write = fault_write, .sync = fault_sync});
}
