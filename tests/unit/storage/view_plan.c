#include "view_plan.h"

#include <stdio.h>

void plan_topic_name(char text[PLAN_TEXT_BYTES], unsigned topic)
{
    snprintf(text, PLAN_TEXT_BYTES, "t/%u", topic);
}

void plan_payload(char text[PLAN_TEXT_BYTES], unsigned topic, uint64_t offset)
{
    snprintf(text, PLAN_TEXT_BYTES, "%u:%llu", topic, (unsigned long long)offset);
}

bool plan_range(unsigned topic, uint64_t commits, uint64_t *first, uint64_t *next)
{
    if (commits == 0 || (topic == PLAN_GONE_TOPIC && commits > PLAN_GONE_AT))
        return false;
    *first = topic == PLAN_CUT_TOPIC && commits > PLAN_CUT_AT ? PLAN_CUT_AT * PLAN_EACH : 0;
    *next = commits * PLAN_EACH;
    return true;
}

/* The deletion comes before the appends of its commit. */
static size_t add_deletion(struct store_op *op, char text[PLAN_TEXT_BYTES], uint64_t number)
{
    if (number != PLAN_CUT_AT && number != PLAN_GONE_AT)
        return 0;
    plan_topic_name(text, number == PLAN_CUT_AT ? PLAN_CUT_TOPIC : PLAN_GONE_TOPIC);
    *op = (struct store_op){.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of(text)}};
    return 1;
}

enum ps_status plan_commit(struct store *store, uint64_t number, struct store_state *state)
{
    struct store_op ops[PLAN_TOPICS + 1], *pointers[PLAN_TOPICS + 1];
    struct message messages[PLAN_TOPICS][PLAN_EACH];
    char names[PLAN_TOPICS][PLAN_TEXT_BYTES], payloads[PLAN_TOPICS][PLAN_EACH][PLAN_TEXT_BYTES];
    char deleted[PLAN_TEXT_BYTES];
    size_t count = add_deletion(&ops[0], deleted, number);
    for (unsigned t = 0; t < PLAN_TOPICS; t++) {
        if (t == PLAN_GONE_TOPIC && number >= PLAN_GONE_AT)
            continue;
        plan_topic_name(names[t], t);
        for (unsigned i = 0; i < PLAN_EACH; i++) {
            plan_payload(payloads[t][i], t, number * PLAN_EACH + i);
            messages[t][i] = (struct message){.payload = span_of(payloads[t][i])};
        }
        ops[count++] = (struct store_op){
            .kind = STORE_APPEND,
            .append = {.topic = span_of(names[t]), .messages = messages[t], .count = PLAN_EACH}};
    }
    for (size_t i = 0; i < count; i++)
        pointers[i] = &ops[i];
    enum ps_status status = store_commit(store, pointers, count, state);
    for (size_t i = 0; i < count && status == PS_OK; i++)
        status = ops[i].status;
    return status;
}
