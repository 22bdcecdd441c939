/* The topic table: name → topic, an ordered listing, and each topic's place in the log.
 *
 * A topic object is *listed* while the store has the topic. It exists unlisted before its first message is
 * committed and after it was deleted, as long as somebody holds a reference (a publication under way, a
 * cursor, a read). A listed topic is held by the table. */
#ifndef PSBROKER_TOPICS_H
#define PSBROKER_TOPICS_H

#include "list.h"
#include "map.h"
#include "runs.h"
#include "topic.h"

struct tail_entry;

struct topic_tail {
    struct tail_entry **entries; /* entries[begin .. begin + count), in offset order, without holes */
    uint32_t begin, count, room;
};

struct topic {
    struct map_node by_name;
    struct list with_runs; /* in topics.with_runs while it has recent runs */
    struct list in_burst;  /* in broker.burst while it has committed messages that were not encoded yet */
    struct list fresh;     /* those: publication groups in commit order */
    struct list waiting;   /* cursors that want the next message */
    struct list busy;      /* the other cursors that have not ended */
    uint32_t cursors;      /* in both */
    uint32_t pending;      /* appends under way, each with a reserved run */
    unsigned refs;
    bool listed;
    uint64_t id;
    uint64_t first, head; /* kept offsets are [first, head) */
    uint64_t created_seq, last_seq;
    struct runs runs;
    struct topic_tail tail;
    struct topics *table;
    uint8_t name_size;
    uint8_t name[];
};

struct topics {
    struct map by_name;
    struct list with_runs;
    struct topic **sorted; /* listed topics; in byte order of names once topics_sort() ran */
    uint32_t count, room;
    uint32_t in_order; /* so many from the front are sorted; new ones stand behind */
    uint32_t unlisted;
    uint64_t seed;
};

void topics_init(struct topics *topics, uint64_t seed);
/* Every reference was given back. */
void topics_deinit(struct topics *topics);

static inline struct span topic_name(const struct topic *topic)
{
    return (struct span){topic->name, topic->name_size};
}

/* A topic of this name, listed or not; NULL when there is no such object. Borrowed. */
struct topic *topics_find(const struct topics *topics, struct span name);

/* Begins to fetch what a find of this name will need. */
void topics_prefetch(const struct topics *topics, struct span name);

/* The same, made if need be (then unlisted), with a reference and a place in the listing reserved.
 * NULL when out of memory. */
struct topic *topics_obtain(struct topics *topics, struct span name);

struct topic *topic_ref(struct topic *topic);
void topic_unref(struct topic *topic); /* takes NULL */

/* The store has it now. Cannot fail after topics_obtain(). */
void topic_list(struct topic *topic);
/* The same for one of many at the start; topics_sort() is to follow the last. */
void topic_load(struct topic *topic);
/* The store has it no more. The object may go with this call unless the caller holds a reference. */
void topic_unlist(struct topic *topic);

/* Adds committed messages; one run was reserved by raising `pending` and runs_reserve(). */
void topic_append(struct topic *topic, uint64_t first_offset, uint64_t first_seq, uint64_t count);

/* Drops the recent runs that the store's index covers. */
void topics_trim(struct topics *topics, uint64_t indexed_through);

/* Puts the listing in byte order. Cheap where little is new, as it is after topic_list(). */
void topics_sort(struct topics *topics);

/* Listed topics in byte order that may match the filter: [*begin, *end) of `sorted`. The caller checks each with
 * filter_match(). */
void topics_range(struct topics *topics, struct span filter, uint32_t *begin, uint32_t *end);

/* Position of the first listed topic whose name is behind `name` in byte order. */
uint32_t topics_behind(struct topics *topics, struct span name);

/* How far a search through the listing came; topics may come and go between its steps. */
struct topics_place {
    uint8_t size; /* 0: at the beginning */
    uint8_t name[TOPIC_MAX_BYTES];
};

/* `name` may be of any length. */
void topics_place_set(struct topics_place *place, struct span name);

/* One step: looks at a few hundred topics behind `place`, moves it, and puts up to `room` (not 0) that match into
 * `found`, in byte order, each referenced. Returns their number; *last: nothing behind `place` can match. */
uint32_t topics_search(struct topics *topics, struct span filter, struct topics_place *place,
                       struct topic **found, uint32_t room, bool *last);

int span_compare(struct span a, struct span b);

#endif
