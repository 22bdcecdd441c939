/* What a benchmark found: the arithmetic, and how it is shown. Pure. */
#ifndef PSCTL_BENCH_RESULT_H
#define PSCTL_BENCH_RESULT_H

#include "bench_plan.h"
#include "histogram.h"
#include "json.h"

struct bench_result {
    const struct bench_plan *plan;
    uint64_t messages;   /* acknowledged */
    uint64_t deliveries; /* by all subscribers together */
    uint64_t refused, unknown;
    uint64_t ns; /* measured: publishing (pub), to the last delivery (live modes), reading (replay) */
    bool complete;
    const struct histogram *latency; /* nanoseconds; empty for replay */
};

/* What is counted: acknowledged messages of pub, deliveries of the other modes. */
uint64_t bench_result_counted(const struct bench_result *result);

/* Per second, of what is counted; 0 when no time was measured. A megabyte is 1,000,000 bytes of payload. */
double bench_result_msgs_per_s(const struct bench_result *result);
double bench_result_mb_per_s(const struct bench_result *result);

/* The members of the object that bench_result_json() appends, for who has more to say in it. */
void bench_result_members(struct json *json, const struct bench_result *result);

/* Append one object, or lines for people. */
void bench_result_json(struct text *text, const struct bench_result *result);
void bench_result_text(struct text *text, const struct bench_result *result);

#endif
