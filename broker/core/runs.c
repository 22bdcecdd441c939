#include "runs.h"

#include <assert.h>
#include <stdlib.h>

void runs_deinit(struct runs *runs)
{
    free(runs->items);
    *runs = (struct runs){0};
}

bool runs_reserve(struct runs *runs, uint32_t more)
{
    if (runs->room - runs->begin - runs->count >= more)
        return true;
    if (runs->begin > runs->room / 2 && runs->room - runs->count >= more) {
        memmove(runs->items, runs->items + runs->begin, runs->count * sizeof *runs->items);
        runs->begin = 0;
        return true;
    }
    uint32_t room = runs->count + more;
    room += room / 2;
    struct store_run *items = malloc(room * sizeof *items);
    if (items == NULL)
        return false;
    if (runs->count > 0)
        memcpy(items, runs->items + runs->begin, runs->count * sizeof *items);
    free(runs->items);
    *runs = (struct runs){.items = items, .count = runs->count, .room = room};
    return true;
}

void runs_append(struct runs *runs, uint64_t first_offset, uint64_t first_seq, uint64_t count)
{
    if (runs->count > 0) {
        struct store_run *last = &runs->items[runs->begin + runs->count - 1];
        if (last->first_offset + last->count == first_offset && last->first_seq + last->count == first_seq) {
            last->count += count;
            return;
        }
    }
    assert(runs->begin + runs->count < runs->room);
    runs->items[runs->begin + runs->count] = (struct store_run){first_offset, first_seq, count};
    runs->count++;
}

void runs_trim(struct runs *runs, uint64_t through_seq)
{
    while (runs->count > 0) {
        struct store_run *first = &runs->items[runs->begin];
        if (first->first_seq > through_seq)
            return;
        uint64_t gone = through_seq - first->first_seq + 1;
        if (gone < first->count) {
            first->first_offset += gone;
            first->first_seq += gone;
            first->count -= gone;
            return;
        }
        runs->begin++;
        runs->count--;
    }
}

uint32_t runs_window(const struct runs *runs, uint64_t from, uint64_t *to, struct store_run *copies,
                     uint32_t room)
{
    const struct store_run *items = runs->items + runs->begin;
    uint32_t low = 0, high = runs->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (items[middle].first_offset + items[middle].count <= from)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t copied = 0;
    for (; low < runs->count && items[low].first_offset < *to; low++) {
        if (copied == room) {
            *to = items[low].first_offset;
            break;
        }
        copies[copied++] = items[low];
    }
    return copied;
}

const struct store_run *runs_at_seq(const struct runs *runs, uint64_t seq)
{
    const struct store_run *items = runs->items + runs->begin;
    uint32_t low = 0, high = runs->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (items[middle].first_seq + items[middle].count <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < runs->count ? &items[low] : NULL;
}
