/* One SQLite connection of ours: opened with the pragmas every connection needs, its prepared statements, and
 * the one translation of SQLite's result codes. */
#ifndef PSBROKER_DATABASE_H
#define PSBROKER_DATABASE_H

#include "span.h"
#include "statements.h"
#include "status.h"

#include <sqlite3.h>
#include <stdbool.h>

enum {
    PAGE_BYTES = 16384,  /* of a database that we make */
    COMMIT_WAIT_MS = 100 /* in service: SQLite's wait for a lock of another process */
};

struct database {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENT_COUNT]; /* prepared at first use */
};

enum database_role {
    DATABASE_WRITER,
    DATABASE_ACCEPTER, /* a writer that takes pages that do not match their checksum, until vfs_tolerate() */
    DATABASE_READER,
    DATABASE_OUTSIDER /* the path is a URI, and nothing can be written */
};

/* Asked while another connection holds a lock, with how often it was asked before: non-zero to try again. */
typedef int database_busy_fn(void *ctx, int times);

/* Opens `path`; the writer creates the file if it is missing. Nothing is written yet. `busy` counts from the first
 * look into the file until sqlite3_busy_timeout() replaces it. A SQLite result code; on failure the handle may be set,
 * for sqlite3_errmsg(), and database_close() is due all the same. */
int database_open(struct database *database, const char *path, enum database_role role,
                  database_busy_fn *busy, void *ctx);

/* `path` as a URI for DATABASE_OUTSIDER; the caller's to free, NULL without memory. `unchanging`: as a file that nobody
 * changes, without its WAL. */
char *database_uri(const char *path, bool unchanging);

/* Takes the zero state. */
void database_close(struct database *database);

/* Result codes of SQLite as ours; SQLITE_ROW and SQLITE_DONE are PS_OK. */
enum ps_status database_status(int code);

/* The prepared statement, reset and ready to be bound; NULL when it cannot be prepared, with the reason in
 * sqlite3_extended_errcode(). */
sqlite3_stmt *database_statement(struct database *database, enum statement statement);

/* Steps to the end and resets. PS_OK or what went wrong; NULL is allowed and gives the connection's error. */
enum ps_status database_run(struct database *database, sqlite3_stmt *statement);

/* COMMIT and ROLLBACK: what was begun can be ended without memory from then on. Behind migrations, as these outdate
 * what was prepared before. A code of SQLite's. */
int database_prepare_ends(struct database *database);

/* The last error as ours, never PS_OK. */
enum ps_status database_error(struct database *database);

/* The value of `settings` under a name, as column 0 of *row, which is NULL where there is none. The caller resets
 * it. */
enum ps_status database_setting(struct database *database, const char *name, sqlite3_stmt **row);

/* The same as a number; where there is none, *value stays as it is. */
enum ps_status database_number(struct database *database, const char *name, uint64_t *value);

/* Inside a transaction: from now on this is the value of `settings` under that name. */
enum ps_status database_put_number(struct database *database, const char *name, int64_t value);
enum ps_status database_put_bytes(struct database *database, const char *name, struct span value);

/* Binding and reading what SQLite has no words for: unsigned numbers (never above INT64_MAX here) and spans.
 * Bound bytes are borrowed until the statement is reset. An absent span is NULL. */
void bind_u64(sqlite3_stmt *statement, int index, uint64_t value);
void bind_text(sqlite3_stmt *statement, int index, struct span text);
uint64_t column_u64(sqlite3_stmt *statement, int column);
struct span column_span(sqlite3_stmt *statement, int column);

#endif
