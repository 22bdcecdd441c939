/* The setters of the options that only bench takes. Ranges are checked with the plan. */
#include "args.h"

#include <stdio.h>

static bool set(struct args *args, enum bench_option which, const char *option, const char *value)
{
    uint64_t number;

    if (!args_number(value, &number)) {
        snprintf(args->error, sizeof args->error, "%s: \"%s\" is not a number from 0 to %llu", option, value,
                 (unsigned long long)UINT64_MAX);
        return false;
    }
    args->bench.value[which] = number;
    args->bench.given[which] = true;
    return true;
}

#define NUMBER(function, which)                                                                              \
    bool function(struct args *args, const char *option, const char *value)                                  \
    {                                                                                                        \
        return set(args, which, option, value);                                                              \
    }
NUMBER(args_set_messages, BENCH_MESSAGES)
NUMBER(args_set_size, BENCH_SIZE)
NUMBER(args_set_topics, BENCH_TOPICS)
NUMBER(args_set_clients, BENCH_CLIENTS)
NUMBER(args_set_subscribers, BENCH_SUBSCRIBERS)
NUMBER(args_set_window, BENCH_WINDOW)
NUMBER(args_set_rate, BENCH_RATE)
#undef NUMBER

bool args_set_duration(struct args *args, const char *option, const char *value)
{
    uint64_t ms;

    if (!args_duration(value, &ms)) {
        snprintf(args->error, sizeof args->error,
                 "%s: \"%s\" is not a time from 1ms on, such as 500ms, 2.5s, 1m or 1h", option, value);
        return false;
    }
    args->bench.value[BENCH_DURATION] = ms;
    args->bench.given[BENCH_DURATION] = true;
    return true;
}

bool args_set_one_topic(struct args *args, const char *option, const char *value)
{
    (void)option;
    (void)value;
    args->bench.one_topic = true;
    return true;
}
