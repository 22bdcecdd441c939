#include "stage.h"

#include "convert.h"

#include <stdalign.h>
#include <stdlib.h>

enum {
    FIRST_MESSAGES = 64,
    FIRST_GROUPS = 8,
    FRAME_BYTES_PER_MESSAGE = 64, /* tags, lengths, and what a message has besides its bytes */
    FRAME_BYTES_PER_HEADER = 16
};

struct stage *stage_new(size_t block_bytes)
{
    struct stage *stage = calloc(1, sizeof *stage);

    if (stage == NULL)
        return NULL;
    stage->block = malloc(block_bytes);
    if (stage->block == NULL) {
        free(stage);
        return NULL;
    }
    stage->room = block_bytes;
    return stage;
}

void stage_free(struct stage *stage)
{
    if (stage == NULL)
        return;
    free(stage->block);
    free(stage->messages);
    free(stage->tickets);
    free(stage->chain);
    free(stage->groups);
    free(stage->slots);
    free(stage);
}

void stage_reset(struct stage *stage)
{
    stage->used = 0;
    stage->count = 0;
    if (stage->group_count > 0)
        memset(stage->slots, 0, 2 * stage->group_capacity * sizeof *stage->slots);
    stage->group_count = 0;
    stage->recent = 0;
}

size_t stage_bytes(struct span topic, const struct psc_message *message)
{
    size_t bytes = topic.size + message->key.size + message->payload.size;

    if (message->header_count > 0)
        bytes += alignof(struct header) + message->header_count * sizeof(struct header);
    for (size_t i = 0; i < message->header_count; i++)
        bytes += message->headers[i].name.size + message->headers[i].value.size;
    return bytes;
}

bool stage_fits(const struct stage *stage, size_t bytes)
{
    return stage->room - stage->used >= bytes;
}

static bool same_bytes(struct span a, struct span b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

bool stage_recent(const struct stage *stage, struct span topic)
{
    return stage->group_count > 0 && same_bytes(stage->groups[stage->recent].topic, topic);
}

size_t stage_frame_bytes(const struct message *message)
{
    return message_bytes(message) + FRAME_BYTES_PER_MESSAGE + message->header_count * FRAME_BYTES_PER_HEADER;
}

/* --------------------------------------------------------------------------------------------- growing */

static bool grow(void **array, size_t count, size_t size)
{
    void *grown = realloc(*array, count * size);

    if (grown == NULL)
        return false;
    *array = grown;
    return true;
}

static enum ps_status reserve_message(struct stage *stage)
{
    uint32_t capacity = stage->capacity == 0 ? FIRST_MESSAGES : stage->capacity * 2;

    if (stage->count < stage->capacity)
        return PS_OK;
    if (!grow((void **)&stage->messages, capacity, sizeof *stage->messages) ||
        !grow((void **)&stage->tickets, capacity, sizeof *stage->tickets) ||
        !grow((void **)&stage->chain, capacity, sizeof *stage->chain))
        return PS_NO_MEMORY;
    stage->capacity = capacity;
    return PS_OK;
}

/* FNV-1a: names are short, and a bad distribution costs only ourselves. */
static uint32_t hash(struct span name)
{
    uint32_t sum = 2166136261U;

    for (size_t i = 0; i < name.size; i++)
        sum = (sum ^ name.data[i]) * 16777619U;
    return sum;
}

/* The slot of a topic, or the free one where it belongs. */
static uint32_t *slot_of(const struct stage *stage, struct span topic)
{
    uint32_t mask = 2 * stage->group_capacity - 1, at = hash(topic) & mask;

    while (stage->slots[at] != 0 && !same_bytes(stage->groups[stage->slots[at] - 1].topic, topic))
        at = (at + 1) & mask;
    return &stage->slots[at];
}

static enum ps_status reserve_group(struct stage *stage)
{
    uint32_t capacity = stage->group_capacity == 0 ? FIRST_GROUPS : stage->group_capacity * 2;
    uint32_t *slots;

    if (stage->group_count < stage->group_capacity)
        return PS_OK;
    slots = calloc(2 * (size_t)capacity, sizeof *slots);
    if (slots == NULL)
        return PS_NO_MEMORY;
    if (!grow((void **)&stage->groups, capacity, sizeof *stage->groups)) {
        free(slots);
        return PS_NO_MEMORY;
    }
    free(stage->slots);
    stage->slots = slots;
    stage->group_capacity = capacity;
    for (uint32_t i = 0; i < stage->group_count; i++)
        *slot_of(stage, stage->groups[i].topic) = i + 1;
    return PS_OK;
}

/* --------------------------------------------------------------------------------------------- putting */

static struct span copy_in(struct stage *stage, struct span from)
{
    struct span copy = {stage->block + stage->used, from.size};

    if (!span_present(from))
        return SPAN_ABSENT;
    if (from.size > 0)
        memcpy(stage->block + stage->used, from.data, from.size);
    stage->used += from.size;
    return copy;
}

static const struct header *copy_headers(struct stage *stage, const struct psc_message *message)
{
    size_t at = (stage->used + alignof(struct header) - 1) & ~(alignof(struct header) - 1);
    struct header *headers = (struct header *)(void *)(stage->block + at);

    if (message->header_count == 0)
        return NULL;
    stage->used = at + message->header_count * sizeof *headers;
    for (size_t i = 0; i < message->header_count; i++) {
        headers[i].name = copy_in(stage, span_from(message->headers[i].name));
        headers[i].value = copy_in(stage, span_from(message->headers[i].value));
    }
    return headers;
}

static enum ps_status find_group(struct stage *stage, struct span topic, uint32_t *group)
{
    enum ps_status status;
    uint32_t *slot;

    if (stage_recent(stage, topic)) {
        *group = stage->recent;
        return PS_OK;
    }
    status = reserve_group(stage);
    if (status != PS_OK)
        return status;
    slot = slot_of(stage, topic);
    if (*slot == 0) {
        stage->groups[stage->group_count] =
            (struct stage_group){.topic = copy_in(stage, topic), .first = STAGE_NONE};
        *slot = ++stage->group_count;
    }
    *group = *slot - 1;
    return PS_OK;
}

static void append_to_group(struct stage *stage, struct stage_group *group, uint32_t index)
{
    stage->chain[index] = STAGE_NONE;
    if (group->first == STAGE_NONE)
        group->first = index;
    else
        stage->chain[group->last] = index;
    group->last = index;
    group->count++;
}

enum ps_status stage_put(struct stage *stage, struct span topic, const struct psc_message *message,
                         const struct ticket *ticket)
{
    enum ps_status status = reserve_message(stage);
    uint32_t index = stage->count, group;
    struct message *copy;

    if (status == PS_OK)
        status = find_group(stage, topic, &group);
    if (status != PS_OK)
        return status;
    stage->recent = group;
    copy = &stage->messages[index];
    *copy = (struct message){.header_count = (uint32_t)message->header_count};
    copy->headers = copy_headers(stage, message);
    copy->key = copy_in(stage, span_from(message->key));
    copy->payload = copy_in(stage, span_from(message->payload));
    if (!span_present(copy->payload))
        copy->payload = (struct span){stage->block, 0};
    stage->tickets[index] = *ticket;
    append_to_group(stage, &stage->groups[group], index);
    stage->count++;
    return PS_OK;
}
