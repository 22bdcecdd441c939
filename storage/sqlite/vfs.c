/* SQLite writes a frame of the WAL as 24 bytes and a page, and waits for the disk only when all of a commit is written.
 * Per byte that costs twice what large writes do, and the disk idles meanwhile.
 *
 *   WAL:  xWrite ─▶ buffer, while bytes follow ──full, or any other call──▶ large writes ─▶ the kernel starts on it
 *   file: xWrite ─▶ seal ─▶ blocks that a checkpoint reserved before ─▶ the kernel starts on it
 *
 * What is in the buffer was written as far as this connection can tell, and for nobody else: readers learn of frames
 * after their sync. Pages of the file are not kept back: a checkpoint that a reader holds up sends others to the pages
 * it copied without another call that could write them. A write that fails is reported by the call that made it due,
 * at the latest by the sync. A write or sync drops what it could not write, as SQLite rolls back; a read keeps it, as
 * SQLite may go on with the transaction. */
#include "vfs.h"

#include "failpoint.h"
#include "seal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 4096,
    BUFFER_BYTES = 31 * BLOCK_BYTES, /* SQLite's unix VFS takes less than 128 KiB at a time */
    START_BYTES = 8 * BUFFER_BYTES,  /* the kernel is told to start on so many at once */
    TOLERATE = 0x70736272,           /* operations of xFileControl, beside SQLite's own */
    SEAL_ANEW = 0x70736273
};

struct sealing {
    enum ps_status status;
    uint64_t pages;
};

struct gathered {
    sqlite3_file base; /* first */
    sqlite3_file *real;
    int descriptor; /* a second one, as SQLite does not show its own; -1: none */
    int used;
    sqlite3_int64 offset;  /* of the first byte in the buffer, or behind what was written last */
    sqlite3_int64 started; /* where the written bytes begin that the kernel was not told to start on */
    unsigned char *buffer; /* NULL: nothing is kept back */
    struct seal seal;      /* not used by a WAL */
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs writer_vfs, reader_vfs;

static struct gathered *gathered(sqlite3_file *file)
{
    return (struct gathered *)file;
}

static sqlite3_file *real(sqlite3_file *file)
{
    return gathered(file)->real;
}

/* The last block goes on in the next write, which would have to wait for it. */
static void start_on(struct gathered *file, sqlite3_int64 end)
{
    end -= end % BLOCK_BYTES;
    if (file->descriptor < 0 || end - file->started < START_BYTES)
        return;
    sync_file_range(file->descriptor, file->started, end - file->started, SYNC_FILE_RANGE_WRITE);
    file->started = end;
}

static int write_out(struct gathered *file)
{
    int rc;

    if (file->used == 0)
        return SQLITE_OK;
    FAILPOINT(wal_write);
    rc = file->real->pMethods->xWrite(file->real, file->buffer, file->used, file->offset);
    if (rc != SQLITE_OK)
        return rc;
    file->offset += file->used;
    file->used = 0;
    start_on(file, file->offset);
    return SQLITE_OK;
}

static int write_out_or_drop(struct gathered *file)
{
    int rc = write_out(file);

    file->used = 0;
    return rc;
}

static int write_through(struct gathered *file, const void *bytes, int size, sqlite3_int64 offset)
{
    const void *sealed = seal_put(&file->seal, bytes, size, offset);
    int rc;

    FAILPOINT(checkpoint_write);
    rc = sealed == NULL ? SQLITE_IOERR_NOMEM : file->real->pMethods->xWrite(file->real, sealed, size, offset);
    if (offset != file->offset)
        file->started = offset;
    file->offset = offset + size;
    if (rc == SQLITE_OK)
        start_on(file, file->offset);
    return rc;
}

static int gather(struct gathered *file, const unsigned char *from, int size, sqlite3_int64 offset)
{
    int rc = SQLITE_OK;

    if (offset != file->offset + file->used) {
        rc = write_out_or_drop(file);
        file->offset = file->started = offset;
    }
    while (size > 0 && rc == SQLITE_OK) {
        int part = size < BUFFER_BYTES - file->used ? size : BUFFER_BYTES - file->used;

        memcpy(file->buffer + file->used, from, (size_t)part);
        file->used += part;
        from += part;
        size -= part;
        if (file->used == BUFFER_BYTES)
            rc = write_out_or_drop(file);
    }
    return rc;
}

static int file_write(sqlite3_file *base, const void *bytes, int size, sqlite3_int64 offset)
{
    struct gathered *file = gathered(base);

    return file->buffer == NULL ? write_through(file, bytes, size, offset)
                                : gather(file, bytes, size, offset);
}

static int file_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    int rc = write_out(gathered(file));

    if (rc == SQLITE_OK)
        rc = real(file)->pMethods->xRead(real(file), to, size, offset);
    if (rc == SQLITE_OK && gathered(file)->buffer == NULL)
        rc = seal_check(&gathered(file)->seal, to, size, offset);
    return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = write_out_or_drop(gathered(file));

    return rc == SQLITE_OK ? real(file)->pMethods->xTruncate(real(file), size) : rc;
}

static int sync_wal(sqlite3_file *file, int flags)
{
    int rc;

    FAILPOINT(wal_sync);
    rc = real(file)->pMethods->xSync(real(file), flags);
    FAILPOINT(wal_synced);
    return rc;
}

