/* Where subscriptions start: from memory where the loop knows enough, else by reads of the store in chunks. */
#ifndef PSBROKER_RESOLVE_H
#define PSBROKER_RESOLVE_H

#include "log_io.h"
#include "topics.h"

enum { RESOLVE_CHUNK = 128 };

struct broker;

struct resolve {
    struct log_read read;
    struct broker *broker;
    void *owner;                           /* NULL: gone, the result is dropped */
    void (*done)(struct resolve *resolve); /* owner is not NULL; the resolve is freed when it returns */
    void *subjects[RESOLVE_CHUNK];         /* the owner's, one per position */
    struct topic *topics[RESOLVE_CHUNK];   /* referenced */
    struct store_position positions[RESOLVE_CHUNK];
    struct store_run runs[RESOLVE_CHUNK];
};

/* Whether the start in a topic is known without asking the store (committed offsets aside); if so, *offset.
 * `mark` is that of the rule. */
bool start_known(const struct start_rule *rule, uint64_t mark, const struct topic *topic, uint64_t *offset);

/* Empty, to be filled with resolve_add() and submitted, which frees it. NULL: out of memory. */
struct resolve *resolve_new(struct broker *broker, uint64_t subscription_id, const struct start_rule *rule,
                            uint64_t mark);
/* Adds one topic; false: the chunk is full. */
bool resolve_add(struct resolve *resolve, struct topic *topic, void *subject);
void resolve_submit(struct resolve *resolve);

#endif
