#include "tail.h"

#include <stdlib.h>

void tail_init(struct tail *tail, uint64_t bytes)
{
    list_init(&tail->order);
    tail->memory = (struct quota){.limit = bytes};
}

/* The oldest entry of a topic goes; entries of a topic are evicted in order because commits are. */
static void drop_first(struct tail *tail, struct topic *topic)
{
    struct topic_tail *own = &topic->tail;
    struct tail_entry *entry = own->entries[own->begin];
    own->begin++;
    own->count--;
    if (own->count == 0) {
        free(own->entries);
        *own = (struct topic_tail){0};
    }
    list_remove(&entry->in_order);
    quota_release(&tail->memory, entry->charge);
    batch_unref(entry->batch);
    free(entry);
}

void tail_clear(struct tail *tail, struct topic *topic)
{
    while (topic->tail.count > 0)
        drop_first(tail, topic);
}

void tail_deinit(struct tail *tail)
{
    while (!list_empty(&tail->order))
        drop_first(tail, LIST_OBJECT(tail->order.next, struct tail_entry, in_order)->topic);
}

static bool reserve(struct topic_tail *own)
{
    if (own->begin + own->count < own->room)
        return true;
    if (own->begin > own->room / 2) {
        memmove(own->entries, own->entries + own->begin, own->count * sizeof(struct tail_entry *));
        own->begin = 0;
        return true;
    }
    uint32_t room = own->room * 2 + 4;
    struct tail_entry **entries = realloc(own->entries, room * sizeof(struct tail_entry *));
    if (entries == NULL)
        return false;
    own->entries = entries;
    own->room = room;
    return true;
}

static void evict(struct tail *tail, const struct tail_entry *newest)
{
    while (tail->memory.used > tail->memory.limit) {
        struct tail_entry *oldest = LIST_OBJECT(tail->order.next, struct tail_entry, in_order);
        if (oldest == newest)
            return;
        drop_first(tail, oldest->topic);
    }
}

bool tail_append(struct tail *tail, struct topic *topic, struct batch *batch)
{
    struct topic_tail *own = &topic->tail;
    uint64_t first = batch->entries[0].offset;
    if (own->count > 0 && own->entries[own->begin + own->count - 1]->end != first)
        tail_clear(tail, topic);
    struct tail_entry *entry = malloc(sizeof *entry);
    if (entry == NULL || !reserve(own)) {
        free(entry);
        batch_unref(batch);
        tail_clear(tail, topic);
        return false;
    }
    *entry = (struct tail_entry){
        .topic = topic,
        .batch = batch,
        .first = first,
        .end = batch->entries[batch->count - 1].offset + 1,
        .charge = batch_memory(batch) + sizeof *entry + 2 * sizeof(struct tail_entry *),
    };
    own->entries[own->begin + own->count] = entry;
    own->count++;
    list_append(&tail->order, &entry->in_order);
    quota_charge(&tail->memory, entry->charge);
    evict(tail, entry);
    return true;
}

const struct tail_entry *tail_find(const struct topic *topic, uint64_t offset)
{
    const struct topic_tail *own = &topic->tail;
    uint32_t low = 0, high = own->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct tail_entry *entry = own->entries[own->begin + middle];
        if (entry->end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == own->count || own->entries[own->begin + low]->first > offset)
        return NULL;
    return own->entries[own->begin + low];
}

uint64_t tail_start(const struct topic *topic)
{
    return topic->tail.count == 0 ? topic->head : topic->tail.entries[topic->tail.begin]->first;
}
