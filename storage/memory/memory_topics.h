/* Topics and their messages, held in memory: every message is one block of its own. Not locked. */
#ifndef PSBROKER_MEMORY_TOPICS_H
#define PSBROKER_MEMORY_TOPICS_H

#include "store.h"

struct kept_message {
    uint64_t seq;
    struct message message; /* spans and headers point into this block */
};

struct memory_topic {
    uint64_t id;
    struct span name; /* ours */
    bool deleted;
    uint64_t created_seq, last_seq;
    uint64_t first_offset, next_offset;
    struct kept_message **messages; /* of offsets [first_offset, next_offset) */
    size_t capacity;
};

struct memory_topics {
    struct memory_topic **by_id;   /* topic id - 1 */
    struct memory_topic **by_name; /* the same, in byte order of the names */
    size_t count, capacity;
    size_t live;  /* not deleted */
    size_t bytes; /* message bytes kept */
};

/* Takes the zero state. */
void memory_topics_deinit(struct memory_topics *topics);

/* Borrowed; NULL when there is none. A deleted topic is found too. */
struct memory_topic *memory_topics_find(const struct memory_topics *topics, struct span name);
struct memory_topic *memory_topics_of_id(const struct memory_topics *topics, uint64_t id);

/* A new topic, empty and marked deleted until its first message comes. Copies the name; the name is not in
 * use. NULL when out of memory. */
struct memory_topic *memory_topics_add(struct memory_topics *topics, struct span name);

/* Copies a message to the end of the topic and writes its offset and PS_OK into the original; `seq` and
 * published_at are the caller's. False when out of memory, and nothing has changed. */
bool memory_topic_append(struct memory_topics *topics, struct memory_topic *topic, struct message *message,
                         uint64_t seq);

/* Drops every message; id, name and next offset stay. */
void memory_topic_delete(struct memory_topics *topics, struct memory_topic *topic);

/* Offset must be kept. */
const struct kept_message *memory_topic_at(const struct memory_topic *topic, uint64_t offset);

/* Offset of the first message whose seq is at least `seq`; next_offset when there is none. */
uint64_t memory_topic_offset_of(const struct memory_topic *topic, uint64_t seq);

/* Less than, equal to or greater than zero, as memcmp(); a prefix comes first. Both present. */
int memory_compare(struct span a, struct span b);

#endif
