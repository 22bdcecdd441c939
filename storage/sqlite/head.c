/* Layout, integers with the least byte first:
 *
 *    0  "psbh"          24  start_count     48  wal_frames
 *    4  version, 4      32  mark            56  XXH3-64 of what stands before
 *    8  log_id          40  wal_salt
 *
 * 64 bytes at offset 0 lie in one sector and one page, so that a kill leaves the old or the new ones. */
#include "head.h"

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    HEAD_BYTES = 64,
    HEAD_CHECKED_BYTES = 56,
    HEAD_VERSION = 1,
    WAL_INDEX_BYTES = 32768, /* of the first part, which begins with the header */
    WAL_INDEX_FRAMES_AT = 16,
    WAL_INDEX_SALT_AT = 32
};

static const uint8_t magic[4] = {'p', 's', 'b', 'h'};

static void put(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *from, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

enum head_state head_read(const char *path, struct head_facts *facts)
{
    uint8_t bytes[HEAD_BYTES + 1];
    int file = file_open_plain(path, O_RDONLY);
    ssize_t got;

    if (file < 0)
        return errno == ENOENT ? HEAD_MISSING : HEAD_DAMAGED;
    got = pread(file, bytes, sizeof(bytes), 0);
    close(file);
    if (got != HEAD_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0 || get(bytes + 4, 4) != HEAD_VERSION ||
        get(bytes + HEAD_CHECKED_BYTES, 8) != XXH3_64bits(bytes, HEAD_CHECKED_BYTES))
        return HEAD_DAMAGED;
    memcpy(facts->log_id, bytes + 8, LOG_ID_BYTES);
    facts->start_count = get(bytes + 24, 8);
    facts->mark = get(bytes + 32, 8);
    facts->wal_salt = get(bytes + 40, 8);
    facts->wal_frames = get(bytes + 48, 8);
    return HEAD_FOUND;
}

enum head_verdict head_compare(const struct head_facts *head, const struct head_facts *log)
{
    if (memcmp(head->log_id, log->log_id, LOG_ID_BYTES) != 0)
        return HEAD_OF_ANOTHER_LOG;
    if (head->mark > log->mark)
        return HEAD_LEADS;
    if (head->wal_salt == log->wal_salt && head->wal_frames > log->wal_frames)
        return HEAD_LEADS_IN_WAL;
    return HEAD_FITS;
}

int head_open(const char *path)
{
    int file = file_open_plain(path, O_WRONLY | O_CREAT);
    struct stat found;

    /* A longer one would be damaged for ever, whatever is written into it. */
    if (file < 0 || fstat(file, &found) != 0 || found.st_size <= HEAD_BYTES ||
        ftruncate(file, HEAD_BYTES) == 0)
        return file;
    close(file);
    return -1;
}

bool head_write(int file, const struct head_facts *facts)
{
    uint8_t bytes[HEAD_BYTES];

    memcpy(bytes, magic, sizeof(magic));
    put(bytes + 4, HEAD_VERSION, 4);
    memcpy(bytes + 8, facts->log_id, LOG_ID_BYTES);
    put(bytes + 24, facts->start_count, 8);
    put(bytes + 32, facts->mark, 8);
    put(bytes + 40, facts->wal_salt, 8);
    put(bytes + 48, facts->wal_frames, 8);
    put(bytes + HEAD_CHECKED_BYTES, XXH3_64bits(bytes, HEAD_CHECKED_BYTES), 8);
    errno = ENOSPC; /* of a write that comes back short */
    return pwrite(file, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes);
}

/* The documented header of the WAL-index: native byte order, behind the version. */
bool head_wal_position(sqlite3 *db, struct head_facts *facts)
{
    sqlite3_file *file = NULL;
    void volatile *map = NULL;
    uint8_t header[WAL_INDEX_SALT_AT + 8];
    uint32_t frames;

    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == NULL ||
        file->pMethods == NULL || file->pMethods->iVersion < 2 || file->pMethods->xShmMap == NULL ||
        file->pMethods->xShmMap(file, 0, WAL_INDEX_BYTES, 0, &map) != SQLITE_OK || map == NULL)
        return false;
    memcpy(header, (const void *)map, sizeof(header));
    memcpy(&frames, header + WAL_INDEX_FRAMES_AT, sizeof(frames));
    memcpy(&facts->wal_salt, header + WAL_INDEX_SALT_AT, sizeof(facts->wal_salt));
    facts->wal_frames = frames;
    return true;
}
