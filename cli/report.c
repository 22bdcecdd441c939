/* A line is put together first and written whole, so that lines of several programs on one terminal or log do
 * not mix. */
#include "report.h"

#include "escape.h"
#include "json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void (*step_aside)(bool after);

static void write_line(struct text *line)
{
    if (step_aside != NULL)
        step_aside(false);
    text_char(line, '\n');
    fwrite(line->data + line->begin, 1, text_size(line), stderr);
    fflush(stderr);
    if (step_aside != NULL)
        step_aside(true);
}

void report_around(void (*around)(bool after))
{
    step_aside = around;
}

void report(const char *format, ...)
{
    struct text line = {0};
    char buffer[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    text_put(&line, "psctl: ");
    text_put(&line, buffer);
    write_line(&line);
    text_deinit(&line);
}

void report_word(const char *word)
{
    struct text line = {0};

    text_put(&line, word);
    write_line(&line);
    text_deinit(&line);
}

const char *report_quoted(struct psc_bytes bytes)
{
    static char ring[4][512];
    static unsigned next;
    char *buffer = ring[next++ % 4];
    struct text shown = {0};

    escape_add(&shown, bytes);
    snprintf(buffer, sizeof ring[0], "\"%s\"", text_string(&shown));
    text_deinit(&shown);
    return buffer;
}

const char *report_subscription(struct psc_bytes filter, struct psc_bytes id)
{
    static char buffer[1100];

    snprintf(buffer, sizeof buffer, "%s of %s", report_quoted(filter), report_quoted(id));
    return buffer;
}

static void error_json(const struct psc_error *error, enum exit_code code)
{
    struct text line = {0};
    struct json json = json_object(&line);

    json_string(&json, "error", bytes_of(ps_status_name(error->status)));
    json_u64(&json, "status", (uint64_t)error->status);
    json_string(&json, "text", bytes_of(error->text));
    json_bool(&json, "retryable", error->retryable);
    if (error->retry_after_ms != 0)
        json_u64(&json, "retry_after_ms", error->retry_after_ms);
    json_string(&json, "topic", error->topic);
    if (error->has_range) {
        json_u64(&json, "offset_from", error->offset_from);
        json_u64(&json, "offset_to", error->offset_to);
    }
    if (error->limit_name.data != NULL) {
        json_string(&json, "limit", error->limit_name);
        json_u64(&json, "limit_value", error->limit_value);
    }
    json_u64(&json, "exit", code);
    json_end(&json);
    write_line(&line);
    text_deinit(&line);
}

/* Limits, and the option of psbroker that sets each. */
static const struct {
    const char *name, *unit, *option;
} limits[] = {
    {"max_message", "", "max-message"},
    {"max_name_bytes", "", "max-name"},
    {"max_topics", "", "max-topics"},
    {"max_durable", "", "max-durable"},
    {"disk_floor", " bytes", "disk-floor"},
    {"topic_rate", " new topics a second", "topic-rate"},
    {"max_subscriptions", " of one connection", "max-subscriptions"},
    {"cursor_memory", " bytes", "cursor-memory"},
    {"max_connections", "", "max-connections"},
    {"max_per_address", "", "max-per-address"},
    {"max_greeting", "", "max-greeting"},
    {"hello_timeout_ms", "", "hello-timeout"},
    {"frame_timeout_ms", "", "frame-timeout"},
    {"ping_interval_ms", "", "ping-interval"},
};

static void limit(struct text *line, struct psc_bytes name, uint64_t value)
{
    text_put(line, "; ");
    escape_add(line, name);
    text_format(line, " is %" PRIu64, value);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (strlen(limits[i].name) == name.size && memcmp(limits[i].name, name.data, name.size) == 0)
            text_format(line, "%s (psbroker --%s)", limits[i].unit, limits[i].option);
    }
}

static void range(struct text *line, const struct psc_error *error)
{
    if (error->offset_from + 1 == error->offset_to)
        text_format(line, "; offset %" PRIu64, error->offset_from);
    else if (error->offset_from < error->offset_to)
        text_format(line, "; offsets %" PRIu64 " to %" PRIu64, error->offset_from, error->offset_to - 1);
    else
        text_format(line, "; no message is kept, the next offset is %" PRIu64, error->offset_to);
}

int report_error(bool as_json, const char *subject, const struct psc_error *error)
{
    enum exit_code code = exit_of(error->status, error->retryable);
    struct text line = {0};

    text_put(&line, "psctl: ");
    if (subject != NULL)
        text_format(&line, "%s: ", subject);
    else if (error->topic.data != NULL)
        text_format(&line, "%s: ", report_quoted(error->topic));
    escape_add(&line, bytes_of(error->text));
    if (error->has_range)
        range(&line, error);
    if (error->limit_name.data != NULL)
        limit(&line, error->limit_name, error->limit_value);
    if (error->status == PS_RATE_EXCEEDED && error->retry_after_ms != 0)
        text_format(&line, "; try again in %" PRIu32 " ms", error->retry_after_ms);
    text_format(&line, " (%s, %d)", ps_status_name(error->status), (int)code);
    write_line(&line);
    text_deinit(&line);
    if (as_json)
        error_json(error, code);
    return (int)code;
}

int report_status(bool as_json, const char *subject, enum ps_status status)
{
    struct psc_error error = {
        .status = status, .text = ps_status_text(status), .retryable = ps_status_retryable(status)};

    return report_error(as_json, subject, &error);
}
