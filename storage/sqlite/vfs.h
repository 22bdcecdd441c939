/* The VFS of the writer's connection: the default one, with what is written to the WAL gathered into large writes, and
 * the way to the disk begun at once for both files. */
#ifndef PSBROKER_VFS_H
#define PSBROKER_VFS_H

#include <sqlite3.h>

/* Its name for sqlite3_open_v2(); the first call in the process puts it over the default VFS of that moment. NULL, which
 * stands for the default one: SQLite did not take it. Only for a connection with synchronous=FULL in WAL mode: then what
 * others may read was synced, and so written, before. Any thread. */
const char *vfs_name(void);

#endif
