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

static struct {
    enum fault_flavour flavour;
    uint64_t n, count;
    bool once, has_swept;
} sweep;

void fault_vfs_sweep(enum fault_flavour flavour, uint64_t n, bool once)
{
    pthread_mutex_lock(&mutex);
    sweep.flavour = flavour;
    sweep.n = n;
    sweep.once = once;
    sweep.count = 0;
    sweep.has_swept = false;
    pthread_mutex_unlock(&mutex);
}

bool fault_vfs_has_swept(void)
{
    pthread_mutex_lock(&mutex);
    bool has_swept = sweep.has_swept;
    pthread_mutex_unlock(&mutex);
    return has_swept;
}

/* Counts one operation that this flavour may fail. */
static bool is_swept(enum fault_flavour flavour)
{
    pthread_mutex_lock(&mutex);
    bool fails = false;
    if (sweep.n > 0 && sweep.flavour == flavour) {
        sweep.count++;
        fails = sweep.once ? sweep.count == sweep.n : sweep.count >= sweep.n;
        sweep.has_swept |= fails;
    }
    pthread_mutex_unlock(&mutex);
    return fails;
}

static int fault_before(enum shim_operation operation, enum shim_kind kind)
{
    static const int codes[] = {[SHIM_OPEN] = SQLITE_CANTOPEN,      [SHIM_READ] = SQLITE_IOERR_READ,
                                [SHIM_WRITE] = SQLITE_IOERR_WRITE,  [SHIM_TRUNCATE] = SQLITE_IOERR_TRUNCATE,
                                [SHIM_SYNC] = SQLITE_IOERR_FSYNC,   [SHIM_FILE_SIZE] = SQLITE_IOERR_FSTAT,
                                [SHIM_LOCK] = SQLITE_IOERR_LOCK,    [SHIM_SHM_MAP] = SQLITE_IOERR_SHMMAP,
                                [SHIM_REMOVE] = SQLITE_IOERR_DELETE};
    (void)kind;
    if (is_swept(FAULT_IO_ERROR))
        return codes[operation];
    return operation == SHIM_WRITE && is_swept(FAULT_FULL) ? SQLITE_FULL : SQLITE_OK;
}

static int fault_write(struct shim_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    int code = SQLITE_OK;
    if (is_swept(FAULT_SHORT_WRITE)) {
        shim_write(file, bytes, size / 2, offset);
        return SQLITE_FULL;
    }
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
    shim_vfs_install("faults",
                     &(struct shim_hooks){.before = fault_before, .write = fault_write, .sync = fault_sync});
}
