/* The topics that a check has met, by their id, and what it expects of each. Any thread, one at a time. */
#ifndef PSBROKER_SCRUB_TOPICS_H
#define PSBROKER_SCRUB_TOPICS_H

#include "database.h"
#include "store.h"

struct scrub_topic {
    uint64_t topic_id;
    bool is_met;    /* false: a free place */
    bool known;     /* false: there is no such topic */
    uint64_t first; /* as of the last look */
    uint64_t next;  /* expected */
    uint64_t last_seq;
    uint64_t epoch; /* of the run */
    struct store_run run;
    char *name;
    size_t name_size;
};

struct scrub_topics {
    struct scrub_topic *topics; /* by hash */
    size_t count, places;
};

/* PS_OK or PS_NO_MEMORY. */
enum ps_status scrub_topics_init(struct scrub_topics *topics);
void scrub_topics_deinit(struct scrub_topics *topics);

/* NULL: not met. Until another one is met. */
const struct scrub_topic *scrub_topics_find(const struct scrub_topics *topics, uint64_t topic_id);

/* Met now if it was not, and looked up. `found` holds until another one is met. PS_OK, PS_NO_MEMORY, or why the row
 * cannot be read. */
enum ps_status scrub_topics_obtain(struct scrub_topics *topics, struct database *db, uint64_t topic_id,
                                   struct scrub_topic **found);

/* Reads its row: the first offset that is kept, and its name at the first time. Outcomes as above. */
enum ps_status scrub_topic_look_up(struct scrub_topic *topic, struct database *db);

/* Borrowed; absent where there is no such topic. */
struct span scrub_topic_name(const struct scrub_topic *topic);

#endif
