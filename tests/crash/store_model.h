/* What a store should hold after random operations of all kinds, and whether it does: topics with every message,
 * subscriptions with their committed offsets. For one run at a time. */
#ifndef PSBROKER_TESTS_STORE_MODEL_H
#define PSBROKER_TESTS_STORE_MODEL_H

#include "caller.h"
#include "dice.h"
#include "tally.h"

enum {
    MODEL_TOPICS = 5,
    MODEL_SUBSCRIPTIONS = 3,
    MODEL_OPS = 4,            /* most of one commit */
    MODEL_MESSAGES = 40,      /* most of one operation */
    MODEL_TOPIC_KEEPS = 20000 /* most that a topic may get */
};

struct model_topic {
    bool live;
    uint64_t first, next;
    uint32_t numbers[MODEL_TOPIC_KEEPS]; /* of which each message was made, by offset */
};
struct model_subscription {
    bool exists;
    uint64_t id, generation;          /* 0: any */
    uint64_t committed[MODEL_TOPICS]; /* 0: nothing to compare */
};
struct model {
    struct model_topic topics[MODEL_TOPICS];
    struct model_subscription subscriptions[MODEL_SUBSCRIPTIONS];
};

struct model_op {
    size_t topic, subscription;
    uint32_t first_number;
    struct message messages[MODEL_MESSAGES];
    struct store_offset offset;
};
/* The operations of one commit and all they borrow. */
struct model_commit {
    struct store_op ops[MODEL_OPS];
    struct model_op details[MODEL_OPS];
    size_t count;
};

/* Random operations on a store that is as the model says. `made` counts the messages ever made. */
void model_plan(const struct model *model, struct caller *caller, struct dice *dice, uint32_t *made,
                struct model_commit *commit);

/* Takes over what carries PS_OK; expects offsets to go on without a gap. */
void model_learn(struct model *model, const struct model_commit *commit);
/* Takes over what carries PS_UNKNOWN, as if it had been committed. */
void model_assume(struct model *model, const struct model_commit *commit);

/* One read of a random part of a topic, where it may fail; expects what it shows to be right. */
enum ps_status model_try_read(const struct model *model, struct caller *caller, struct dice *dice);

/* Whether the store holds this and nothing else, read as the broker reads. */
bool model_agrees(const struct model *model, struct caller *caller);
/* Ids and generations that were any become those of the store. */
void model_adopt(struct model *model, struct caller *caller);
/* Messages that it should hold. */
uint64_t model_count(const struct model *model);
/* SQLite's own check of the file, and that people see as many messages. */
void model_check_file(const struct model *model, const char *directory);

#endif
