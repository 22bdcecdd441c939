#include "config.h"

#include "defaults.h"
#include "frame.h"
#include "nearest.h"
#include "topic.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

struct scan {
    struct server_config *config;
    char *error;
    size_t error_size;
};

/* Sets a member from its text. False: `error` is written. */
typedef bool apply_fn(struct scan *scan, const char *value);

struct option_row {
    const char *name;
    const char *argument; /* NULL: none */
    const char *standard; /* shown in the help; NULL: none */
    apply_fn *apply;      /* NULL: asks for the help or the version; without an argument its value is NULL */
    const char *help;
};

static bool wrong(struct scan *scan, const char *option, const char *value, const char *expected)
{
    snprintf(scan->error, scan->error_size, "--%s %s: %s", option, value, expected);
    return false;
}

/* -------------------------------------------------------------------------------------------- values */

/* Digits with an optional unit; false for anything else, signs and overflow included. */
static bool parse_scaled(const char *text, const char *const *units, const uint64_t *factors,
                         uint64_t *result)
{
    char *rest;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    uint64_t value = strtoull(text, &rest, 10);
    if (errno != 0)
        return false;
    for (size_t i = 0; units[i] != NULL; i++) {
        if (strcasecmp(rest, units[i]) == 0)
            return !__builtin_mul_overflow(value, factors[i], result);
    }
    return false;
}

static bool parse_size(const char *text, uint64_t *bytes)
{
    static const char *const units[] = {"", "B", "K", "KiB", "M", "MiB", "G", "GiB", NULL};
    static const uint64_t factors[] = {1, 1, 1024, 1024, 1 << 20, 1 << 20, 1 << 30, 1 << 30};

    return parse_scaled(text, units, factors, bytes);
}

static bool parse_milliseconds(const char *text, uint64_t *milliseconds)
{
    static const char *const units[] = {"s", "ms", "m", NULL};
    static const uint64_t factors[] = {1000, 1, 60000};

    return parse_scaled(text, units, factors, milliseconds);
}

static bool parse_count(const char *text, uint64_t *count)
{
    static const char *const units[] = {"", NULL};
    static const uint64_t factors[] = {1};

    return parse_scaled(text, units, factors, count);
}

static bool size_between(struct scan *scan, const char *option, const char *value, uint64_t low,
                         uint64_t high, uint64_t *result)
{
    char expected[120];
    uint64_t bytes;

    if (parse_size(value, &bytes) && bytes >= low && bytes <= high) {
        *result = bytes;
        return true;
    }
    snprintf(expected, sizeof expected, "expected a size from %lluK to %lluG such as 64M",
             (unsigned long long)(low >> 10), (unsigned long long)(high >> 30));
    return wrong(scan, option, value, expected);
}

static bool count_between(struct scan *scan, const char *option, const char *value, uint64_t low,
                          uint64_t high, uint64_t *result)
{
    char expected[120];
    uint64_t count;

    if (parse_count(value, &count) && count >= low && count <= high) {
        *result = count;
        return true;
    }
    snprintf(expected, sizeof expected, "expected a number from %llu to %llu", (unsigned long long)low,
             (unsigned long long)high);
    return wrong(scan, option, value, expected);
}

static bool u32_between(struct scan *scan, const char *option, const char *value, uint64_t low, uint64_t high,
                        uint32_t *result)
{
    uint64_t count;

    if (!count_between(scan, option, value, low, high, &count))
        return false;
    *result = (uint32_t)count;
    return true;
}

static bool time_between(struct scan *scan, const char *option, const char *value, uint32_t *result)
{
    uint64_t milliseconds;

    if (!parse_milliseconds(value, &milliseconds) || milliseconds < 100 || milliseconds > 3600 * 1000)
        return wrong(scan, option, value, "expected a time from 100ms to 60m such as 30s");
    *result = (uint32_t)milliseconds;
    return true;
}

/* -------------------------------------------------------------------------------------------- options */

static bool apply_data(struct scan *scan, const char *value)
{
    if (*value == '\0')
        return wrong(scan, "data", "''", "expected a directory");
    scan->config->directory = value;
    return true;
}

static bool apply_listen(struct scan *scan, const char *value)
{
    if (scan->config->listener_count == SERVER_LISTENERS_MAX)
        return wrong(scan, "listen", value, "too many listeners");
    struct address *address = &scan->config->listeners[scan->config->listener_count];
    if (address_parse(value, address, scan->error, scan->error_size) != PS_OK)
        return false;
    scan->config->listener_count++;
    return true;
}

static bool apply_log_level(struct scan *scan, const char *value)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"error", LOG_LEVEL_ERROR},
                  {"warning", LOG_LEVEL_WARNING},
                  {"info", LOG_LEVEL_INFO},
                  {"debug", LOG_LEVEL_DEBUG}};

    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(value, levels[i].name) == 0) {
            scan->config->log_level = levels[i].level;
            return true;
        }
    }
    return wrong(scan, "log-level", value, "expected error, warning, info or debug");
}

