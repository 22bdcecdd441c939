/* Reproducible randomness for tests: the same seed gives the same numbers. PSBROKER_SEED overrides it.
 * Other settings of a run come from the environment too. */
#ifndef PSBROKER_TESTS_DICE_H
#define PSBROKER_TESTS_DICE_H

#include <stdint.h>
#include <stdlib.h>

struct dice {
    uint64_t state;
};

static inline struct dice dice_of(uint64_t seed)
{
    const char *given = getenv("PSBROKER_SEED");
    return (struct dice){(given != NULL ? strtoull(given, NULL, 0) : seed) * 2 + 1};
}

/* A number from the environment. */
static inline uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);
    return given != NULL ? strtoull(given, NULL, 10) : otherwise;
}

/* splitmix64 */
static inline uint64_t dice_u64(struct dice *dice)
{
    uint64_t z = dice->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 … below - 1 */
static inline size_t dice_below(struct dice *dice, size_t below)
{
    return (size_t)(dice_u64(dice) % below);
}

#endif