static int sync_database(sqlite3_file *file, int flags)
{
    int rc;

    FAILPOINT(checkpoint_sync);
    rc = real(file)->pMethods->xSync(real(file), flags);
    FAILPOINT(checkpoint_synced);
    return rc;
}

static int file_sync(sqlite3_file *file, int flags)
{
    int rc = write_out_or_drop(gathered(file));

    if (rc != SQLITE_OK)
        return rc;
    return gathered(file)->buffer != NULL ? sync_wal(file, flags) : sync_database(file, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    int rc = write_out(gathered(file));

    return rc == SQLITE_OK ? real(file)->pMethods->xFileSize(real(file), size) : rc;
}

static int file_close(sqlite3_file *base)
{
    struct gathered *file = gathered(base);
    int rc = write_out(file);
    int closed = real(base)->pMethods->xClose(real(base));

    if (file->descriptor >= 0)
        close(file->descriptor);
    free(file->buffer);
    seal_deinit(&file->seal);
    return rc == SQLITE_OK ? closed : rc;
}

/* ------------------------------------------------------------------------------------------ passed through */

static int file_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *reserved)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), reserved);
}

/* A checkpoint says how large the file will be: its new blocks are reserved in one piece. That is a help and no more:
 * without it, or without room, the writes themselves find out. */
static int file_control(sqlite3_file *file, int operation, void *argument)
{
    sqlite3_int64 have;

    if (operation == TOLERATE) {
        gathered(file)->seal.is_tolerated = *(bool *)argument;
        return SQLITE_OK;
    }
    if (operation == SEAL_ANEW) {
        struct sealing *sealing = argument;
        sealing->status = seal_file(gathered(file)->descriptor, &sealing->pages);
        return SQLITE_OK;
    }
    if (operation == SQLITE_FCNTL_SIZE_HINT && gathered(file)->descriptor >= 0 &&
        real(file)->pMethods->xFileSize(real(file), &have) == SQLITE_OK && have < *(sqlite3_int64 *)argument)
        fallocate(gathered(file)->descriptor, 0, have, *(sqlite3_int64 *)argument - have);
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **map)
{
    return real(file)->pMethods->xShmMap(real(file), page, size, extend, map);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
    return real(file)->pMethods->xShmUnmap(real(file), remove);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = file_close,
                                           .xRead = file_read,
                                           .xWrite = file_write,
                                           .xTruncate = file_truncate,
                                           .xSync = file_sync,
                                           .xFileSize = file_size,
                                           .xLock = file_lock,
                                           .xUnlock = file_unlock,
                                           .xCheckReservedLock = file_check_reserved,
                                           .xFileControl = file_control,
                                           .xSectorSize = file_sector_size,
                                           .xDeviceCharacteristics = file_characteristics,
                                           .xShmMap = file_shm_map,
                                           .xShmLock = file_shm_lock,
                                           .xShmBarrier = file_shm_barrier,
                                           .xShmUnmap = file_shm_unmap};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags)
{
    struct gathered *file = gathered(base);
    bool gathers = vfs == &writer_vfs && (flags & SQLITE_OPEN_WAL) != 0;
    int rc;

    if (!gathers && (flags & SQLITE_OPEN_MAIN_DB) == 0)
        return real_vfs->xOpen(real_vfs, name, base, flags, out_flags);
    *file = (struct gathered){.real = (sqlite3_file *)(file + 1), .descriptor = -1};
    if (gathers && (file->buffer = malloc(BUFFER_BYTES)) == NULL)
        return SQLITE_NOMEM;
    rc = real_vfs->xOpen(real_vfs, name, file->real, flags, out_flags);
    if (rc != SQLITE_OK) {
        if (file->real->pMethods != NULL)
            file->real->pMethods->xClose(file->real);
        free(file->buffer);
        return rc;
    }
    /* A reader's would drop the locks of all when it is closed. */
    if (vfs == &writer_vfs)
        file->descriptor = open(name, O_RDWR | O_CLOEXEC);
    file->base.pMethods = &methods;
    return SQLITE_OK;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool registered;

static bool put_over(sqlite3_vfs *vfs, const char *name)
{
    *vfs = *real_vfs;
    vfs->zName = name;
    vfs->pNext = NULL;
    vfs->szOsFile = (int)sizeof(struct gathered) + real_vfs->szOsFile;
    vfs->xOpen = open_file;
    return sqlite3_vfs_register(vfs, 0) == SQLITE_OK;
}

static void put_over_default(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    registered =
        real_vfs != NULL && put_over(&writer_vfs, "psbroker") && put_over(&reader_vfs, "psbroker-reader");
}

const char *vfs_name(void)
{
    pthread_once(&once, put_over_default);
    return registered ? writer_vfs.zName : NULL;
}

const char *vfs_reader_name(void)
{
    pthread_once(&once, put_over_default);
    return registered ? reader_vfs.zName : NULL;
}

void vfs_tolerate(sqlite3 *db, bool tolerated)
{
    sqlite3_file_control(db, "main", TOLERATE, &tolerated);
}

enum ps_status vfs_seal_anew(sqlite3 *db, uint64_t *pages)
{
    struct sealing sealing = {.status = PS_IO_ERROR};

    sqlite3_file_control(db, "main", SEAL_ANEW, &sealing);
    *pages = sealing.pages;
    return sealing.status;
}
