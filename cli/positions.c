/* Topics are found by hash, their few cursors by walking. What comes on a cursor is one range unless the
 * subscription is moved meanwhile, so a few ranges say what was printed. The oldest is forgotten when there are too
 * many: then a message that comes a third time may be printed twice, which is still at least once. */
#include "positions.h"

#include <stdlib.h>

enum { MOST_RANGES = 32 };

struct topic_entry {
    uint64_t hash;
    struct cursor *cursors;
    size_t size;
    char name[];
};

static uint64_t hash_of(struct psc_bytes topic)
{
    const unsigned char *bytes = topic.data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < topic.size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static bool named(const struct topic_entry *entry, struct psc_bytes topic)
{
    return entry->size == topic.size && memcmp(entry->name, topic.data, topic.size) == 0;
}

void positions_deinit(struct positions *positions)
{
    while (positions->cursors != NULL) {
        struct cursor *cursor = positions->cursors;
        positions->cursors = cursor->next;
        free(cursor->printed);
        free(cursor);
    }
    for (size_t i = 0; i < positions->slot_count; i++)
        free(positions->slots[i]);
    free(positions->slots);
    *positions = (struct positions){0};
}

static struct topic_entry **slot_of(struct topic_entry **slots, size_t count, struct psc_bytes topic,
                                    uint64_t hash)
{
    size_t at = hash & (count - 1);

    while (slots[at] != NULL && !(slots[at]->hash == hash && named(slots[at], topic)))
        at = (at + 1) & (count - 1);
    return &slots[at];
}

static void widen(struct positions *positions)
{
    size_t count = positions->slot_count == 0 ? 16 : positions->slot_count * 2;
    struct topic_entry **slots = must_alloc(count * sizeof(struct topic_entry *));

    for (size_t i = 0; i < positions->slot_count; i++) {
        struct topic_entry *entry = positions->slots[i];
        if (entry != NULL)
            *slot_of(slots, count, (struct psc_bytes){entry->name, entry->size}, entry->hash) = entry;
    }
    free(positions->slots);
    positions->slots = slots;
    positions->slot_count = count;
}

static struct topic_entry *entry_of(struct positions *positions, struct psc_bytes topic)
{
    uint64_t hash = hash_of(topic);

    if (positions->topic_count * 2 >= positions->slot_count)
        widen(positions);
    struct topic_entry **slot = slot_of(positions->slots, positions->slot_count, topic, hash);
    if (*slot == NULL) {
        *slot = must_alloc(sizeof **slot + topic.size);
        (*slot)->hash = hash;
        (*slot)->size = topic.size;
        memcpy((*slot)->name, topic.data, topic.size);
        positions->topic_count++;
    }
    return *slot;
}

struct cursor *positions_find(struct positions *positions, unsigned feed, struct psc_bytes topic,
                              uint64_t position)
{
    struct cursor *cursor = positions->last;

    if (cursor != NULL && cursor->feed == feed && named(cursor->topic, topic))
        return cursor;
    struct topic_entry *entry = entry_of(positions, topic);
    for (cursor = entry->cursors; cursor != NULL; cursor = cursor->next_of_topic) {
        if (cursor->feed == feed)
            break;
    }
    if (cursor == NULL) {
        cursor = must_alloc(sizeof *cursor);
        *cursor = (struct cursor){.feed = feed,
                                  .topic = entry,
                                  .next_of_topic = entry->cursors,
                                  .next = positions->cursors,
                                  .position = position};
        entry->cursors = cursor;
        positions->cursors = cursor;
    }
    positions->last = cursor;
    return cursor;
}

struct psc_bytes cursor_topic(const struct cursor *cursor)
{
    return (struct psc_bytes){cursor->topic->name, cursor->topic->size};
}

static void reach(struct positions *positions, struct cursor *cursor, uint64_t position)
{
    if (position > cursor->position)
        cursor->position = position;
    if (cursor->target != 0 && cursor->position >= cursor->target)
        positions_aim(positions, cursor, 0);
}

static bool holds(const struct cursor *cursor, uint64_t offset)
{
    for (unsigned i = cursor->printed_count; i-- != 0;) {
        if (offset >= cursor->printed[i].from && offset < cursor->printed[i].to)
            return true;
    }
    return false;
}

static bool printed_before(const struct topic_entry *entry, uint64_t offset)
{
    for (const struct cursor *cursor = entry->cursors; cursor != NULL; cursor = cursor->next_of_topic) {
        if (!cursor->retired && holds(cursor, offset))
            return true;
    }
    return false;
}

/* Adds [from, to) to the range that ends at `from`, or as a new one. */
static void note(struct cursor *cursor, uint64_t from, uint64_t to)
{
    for (unsigned i = cursor->printed_count; i-- != 0;) {
        if (cursor->printed[i].to == from) {
            cursor->printed[i].to = to;
            return;
        }
    }
    if (cursor->printed_count < MOST_RANGES)
        cursor->printed =
            must_resize(cursor->printed, (cursor->printed_count + 1) * sizeof cursor->printed[0]);
    else
        memmove(cursor->printed, cursor->printed + 1, --cursor->printed_count * sizeof cursor->printed[0]);
    cursor->printed[cursor->printed_count++] = (struct printed){from, to};
}

bool positions_came(struct positions *positions, struct cursor *cursor, uint64_t offset)
{
    bool before = printed_before(cursor->topic, offset);

    if (!holds(cursor, offset))
        note(cursor, offset, offset + 1);
    reach(positions, cursor, offset + 1);
    return before;
}

void positions_skip(struct positions *positions, struct cursor *cursor, uint64_t from, uint64_t to)
{
    if (cursor->printed_count != 0)
        note(cursor, from, to);
    reach(positions, cursor, to);
}

void positions_aim(struct positions *positions, struct cursor *cursor, uint64_t head)
{
    if (head <= cursor->position)
        head = 0;
    positions->targets -= cursor->target != 0;
    positions->targets += head != 0;
    cursor->target = head;
}

void positions_resumed(struct positions *positions, struct cursor *cursor, uint64_t offset)
{
    cursor->named = positions->resumes + 1;
    reach(positions, cursor, offset);
}

void positions_resume_end(struct positions *positions, unsigned feed)
{
    positions->resumes++;
    for (struct cursor *cursor = positions->cursors; cursor != NULL; cursor = cursor->next) {
        if (cursor->feed == feed && cursor->named != positions->resumes)
            positions_aim(positions, cursor, 0);
    }
}

void positions_give_up(struct positions *positions, unsigned feed)
{
    for (struct cursor *at = positions->cursors; at != NULL && positions->targets != 0; at = at->next) {
        if (at->feed == feed)
            positions_aim(positions, at, 0);
    }
}

void positions_retire(struct positions *positions, unsigned feed)
{
    positions_give_up(positions, feed);
    for (struct cursor *cursor = positions->cursors; cursor != NULL; cursor = cursor->next) {
        if (cursor->feed == feed)
            cursor->retired = true;
    }
}
