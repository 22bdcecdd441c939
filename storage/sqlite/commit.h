/* The group commit and the background work between commits: the body's store_commit() and store_work(). Writer
 * thread. */
#ifndef PSBROKER_COMMIT_H
#define PSBROKER_COMMIT_H

#include "store.h"

struct sqlite_store;

/* As store_commit() and store_work() say. */
enum ps_status commit_group(struct store *base, struct store_op **ops, size_t count,
                            struct store_state *state);
enum ps_status commit_work(struct store *base, bool *more, struct store_state *state);

/* Indexes everything that is not indexed yet, in commits of its own; at a clean end. What fails is left to the next
 * start. */
void commit_index(struct sqlite_store *store);

#endif
