/* The writer's memory of every topic that is not deleted: name → id and ends.
 *
 * What a transaction changes is staged beside what is committed, and promoted or discarded as a whole when
 * the outcome of the commit is known. Writer thread. */
#ifndef PSBROKER_SQLITE_TOPICS_H
#define PSBROKER_SQLITE_TOPICS_H

#include "span.h"
#include "status.h"

struct topic_facts {
    bool exists; /* false: not stored yet, or deleted */
    uint64_t first_offset, next_offset, created_seq, last_seq;
};

struct topic {
    struct topic *next; /* in its bucket */
    uint64_t topic_id;
    uint64_t hash;
    struct topic_facts committed, staged; /* staged counts while touched */
    bool touched;
    bool row_due; /* staged: its row in `topics` must be written */
    void *group;  /* the appender's own */
    size_t name_size;
    uint8_t name[];
};

struct topics {
    struct topic **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    uint64_t next_id, staged_next_id;
    struct topic **touched; /* in this transaction */
    size_t touched_count, touched_room;
};

enum ps_status sqlite_topics_init(struct topics *topics);
void sqlite_topics_deinit(struct topics *topics); /* takes the zero state */

/* NULL when it is not there. */
struct topic *sqlite_topics_find(const struct topics *topics, struct span name);

/* Adds one with the given facts as committed; the name is copied. NULL: no memory. */
struct topic *sqlite_topics_add(struct topics *topics, struct span name, uint64_t topic_id,
                                const struct topic_facts *facts);

/* Begins to fetch what a find of this name will need. */
void sqlite_topics_prefetch(const struct topics *topics, struct span name);

/* Makes room for one more to be staged. PS_OK or PS_NO_MEMORY. */
enum ps_status sqlite_topics_reserve(struct topics *topics);

/* Stages a change: from now on `staged` is what counts. Room was reserved. */
void sqlite_topics_touch(struct topics *topics, struct topic *topic);

void sqlite_topics_promote(struct topics *topics);
void sqlite_topics_discard(struct topics *topics);

/* What counts inside the transaction. */
static inline const struct topic_facts *topic_facts(const struct topic *topic)
{
    return topic->touched ? &topic->staged : &topic->committed;
}

static inline struct span topic_name(const struct topic *topic)
{
    return (struct span){topic->name, topic->name_size};
}

#endif
