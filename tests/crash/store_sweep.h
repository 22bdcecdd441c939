/* One scenario of a store's life in which the Nth operation of some kind fails, for every N: opening, migrating,
 * appending, checkpointing, filling the index, changing subscriptions, reading, closing, recovering. The store
 * answers with a named refusal or says that it does not know; when all is well again it opens and holds what was
 * acknowledged, or that and the whole commit whose outcome was unknown.
 *
 * The scenario is the same for each N, so the first N that is not reached ends a sweep. SWEEP_STRIDE=1 tries every N,
 * by default one in some, from a random one on; a failure names N, for SWEEP_ONLY=N. PSBROKER_SEED makes another
 * scenario. */
#ifndef PSBROKER_TESTS_STORE_SWEEP_H
#define PSBROKER_TESTS_STORE_SWEEP_H

#include "body.h"

struct sweep {
    const char *name;
    const struct body *body;
    uint64_t stride; /* by default */
    /* Lets operation number n from now on fail, and with `once` no other. */
    void (*arm)(uint64_t n, bool once);
    /* No more failures; whether there was one. */
    bool (*disarm)(void);
};

/* In a new directory and in one that an earlier life left behind. */
void sweep_run(const struct sweep *sweep, bool once);

#endif
