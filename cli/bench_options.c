/* The setters of the options that only bench takes. Ranges are checked with the plan. */
#include "args.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

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
NUMBER(args_set_topics, BENCH_TOPICS)
NUMBER(args_set_clients, BENCH_CLIENTS)
NUMBER(args_set_subscribers, BENCH_SUBSCRIBERS)
NUMBER(args_set_window, BENCH_WINDOW)
NUMBER(args_set_rate, BENCH_RATE)
#undef NUMBER

/* Digits, and K or M for 1024 of the next smaller. */
static bool bytes(const char *value, uint64_t *number)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"", 1}, {"K", 1024}, {"M", 1024 * 1024}};
    size_t digits = strspn(value, "0123456789");
    char text[24];

    if (digits >= sizeof text)
        return false;
    memcpy(text, value, digits);
    text[digits] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(value + digits, units[i].unit) == 0)
            return args_number(text, number) && !__builtin_mul_overflow(*number, units[i].factor, number);
    }
    return false;
}

bool args_set_size(struct args *args, const char *option, const char *value)
{
    uint64_t size;

    if (!bytes(value, &size)) {
        snprintf(args->error, sizeof args->error,
                 "%s: \"%s\" is not a number of bytes, such as 100, 16K or 1M", option, value);
        return false;
    }
    args->bench.value[BENCH_SIZE] = size;
    args->bench.given[BENCH_SIZE] = true;
    return true;
}

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
