#include "topic_table.h"

#include <stdlib.h>

enum { FIRST_ROOM = 8 };

void topic_table_deinit(struct topic_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->places[i]);
    free(table->places);
    free(table->slots);
    *table = (struct topic_table){0};
}

/* FNV-1a, 64 bits. */
static uint64_t hash(struct span name)
{
    uint64_t sum = 14695981039346656037U;

    for (size_t i = 0; i < name.size; i++)
        sum = (sum ^ name.data[i]) * 1099511628211U;
    return sum;
}

static bool is_named(const struct topic_place *place, struct span name)
{
    return place->name_size == name.size && memcmp(place->name, name.data, name.size) == 0;
}

static size_t *slot_of(const struct topic_table *table, struct span name)
{
    size_t mask = table->slot_count - 1, at = (size_t)hash(name) & mask;

    while (table->slots[at] != 0 && !is_named(table->places[table->slots[at] - 1], name))
        at = (at + 1) & mask;
    return &table->slots[at];
}

static enum ps_status grow(struct topic_table *table)
{
    size_t room = table->room == 0 ? FIRST_ROOM : table->room * 2;
    struct topic_place **places;
    size_t *slots;

    if (table->count < table->room)
        return PS_OK;
    slots = calloc(room * 2, sizeof *slots);
    if (slots == NULL)
        return PS_NO_MEMORY;
    places = realloc(table->places, room * sizeof(struct topic_place *));
    if (places == NULL) {
        free(slots);
        return PS_NO_MEMORY;
    }
    free(table->slots);
    table->places = places;
    table->room = room;
    table->slots = slots;
    table->slot_count = room * 2;
    for (size_t i = 0; i < table->count; i++)
        *slot_of(table, topic_place_name(places[i])) = i + 1;
    return PS_OK;
}

struct topic_place *topic_table_find(struct topic_table *table, struct span name)
{
    size_t slot;

    if (table->recent != NULL && is_named(table->recent, name))
        return table->recent;
    if (table->count == 0)
        return NULL;
    slot = *slot_of(table, name);
    if (slot == 0)
        return NULL;
    table->recent = table->places[slot - 1];
    return table->recent;
}

enum ps_status topic_table_get(struct topic_table *table, struct span name, struct topic_place **place)
{
    struct topic_place *found = topic_table_find(table, name);
    enum ps_status status;

    if (found == NULL) {
        status = grow(table);
        if (status != PS_OK)
            return status;
        found = calloc(1, sizeof *found + name.size);
        if (found == NULL)
            return PS_NO_MEMORY;
        found->name_size = name.size;
        memcpy(found->name, name.data, name.size);
        table->places[table->count] = found;
        *slot_of(table, name) = ++table->count;
        table->recent = found;
    }
    *place = found;
    return PS_OK;
}
