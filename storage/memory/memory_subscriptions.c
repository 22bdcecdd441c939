#include "memory_subscriptions.h"

#include "memory_topics.h"

#include <stdlib.h>

static void subscription_free(struct memory_subscription *subscription)
{
    free((void *)subscription->stored.id.data);
    free((void *)subscription->stored.filter.data);
    free(subscription->offsets);
    free(subscription);
}

void memory_subscriptions_deinit(struct memory_subscriptions *subscriptions)
{
    for (size_t i = 0; i < subscriptions->count; i++)
        subscription_free(subscriptions->items[i]);
    free(subscriptions->items);
    *subscriptions = (struct memory_subscriptions){0};
}

/* Place of the first subscription that is not below (id, filter). */
static size_t place_of(const struct memory_subscriptions *subscriptions, struct span id, struct span filter)
{
    size_t low = 0, high = subscriptions->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct store_subscription *stored = &subscriptions->items[middle]->stored;
        int order = memory_compare(stored->id, id);
        if (order == 0)
            order = memory_compare(stored->filter, filter);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct memory_subscription *memory_subscriptions_find(const struct memory_subscriptions *subscriptions,
                                                      struct span id, struct span filter)
{
    size_t place = place_of(subscriptions, id, filter);
    if (place == subscriptions->count)
        return NULL;
    struct memory_subscription *found = subscriptions->items[place];
    return span_equal(found->stored.id, id) && span_equal(found->stored.filter, filter) ? found : NULL;
}

struct memory_subscription *memory_subscriptions_of_id(const struct memory_subscriptions *subscriptions,
                                                       uint64_t subscription_id)
{
    for (size_t i = 0; i < subscriptions->count; i++) {
        if (subscriptions->items[i]->stored.subscription_id == subscription_id)
            return subscriptions->items[i];
    }
    return NULL;
}

static bool grow(struct memory_subscriptions *subscriptions)
{
    if (subscriptions->count < subscriptions->capacity)
        return true;
    size_t capacity = subscriptions->capacity == 0 ? 16 : subscriptions->capacity * 2;
    struct memory_subscription **items = realloc(subscriptions->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    subscriptions->items = items;
    subscriptions->capacity = capacity;
    return true;
}

static bool copy_name(struct span *to, struct span from)
{
    uint8_t *copy = malloc(from.size + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, from.data, from.size);
    *to = (struct span){copy, from.size};
    return true;
}

struct memory_subscription *memory_subscriptions_add(struct memory_subscriptions *subscriptions,
                                                     struct span id, struct span filter)
{
    struct memory_subscription *added = calloc(1, sizeof *added);
    if (added == NULL)
        return NULL;
    if (!copy_name(&added->stored.id, id) || !copy_name(&added->stored.filter, filter) ||
        !grow(subscriptions)) {
        subscription_free(added);
        return NULL;
    }
    added->stored.subscription_id = ++subscriptions->last_id;
    size_t place = place_of(subscriptions, id, filter);
    memmove(&subscriptions->items[place + 1], &subscriptions->items[place],
            (subscriptions->count - place) * sizeof subscriptions->items[0]);
    subscriptions->items[place] = added;
    subscriptions->count++;
    return added;
}

void memory_subscriptions_remove(struct memory_subscriptions *subscriptions,
                                 struct memory_subscription *subscription)
{
    size_t place = place_of(subscriptions, subscription->stored.id, subscription->stored.filter);
    subscriptions->count--;
    memmove(&subscriptions->items[place], &subscriptions->items[place + 1],
            (subscriptions->count - place) * sizeof subscriptions->items[0]);
    subscription_free(subscription);
}

const struct committed_offset *memory_subscription_offset(const struct memory_subscription *subscription,
                                                          uint64_t topic_id)
{
    for (size_t i = 0; i < subscription->offset_count; i++) {
        if (subscription->offsets[i].topic_id == topic_id)
            return &subscription->offsets[i];
    }
    return NULL;
}

static bool add_offset(struct memory_subscription *subscription, struct committed_offset offset)
{
    if (subscription->offset_count == subscription->offset_capacity) {
        size_t capacity = subscription->offset_capacity == 0 ? 8 : subscription->offset_capacity * 2;
        struct committed_offset *offsets = realloc(subscription->offsets, capacity * sizeof *offsets);
        if (offsets == NULL)
            return false;
        subscription->offsets = offsets;
        subscription->offset_capacity = capacity;
    }
    subscription->offsets[subscription->offset_count++] = offset;
    return true;
}

bool memory_subscription_commit(struct memory_subscription *subscription, uint64_t topic_id,
                                uint64_t next_offset)
{
    for (size_t i = 0; i < subscription->offset_count; i++) {
        struct committed_offset *offset = &subscription->offsets[i];
        if (offset->topic_id != topic_id)
            continue;
        if (offset->next_offset < next_offset)
            offset->next_offset = next_offset;
        return true;
    }
    return add_offset(subscription, (struct committed_offset){topic_id, next_offset});
}
