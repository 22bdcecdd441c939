/* Keeps the WAL small: when to checkpoint, behind the gate, and how to wait when an outside reader is in the
 * way. Writer thread. */
#ifndef PSBROKER_CHECKPOINT_H
#define PSBROKER_CHECKPOINT_H

#include "status.h"

#include <stdbool.h>
#include <stdint.h>

struct sqlite_store;

struct checkpoint {
    uint64_t wal_bytes; /* in use, as of the last commit */
    uint64_t threshold; /* bytes */
    uint64_t completed;
    uint64_t busy;      /* in a row */
    uint64_t retry_at;  /* monotonic ms */
    uint64_t logged_at; /* 0: never */
};

/* Counts the WAL's pages from now on, and turns SQLite's own checkpoints off. */
void checkpoint_watch(struct sqlite_store *store);

/* Makes a checkpoint if the WAL is long enough and no back-off runs. PS_OK, also when it was busy;
 * PS_STORAGE_FAILED: the database file could not be written or synced. */
enum ps_status checkpoint_if_due(struct sqlite_store *store);

/* Makes one now, as far as no outside reader is in the way. As above. */
enum ps_status checkpoint_now(struct sqlite_store *store);

/* At start and end: empties the WAL and truncates its file, waiting for others up to `milliseconds`. As above;
 * PS_DAMAGED: the file is not as the WAL needs it. */
enum ps_status checkpoint_truncate(struct sqlite_store *store, int milliseconds);

#endif
