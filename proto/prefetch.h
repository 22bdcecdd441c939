/* Fetching ahead what will be read soon, where memory is walked in an order that the processor cannot foresee. */
#ifndef PSBROKER_PREFETCH_H
#define PSBROKER_PREFETCH_H

#include <stddef.h>

enum {
    PREFETCH_AHEAD = 8, /* elements of an array: a miss takes about as long as the work on a few of them */
    CACHE_LINE_BYTES = 64
};

/* Any address will do, also one that is not there. */
static inline void prefetch(const void *place, size_t size)
{
    for (size_t at = 0; at < size; at += CACHE_LINE_BYTES)
        __builtin_prefetch((const char *)place + at);
}

#endif
