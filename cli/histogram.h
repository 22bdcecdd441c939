/* How often which value came, from 0 to UINT64_MAX, in fixed memory and to two significant digits. Pure.
 *
 * Log-linear buckets, as in Gil Tene's HdrHistogram: each power of two is divided into 128 equal parts, so that a
 * value is known to less than 1 %, and values below 256 exactly. */
#ifndef PSCTL_HISTOGRAM_H
#define PSCTL_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_PART_BITS = 7, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_PART_BITS + 1) << HISTOGRAM_PART_BITS };

/* The zero state is valid and empty. */
struct histogram {
    uint64_t count;
    uint64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value, and the largest value of a bucket. */
static inline unsigned histogram_bucket(uint64_t value)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(value | 1);
    unsigned shift = top > HISTOGRAM_PART_BITS ? top - HISTOGRAM_PART_BITS : 0;

    return (shift << HISTOGRAM_PART_BITS) + (unsigned)(value >> shift);
}

uint64_t histogram_largest(unsigned bucket);

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    if (value > histogram->max)
        histogram->max = value;
    histogram->buckets[histogram_bucket(value)]++;
}

/* The smallest value that `share` (0 to 1) of the recorded ones do not exceed: never below the exact one, and less
 * than 1 % above it. 0 when nothing was recorded; 1 gives the exact maximum. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
