/* Counters since the start, for `info`. Loop thread only. */
#ifndef PSBROKER_METRICS_H
#define PSBROKER_METRICS_H

#include <stdint.h>

struct metrics {
    uint64_t commits;       /* commits that something of ours was in */
    uint64_t messages;      /* accepted publications */
    uint64_t delivered;     /* messages handed to sockets */
    uint64_t subscriptions; /* attached now */
};

#endif
