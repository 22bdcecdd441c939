/* The recent runs of one topic: where its newest messages lie in commit order, until the store's own index
 * covers them. Read requests borrow copies, so that the array may change while one is under way. */
#ifndef PSBROKER_RUNS_H
#define PSBROKER_RUNS_H

#include "prefetch.h"
#include "store.h"

struct runs {
    struct store_run *items;
    uint32_t begin, count, room; /* items[begin .. begin + count) are in use */
};

/* The zero state is empty. */
void runs_deinit(struct runs *runs);

/* Room for `more` further runs. False: out of memory. */
bool runs_reserve(struct runs *runs, uint32_t more);

/* Adds consecutive messages behind all others; merges with the last run where both orders go on. The room must
 * have been reserved. */
void runs_append(struct runs *runs, uint64_t first_offset, uint64_t first_seq, uint64_t count);

/* Begins to fetch what the next append will need. */
static inline void runs_prefetch(const struct runs *runs)
{
    prefetch(runs->items + runs->begin + runs->count, sizeof *runs->items);
}

/* Forgets what lies at or below this seq; reserved room stays. */
void runs_trim(struct runs *runs, uint64_t through_seq);

/* Copies the runs that overlap offsets [from, *to), at most `room` of them. If there are more, *to is lowered to
 * the end of the last one copied. Returns their number. */
uint32_t runs_window(const struct runs *runs, uint64_t from, uint64_t *to, struct store_run *copies,
                     uint32_t room);

/* The first run that holds a message at or behind this seq; NULL when there is none. */
const struct store_run *runs_at_seq(const struct runs *runs, uint64_t seq);

static inline const struct store_run *runs_first(const struct runs *runs)
{
    return runs->count == 0 ? NULL : &runs->items[runs->begin];
}

#endif
