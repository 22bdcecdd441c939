/* A connection belongs to one thread at a time, so SQLite's own mutexes are off. Statements are prepared at
 * first use and live as long as the connection. */
#include "database.h"

#include "library.h"
#include "vfs.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENT_SQL(symbol, sql) sql,
static const char *const statement_sql[] = {STATEMENT_MAP(STATEMENT_SQL)};
#undef STATEMENT_SQL

enum {
    WRITER_CACHE_KIB = 16 * 1024, /* a commit of 8 MiB twice; more only costs processor caches */
    READER_CACHE_KIB = 2 * 1024,
    MAX_VALUE_BYTES = 20 * 1024 * 1024 /* above the wire's hard cap */
};

static bool writes(enum database_role role)
{
    return role == DATABASE_WRITER || role == DATABASE_ACCEPTER;
}

static int set_flags(sqlite3 *db, enum database_role role)
{
    int rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* A checkpoint belongs to the writer alone, also the one that closing a connection would make. */
    if (rc == SQLITE_OK && !writes(role))
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES);
    return rc;
}

static int set_pragmas(sqlite3 *db, enum database_role role)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "PRAGMA page_size=%d;PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint=0;"
             "PRAGMA mmap_size=0;PRAGMA temp_store=MEMORY;PRAGMA cache_size=-%d;PRAGMA query_only=%d;"
             "PRAGMA journal_size_limit=67108864",
             PAGE_BYTES, writes(role) ? WRITER_CACHE_KIB : READER_CACHE_KIB, !writes(role));
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int database_open(struct database *database, const char *path, enum database_role role,
                  database_busy_fn *busy, void *ctx)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc;

    *database = (struct database){0};
    library_init();
    flags |= role == DATABASE_OUTSIDER ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI : SQLITE_OPEN_READWRITE;
    if (writes(role))
        flags |= SQLITE_OPEN_CREATE;
    rc = sqlite3_open_v2(path, &database->handle, flags, writes(role) ? vfs_name() : vfs_reader_name());
    if (rc == SQLITE_OK && role == DATABASE_ACCEPTER)
        vfs_tolerate(database->handle, true);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_handler(database->handle, busy, ctx);
    if (rc == SQLITE_OK)
        rc = set_flags(database->handle, role);
    if (rc == SQLITE_OK)
        rc = set_pragmas(database->handle, role);
    /* Debian builds SQLite with secure_delete on: each freed page would be zeroed through the WAL. The pragma
     * opens the file, so that it is the first to see one that is not ours. */
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(database->handle, "PRAGMA secure_delete=OFF", NULL, NULL, NULL);
    return rc;
}

void database_close(struct database *database)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(database->statements[i]);
    sqlite3_close(database->handle);
    *database = (struct database){0};
}

char *database_uri(const char *path, bool unchanging)
{
    char *uri = malloc(3 * strlen(path) + 32);
    char *to = uri;

    if (uri == NULL)
        return NULL;
    /* An absolute path behind an authority, for a path that begins with two slashes would be taken for one. */
    to += sprintf(to, *path == '/' ? "file://" : "file:");
    for (const char *from = path; *from != '\0'; from++) {
        if (isalnum((unsigned char)*from) || strchr("/._-", *from) != NULL)
            *to++ = *from;
        else
            to += sprintf(to, "%%%02X", (unsigned)(unsigned char)*from);
    }
    sprintf(to, "%s", unchanging ? "?immutable=1" : "?mode=ro");
    return uri;
}

enum ps_status database_status(int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return PS_NO_MEMORY;
    if (code == SQLITE_IOERR_DATA)
        return PS_DAMAGED;
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return PS_OK;
    case SQLITE_FULL:
        return PS_DISK_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return PS_STORAGE_BUSY;
    case SQLITE_NOMEM:
        return PS_NO_MEMORY;
    case SQLITE_CORRUPT:
        return PS_DAMAGED;
    case SQLITE_NOTADB:
        return PS_FOREIGN_FILE;
    case SQLITE_MISMATCH:
        return PS_NEWER_SCHEMA;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return PS_ACCESS_DENIED;
    case SQLITE_IOERR:
        return PS_IO_ERROR;
    case SQLITE_TOOBIG:
        return PS_MESSAGE_TOO_LARGE;
    default:
        return PS_INTERNAL;
    }
}

