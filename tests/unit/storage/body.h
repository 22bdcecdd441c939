/* The store bodies that the conformance suite runs over, and where each keeps its files. */
#ifndef PSBROKER_TESTS_BODY_H
#define PSBROKER_TESTS_BODY_H

#include "store.h"

struct body {
    const char *name;
    /* Opens what is in `directory`. */
    enum ps_status (*open)(const char *directory, const struct store_limits *limits, struct store **store,
                           struct store_opened *opened);
    uint64_t epoch; /* messages after which the index catches up */
    bool persistent;
};

extern const struct body memory_body;
extern const struct body sqlite_body;
enum { SQLITE_SMALL_CHECKPOINT = 256 * 1024 /* bytes of WAL from which on */ };
/* The same with small epochs, slices, checkpoints and sweeps: their seams are everywhere. */
extern const struct body sqlite_small_body;

#endif
