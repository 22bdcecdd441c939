/* Every row of `topics` by its id, deleted ones too, while the store recovers. */
#ifndef PSBROKER_ROSTER_H
#define PSBROKER_ROSTER_H

#include "topics.h"

struct listed_topic {
    struct topic *topic;
    uint64_t topic_id;
    uint64_t tail_next; /* behind its last row in the tail; 0: none yet */
};

struct roster {
    struct listed_topic *items; /* by ascending id */
    size_t count, capacity;
};

void roster_deinit(struct roster *roster); /* takes the zero state */

/* Ids must ascend. PS_OK or PS_NO_MEMORY. */
enum ps_status roster_add(struct roster *roster, uint64_t topic_id, struct topic *topic);

/* NULL when there is no such topic. Borrowed until the next roster_add(). */
struct listed_topic *roster_find(const struct roster *roster, uint64_t topic_id);

#endif
