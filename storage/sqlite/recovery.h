/* Brings the writer's memory back from the database at start: topics, counters, and the rows behind the last
 * listed epoch. */
#ifndef PSBROKER_RECOVERY_H
#define PSBROKER_RECOVERY_H

#include "status.h"

#include <stddef.h>

struct sqlite_store;

/* Reads what memory must know, compares what can be compared. Nothing is written: what is refused stays as it was.
 * PS_OK; PS_DAMAGED with a sentence that names the record or the topic; PS_NO_MEMORY; what SQLite met. */
enum ps_status recovery_load(struct sqlite_store *store, char *error, size_t error_size);

/* Then: makes the log_id if there is none, counts the start, in one commit at FULL. PS_OK; what SQLite met. */
enum ps_status recovery_begin(struct sqlite_store *store);

/* When all is well and the start is committed: drops runs of unlisted epochs. PS_OK; what SQLite met. */
enum ps_status recovery_finish(struct sqlite_store *store);

#endif
