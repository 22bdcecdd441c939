/* The seal is XXH3-64 over the rest of the page with the page's number as seed, so a page in another's place does not
 * match either. Never 0, which stands for none.
 *
 * Whether there are seals is read from the header; a flipped bit there must not turn them off. So page 1 counts as
 * damaged too when it says no, but would match if it said yes. */
#include "seal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    HEADER_BYTES = 100,
    SIZE_AT = 16,    /* big-endian; 1 stands for 65536 */
    RESERVED_AT = 20 /* how many bytes of a page SQLite keeps free */
};

/* What a backup by SQLite writes anew in a page 1 whose seal it copies: the change counter, the schema cookie, and
 * which library wrote at which change. None of them says anything about what is stored. */
static uint64_t sum_of_first(const uint8_t *page, size_t size)
{
    uint8_t header[HEADER_BYTES];

    memcpy(header, page, HEADER_BYTES);
    memset(header + 24, 0, 4);
    memset(header + 40, 0, 4);
    memset(header + 92, 0, 8);
    return XXH3_64bits_withSeed(page + HEADER_BYTES, size - HEADER_BYTES,
                                XXH3_64bits_withSeed(header, HEADER_BYTES, 1));
}

static uint64_t sum_of(const uint8_t *page, int size, sqlite3_int64 offset)
{
    size_t summed = (size_t)size - SEAL_BYTES;
    uint64_t sum = offset == 0 ? sum_of_first(page, summed)
                               : XXH3_64bits_withSeed(page, summed, (uint64_t)(offset / size) + 1);

    return sum == 0 ? 1 : sum;
}

static uint64_t seal_of(const uint8_t *page, int size)
{
    uint64_t seal;

    memcpy(&seal, page + size - SEAL_BYTES, SEAL_BYTES);
    return seal;
}

static bool is_page_size(int size)
{
    return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

static void learn(struct seal *seal, const uint8_t *header)
{
    int size = header[SIZE_AT] << 8 | header[SIZE_AT + 1];

    seal->page_bytes = size == 1 ? 65536 : size;
    seal->in_use = header[RESERVED_AT] == SEAL_BYTES && is_page_size(seal->page_bytes);
}

static bool would_match(const struct seal *seal, const uint8_t *bytes, int size)
{
    uint8_t first[65536];

    if (size != seal->page_bytes || !is_page_size(size) || seal_of(bytes, size) == 0)
        return false;
    memcpy(first, bytes, (size_t)size);
    first[RESERVED_AT] = SEAL_BYTES;
    return seal_of(first, size) == sum_of(first, size, 0);
}

static int damaged(const struct seal *seal, sqlite3_int64 offset)
{
    if (seal->is_tolerated)
        return SQLITE_OK;
    sqlite3_log(SQLITE_IOERR_DATA, "page %lld does not match its checksum",
                (long long)(offset / seal->page_bytes + 1));
    return SQLITE_IOERR_DATA;
}

int seal_check(struct seal *seal, void *bytes, int size, sqlite3_int64 offset)
{
    uint8_t *page = bytes;
    uint64_t found;
    bool matches;

    if (offset == 0 && size >= HEADER_BYTES) {
        learn(seal, page);
        if (!seal->in_use && would_match(seal, page, size))
            return damaged(seal, offset);
    }
    if (!seal->in_use || size != seal->page_bytes || offset % size != 0)
        return SQLITE_OK;
    found = seal_of(page, size);
    matches = found == 0 || found == sum_of(page, size, offset);
    memset(page + size - SEAL_BYTES, 0, SEAL_BYTES);
    return matches ? SQLITE_OK : damaged(seal, offset);
}

const void *seal_put(struct seal *seal, const void *bytes, int size, sqlite3_int64 offset)
{
    uint64_t sum;

    if (offset == 0 && size >= HEADER_BYTES)
        learn(seal, bytes);
    if (!seal->in_use || size != seal->page_bytes || offset % size != 0)
        return bytes;
    if (seal->page == NULL && (seal->page = malloc(65536)) == NULL)
        return NULL;
    memcpy(seal->page, bytes, (size_t)size - SEAL_BYTES);
    sum = sum_of(seal->page, size, offset);
    memcpy(seal->page + size - SEAL_BYTES, &sum, SEAL_BYTES);
    return seal->page;
}

void seal_deinit(struct seal *seal)
{
    free(seal->page);
    *seal = (struct seal){0};
}

/* ------------------------------------------------------------------------------------------ a whole file */

static enum ps_status seal_page(int file, uint8_t *page, int size, off_t offset, uint64_t *sealed)
{
    uint64_t found;
    uint64_t sum;

    if (pread(file, page, (size_t)size, offset) != size)
        return PS_IO_ERROR;
    found = seal_of(page, size);
    sum = sum_of(page, size, offset);
    if (found == 0 || found == sum)
        return PS_OK;
    ++*sealed;
    return pwrite(file, &sum, SEAL_BYTES, offset + size - SEAL_BYTES) == SEAL_BYTES ? PS_OK : PS_IO_ERROR;
}

enum ps_status seal_file(int file, uint64_t *sealed)
{
    uint8_t *page = malloc(65536);
    struct seal seal = {0};
    enum ps_status status = PS_OK;
    struct stat found;

    if (page == NULL)
        return PS_NO_MEMORY;
    if (fstat(file, &found) != 0)
        status = PS_IO_ERROR;
    else if (pread(file, page, HEADER_BYTES, 0) == HEADER_BYTES)
        learn(&seal, page);
    for (off_t at = 0; seal.in_use && status == PS_OK && at + seal.page_bytes <= found.st_size;
         at += seal.page_bytes)
        status = seal_page(file, page, seal.page_bytes, at, sealed);
    if (status == PS_OK && fdatasync(file) != 0)
        status = PS_IO_ERROR;
    free(page);
    return status;
}
