/* A budget in bytes: what is charged must be given back, and a full one says so. Never refuses by itself: what
 * arrived is charged, and the owner stops taking more. */
#ifndef PSBROKER_QUOTA_H
#define PSBROKER_QUOTA_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct quota {
    uint64_t used, limit;
};

static inline void quota_charge(struct quota *quota, uint64_t bytes)
{
    quota->used += bytes;
}

static inline void quota_release(struct quota *quota, uint64_t bytes)
{
    assert(bytes <= quota->used);
    quota->used -= bytes;
}

static inline bool quota_full(const struct quota *quota)
{
    return quota->used >= quota->limit;
}

#endif
