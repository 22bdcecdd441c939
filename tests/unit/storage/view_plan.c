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

static uint32_t count_of(unsigned topic, uint64_t number)
{
    return topic == PLAN_BULK_TOPIC && number % PLAN_BULK_EVERY == 0 ? PLAN_BULK : PLAN_EACH;
}

uint64_t plan_offset(unsigned topic, uint64_t number)
{
    uint64_t bulks = topic == PLAN_BULK_TOPIC ? (number + PLAN_BULK_EVERY - 1) / PLAN_BULK_EVERY : 0;
    return number * PLAN_EACH + bulks * (PLAN_BULK - PLAN_EACH);
}

bool plan_range(unsigned topic, uint64_t commits, uint64_t *first, uint64_t *next)
{
    if (commits == 0 || (topic == PLAN_GONE_TOPIC && commits > PLAN_GONE_AT))
        return false;
    *first = topic == PLAN_CUT_TOPIC && commits > PLAN_CUT_AT ? plan_offset(topic, PLAN_CUT_AT) : 0;
    *next = plan_offset(topic, commits);
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
    struct message messages[PLAN_TOPICS * PLAN_EACH + PLAN_BULK];
    char names[PLAN_TOPICS][PLAN_TEXT_BYTES], payloads[PLAN_TOPICS * PLAN_EACH + PLAN_BULK][PLAN_TEXT_BYTES];
    char deleted[PLAN_TEXT_BYTES];
    size_t used = 0, count = add_deletion(&ops[0], deleted, number);
    for (unsigned t = 0; t < PLAN_TOPICS; t++) {
        if (t == PLAN_GONE_TOPIC && number >= PLAN_GONE_AT)
            continue;
        plan_topic_name(names[t], t);
        uint32_t each = count_of(t, number);
        for (uint32_t i = 0; i < each; i++) {
            plan_payload(payloads[used + i], t, plan_offset(t, number) + i);
            messages[used + i] = (struct message){.payload = span_of(payloads[used + i])};
        }
        ops[count++] = (struct store_op){
            .kind = STORE_APPEND,
            .append = {.topic = span_of(names[t]), .messages = messages + used, .count = each}};
        used += each;
    }
    for (size_t i = 0; i < count; i++)
        pointers[i] = &ops[i];
    enum ps_status status = store_commit(store, pointers, count, state);
    for (size_t i = 0; i < count && status == PS_OK; i++)
        status = ops[i].status;
    return status;
}
