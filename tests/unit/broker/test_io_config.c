#include "config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { WORDS = 24 };

struct row {
    char *words[WORDS];
    enum config_result result;
    const char *error; /* part of it */
};

static struct row rows[] = {
    {{NULL}, CONFIG_RUN, NULL},
    {{"--data", "/tmp/x", NULL}, CONFIG_RUN, NULL},
    {{"--data=/tmp/x", "--listen", "0", "--listen=unix:s", NULL}, CONFIG_RUN, NULL},
    {{"--tail-memory", "1G", "--publish-window=1MiB", "--disk-floor", "0", NULL}, CONFIG_RUN, NULL},
    {{"--ping-interval", "500ms", "--max-topics", "7", "--log-level", "debug", NULL}, CONFIG_RUN, NULL},
    {{"--help", NULL}, CONFIG_HELP, NULL},
    {{"-h", NULL}, CONFIG_HELP, NULL},
    {{"--version", NULL}, CONFIG_VERSION, NULL},
    {{"--lisen", "0", NULL}, CONFIG_WRONG, "did you mean --listen?"},
    {{"--tail-memry=3", NULL}, CONFIG_WRONG, "did you mean --tail-memory?"},
    {{"--dat", "x", NULL}, CONFIG_WRONG, "unknown option '--dat'; did you mean --data?"},
    {{"--limit-local", "--max-per-address=3", "--topic-rate", "1", NULL}, CONFIG_RUN, NULL},
    {{"--limit-local=yes", NULL}, CONFIG_WRONG, "takes no value"},
    {{"--max-message", "15M", "--hello-frame=1K", "--max-name", "255", NULL}, CONFIG_RUN, NULL},
    {{"--max-message", "16M", NULL}, CONFIG_WRONG, "from 1K to 15M"},
    {{"--hello-frame", "1M", NULL}, CONFIG_WRONG, "from 1K to 64K"},
    {{"--max-name", "256", NULL}, CONFIG_WRONG, "from 1 to 255"},
    {{"--hello-timeout", "0s", NULL}, CONFIG_WRONG, "expected a time"},
    {{"--max-c=3", NULL}, CONFIG_WRONG, "did you mean --max-connections?"},
    {{"--wat", NULL}, CONFIG_WRONG, "see psbroker --help"},
    {{"-hx", NULL}, CONFIG_WRONG, "unknown option"},
    {{"--", NULL}, CONFIG_WRONG, "unknown option"},
    {{"--listen", "1,role=pub", NULL}, CONFIG_WRONG, "goes role=publish or role=subscribe"},
    {{"--frobnicate", NULL}, CONFIG_WRONG, "see psbroker --help"},
    {{"-x", NULL}, CONFIG_WRONG, "unknown option"},
    {{"--data", NULL}, CONFIG_WRONG, "--data needs a value"},
    {{"--help=yes", NULL}, CONFIG_WRONG, "takes no value"},
    {{"--data", "", NULL}, CONFIG_WRONG, "expected a directory"},
    {{"./data", NULL}, CONFIG_WRONG, "unexpected word './data'"},
    {{"verfy", NULL}, CONFIG_WRONG, "unexpected word 'verfy'; did you mean psbroker verify"},
    {{"--listen", "0.0.0.0:1", NULL}, CONFIG_WRONG, "no authentication yet"},
    {{"--tail-memory", "-1", NULL}, CONFIG_WRONG, "expected a size"},
    {{"--tail-memory", "99999999999999999999", NULL}, CONFIG_WRONG, "expected a size"},
    {{"--tail-memory", "12Q", NULL}, CONFIG_WRONG, "expected a size"},
    {{"--tail-memory", "18014398509481984K", NULL}, CONFIG_WRONG, "expected a size"},
    {{"--ping-interval", "30", NULL}, CONFIG_WRONG, "expected a time"},
    {{"--ping-interval", "1ms", NULL}, CONFIG_WRONG, "expected a time"},
    {{"--max-topics", "0", NULL}, CONFIG_WRONG, "expected a number from 1"},
    {{"--log-level", "loud", NULL}, CONFIG_WRONG, "expected error, warning, info or debug"},
};

static enum config_result parse(char **words, struct server_config *config, char *error, size_t size)
{
    char *argv[WORDS + 2] = {"psbroker"};
    int argc = 1;

    for (int i = 0; words[i] != NULL; i++)
        argv[argc++] = words[i];
    error[0] = '\0';
    return config_parse(argc, argv, config, error, size);
}

