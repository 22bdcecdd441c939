/* What a benchmark is to do: the options as they were given, and the plan that follows from them. */
#ifndef PSCTL_BENCH_PLAN_H
#define PSCTL_BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_option {
    BENCH_MESSAGES,
    BENCH_SIZE,
    BENCH_TOPICS,
    BENCH_CLIENTS,
    BENCH_SUBSCRIBERS,
    BENCH_WINDOW,
    BENCH_RATE,
    BENCH_DURATION, /* milliseconds */
    BENCH_OPTIONS
};

struct bench_options {
    uint64_t value[BENCH_OPTIONS];
    bool given[BENCH_OPTIONS];
    bool one_topic;
};

enum bench_mode { BENCH_PUB, BENCH_REPLAY, BENCH_FANOUT, BENCH_LATENCY, BENCH_E2E };

enum {
    BENCH_STAMP_BYTES = 16, /* of a payload that says when it was due */
    BENCH_MOST_TOPICS = 100000,
    BENCH_MOST_WORKERS = 20000,
    BENCH_MOST_IN_FLIGHT = 4 * 1024 * 1024
};

struct bench_plan {
    enum bench_mode mode;
    const char *name;
    bool live; /* subscribers are attached before the first message */
    bool one_topic;
    uint64_t messages;    /* UINT64_MAX: until the time is over */
    uint64_t duration_ms; /* 0: until the messages are through */
    uint64_t rate;        /* messages per second, all clients together; 0: as fast as it goes */
    size_t size;
    unsigned topics, clients, subscribers;
    unsigned window; /* messages in flight per client */
};

/* False: `error`, of `room` bytes, says in one sentence why not. */
bool bench_plan_make(struct bench_plan *plan, const char *mode, const struct bench_options *options,
                     char *error, size_t room);

/* Lets the process open as many connections as the plan needs, as far as the system lets it. */
void bench_plan_raise_descriptors(const struct bench_plan *plan);

#endif
