/* Each page of the database carries a checksum of itself, its seal, in the last eight bytes, which SQLite keeps free
 * when page 1 says so. A record's own checksum finds what was done to a message; the seal finds it in everything
 * else: rows that vanish from a table, an index that leads elsewhere, free pages that are not free.
 *
 * A page leaves for the file sealed and comes back with zeros in that place, so what goes through caches and the WAL
 * has none. Zeros are no seal and pass: a copy by VACUUM INTO is a sound database. A copy by .backup has the seals of
 * its origin, with other numbers in the header of page 1, so those are left out. */
#ifndef PSBROKER_SEAL_H
#define PSBROKER_SEAL_H

#include "status.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

enum { SEAL_BYTES = 8 };

/* Of one open file. */
struct seal {
    bool in_use;       /* page 1 says that pages have seals */
    bool is_tolerated; /* pages that do not match are given all the same */
    int page_bytes;
    uint8_t *page; /* a sealed copy on its way */
};

/* Takes the state of another file; frees what it needs for writing. */
void seal_deinit(struct seal *seal);

/* What was read at `offset`: SQLITE_OK, with zeros instead of the seal; SQLITE_IOERR_DATA, with a line to SQLite's
 * log. */
int seal_check(struct seal *seal, void *bytes, int size, sqlite3_int64 offset);

/* What is to be written at `offset`: the bytes themselves, or a copy with its seal, valid until the next call. NULL:
 * out of memory. */
const void *seal_put(struct seal *seal, const void *bytes, int size, sqlite3_int64 offset);

/* Seals anew the pages that do not match, in a file that another program changed and nobody writes to.
 * PS_OK, also when it has no seals; PS_IO_ERROR; PS_NO_MEMORY. */
enum ps_status seal_file(int file, uint64_t *sealed);

#endif
