/* Time as a struct of functions, so that tests can turn it. */
#ifndef PSBROKER_CLOCK_H
#define PSBROKER_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t (*now_ns)(void *ctx); /* monotonic, nanoseconds since any moment */
    void *ctx;
};

static inline uint64_t clock_now_ns(const struct clock *clock)
{
    return clock->now_ns(clock->ctx);
}

#endif
