/* So many a second, a second's worth at once: a bucket that fills by itself, as one point in time. */
#ifndef PSBROKER_RATE_H
#define PSBROKER_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum { RATE_SECOND_NS = 1000 * 1000 * 1000 };

struct rate {
    uint32_t per_second; /* at least 1 */
    uint64_t full_ns;    /* when the bucket is full again; in the past: it is */
};

static inline bool rate_rests(const struct rate *rate, uint64_t now_ns)
{
    return rate->full_ns <= now_ns;
}

/* Takes one; false: there is none yet. */
static inline bool rate_take(struct rate *rate, uint64_t now_ns)
{
    uint64_t full = rate_rests(rate, now_ns) ? now_ns : rate->full_ns;
    full += RATE_SECOND_NS / rate->per_second;
    if (full > now_ns + RATE_SECOND_NS)
        return false;
    rate->full_ns = full;
    return true;
}

#endif
