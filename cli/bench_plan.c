#include "bench_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { IN_FLIGHT = 65536, DEFAULT_SECONDS = 10, DEFAULT_SIZE = 100 };
enum { MILLION = 1000000, SPARE_DESCRIPTORS = 64 };
#define TERA UINT64_C(1000000000000)

static const struct {
    const char *name;
    uint64_t subscribers; /* 0: takes none */
    uint64_t rate;
    uint64_t messages; /* when neither --messages nor --duration is given */
    bool live, timed;  /* timed: ends after DEFAULT_SECONDS when nothing else was said */
} modes[] = {
    [BENCH_PUB] = {"pub", 0, 0, MILLION, false, true},
    [BENCH_REPLAY] = {"replay", 1, 0, MILLION, false, false},
    [BENCH_FANOUT] = {"fanout", 10, 0, MILLION / 10, true, true},
    [BENCH_LATENCY] = {"latency", 1, 10000, UINT64_MAX, true, true},
    [BENCH_E2E] = {"e2e", 1, 0, MILLION, true, true},
};

static const struct {
    const char *name;
    uint64_t least, most;
} ranges[BENCH_OPTIONS] = {
    [BENCH_MESSAGES] = {"messages", 1, TERA},
    [BENCH_SIZE] = {"size", 0, 64 * 1024 * 1024},
    [BENCH_TOPICS] = {"topics", 1, BENCH_MOST_TOPICS},
    [BENCH_CLIENTS] = {"clients", 1, BENCH_MOST_WORKERS},
    [BENCH_SUBSCRIBERS] = {"subscribers", 1, BENCH_MOST_WORKERS},
    [BENCH_WINDOW] = {"window", 1, 262144},
    [BENCH_RATE] = {"rate", 1, 10 * MILLION},
    [BENCH_DURATION] = {"duration", 1, TERA},
};

struct complaint {
    char *text;
    size_t room;
};

static bool wrong(const struct complaint *complaint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool wrong(const struct complaint *complaint, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(complaint->text, complaint->room, format, arguments);
    va_end(arguments);
    return false;
}

static bool find_mode(const char *word, enum bench_mode *mode)
{
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, word) == 0) {
            *mode = (enum bench_mode)i;
            return true;
        }
    }
    return false;
}

static bool in_range(const struct bench_options *options, const struct complaint *complaint)
{
    for (unsigned i = 0; i < BENCH_OPTIONS; i++) {
        uint64_t value = options->value[i];
        if (options->given[i] && (value < ranges[i].least || value > ranges[i].most))
            return wrong(complaint, "--%s: %llu is not from %llu to %llu", ranges[i].name,
                         (unsigned long long)value, (unsigned long long)ranges[i].least,
                         (unsigned long long)ranges[i].most);
    }
    return true;
}

static uint64_t given_or(const struct bench_options *options, enum bench_option option, uint64_t otherwise)
{
    return options->given[option] ? options->value[option] : otherwise;
}

/* With a rate the time says how many messages are due: all of them are sent and measured, however late. */
static void limit(struct bench_plan *plan, const struct bench_options *options)
{
    bool said = options->given[BENCH_MESSAGES] || options->given[BENCH_DURATION];
    uint64_t messages = said ? UINT64_MAX : modes[plan->mode].messages;
    uint64_t otherwise_ms = !said && modes[plan->mode].timed ? DEFAULT_SECONDS * 1000 : 0;

    if (plan->mode == BENCH_REPLAY)
        messages = modes[plan->mode].messages;
    plan->messages = given_or(options, BENCH_MESSAGES, messages);
    plan->duration_ms = given_or(options, BENCH_DURATION, otherwise_ms);
    if (plan->rate == 0 || plan->duration_ms == 0)
        return;
    double due = (double)plan->rate * (double)plan->duration_ms / 1000;
    if (due < (double)plan->messages)
        plan->messages = due < 1 ? 1 : (uint64_t)due;
    plan->duration_ms = 0;
}

static bool combine(const struct bench_plan *plan, const struct bench_options *options,
                    const struct complaint *complaint)
{
    if (options->given[BENCH_SUBSCRIBERS] && (plan->mode == BENCH_PUB || plan->mode == BENCH_E2E))
        return wrong(complaint, "bench %s does not take --subscribers: it has %s", plan->name,
                     plan->mode == BENCH_PUB ? "none" : "one");
    if (options->given[BENCH_RATE] && plan->mode == BENCH_REPLAY)
        return wrong(complaint, "bench replay does not take --rate: it reads as fast as it goes");
    if (options->one_topic && plan->mode != BENCH_REPLAY)
        return wrong(complaint, "--one-topic is for bench replay");
    if (plan->live && plan->size < BENCH_STAMP_BYTES)
        return wrong(complaint, "--size %zu: bench %s needs at least %d bytes, for the time in the payload",
                     plan->size, plan->name, BENCH_STAMP_BYTES);
    if ((uint64_t)plan->window * plan->clients > BENCH_MOST_IN_FLIGHT)
        return wrong(complaint, "--window times --clients: at most %d messages in flight",
                     BENCH_MOST_IN_FLIGHT);
    return true;
}

bool bench_plan_make(struct bench_plan *plan, const char *mode, const struct bench_options *options,
                     char *error, size_t room)
{
    struct complaint complaint = {error, room};
    struct bench_plan made = {.one_topic = options->one_topic};

    if (!find_mode(mode, &made.mode))
        return wrong(&complaint, "bench: unknown word \"%s\": pub, replay, fanout, latency or e2e", mode);
    if (!in_range(options, &complaint))
        return false;
    made.name = modes[made.mode].name;
    made.live = modes[made.mode].live;
    made.rate = given_or(options, BENCH_RATE, modes[made.mode].rate);
    made.size = given_or(options, BENCH_SIZE, DEFAULT_SIZE);
    made.topics = (unsigned)given_or(options, BENCH_TOPICS, 1);
    made.clients = (unsigned)given_or(options, BENCH_CLIENTS, 1);
    made.subscribers = (unsigned)given_or(options, BENCH_SUBSCRIBERS, modes[made.mode].subscribers);
    unsigned share = made.clients < IN_FLIGHT ? IN_FLIGHT / made.clients : 1;
    made.window = (unsigned)given_or(options, BENCH_WINDOW, share);
    if (!combine(&made, options, &complaint))
        return false;
    limit(&made, options);
    *plan = made;
    return true;
}

void bench_plan_raise_descriptors(const struct bench_plan *plan)
{
    struct rlimit limit;
    rlim_t wanted = plan->clients + plan->subscribers + SPARE_DESCRIPTORS;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}
