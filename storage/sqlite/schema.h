/* Whether the tables in a database are ours, unchanged, and undisturbed. */
#ifndef PSBROKER_SCHEMA_H
#define PSBROKER_SCHEMA_H

#include "status.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/* Before anything is written: PS_OK when the file is empty (`*fresh`) or calls itself ours with a schema we know;
 * PS_FOREIGN_FILE, PS_NEWER_SCHEMA, or what SQLite met. */
enum ps_status schema_identify(sqlite3 *db, bool *fresh, char *error, size_t error_size);

/* After migrating: every object is as our migrations make it, and whatever else there is is named user_… and
 * no trigger on our tables. PS_OK, PS_FOREIGN_FILE, or what SQLite met. */
enum ps_status schema_check(sqlite3 *db, char *error, size_t error_size);

#endif
