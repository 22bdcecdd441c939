/* What the schema should be is not written down a second time: the migrations are applied to a database in
 * memory, and the texts of both schemas are compared. */
#include "schema.h"

#include "database.h"
#include "migrate.h"

#include <stdio.h>
#include <string.h>

/* A database that has only objects of SQLite's own is somebody's, too. */
static const char count_all[] = "SELECT count(*) FROM sqlite_schema";
static const char count_named[] =
    "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'";

static enum ps_status count_objects(sqlite3 *db, const char *sql, int *count)
{
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &select, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(select);
        *count = sqlite3_column_int(select, 0);
    }
    sqlite3_finalize(select);
    return database_status(rc);
}

enum ps_status schema_identify(sqlite3 *db, bool *fresh, char *error, size_t error_size)
{
    int application_id = 0;
    int version = 0;
    int objects = 0;
    enum ps_status status = database_status(migrate_identify(db, &application_id, &version));

    if (status == PS_OK)
        status = count_objects(db, count_all, &objects);
    if (status != PS_OK)
        return status;
    if (application_id == 0 && version == 0 && objects == 0) {
        *fresh = true;
        return PS_OK;
    }
    if (application_id != PSBROKER_APPLICATION_ID) {
        snprintf(error, error_size,
                 "psbroker.db is an SQLite database of another program (application_id %d); "
                 "move it away or choose another data directory",
                 application_id);
        return PS_FOREIGN_FILE;
    }
    if (version > migration_count) {
        snprintf(error, error_size,
                 "psbroker.db has schema %d and this psbroker knows schemas up to %d; "
                 "use a newer psbroker",
                 version, migration_count);
        return PS_NEWER_SCHEMA;
    }
    *fresh = false;
    return PS_OK;
}

static bool is_user_name(const char *name)
{
    return strncmp(name, "user_", 5) == 0;
}

/* Why SQLite gave no text: it had no memory to end it with a zero, or there is none. */
static enum ps_status absent_text(sqlite3_stmt *row, enum ps_status otherwise)
{
    return sqlite3_errcode(sqlite3_db_handle(row)) == SQLITE_NOMEM ? PS_NO_MEMORY : otherwise;
}

/* Looks an object of `db` up in the schema as it should be. */
static enum ps_status find_expected(sqlite3_stmt *find, const char *type, const char *name, const char *sql,
                                    bool *known, bool *same)
{
    enum ps_status status = PS_OK;
    int rc;

    sqlite3_reset(find);
    sqlite3_bind_text(find, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(find, 2, type, -1, SQLITE_STATIC);
    rc = sqlite3_step(find);
    *known = rc == SQLITE_ROW;
    if (*known) {
        const char *expected = (const char *)sqlite3_column_text(find, 0);

        if (expected == NULL)
            status = absent_text(find, PS_OK);
        *same = sqlite3_column_int(find, 1) && expected != NULL && sql != NULL && strcmp(expected, sql) == 0;
    }
    sqlite3_reset(find);
    return status != PS_OK ? status : database_status(rc);
}

static enum ps_status check_object(sqlite3_stmt *object, sqlite3_stmt *find, int *ours, char *error,
                                   size_t error_size)
{
    const char *type = (const char *)sqlite3_column_text(object, 0);
    const char *name = (const char *)sqlite3_column_text(object, 1);
    const char *table = (const char *)sqlite3_column_text(object, 2);
    const char *sql = (const char *)sqlite3_column_text(object, 3);
    bool known = false;
    bool same = false;
    enum ps_status status;

    if (type == NULL || name == NULL || table == NULL)
        return absent_text(object, PS_DAMAGED);
    if (strncmp(name, "sqlite_", 7) == 0)
        return PS_OK;
    if (sql == NULL && (status = absent_text(object, PS_OK)) != PS_OK)
        return status;
    status = find_expected(find, type, name, sql, &known, &same);
    if (status != PS_OK)
        return status;
    if (known && same) {
        (*ours)++;
        return PS_OK;
    }
    if (known)
        snprintf(error, error_size,
                 "the %s %s in psbroker.db is not as psbroker made it; "
                 "restore it from a backup",
                 type, name);
    else if (strcmp(type, "trigger") == 0 && !is_user_name(table))
        snprintf(error, error_size,
                 "there is a trigger %s on the table %s in psbroker.db; "
                 "remove it: DROP TRIGGER \"%s\"",
                 name, table, name);
    else if (!is_user_name(name))
        snprintf(error, error_size,
                 "there is a foreign %s %s in psbroker.db; "
                 "names of objects that users add begin with user_",
                 type, name);
    else
        return PS_OK;
    return PS_FOREIGN_FILE;
}

static enum ps_status compare(sqlite3 *db, sqlite3 *expected, char *error, size_t error_size)
{
    const char *list = "SELECT type, name, tbl_name, sql FROM sqlite_schema";
    const char *look_up = "SELECT sql, type = ?2 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    sqlite3_stmt *object = NULL;
    sqlite3_stmt *find = NULL;
    enum ps_status status = PS_OK;
    int wanted = 0;
    int ours = 0;
    int rc = sqlite3_prepare_v2(db, list, -1, &object, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(expected, look_up, -1, &find, NULL);
    while (rc == SQLITE_OK && status == PS_OK && (rc = sqlite3_step(object)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        status = check_object(object, find, &ours, error, error_size);
    }
    sqlite3_finalize(find);
    sqlite3_finalize(object);
    if (status == PS_OK)
        status = database_status(rc);
    if (status != PS_OK)
        return status;
    status = count_objects(expected, count_named, &wanted);
    if (status != PS_OK)
        return status;
    if (ours == wanted)
        return PS_OK;
    snprintf(error, error_size,
             "tables, indexes or views of psbroker are missing in psbroker.db; "
             "restore it from a backup");
    return PS_FOREIGN_FILE;
}

enum ps_status schema_check(sqlite3 *db, char *error, size_t error_size)
{
    sqlite3 *expected = NULL;
    int rc = sqlite3_open_v2(":memory:", &expected,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX, NULL);
    enum ps_status status;

    if (rc == SQLITE_OK)
        rc = migrate(expected);
    status = rc == SQLITE_OK ? compare(db, expected, error, error_size) : database_status(rc);
    sqlite3_close(expected);
    return status;
}
