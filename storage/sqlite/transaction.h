/* The writer's transaction, and what becomes of everything that was staged in it. Writer thread. */
#ifndef PSBROKER_TRANSACTION_H
#define PSBROKER_TRANSACTION_H

#include "status.h"

#include <stdint.h>

struct sqlite_store;

/* What SQLite says about commits of others: any change since our last one means a foreign writer.
 * PS_OK or what SQLite met. */
enum ps_status transaction_data_version(struct sqlite_store *store, int64_t *version);

/* Begins, and stamps the commit's time. An outside lock is waited for as long as it is held. PS_OK;
 * PS_FOREIGN_WRITER; or what SQLite met. Not PS_OK: transaction_roll_back() is due. */
enum ps_status transaction_begin(struct sqlite_store *store);

/* Commits with one sync and promotes what was staged. Otherwise it is rolled back: PS_UNKNOWN; with anything else,
 * PS_DISK_FULL or PS_NO_MEMORY, nothing of it is in the file. */
enum ps_status transaction_end(struct sqlite_store *store);

/* Undoes everything that was staged. Allowed outside a transaction. */
void transaction_roll_back(struct sqlite_store *store);

#endif
