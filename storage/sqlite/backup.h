/* A consistent copy of the database, made on the writer's connection in steps between commits, into `psbroker.backup`
 * beside it: of about 2 ms, or until what was added and some more is copied. Writer thread. */
#ifndef PSBROKER_BACKUP_H
#define PSBROKER_BACKUP_H

#include "store.h"

#include <sqlite3.h>

struct sqlite_store;

struct backup {
    struct store_backup_state state;
    char *path;
    sqlite3 *copy;          /* while copying */
    sqlite3_backup *copier; /* NULL before the first step */
};

/* Removes what an earlier process left. PS_OK or PS_NO_MEMORY. */
enum ps_status backup_init(struct backup *backup, const char *directory);
void backup_deinit(struct backup *backup); /* takes the zero state; removes the copy */

/* Whether one may begin: PS_OK, PS_LIMIT_EXCEEDED, PS_DISK_FULL. */
enum ps_status backup_admit(struct sqlite_store *store);
void backup_begin(struct sqlite_store *store);
void backup_end(struct sqlite_store *store);

/* Where there is no room: a copy, also one that nobody fetches, must not keep publications from it, nor begin again
 * with each that finds none, for what is rolled back makes SQLite copy from the first page on. */
void backup_give_way(struct sqlite_store *store);

/* Between transactions: goes on for a moment if there is one to go on with. */
void backup_step(struct sqlite_store *store);

/* Any thread: a piece of the copy at `path`, as store_read_backup(). */
enum ps_status backup_read(const char *path, struct store_backup_read *read);

#endif
