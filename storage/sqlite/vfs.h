/* The VFSs of our connections: the default one, with pages of the database sealed and their seals checked (see seal.h);
 * for the writer also with what is written to the WAL gathered into large writes, and the way to the disk begun at once
 * for both files. */
#ifndef PSBROKER_VFS_H
#define PSBROKER_VFS_H

#include "status.h"

#include <sqlite3.h>
#include <stdbool.h>

/* Names for sqlite3_open_v2(); the first call in the process puts them over the default VFS of that moment. NULL, which
 * stands for the default one: SQLite did not take it. Any thread.
 * The writer's: only for a connection with synchronous=FULL in WAL mode: then what others may read was synced, and so
 * written, before. */
const char *vfs_name(void);
const char *vfs_reader_name(void);

/* Whether pages that do not match their seal fail a read of this connection, as they do by default. Pages that were
 * given all the same stay in its cache until sqlite3_db_release_memory(). */
void vfs_tolerate(sqlite3 *db, bool tolerated);

/* Seals anew the pages of the writer's file that do not match, through a descriptor that it has: to close one of
 * one's own would drop SQLite's locks. As seal_file(). */
enum ps_status vfs_seal_anew(sqlite3 *db, uint64_t *pages);

#endif
