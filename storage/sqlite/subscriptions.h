/* Durable subscriptions, their committed offsets, and the deletion of topics, inside the writer's
 * transaction. Writer thread. Each sets the results of its operation and returns PS_OK or an outcome that
 * store.h lists for it; anything else is the database's failure and the transaction must be rolled back. */
#ifndef PSBROKER_SUBSCRIPTIONS_H
#define PSBROKER_SUBSCRIPTIONS_H

#include "store.h"

struct sqlite_store;

/* At a start: how many are stored. */
enum ps_status subscriptions_count(struct sqlite_store *store);

enum ps_status subscription_attach(struct sqlite_store *store, struct store_attach *attach);
enum ps_status subscription_offsets(struct sqlite_store *store, const struct store_offsets *offsets);
enum ps_status subscription_seek(struct sqlite_store *store, struct store_seek *seek);
enum ps_status subscription_forget(struct sqlite_store *store, struct store_forget *forget);
enum ps_status topic_delete(struct sqlite_store *store, struct store_delete_topic *deletion);

/* The names of start rules in the database. */
struct span start_kind_name(enum start_kind kind);
enum start_kind start_kind_of(struct span name);

#endif
