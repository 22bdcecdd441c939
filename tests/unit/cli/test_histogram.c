/* The histogram against sorted samples: no quantile below the exact one, none 1 % above it. */
#include "histogram.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { SAMPLES = 20000 };

static struct histogram histogram;
static uint64_t samples[SAMPLES];
static uint64_t dice = 88172645463325252U;

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void check_against_sorted(void)
{
    static const double shares[] = {0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};

    histogram = (struct histogram){0};
    for (unsigned i = 0; i < SAMPLES; i++)
        histogram_record(&histogram, samples[i]);
    qsort(samples, SAMPLES, sizeof samples[0], compare);
    for (unsigned i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        unsigned rank = (unsigned)ceil(shares[i] * SAMPLES);
        uint64_t exact = samples[rank == 0 ? 0 : rank - 1];
        uint64_t told = histogram_quantile(&histogram, shares[i]);
        cr_assert(told >= exact, "%f: %lu for %lu", shares[i], told, exact);
        cr_assert((double)(told - exact) <= (double)exact * 0.01, "%f: %lu for %lu", shares[i], told, exact);
    }
    cr_assert_eq(histogram_quantile(&histogram, 1), samples[SAMPLES - 1]);
}

Test(histogram, quantiles_of_uniform_samples)
{
    for (unsigned i = 0; i < SAMPLES; i++)
        samples[i] = roll() % 5000000;
    check_against_sorted();
}

Test(histogram, quantiles_of_samples_over_every_magnitude)
{
    for (unsigned i = 0; i < SAMPLES; i++)
        samples[i] = roll() >> (roll() % 64);
    check_against_sorted();
}

Test(histogram, quantiles_of_few_far_above_many)
{
    for (unsigned i = 0; i < SAMPLES; i++)
        samples[i] = i % 1000 == 7 ? 1000000000 + roll() % 1000 : 200000 + roll() % 50000;
    check_against_sorted();
}

Test(histogram, small_values_are_exact)
{
    for (unsigned value = 0; value < 256; value++)
        cr_assert_eq(histogram_largest(histogram_bucket(value)), value);
}

Test(histogram, buckets_are_adjacent_and_cover_everything)
{
    for (unsigned bucket = 0; bucket + 1 < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t largest = histogram_largest(bucket);
        cr_assert_eq(histogram_bucket(largest), bucket);
        cr_assert_eq(histogram_bucket(largest + 1), bucket + 1);
    }
    cr_assert_eq(histogram_largest(HISTOGRAM_BUCKETS - 1), UINT64_MAX);
    cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

Test(histogram, an_empty_one_gives_zero_and_a_single_value_itself)
{
    histogram = (struct histogram){0};
    cr_assert_eq(histogram_quantile(&histogram, 0.5), 0);
    histogram_record(&histogram, 123456789);
    cr_assert_eq(histogram_quantile(&histogram, 0), 123456789);
    cr_assert_eq(histogram_quantile(&histogram, 0.5), 123456789);
    cr_assert_eq(histogram_quantile(&histogram, 1), 123456789);
}
