/* The database and its WAL are wrapped; every other file is opened by the VFS beneath, in the caller's own memory. */
#include "fault_vfs.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real;
    enum fault_place write, sync;
};

struct fault {
    uint64_t after, count, failed;
    int code;
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs our_vfs;
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

static struct fault_file *ours(sqlite3_file *file)
{
    return (struct fault_file *)file;
}
static sqlite3_file *real(sqlite3_file *file)
{
    return ours(file)->real;
}

static int fault_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    int code = verdict(ours(file)->write);
    return code != SQLITE_OK ? code : real(file)->pMethods->xWrite(real(file), bytes, size, offset);
}
static int fault_sync(sqlite3_file *file, int flags)
{
    int code = verdict(ours(file)->sync);
    return code != SQLITE_OK ? code : real(file)->pMethods->xSync(real(file), flags);
}

static int fault_close(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}
static int fault_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    return real(file)->pMethods->xRead(real(file), to, size, offset);
}
static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return real(file)->pMethods->xTruncate(real(file), size);
}
static int fault_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real(file)->pMethods->xFileSize(real(file), size);
}
static int fault_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}
static int fault_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}
static int fault_check_reserved(sqlite3_file *file, int *result)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), result);
}
static int fault_control(sqlite3_file *file, int operation, void *arg)
{
    return real(file)->pMethods->xFileControl(real(file), operation, arg);
}
static int fault_sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}
static int fault_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
static int fault_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
    return real(file)->pMethods->xShmMap(real(file), region, size, extend, memory);
}
static int fault_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
static void fault_shm_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}
static int fault_shm_unmap(sqlite3_file *file, int remove)
{
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

static const sqlite3_io_methods fault_methods = {.iVersion = 2,
                                                 .xClose = fault_close,
                                                 .xRead = fault_read,
                                                 .xWrite = fault_write,
                                                 .xTruncate = fault_truncate,
                                                 .xSync = fault_sync,
                                                 .xFileSize = fault_file_size,
                                                 .xLock = fault_lock,
                                                 .xUnlock = fault_unlock,
                                                 .xCheckReservedLock = fault_check_reserved,
                                                 .xFileControl = fault_control,
                                                 .xSectorSize = fault_sector_size,
                                                 .xDeviceCharacteristics = fault_characteristics,
                                                 .xShmMap = fault_shm_map,
                                                 .xShmLock = fault_shm_lock,
                                                 .xShmBarrier = fault_shm_barrier,
                                                 .xShmUnmap = fault_shm_unmap};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    if ((flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)) == 0)
        return real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
    struct fault_file *opened = ours(file);
    bool is_wal = (flags & SQLITE_OPEN_WAL) != 0;
    *opened = (struct fault_file){.real = (sqlite3_file *)(opened + 1),
                                  .write = is_wal ? FAULT_WAL_WRITE : FAULT_DATABASE_WRITE,
                                  .sync = is_wal ? FAULT_WAL_SYNC : FAULT_DATABASE_SYNC};
    int rc = real_vfs->xOpen(real_vfs, name, opened->real, flags, out_flags);
    if (opened->real->pMethods != NULL)
        opened->base.pMethods = &fault_methods;
    return rc;
}

void fault_vfs_install(void)
{
    if (real_vfs != NULL)
        return;
    real_vfs = sqlite3_vfs_find(NULL);
    our_vfs = *real_vfs;
    our_vfs.zName = "faults";
    our_vfs.pNext = NULL;
    our_vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
    our_vfs.xOpen = open_file;
    cr_assert_eq(sqlite3_vfs_register(&our_vfs, 1), SQLITE_OK);
}