Test(io_config, every_command_line_runs_or_says_what_is_wrong)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server_config config;
        char error[512];
        enum config_result result = parse(rows[i].words, &config, error, sizeof error);
        cr_assert_eq(result, rows[i].result, "row %zu: %d, %s", i, (int)result, error);
        if (rows[i].error != NULL)
            cr_assert_not_null(strstr(error, rows[i].error), "row %zu says: %s", i, error);
    }
}

Test(io_config, nothing_given_means_the_documented_defaults)
{
    struct server_config config;
    char *words[] = {NULL}, error[512], shown[ADDRESS_TEXT_BYTES];

    cr_assert_eq(parse(words, &config, error, sizeof error), CONFIG_RUN);
    cr_assert_str_eq(config.directory, "./psbroker-data");
    cr_assert_eq(config.listener_count, 1u);
    cr_assert_str_eq(address_format(&config.listeners[0], shown, sizeof shown), "tcp 127.0.0.1:7420");
    cr_assert_eq(config.log_level, LOG_LEVEL_INFO);
    cr_assert_eq(config.limits.total, 10000u);
    cr_assert_eq(config.limits.per_address, 256u);
    cr_assert_eq(config.limits.greeting, 512u);
    cr_assert_eq(config.limits.topic_rate, 100u);
    cr_assert_not(config.limits.local);
    cr_assert_eq(config.broker.max_topics, 100000u);
    cr_assert_eq(config.broker.limits.max_message, 1u << 20);
    cr_assert_eq(config.broker.limits.max_name_bytes, 255u);
    cr_assert_eq(config.broker.hello_frame, 4096u);
    cr_assert_eq(config.broker.hello_timeout_ms, 5000u);
    cr_assert_eq(config.deadlines.assembly_ms, 10000u);
    cr_assert_eq(config.broker.ping_interval_ms, 30000u);
    cr_assert_eq(config.broker.disk_floor, 64u << 20);
}

Test(io_config, values_arrive_where_they_belong)
{
    struct server_config config;
    char *words[] = {
        "--tail-memory=3M",       "--publish-window=128K", "--disk-floor=1G",       "--max-topics=12",
        "--ping-interval=2s",     "--max-connections=9",   "--max-per-address=8",   "--max-greeting=7",
        "--topic-rate=6",         "--limit-local",         "--publish-memory=5M",   "--send-memory=4M",
        "--receive-memory=2M",    "--max-message=3K",      "--hello-frame=2K",      "--max-name=11",
        "--max-subscriptions=10", "--hello-timeout=150ms", "--frame-timeout=250ms", NULL};
    char error[512];

    cr_assert_eq(parse(words, &config, error, sizeof error), CONFIG_RUN, "%s", error);
    cr_assert_eq(config.broker.tail_bytes, 3u << 20);
    cr_assert_eq(config.broker.publish_window, 128u << 10);
    cr_assert_eq(config.broker.disk_floor, 1u << 30);
    cr_assert_eq(config.broker.max_topics, 12u);
    cr_assert_eq(config.broker.ping_interval_ms, 2000u);
    cr_assert_eq(config.limits.total, 9u);
    cr_assert_eq(config.limits.per_address, 8u);
    cr_assert_eq(config.limits.greeting, 7u);
    cr_assert_eq(config.limits.topic_rate, 6u);
    cr_assert(config.limits.local);
    cr_assert_eq(config.broker.publish_total, 5u << 20);
    cr_assert_eq(config.broker.send_total, 4u << 20);
    cr_assert_eq(config.limits.arriving, 2u << 20);
    cr_assert_eq(config.broker.limits.max_message, 3u << 10);
    cr_assert_eq(config.broker.hello_frame, 2u << 10);
    cr_assert_eq(config.broker.limits.max_name_bytes, 11u);
    cr_assert_eq(config.broker.limits.max_subscriptions, 10u);
    cr_assert_eq(config.broker.hello_timeout_ms, 150u);
    cr_assert_eq(config.deadlines.assembly_ms, 250u);
}

Test(io_config, the_help_names_every_option_and_has_examples)
{
    static const char *const parts[] = {"--data DIR",         "--listen ADDR",        "--log-level LEVEL",
                                        "--tail-memory SIZE", "--disk-floor SIZE",    "--publish-window SIZE",
                                        "--max-topics N",     "--ping-interval TIME", "--version",
                                        "Examples:",          "Exit codes:"};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    config_print_help(out);
    fclose(out);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        cr_assert_not_null(strstr(text, parts[i]), "%s is missing", parts[i]);
    free(text);
}
