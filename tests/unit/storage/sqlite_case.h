/* A SQLite store in a directory of its own, small enough to see every part of it at work, and an outside
 * connection to the same file. Fails the running case when something does not work. */
#ifndef PSBROKER_TESTS_SQLITE_CASE_H
#define PSBROKER_TESTS_SQLITE_CASE_H

#include "store_sqlite.h"

#include <sqlite3.h>

struct sqlite_case {
    char directory[64];
    char file[96];
    struct store_sqlite_config config; /* set before opening */
    struct store *store;
    struct store_opened opened;
    struct store_state state;
    char error[400];
    char logged[8192]; /* everything that was logged */
};

/* The directory, empty; the store is not open. */
void sqlite_case_init(struct sqlite_case *place);
/* Closes what is open and removes the directory. */
void sqlite_case_deinit(struct sqlite_case *place);

enum ps_status sqlite_case_try_open(struct sqlite_case *place);
void sqlite_case_open(struct sqlite_case *place); /* expects PS_OK */
void sqlite_case_close(struct sqlite_case *place);
/* The directory and an open store with the default configuration. */
void sqlite_case_start(struct sqlite_case *place);

/* Commits one operation; the commit's own status. */
enum ps_status sqlite_case_commit(struct sqlite_case *place, struct store_op *op);
/* `count` messages "x" to a topic; expects them to be accepted. */
void sqlite_case_publish(struct sqlite_case *place, const char *topic, uint32_t count);
/* A durable subscription to A; expects it to be accepted. */
void sqlite_case_subscribe(struct sqlite_case *place, const char *id);
/* Another process opens the log, works and is killed. */
void sqlite_case_killed_in(struct sqlite_case *place, void (*work)(struct sqlite_case *place));
/* One step of work; whether more is left. */
bool sqlite_case_step(struct sqlite_case *place);
/* Works until nothing is left; the number of steps. */
unsigned sqlite_case_work(struct sqlite_case *place);

/* Runs SQL on a connection that is opened for it, as a user would with the sqlite3 tool; what it
 * changes is taken for ours, as with accept_changes. */
void sqlite_case_outside(const struct sqlite_case *place, const char *sql);
/* The first column of the first row. */
int64_t sqlite_case_number(const struct sqlite_case *place, const char *sql);

#endif