static bool apply_tail_memory(struct scan *scan, const char *value)
{
    return size_between(scan, "tail-memory", value, 1 << 20, 64ull << 30, &scan->config->broker.tail_bytes);
}

static bool apply_cursor_memory(struct scan *scan, const char *value)
{
    return size_between(scan, "cursor-memory", value, 1 << 20, 64ull << 30,
                        &scan->config->broker.cursor_bytes);
}

static bool apply_publish_window(struct scan *scan, const char *value)
{
    return size_between(scan, "publish-window", value, 64 << 10, 1ull << 30,
                        &scan->config->broker.publish_window);
}

static bool apply_disk_floor(struct scan *scan, const char *value)
{
    return size_between(scan, "disk-floor", value, 0, 1ull << 40, &scan->config->broker.disk_floor);
}

static bool apply_publish_memory(struct scan *scan, const char *value)
{
    return size_between(scan, "publish-memory", value, 1 << 20, 64ull << 30,
                        &scan->config->broker.publish_total);
}

static bool apply_receive_memory(struct scan *scan, const char *value)
{
    return size_between(scan, "receive-memory", value, 1 << 20, 64ull << 30, &scan->config->limits.arriving);
}

static bool apply_send_memory(struct scan *scan, const char *value)
{
    return size_between(scan, "send-memory", value, 1 << 20, 64ull << 30, &scan->config->broker.send_total);
}

static bool apply_max_message(struct scan *scan, const char *value)
{
    uint64_t bytes;

    if (!parse_size(value, &bytes) || bytes < 1024 || bytes > 15 * 1024 * 1024)
        return wrong(scan, "max-message", value, "expected a size from 1K to 15M");
    scan->config->broker.limits.max_message = (uint32_t)bytes;
    return true;
}

static bool apply_hello_frame(struct scan *scan, const char *value)
{
    uint64_t bytes;

    if (!parse_size(value, &bytes) || bytes < 1024 || bytes > 64 * 1024)
        return wrong(scan, "hello-frame", value, "expected a size from 1K to 64K");
    scan->config->broker.hello_frame = (uint32_t)bytes;
    return true;
}

static bool apply_max_name(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-name", value, 1, TOPIC_MAX_BYTES,
                       &scan->config->broker.limits.max_name_bytes);
}

static bool apply_max_topics(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-topics", value, 1, 10 * 1000 * 1000, &scan->config->broker.max_topics);
}

static bool apply_max_durable(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-durable", value, 1, 1000 * 1000 * 1000, &scan->config->broker.max_durable);
}

static bool apply_topic_rate(struct scan *scan, const char *value)
{
    return u32_between(scan, "topic-rate", value, 1, 1000 * 1000, &scan->config->limits.topic_rate);
}

static bool apply_max_subscriptions(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-subscriptions", value, 1, 1000 * 1000,
                       &scan->config->broker.limits.max_subscriptions);
}

static bool apply_max_connections(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-connections", value, 1, 1000 * 1000, &scan->config->limits.total);
}

static bool apply_max_per_address(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-per-address", value, 1, 1000 * 1000, &scan->config->limits.per_address);
}

static bool apply_max_greeting(struct scan *scan, const char *value)
{
    return u32_between(scan, "max-greeting", value, 1, 1000 * 1000, &scan->config->limits.greeting);
}

static bool apply_limit_local(struct scan *scan, const char *value)
{
    (void)value;
    scan->config->limits.local = true;
    return true;
}

static bool apply_hello_timeout(struct scan *scan, const char *value)
{
    return time_between(scan, "hello-timeout", value, &scan->config->broker.hello_timeout_ms);
}

static bool apply_frame_timeout(struct scan *scan, const char *value)
{
    return time_between(scan, "frame-timeout", value, &scan->config->deadlines.assembly_ms);
}

static bool apply_ping_interval(struct scan *scan, const char *value)
{
    return time_between(scan, "ping-interval", value, &scan->config->broker.ping_interval_ms);
}

static bool apply_accept_changes(struct scan *scan, const char *value)
{
    (void)value;
    scan->config->accept_changes = true;
    return true;
}

static bool apply_accept_loss(struct scan *scan, const char *value)
{
    (void)value;
    scan->config->accept_loss = true;
    return true;
}

static const char default_listener[] = "127.0.0.1:7420";

