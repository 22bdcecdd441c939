/* user_version is the number of migrations that were applied. It changes in the same transaction as the
 * schema, so a crash leaves a database that is either before or behind a migration. */
#include "migrate.h"

#include "failpoint.h"

#include <stdio.h>

static int read_number(sqlite3 *db, const char *pragma, int *number)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, pragma, -1, &statement, NULL);

    if (rc == SQLITE_OK) {
        if (sqlite3_step(statement) == SQLITE_ROW)
            *number = sqlite3_column_int(statement, 0);
        rc = sqlite3_finalize(statement);
    }
    return rc;
}

int migrate_identify(sqlite3 *db, int *application_id, int *version)
{
    int rc = read_number(db, "PRAGMA application_id", application_id);

    return rc == SQLITE_OK ? read_number(db, "PRAGMA user_version", version) : rc;
}

static int apply(sqlite3 *db, int index)
{
    char set_version[64];
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return rc;
    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %d", index + 1);
    rc = sqlite3_exec(db, migrations[index].sql, NULL, NULL, NULL);
    FAILPOINT(migrate);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, set_version, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int migrate(sqlite3 *db)
{
    int application_id = 0;
    int version = 0;
    int rc = migrate_identify(db, &application_id, &version);

    if (rc != SQLITE_OK)
        return rc;
    if (version < 0 || version > migration_count)
        return SQLITE_MISMATCH;
    for (int i = version; i < migration_count && rc == SQLITE_OK; i++)
        rc = apply(db, i);
    FAILPOINT(migrated);
    return rc;
}
