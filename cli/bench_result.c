#include "bench_result.h"

#include <inttypes.h>

static const struct {
    const char *name, *label;
    double share;
} quantiles[] = {
    {"p50_ms", "p50", 0.5}, {"p99_ms", "p99", 0.99}, {"p999_ms", "p99.9", 0.999}, {"max_ms", "max", 1}};

uint64_t bench_result_counted(const struct bench_result *result)
{
    return result->plan->mode == BENCH_PUB ? result->messages : result->deliveries;
}

double bench_result_msgs_per_s(const struct bench_result *result)
{
    if (result->ns == 0)
        return 0;
    return (double)bench_result_counted(result) / ((double)result->ns / 1e9);
}

double bench_result_mb_per_s(const struct bench_result *result)
{
    return bench_result_msgs_per_s(result) * (double)result->plan->size / 1e6;
}

static double quantile_ms(const struct bench_result *result, double share)
{
    return (double)histogram_quantile(result->latency, share) / 1e6;
}

void bench_result_members(struct json *json, const struct bench_result *result)
{
    const struct bench_plan *plan = result->plan;

    json_string(json, "mode", bytes_of(plan->name));
    json_u64(json, "messages", result->messages);
    if (plan->mode != BENCH_PUB)
        json_u64(json, "deliveries", result->deliveries);
    json_u64(json, "size", plan->size);
    json_u64(json, "topics", plan->topics);
    json_u64(json, "clients", plan->clients);
    json_u64(json, "subscribers", plan->subscribers);
    json_u64(json, "window", plan->window);
    if (plan->rate != 0)
        json_u64(json, "rate", plan->rate);
    json_double(json, "seconds", (double)result->ns / 1e9);
    json_double(json, "msgs_per_s", bench_result_msgs_per_s(result));
    json_double(json, "mb_per_s", bench_result_mb_per_s(result));
    for (size_t i = 0; result->latency->count != 0 && i < sizeof quantiles / sizeof quantiles[0]; i++)
        json_double(json, quantiles[i].name, quantile_ms(result, quantiles[i].share));
    json_u64(json, "refused", result->refused);
    json_u64(json, "unknown", result->unknown);
    json_bool(json, "complete", result->complete);
}

void bench_result_json(struct text *text, const struct bench_result *result)
{
    struct json json = json_object(text);

    bench_result_members(&json, result);
    json_end(&json);
    text_char(text, '\n');
}

static void counted(struct text *text, uint64_t count, const char *one)
{
    text_format(text, ", %" PRIu64 " %s%s", count, one, count == 1 ? "" : "s");
}

void bench_result_text(struct text *text, const struct bench_result *result)
{
    const struct bench_plan *plan = result->plan;

    text_format(text, "%s: %" PRIu64 " messages of %zu bytes", plan->name, result->messages, plan->size);
    counted(text, plan->topics, "topic");
    counted(text, plan->clients, "client");
    if (plan->subscribers != 0)
        counted(text, plan->subscribers, "subscriber");
    text_format(text, ", window %u", plan->window);
    if (plan->rate != 0)
        text_format(text, ", %" PRIu64 " msgs/s asked for", plan->rate);
    text_format(text, "\n%s: %.0f msgs/s, %.3f MB/s, in %.3f s\n",
                plan->mode == BENCH_PUB ? "acknowledged" : "delivered", bench_result_msgs_per_s(result),
                bench_result_mb_per_s(result), (double)result->ns / 1e9);
    if (result->latency->count != 0) {
        text_put(text, plan->mode == BENCH_PUB ? "publish to acknowledgement:" : "publish to delivery:");
        for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
            text_format(text, "%s %s %.3f ms", i == 0 ? "" : ",", quantiles[i].label,
                        quantile_ms(result, quantiles[i].share));
        text_char(text, '\n');
    }
    if (result->refused != 0 || result->unknown != 0)
        text_format(text, "%" PRIu64 " refused, %" PRIu64 " unknown\n", result->refused, result->unknown);
    if (!result->complete)
        text_put(text, "ended before it was complete\n");
}