static const struct option_row options[] = {
    {"data", "DIR", "./psbroker-data", apply_data, "directory of the log; made if it is not there"},
    {"listen", "ADDR", default_listener, apply_listen,
     "HOST:PORT, PORT, [::1]:PORT or unix:PATH, then optionally ,role=publish or\n"
     "                          ,role=subscribe; may be repeated; port 0 takes a free one"},
    {"log-level", "LEVEL", "info", apply_log_level, "error, warning, info or debug, on stderr"},
    {"tail-memory", "SIZE", DEFAULT_TEXT(DEFAULT_TAIL_MIB) "M", apply_tail_memory,
     "the newest messages kept in memory for live subscribers"},
    {"cursor-memory", "SIZE", DEFAULT_TEXT(DEFAULT_CURSOR_MIB) "M", apply_cursor_memory,
     "memory of all subscriptions (about 600 bytes each, 100 more for each level of its filter that\n"
     "                          no other has) and of their places in topics (about 300 bytes each)"},
    {"publish-window", "SIZE", DEFAULT_TEXT(DEFAULT_PUBLISH_WINDOW_MIB) "M", apply_publish_window,
     "unanswered publications of one connection"},
    {"publish-memory", "SIZE", DEFAULT_TEXT(DEFAULT_PUBLISH_MIB) "M", apply_publish_memory,
     "unanswered publications of all connections"},
    {"receive-memory", "SIZE", DEFAULT_TEXT(DEFAULT_RECEIVE_MIB) "M", apply_receive_memory,
     "frames above 128 KiB that are arriving, of all connections"},
    {"send-memory", "SIZE", DEFAULT_TEXT(DEFAULT_SEND_MIB) "M", apply_send_memory,
     "queued for the sockets of all connections; beyond it each gets 16 KiB at a time"},
    {"disk-floor", "SIZE", "64M", apply_disk_floor, "with less free space publications are refused"},
    {"max-message", "SIZE", "1M", apply_max_message,
     "payload, key and headers of one message; a frame may be 64 KiB larger"},
    {"hello-frame", "SIZE", "4K", apply_hello_frame, "a client's first frame"},
    {"max-name", "N", "255", apply_max_name, "bytes of a new topic's name, a filter or an id"},
    {"max-topics", "N", DEFAULT_TEXT(DEFAULT_MAX_TOPICS), apply_max_topics, "topics that may exist"},
    {"topic-rate", "N", DEFAULT_TEXT(DEFAULT_TOPIC_RATE), apply_topic_rate,
     "topics that one address may make in a second; see --limit-local"},
    {"max-subscriptions", "N", DEFAULT_TEXT(DEFAULT_MAX_SUBSCRIPTIONS), apply_max_subscriptions,
     "subscriptions of one connection"},
    {"max-durable", "N", DEFAULT_TEXT(DEFAULT_MAX_DURABLE), apply_max_durable,
     "durable subscriptions that may be stored"},
    {"max-connections", "N", DEFAULT_TEXT(DEFAULT_MAX_CONNECTIONS), apply_max_connections,
     "connections at a time, or fewer where file descriptors are short"},
    {"max-per-address", "N", DEFAULT_TEXT(DEFAULT_MAX_PER_ADDRESS), apply_max_per_address,
     "connections of one address at a time; see --limit-local"},
    {"max-greeting", "N", DEFAULT_TEXT(DEFAULT_MAX_GREETING), apply_max_greeting,
     "connections that have not said Hello; the oldest makes way"},
    {"limit-local", NULL, NULL, apply_limit_local,
     "the limits per address also count for loopback (as behind a proxy)\n"
     "                          and for Unix sockets, which are one address"},
    {"hello-timeout", "TIME", DEFAULT_TEXT(DEFAULT_HELLO_TIMEOUT_S) "s", apply_hello_timeout,
     "for the Hello of a new connection to come"},
    {"frame-timeout", "TIME", DEFAULT_TEXT(DEFAULT_FRAME_TIMEOUT_S) "s", apply_frame_timeout,
     "for a frame, or each 256 KiB of it, to come"},
    {"ping-interval", "TIME", DEFAULT_TEXT(DEFAULT_PING_INTERVAL_S) "s", apply_ping_interval,
     "a peer silent for two of these is given up"},
    {"accept-changes", NULL, NULL, apply_accept_changes,
     "start with a database that another program changed: for once, after you did so"},
    {"accept-loss", NULL, NULL, apply_accept_loss,
     "start although acknowledged messages are missing: for once, after the start\n"
     "                          refused and named them; clients are told that the log is another"},
    {"help", NULL, NULL, NULL, "print this and exit"},
    {"version", NULL, NULL, NULL, "print the version and exit"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

void config_print_help(FILE *out)
{
    fputs("psbroker keeps every message that is published and gives it to whoever subscribes.\n\n"
          "Usage: psbroker [OPTION]...\n"
          "       psbroker verify FILE|DIR    checks a log or a backup that no broker has open:\n"
          "                                   0 sound, 9 with a list of what is not\n\nOptions:\n",
          out);
    for (int i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &options[i];
        char left[40];
        snprintf(left, sizeof left, "--%s %s", row->name, row->argument != NULL ? row->argument : "");
        fprintf(out, "  %-23s %s", left, row->help);
        if (row->standard != NULL)
            fprintf(out, " (default: %s)", row->standard);
        fputc('\n', out);
    }
    fputs("\nExamples:\n"
          "  psbroker --data ./data\n"
          "  psbroker --data ./data --listen 7420 --listen unix:/run/user/1000/psbroker.sock\n"
          "  psbroker --listen 7421,role=publish --listen 7422,role=subscribe\n"
          "\nSIGTERM and SIGINT drain and stop, a second one stops at once.\n"
          "Exit codes: 0 ok, 1 other, 2 usage, 3 directory in use, 4 foreign or newer database,\n"
          "5 damaged, 6 storage failed while running, 7 another program wrote to the database.\n",
          out);
}

/* ------------------------------------------------------------------------------------------- scanning */

static const char *nearest_option(const char *name)
{
    struct nearest nearest = nearest_to(name);

    for (int i = 0; i < OPTIONS; i++)
        nearest_offer(&nearest, options[i].name);
    return nearest.name;
}

static enum config_result complain_unknown(struct scan *scan, const char *word)
{
    char name[32];
    const char *begin = word + strspn(word, "-");
    snprintf(name, sizeof name, "%.*s", (int)strcspn(begin, "="), begin);
    const char *hint = nearest_option(name);

    if (hint != NULL)
        snprintf(scan->error, scan->error_size, "unknown option '%s'; did you mean --%s?", word, hint);
    else
        snprintf(scan->error, scan->error_size, "unknown option '%s'; see psbroker --help", word);
    return CONFIG_WRONG;
}

static enum config_result complain_word(struct scan *scan, const char *word)
{
    struct nearest command = nearest_to(word);

    nearest_offer(&command, "verify");
    if (command.name != NULL)
        snprintf(scan->error, scan->error_size,
                 "unexpected word '%s'; did you mean psbroker verify FILE|DIR?", word);
    else
        snprintf(scan->error, scan->error_size, "unexpected word '%s'; a directory is given with --data",
                 word);
    return CONFIG_WRONG;
}

/* What the help says is what counts. */
static void set_defaults(struct scan *scan)
{
    *scan->config = (struct server_config){.log_fd = 2, .broker = {.server_version = PSBROKER_VERSION}};
    for (int i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &options[i];
        bool sound = row->standard == NULL || row->apply == apply_listen || row->apply(scan, row->standard);
        assert(sound);
    }
}

/* The row whose whole name the word behind -- has; an abbreviation is none. NULL: no such option. */
static const struct option_row *find_option(const char *word)
{
    size_t length = strcspn(word, "=");

    for (int i = 0; i < OPTIONS; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
            return &options[i];
    }
    return NULL;
}

/* One option, the word at *next; moves it behind the option's value. */
static enum config_result scan_option(struct scan *scan, int argc, char **argv, int *next)
{
    const char *word = argv[(*next)++];
    const char *equals = strchr(word, '=');
    const struct option_row *row = strncmp(word, "--", 2) == 0 ? find_option(word + 2) : NULL;

    if (strcmp(word, "-h") == 0)
        return CONFIG_HELP;
    if (row == NULL)
        return complain_unknown(scan, word);
    if (row->argument == NULL && equals != NULL) {
        snprintf(scan->error, scan->error_size, "--%s takes no value", row->name);
        return CONFIG_WRONG;
    }
    if (row->argument == NULL && row->apply != NULL)
        return row->apply(scan, NULL) ? CONFIG_RUN : CONFIG_WRONG;
    if (row->argument == NULL)
        return strcmp(row->name, "help") == 0 ? CONFIG_HELP : CONFIG_VERSION;
    if (equals == NULL && *next == argc) {
        snprintf(scan->error, scan->error_size, "%s needs a value; see psbroker --help", word);
        return CONFIG_WRONG;
    }
    const char *value = equals != NULL ? equals + 1 : argv[(*next)++];
    return row->apply(scan, value) ? CONFIG_RUN : CONFIG_WRONG;
}

enum config_result config_parse(int argc, char **argv, struct server_config *config, char *error,
                                size_t error_size)
{
    struct scan scan = {.config = config, .error = error, .error_size = error_size};
    enum config_result result = CONFIG_RUN;
    int next = 1;

    set_defaults(&scan);
    while (result == CONFIG_RUN && next < argc) {
        if (argv[next][0] != '-')
            return complain_word(&scan, argv[next]);
        result = scan_option(&scan, argc, argv, &next);
    }
    if (result == CONFIG_RUN && config->listener_count == 0 && !apply_listen(&scan, default_listener))
        return CONFIG_WRONG;
    return result;
}
