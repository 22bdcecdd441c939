/* The log that clients are told of, as the commits of its store made it, and the names that clients give to what is
 * in it. What a commit must not do aborts with a sentence. */
#ifndef PSBROKER_FUZZ_MODEL_LOG_H
#define PSBROKER_FUZZ_MODEL_LOG_H

#include "protocol.h"
#include "store.h"
#include "topic.h"

enum { TOPICS = 64, DURABLES = 64 };

struct kept {
    struct message message;
    uint8_t *bytes;
    bool claimed; /* by an acknowledgement */
};
struct kept_list {
    struct kept *items;
    size_t count, room;
};

struct model_topic {
    uint8_t name[TOPIC_MAX_BYTES];
    size_t name_size;
    uint64_t id;
    bool is_deleted, was_deleted; /* now; ever */
    struct kept_list log;         /* by offset */
};

/* A durable subscription by its name. */
struct durable {
    uint8_t name[2 * TOPIC_MAX_BYTES + 1];
    size_t name_size;
    uint64_t acked[TOPICS]; /* most that was rightly acknowledged */
    uint64_t done[TOPICS];  /* most that was said to be committed since it was moved or forgotten */
    unsigned moves;
};
struct stored_id {
    uint64_t id;
    size_t durable;
};

/* The zero state is an empty one. */
struct model_log {
    struct model_topic topics[TOPICS];
    size_t topic_count;
    struct durable durables[DURABLES];
    size_t durable_count;
    struct stored_id *ids;
    size_t id_count, id_room;
    int64_t newest; /* published_at */
};

void model_log_deinit(struct model_log *log);

/* A store over that one, which it takes, that tells the log of each commit. */
struct store *model_log_watch(struct model_log *log, struct store *store);

/* The number of a topic, which it gets now if it had none. TOPICS: a name that no topic can have, or one too many. */
size_t model_log_topic(struct model_log *log, struct span name);
/* The same of a durable subscription. DURABLES: no such names. */
size_t model_log_durable(struct model_log *log, struct span id, struct span filter);

/* A copy of the message, at the end. */
void kept_add(struct kept_list *list, const struct message *message);
void kept_forget(struct kept_list *list);

/* What the publisher said is the same. */
bool same_message(const struct message *a, const struct message *b);

/* Room for one more item of `size`. */
void *model_more(void *items, size_t count, size_t *room, size_t size);

#endif
