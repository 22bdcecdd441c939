/* Applies the embedded migrations of migrations/ in order, each in a transaction of its own. */
#ifndef PSBROKER_MIGRATE_H
#define PSBROKER_MIGRATE_H

#include "status.h"

#include <sqlite3.h>

struct migration {
    const char *name;
    const char *sql;
};

/* Generated; entry i takes user_version from i to i + 1. */
extern const struct migration migrations[];
extern const int migration_count;

enum { PSBROKER_APPLICATION_ID = 0x70736272 }; /* "psbr" */

/* The database's application_id and user_version. A SQLite result code. */
int migrate_identify(sqlite3 *db, int *application_id, int *version);

/* Brings the database from its user_version to migration_count. A SQLite result code; on failure the
 * migration that failed left nothing behind and sqlite3_errmsg() tells why. SQLITE_MISMATCH: the database
 * is of a newer version. */
int migrate(sqlite3 *db);

#endif
