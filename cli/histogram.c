#include "histogram.h"

#include <math.h>

uint64_t histogram_largest(unsigned bucket)
{
    enum { PART = 1 << HISTOGRAM_PART_BITS };

    if (bucket < 2 * PART)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_PART_BITS) - 1;
    uint64_t first = (uint64_t)(bucket - (shift << HISTOGRAM_PART_BITS)) << shift;

    return first + ((UINT64_C(1) << shift) - 1);
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    double rank = ceil(share * (double)histogram->count);
    uint64_t seen = 0;

    if (histogram->count == 0)
        return 0;
    if (share >= 1)
        return histogram->max;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen != 0 && (double)seen >= rank)
            return histogram_largest(i) < histogram->max ? histogram_largest(i) : histogram->max;
    }
    return histogram->max;
}
