/* Benchmarks: what options make which plan or are refused, and the arithmetic of the result. */
#include "bench_result.h"
#include "command.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <string.h>

static struct args args;
static struct bench_plan plan;
static char error[256];

static char *nothing(const char *name)
{
    (void)name;
    return NULL;
}

static bool make(const char **words, size_t count)
{
    error[0] = '\0';
    if (args_parse(&args, (int)count, (char **)(uintptr_t)words, nothing) != ARGS_RUN) {
        snprintf(error, sizeof error, "%.200s", args.error);
        return false;
    }
    return bench_plan_make(&plan, args.operands[0], &args.bench, error, sizeof error);
}

#define MAKE(...)                                                                                            \
    make((const char *[]){"psctl", "bench", __VA_ARGS__},                                                    \
         sizeof((const char *[]){"psctl", "bench", __VA_ARGS__}) / sizeof(char *))
#define REFUSED(part, ...)                                                                                   \
    do {                                                                                                     \
        cr_assert_not(MAKE(__VA_ARGS__));                                                                    \
        cr_assert_not_null(strstr(error, part), "\"%s\" does not mention \"%s\"", error, part);              \
    } while (0)

Test(bench, every_mode_has_a_plan_without_options)
{
    cr_assert(MAKE("pub"), "%s", error);
    cr_assert(!plan.live && plan.subscribers == 0 && plan.messages == 1000000 && plan.duration_ms == 10000);
    cr_assert(plan.size == 100 && plan.topics == 1 && plan.clients == 1 && plan.window == 65536);
    cr_assert(MAKE("replay"), "%s", error);
    cr_assert(!plan.live && plan.subscribers == 1 && plan.messages == 1000000 && plan.duration_ms == 0);
    cr_assert(MAKE("fanout"), "%s", error);
    cr_assert(plan.live && plan.subscribers == 10 && plan.messages == 100000);
    cr_assert(MAKE("latency"), "%s", error);
    cr_assert(plan.live && plan.subscribers == 1 && plan.rate == 10000 && plan.messages == 100000);
    cr_assert(MAKE("e2e"), "%s", error);
    cr_assert(plan.live && plan.subscribers == 1 && plan.rate == 0);
}

Test(bench, what_is_given_counts)
{
    cr_assert(MAKE("pub", "--messages", "7", "--size=0", "--topics", "3", "--clients", "4", "--window", "1"));
    cr_assert(plan.messages == 7 && plan.size == 0 && plan.topics == 3 && plan.clients == 4);
    cr_assert(plan.window == 1 && plan.duration_ms == 0);
    cr_assert(MAKE("fanout", "--subscribers", "100", "--duration", "2.5s"));
    cr_assert(plan.subscribers == 100 && plan.duration_ms == 2500 && plan.messages == UINT64_MAX);
    cr_assert(MAKE("replay", "--duration", "1s", "--one-topic"));
    cr_assert(plan.messages == 1000000 && plan.duration_ms == 1000 && plan.one_topic);
}

Test(bench, a_rate_and_a_time_say_how_many_messages_are_due)
{
    cr_assert(MAKE("latency", "--rate", "1000", "--duration", "1500ms"));
    cr_assert(plan.messages == 1500 && plan.duration_ms == 0);
    cr_assert(MAKE("latency", "--rate", "1000", "--duration", "2s", "--messages", "10"));
    cr_assert(plan.messages == 10 && plan.duration_ms == 0);
    cr_assert(MAKE("latency", "--rate", "1", "--duration", "1ms"));
    cr_assert_eq(plan.messages, 1);
    cr_assert(MAKE("pub", "--rate", "10000000", "--duration", "100000h"));
    cr_assert_eq(plan.messages, UINT64_C(3600000000000000));
}

Test(bench, the_window_is_shared_by_many_clients)
{
    cr_assert(MAKE("pub", "--clients", "100"));
    cr_assert_eq(plan.window, 655);
    cr_assert(MAKE("pub", "--clients", "20000"));
    cr_assert_eq(plan.window, 3);
}

