/* Durable subscriptions and their committed offsets, held in memory. Not locked. */
#ifndef PSBROKER_MEMORY_SUBSCRIPTIONS_H
#define PSBROKER_MEMORY_SUBSCRIPTIONS_H

#include "store.h"

struct committed_offset {
    uint64_t topic_id, next_offset;
};

struct memory_subscription {
    struct store_subscription stored; /* id and filter are ours */
    struct committed_offset *offsets;
    size_t offset_count, offset_capacity;
};

/* In byte order of (id, filter). */
struct memory_subscriptions {
    struct memory_subscription **items;
    size_t count, capacity;
    uint64_t last_id; /* ids are not used again */
};

/* Takes the zero state. */
void memory_subscriptions_deinit(struct memory_subscriptions *subscriptions);

/* Borrowed; NULL when there is none. */
struct memory_subscription *memory_subscriptions_find(const struct memory_subscriptions *subscriptions,
                                                      struct span id, struct span filter);
struct memory_subscription *memory_subscriptions_of_id(const struct memory_subscriptions *subscriptions,
                                                       uint64_t subscription_id);

/* A new one with generation 0; copies both names, which are not in use. NULL when out of memory. */
struct memory_subscription *memory_subscriptions_add(struct memory_subscriptions *subscriptions,
                                                     struct span id, struct span filter);
void memory_subscriptions_remove(struct memory_subscriptions *subscriptions,
                                 struct memory_subscription *subscription);

/* Borrowed; NULL when nothing was committed in that topic. */
const struct committed_offset *memory_subscription_offset(const struct memory_subscription *subscription,
                                                          uint64_t topic_id);

/* Never moves back: a lower offset is ignored. False when out of memory. */
bool memory_subscription_commit(struct memory_subscription *subscription, uint64_t topic_id,
                                uint64_t next_offset);

#endif
