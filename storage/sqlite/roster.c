/* A sorted array rather than one that ids index: a damaged id must not ask for gigabytes. */
#include "roster.h"

#include <stdlib.h>

void roster_deinit(struct roster *roster)
{
    free(roster->items);
    *roster = (struct roster){0};
}

enum ps_status roster_add(struct roster *roster, uint64_t topic_id, struct topic *topic)
{
    if (roster->count == roster->capacity) {
        size_t capacity = roster->capacity * 2 + 1024;
        struct listed_topic *items = realloc(roster->items, capacity * sizeof(*items));

        if (items == NULL)
            return PS_NO_MEMORY;
        roster->items = items;
        roster->capacity = capacity;
    }
    roster->items[roster->count++] = (struct listed_topic){topic, topic_id, 0};
    return PS_OK;
}

struct listed_topic *roster_find(const struct roster *roster, uint64_t topic_id)
{
    size_t low = 0;

    for (size_t high = roster->count; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (roster->items[middle].topic_id < topic_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < roster->count && roster->items[low].topic_id == topic_id ? &roster->items[low] : NULL;
}
