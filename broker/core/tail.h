/* The committed, not yet evicted end of the log in memory: encoded batches of the topics that somebody follows,
 * under one budget for all topics, evicted in commit order. */
#ifndef PSBROKER_TAIL_H
#define PSBROKER_TAIL_H

#include "list.h"
#include "message.h"
#include "quota.h"
#include "topics.h"

struct tail_entry {
    struct list in_order; /* of commits, all topics together */
    struct topic *topic;
    struct batch *batch;
    uint64_t first, end; /* offsets [first, end) */
    size_t charge;
};

struct tail {
    struct list order;
    struct quota memory;
};

void tail_init(struct tail *tail, uint64_t bytes);
void tail_deinit(struct tail *tail);

/* Adds a batch behind what the topic's tail holds; where it does not follow on directly, the older part is
 * dropped first. Takes the reference of `batch`, also on failure. Evicts the oldest batches of all topics until
 * the budget holds (the newest one stays). False: out of memory, the topic's tail is empty then. */
bool tail_append(struct tail *tail, struct topic *topic, struct batch *batch);

/* Empties one topic's tail. */
void tail_clear(struct tail *tail, struct topic *topic);

/* The entry that holds this offset; NULL when none does. */
const struct tail_entry *tail_find(const struct topic *topic, uint64_t offset);

/* First offset that the topic's tail holds; the topic's head when it is empty. */
uint64_t tail_start(const struct topic *topic);

#endif