enum ps_status database_error(struct database *database)
{
    enum ps_status status = database_status(sqlite3_extended_errcode(database->handle));

    return status == PS_OK ? PS_INTERNAL : status;
}

sqlite3_stmt *database_statement(struct database *database, enum statement statement)
{
    sqlite3_stmt **slot = &database->statements[statement];

    if (*slot != NULL)
        sqlite3_reset(*slot);
    else if (sqlite3_prepare_v3(database->handle, statement_sql[statement], -1, SQLITE_PREPARE_PERSISTENT,
                                slot, NULL) != SQLITE_OK)
        return NULL;
    return *slot;
}

enum ps_status database_run(struct database *database, sqlite3_stmt *statement)
{
    int rc;

    if (statement == NULL)
        return database_error(database);
    do {
        rc = sqlite3_step(statement);
    } while (rc == SQLITE_ROW);
    sqlite3_reset(statement);
    return database_status(rc);
}

int database_prepare_ends(struct database *database)
{
    static const enum statement ends[] = {STATEMENT_COMMIT, STATEMENT_ROLLBACK};

    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        sqlite3_stmt **slot = &database->statements[ends[i]];

        sqlite3_finalize(*slot);
        *slot = NULL;
        if (database_statement(database, ends[i]) == NULL)
            return sqlite3_extended_errcode(database->handle);
    }
    return SQLITE_OK;
}

enum ps_status database_setting(struct database *database, const char *name, sqlite3_stmt **row)
{
    sqlite3_stmt *select = database_statement(database, STATEMENT_GET_SETTING);
    int rc;

    *row = NULL;
    if (select == NULL)
        return database_error(database);
    bind_text(select, 1, span_of(name));
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        *row = select;
    else
        sqlite3_reset(select);
    return database_status(rc);
}

enum ps_status database_number(struct database *database, const char *name, uint64_t *value)
{
    sqlite3_stmt *row;
    enum ps_status status = database_setting(database, name, &row);

    if (row != NULL)
        *value = column_u64(row, 0);
    sqlite3_reset(row);
    return status;
}

enum ps_status database_put_number(struct database *database, const char *name, int64_t value)
{
    sqlite3_stmt *put = database_statement(database, STATEMENT_PUT_SETTING);

    if (put != NULL) {
        bind_text(put, 1, span_of(name));
        sqlite3_bind_int64(put, 2, value);
    }
    return database_run(database, put);
}

enum ps_status database_put_bytes(struct database *database, const char *name, struct span value)
{
    sqlite3_stmt *put = database_statement(database, STATEMENT_PUT_SETTING);

    if (put != NULL) {
        bind_text(put, 1, span_of(name));
        sqlite3_bind_blob64(put, 2, value.data, value.size, SQLITE_STATIC);
    }
    return database_run(database, put);
}

void bind_u64(sqlite3_stmt *statement, int index, uint64_t value)
{
    sqlite3_bind_int64(statement, index, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void bind_text(sqlite3_stmt *statement, int index, struct span text)
{
    if (span_present(text))
        sqlite3_bind_text64(statement, index, (const char *)text.data, text.size, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(statement, index);
}

uint64_t column_u64(sqlite3_stmt *statement, int column)
{
    int64_t value = sqlite3_column_int64(statement, column);

    return value < 0 ? 0 : (uint64_t)value;
}

struct span column_span(sqlite3_stmt *statement, int column)
{
    static const uint8_t nothing;
    const uint8_t *data;

    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return SPAN_ABSENT;
    data = sqlite3_column_blob(statement, column);
    if (data == NULL)
        return (struct span){&nothing, 0};
    return (struct span){data, (size_t)sqlite3_column_bytes(statement, column)};
}