Test(bench, what_makes_no_sense_is_refused)
{
    REFUSED("is missing", "-q");
    REFUSED("unknown word \"pubb\"", "pubb");
    REFUSED("too many words", "pub", "e2e");
    REFUSED("--messages: 0 is not from 1", "pub", "--messages", "0");
    REFUSED("not a number", "pub", "--messages", "-1");
    REFUSED("not a number of bytes, such as", "pub", "--size", "1x");
    REFUSED("not a number of bytes", "pub", "--size", "K");
    REFUSED("not a number of bytes", "pub", "--size", "99999999999999999999M");
    REFUSED("--size: 67108865 is not", "pub", "--size", "67108865");
    REFUSED("--topics", "pub", "--topics", "100001");
    REFUSED("--clients", "pub", "--clients", "0");
    REFUSED("--rate", "pub", "--rate", "0");
    REFUSED("not a time", "pub", "--duration", "soon");
    REFUSED("in flight", "pub", "--clients", "17", "--window", "262144");
    REFUSED("does not take --subscribers: it has none", "pub", "--subscribers", "1");
    REFUSED("does not take --subscribers: it has one", "e2e", "--subscribers", "1");
    REFUSED("does not take --rate", "replay", "--rate", "1");
    REFUSED("--one-topic is for bench replay", "pub", "--one-topic");
    REFUSED("16 bytes", "e2e", "--size", "15");
    cr_assert_eq(args_parse(&args, 4, (char *[]){"psctl", "ping", "--rate", "1"}, nothing), ARGS_WRONG);
}

Test(bench, the_arithmetic_of_a_result)
{
    static struct histogram latency;
    struct bench_result result = {
        .plan = &plan, .messages = 3000, .deliveries = 30000, .ns = 1500000000, .latency = &latency};

    cr_assert(MAKE("pub", "--size", "16k") && plan.size == 16384);
    cr_assert(MAKE("pub", "--size", "2M") && plan.size == 2 * 1024 * 1024);
    cr_assert(MAKE("pub", "--size", "1000"));
    cr_assert_float_eq(bench_result_msgs_per_s(&result), 2000, 1e-9);
    cr_assert_float_eq(bench_result_mb_per_s(&result), 2, 1e-9);
    cr_assert(MAKE("fanout", "--size", "1000"));
    cr_assert_float_eq(bench_result_msgs_per_s(&result), 20000, 1e-9);
    result.ns = 0;
    cr_assert_float_eq(bench_result_msgs_per_s(&result), 0, 1e-9);
}

Test(bench, a_result_as_an_object_has_its_units)
{
    static struct histogram latency;
    struct bench_result result = {.plan = &plan,
                                  .messages = 4,
                                  .deliveries = 4,
                                  .ns = 2000000000,
                                  .complete = true,
                                  .latency = &latency};
    struct text text = {0};

    cr_assert(MAKE("e2e"));
    for (uint64_t ms = 1; ms <= 4; ms++)
        histogram_record(&latency, ms * 1000000);
    bench_result_json(&text, &result);
    const char *shown = text_string(&text);
    static const char *const parts[] = {"\"mode\":\"e2e\"",   "\"messages\":4,",   "\"deliveries\":4,",
                                        "\"seconds\":2.000",  "\"window\":65536",  "\"msgs_per_s\":2.000",
                                        "\"mb_per_s\":0.000", "\"max_ms\":4.000",  "\"refused\":0",
                                        "\"unknown\":0",      "\"complete\":true", "\"p50_ms\":2.0",
                                        "\"p999_ms\":4.000"};
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        cr_assert_not_null(strstr(shown, parts[i]), "%s in %s", parts[i], shown);
    text_deinit(&text);
    latency.count = 0;
    bench_result_json(&text, &result);
    cr_assert_null(strstr(text_string(&text), "p50_ms"));
    text_deinit(&text);
    result.complete = false;
    bench_result_text(&text, &result);
    cr_assert_not_null(strstr(text_string(&text), "ended before it was complete"));
    text_deinit(&text);
    ASSERT_NO_LEAKS();
}
