#include "listing.h"

#include <stdlib.h>

void listing_deinit(struct listing *listing)
{
    bytes_deinit(&listing->text);
    free(listing->positions);
    *listing = (struct listing){0};
}

static bool is_at(const struct listing *listing, size_t at, size_t size, struct span bytes)
{
    return size == bytes.size && (size == 0 || memcmp(listing->text.data + at, bytes.data, size) == 0);
}

bool listing_continues(const struct listing *listing, const struct subscription_info *part)
{
    return listing->any && is_at(listing, 0, listing->id_size, part->durable_id) &&
           is_at(listing, listing->id_size, listing->filter_size, part->filter);
}

static enum ps_status add_text(struct listing *listing, struct span text)
{
    enum ps_status status;

    if (text.size > LISTING_MOST_BYTES - listing->text.size)
        return PS_LIMIT_EXCEEDED;
    status = bytes_reserve(&listing->text, text.size);
    if (status != PS_OK || text.size == 0)
        return status;
    memcpy(listing->text.data + listing->text.size, text.data, text.size);
    listing->text.size += text.size;
    return PS_OK;
}

static enum ps_status begin(struct listing *listing, const struct subscription_info *part)
{
    enum ps_status status;

    listing->text.size = 0;
    listing->count = 0;
    listing->id_size = part->durable_id.size;
    listing->filter_size = part->filter.size;
    listing->info = (struct psc_subscription_info){
        .start = start_from_wire(part->start.kind),
        .value = part->start.value,
        .generation = part->generation,
        .attached = part->attached,
    };
    status = add_text(listing, part->durable_id);
    if (status == PS_OK)
        status = add_text(listing, part->filter);
    listing->any = status == PS_OK;
    return status;
}

static enum ps_status add_position(struct listing *listing, const struct topic_position *position)
{
    if (listing->count == listing->room) {
        size_t room = listing->room == 0 ? 16 : listing->room * 2;
        struct psc_position *grown;

        if (room > LISTING_MOST_BYTES / sizeof *grown)
            return PS_LIMIT_EXCEEDED;
        grown = realloc(listing->positions, room * sizeof *grown);
        if (grown == NULL)
            return PS_NO_MEMORY;
        listing->positions = grown;
        listing->room = room;
    }
    listing->positions[listing->count++] = (struct psc_position){
        .topic = {NULL, position->topic.size}, .committed = position->committed, .lag = position->lag};
    return add_text(listing, position->topic);
}

enum ps_status listing_add(struct listing *listing, const struct subscription_info *part)
{
    enum ps_status status = listing_continues(listing, part) ? PS_OK : begin(listing, part);

    for (size_t i = 0; i < part->position_count && status == PS_OK; i++)
        status = add_position(listing, &part->positions[i]);
    return status;
}

const struct psc_subscription_info *listing_info(struct listing *listing)
{
    const uint8_t *at = listing->text.data;

    if (!listing->any)
        return NULL;
    listing->info.durable_id = (struct psc_bytes){at, listing->id_size};
    at += listing->id_size;
    listing->info.filter = (struct psc_bytes){at, listing->filter_size};
    at += listing->filter_size;
    for (size_t i = 0; i < listing->count; i++) {
        listing->positions[i].topic.data = at;
        at += listing->positions[i].topic.size;
    }
    listing->info.positions = listing->positions;
    listing->info.position_count = listing->count;
    return &listing->info;
}
