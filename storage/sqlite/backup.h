/* A consistent copy of the database, made on the writer's connection in steps between commits, into `psbroker.backup`
 * beside it: of about 2 ms, or until fewer pages are left than behind the last one. Writer thread. */
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
    int most_left;          /* pages, at the end of the next step */
};

/* Removes what an earlier process left. PS_OK or PS_NO_MEMORY. */
enum ps_status backup_init(struct backup *backup, const char *directory);
void backup_deinit(struct backup *backup); /* takes the zero state; removes the copy */

/* Whether one may begin: PS_OK, PS_LIMIT_EXCEEDED, PS_DISK_FULL. */
enum ps_status backup_admit(struct sqlite_store *store);
void backup_begin(struct sqlite_store *store);
void backup_end(struct sqlite_store *store);

/* Between transactions: goes on for a moment if there is one to go on with. */
void backup_step(struct sqlite_store *store);

/* Any thread: a piece of the copy at `path`, as store_read_backup(). */
enum ps_status backup_read(const char *path, struct store_backup_read *read);

#endif
