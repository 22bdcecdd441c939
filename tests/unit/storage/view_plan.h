/* A fixed sequence of commits, so that a test knows what the views must show after each of them, whoever
 * made them. Each gives every topic two messages, the bulk topic now and then enough for
 * a run of full length; one topic is deleted for good on the way, another is deleted and goes on. */
#ifndef PSBROKER_TESTS_VIEW_PLAN_H
#define PSBROKER_TESTS_VIEW_PLAN_H

#include "store.h"

enum {
    PLAN_TOPICS = 90, /* more than an epoch calls busy */
    PLAN_EACH = 2,
    PLAN_BULK_TOPIC = 0,
    PLAN_BULK_EVERY = 60,
    PLAN_BULK = 1100,
    PLAN_CUT_TOPIC = 3, /* deleted in the commit PLAN_CUT_AT and published to as before */
    PLAN_CUT_AT = 8,
    PLAN_GONE_TOPIC = 5, /* deleted in the commit PLAN_GONE_AT, nothing after that */
    PLAN_GONE_AT = 14,
    PLAN_TEXT_BYTES = 24,
    /* Of the store: an epoch's index is written in half a dozen slices. */
    PLAN_EPOCH_ROWS = 6000,
    PLAN_SLICE_RUNS = 100,
    PLAN_IDLE_SLICE_RUNS = 250
};

void plan_topic_name(char text[PLAN_TEXT_BYTES], unsigned topic);
void plan_payload(char text[PLAN_TEXT_BYTES], unsigned topic, uint64_t offset);

/* Offset of the first message that commit number `number` gives the topic. */
uint64_t plan_offset(unsigned topic, uint64_t number);

/* Offsets [first, next) of the topic are there after so many commits; false: it is deleted or not made yet. */
bool plan_range(unsigned topic, uint64_t commits, uint64_t *first, uint64_t *next);

/* Makes commit number `number` (from 0). Returns the worst status in it. */
enum ps_status plan_commit(struct store *store, uint64_t number, struct store_state *state);

#endif
