/* A wrapped file keeps the one beneath it in the same block of memory, behind itself. */
#include "shim_vfs.h"

#include <stdbool.h>
#include <stdlib.h>

static sqlite3_vfs *real_vfs;
static sqlite3_vfs our_vfs;
static struct shim_hooks hooks;

int shim_write(struct shim_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    return file->real->pMethods->xWrite(file->real, bytes, size, offset);
}
int shim_sync(struct shim_file *file, int flags)
{
    return file->real->pMethods->xSync(file->real, flags);
}
int shim_truncate(struct shim_file *file, sqlite3_int64 size)
{
    return file->real->pMethods->xTruncate(file->real, size);
}
int shim_remove(const char *path, int sync_directory)
{
    return real_vfs->xDelete(real_vfs, path, sync_directory);
}

static struct shim_file *ours(sqlite3_file *file)
{
    return (struct shim_file *)file;
}
static sqlite3_file *real(sqlite3_file *file)
{
    return ours(file)->real;
}

static int before(enum shim_operation operation, sqlite3_file *file)
{
    return hooks.before == NULL ? SQLITE_OK : hooks.before(operation, ours(file)->kind);
}

static int hooked_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 offset)
{
    int rc = before(SHIM_WRITE, file);
    return rc != SQLITE_OK ? rc : hooks.write(ours(file), bytes, size, offset);
}
static int hooked_sync(sqlite3_file *file, int flags)
{
    int rc = before(SHIM_SYNC, file);
    return rc != SQLITE_OK ? rc : hooks.sync(ours(file), flags);
}
static int hooked_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = before(SHIM_TRUNCATE, file);
    return rc != SQLITE_OK ? rc : hooks.truncate(ours(file), size);
}
static int hooked_remove(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    int rc = hooks.before == NULL ? SQLITE_OK : hooks.before(SHIM_REMOVE, SHIM_WAL);
    return rc != SQLITE_OK ? rc : hooks.remove(path, sync_directory);
}

static int pass_close(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}
static int pass_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    int rc = before(SHIM_READ, file);
    return rc != SQLITE_OK ? rc : real(file)->pMethods->xRead(real(file), to, size, offset);
}
static int pass_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    int rc = before(SHIM_FILE_SIZE, file);
    return rc != SQLITE_OK ? rc : real(file)->pMethods->xFileSize(real(file), size);
}
static int pass_lock(sqlite3_file *file, int level)
{
    int rc = before(SHIM_LOCK, file);
    return rc != SQLITE_OK ? rc : real(file)->pMethods->xLock(real(file), level);
}
static int pass_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}
static int pass_check_reserved(sqlite3_file *file, int *result)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), result);
}
static int pass_control(sqlite3_file *file, int operation, void *arg)
{
    if (operation == SQLITE_FCNTL_SIZE_HINT && hooks.size_hint != NULL)
        hooks.size_hint(ours(file), *(sqlite3_int64 *)arg);
    return real(file)->pMethods->xFileControl(real(file), operation, arg);
}
static int pass_sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}
static int pass_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
static int pass_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
    int rc = before(SHIM_SHM_MAP, file);
    return rc != SQLITE_OK ? rc : real(file)->pMethods->xShmMap(real(file), region, size, extend, memory);
}
static int pass_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
static void pass_shm_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}
static int pass_shm_unmap(sqlite3_file *file, int remove)
{
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = pass_close,
                                           .xRead = pass_read,
                                           .xWrite = hooked_write,
                                           .xTruncate = hooked_truncate,
                                           .xSync = hooked_sync,
                                           .xFileSize = pass_file_size,
                                           .xLock = pass_lock,
                                           .xUnlock = pass_unlock,
                                           .xCheckReservedLock = pass_check_reserved,
                                           .xFileControl = pass_control,
                                           .xSectorSize = pass_sector_size,
                                           .xDeviceCharacteristics = pass_characteristics,
                                           .xShmMap = pass_shm_map,
                                           .xShmLock = pass_shm_lock,
                                           .xShmBarrier = pass_shm_barrier,
                                           .xShmUnmap = pass_shm_unmap};

static bool kind_of(int flags, enum shim_kind *kind)
{
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0)
        *kind = SHIM_DATABASE;
    else if ((flags & SQLITE_OPEN_WAL) != 0)
        *kind = SHIM_WAL;
    else if ((flags & SQLITE_OPEN_MAIN_JOURNAL) != 0)
        *kind = SHIM_JOURNAL;
    else
        return false;
    return true;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    enum shim_kind kind;
    (void)vfs;
    if (!kind_of(flags, &kind))
        return real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
    struct shim_file *opened = ours(file);
    *opened = (struct shim_file){.real = (sqlite3_file *)(opened + 1), .path = name, .kind = kind};
    int rc = before(SHIM_OPEN, file);
    if (rc != SQLITE_OK)
        return rc;
    rc = real_vfs->xOpen(real_vfs, name, opened->real, flags, out_flags);
    if (opened->real->pMethods != NULL)
        opened->base.pMethods = &methods;
    return rc;
}

void shim_vfs_install(const char *name, const struct shim_hooks *given)
{
    if (real_vfs != NULL)
        return;
    hooks = (struct shim_hooks){.before = given->before,
                                .write = given->write != NULL ? given->write : shim_write,
                                .sync = given->sync != NULL ? given->sync : shim_sync,
                                .truncate = given->truncate != NULL ? given->truncate : shim_truncate,
                                .remove = given->remove != NULL ? given->remove : shim_remove,
                                .size_hint = given->size_hint};
    real_vfs = sqlite3_vfs_find(NULL);
    our_vfs = *real_vfs;
    our_vfs.zName = name;
    our_vfs.pNext = NULL;
    our_vfs.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
    our_vfs.xOpen = open_file;
    our_vfs.xDelete = hooked_remove;
    if (sqlite3_vfs_register(&our_vfs, 1) != SQLITE_OK)
        abort();
}
