/* Messages into `messages`, and their topics into `topics`, inside the writer's transaction. Writer thread. */
#ifndef PSBROKER_APPEND_H
#define PSBROKER_APPEND_H

#include "rows.h"
#include "store.h"

struct sqlite_store;

/* A run that was inserted and waits for its commit. */
struct staged_run {
    uint64_t topic_id;
    struct store_run run;
};

struct appender {
    struct store_op **waiting; /* appends of this transaction that are not inserted yet */
    size_t waiting_count, waiting_capacity;
    struct message_row *rows;
    size_t row_count, row_capacity;
    struct staged_run *runs;
    size_t run_count, run_capacity;
    uint64_t staged_rows, staged_bytes;
};

void appender_deinit(struct appender *appender); /* takes the zero state */

/* Queues an append; append_flush() carries it out. `op` must stay until the commit. PS_OK or PS_NO_MEMORY. */
enum ps_status append_queue(struct sqlite_store *store, struct store_op *op);

/* Inserts all that is queued, grouped by topic, in order of first appearance. Each operation and message gets
 * its outcome. Not PS_OK: the transaction must be rolled back. */
enum ps_status append_flush(struct sqlite_store *store);

/* The topic called so, from memory or from the row a deletion left behind; staged for creation if there is
 * none. NULL with `*status` set: PS_LIMIT_EXCEEDED refuses the operation, all else the transaction. */
struct topic *append_topic(struct sqlite_store *store, struct span name, enum ps_status *status);

/* The commit is durable: runs go to the open epoch. Or it was rolled back. */
void append_promote(struct sqlite_store *store);
void append_discard(struct sqlite_store *store);

#endif
