/* The command line: what is understood, what is refused and in which words, and that help follows the table. */
#include "command.h"
#include "help.h"
#include "leaks.h"
#include "nearest.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char *environment[8][2];

static char *variable(const char *name)
{
    for (unsigned i = 0; environment[i][0] != NULL; i++) {
        if (strcmp(environment[i][0], name) == 0)
            return (char *)(uintptr_t)environment[i][1];
    }
    return NULL;
}

static struct args args;

#define PARSE(...)                                                                                           \
    parse((const char *[]){"psctl", __VA_ARGS__},                                                            \
          sizeof((const char *[]){"psctl", __VA_ARGS__}) / sizeof(char *))

static enum args_result parse(const char **words, size_t count)
{
    return args_parse(&args, (int)count, (char **)(uintptr_t)words, variable);
}

#define REFUSED(part, ...)                                                                                   \
    do {                                                                                                     \
        cr_assert_eq(PARSE(__VA_ARGS__), ARGS_WRONG);                                                        \
        cr_assert_not_null(strstr(args.error, part), "\"%s\" does not mention \"%s\"", args.error, part);    \
    } while (0)

Test(args, words_and_options_in_any_order)
{
    cr_assert_eq(PARSE("-p", "7421", "sub", "a", "--count=3", "-i", "s1", "b/#", "-vo", "json"), ARGS_RUN);
    cr_assert_eq(args.command->id, COMMAND_SUB);
    cr_assert_eq(args.operand_count, 2);
    cr_assert_str_eq(args.operands[0], "a");
    cr_assert_str_eq(args.operands[1], "b/#");
    cr_assert_eq(args.port, 7421);
    cr_assert_eq(args.count, 3);
    cr_assert_str_eq(args.id, "s1");
    cr_assert(args.verbose && args.json && args.has_count);
}

Test(args, letters_take_values_joined_or_apart)
{
    cr_assert_eq(PARSE("-h127.0.0.2", "-p7421", "ping"), ARGS_RUN);
    cr_assert_str_eq(args.host, "127.0.0.2");
    cr_assert_eq(args.port, 7421);
}

Test(args, a_dash_is_a_word_and_two_end_the_options)
{
    cr_assert_eq(PARSE("pub", "t", "-"), ARGS_RUN);
    cr_assert_str_eq(args.operands[1], "-");
    cr_assert_eq(PARSE("pub", "t", "--", "-x"), ARGS_RUN);
    cr_assert_str_eq(args.operands[1], "-x");
    REFUSED("--", "pub", "t", "-x");
}

Test(args, h_alone_is_help_and_with_a_host_is_not)
{
    cr_assert_eq(PARSE("-h"), ARGS_HELP);
    cr_assert_null(args.command);
    cr_assert_eq(PARSE("sub", "-h"), ARGS_HELP);
    cr_assert_eq(args.command->id, COMMAND_SUB);
    cr_assert_eq(PARSE("sub", "-h", "--last", "3"), ARGS_HELP);
    cr_assert_eq(PARSE("sub", "t", "-h", "localhost"), ARGS_RUN);
    cr_assert_eq(PARSE("subs", "seek", "--help"), ARGS_HELP);
    cr_assert_eq(args.command->id, COMMAND_SUBS_SEEK);
}

Test(args, what_is_mistyped_is_told_the_nearest_name)
{
    REFUSED("did you mean sub?", "subb", "t");
    REFUSED("did you mean topics?", "topic");
    REFUSED("did you mean --from-offset?", "sub", "t", "--from-ofset", "0");
    REFUSED("did you mean seek?", "subs", "sek", "t");
    REFUSED("did you mean pub?", "pbu", "t", "x");
    REFUSED("did you mean --from-beginning?", "sub", "t", "--from-beg");
    REFUSED("did you mean --exit-at-end?", "sub", "t", "--exit");
    REFUSED("unknown command", "completelydifferent");
    REFUSED("unknown option", "sub", "--qqqqqqqqqqqqqqqqqqqq");
}

Test(args, nothing_is_suggested_that_is_far_or_removes_anything)
{
    static const char *const words[] = {"list", "unsu", "delete", "events"};

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        cr_assert_eq(PARSE(words[i]), ARGS_WRONG);
        cr_assert_null(strstr(args.error, "did you mean"), "%s", args.error);
    }
    REFUSED("usage: psctl topics [list [FILTER]]", "topics", "events");
    REFUSED("usage: psctl topics [list [FILTER]]", "topics", "delet");
    cr_assert_eq(PARSE("topics", "delete", "t", "--ye"), ARGS_WRONG);
    cr_assert_null(strstr(args.error, "--yes?"), "%s", args.error);
    cr_assert_eq(PARSE("sub", "t", "--form"), ARGS_WRONG);
    cr_assert_null(strstr(args.error, "did you mean"), "%s", args.error);
}

Test(args, an_option_of_another_command_is_refused)
{
    REFUSED("pub does not take --no-reconnect", "pub", "t", "x", "--no-reconnect");
    REFUSED("pub does not take --count", "pub", "t", "x", "--count", "3");
    REFUSED("sub does not take --lines", "sub", "t", "--lines");
}

Test(args, the_number_of_words_is_checked)
{
    REFUSED("a command is missing", "-q");
    REFUSED("quote", "pub", "t", "hello", "world");
    REFUSED("OFFSET is missing: usage: psctl get TOPIC OFFSET", "get", "t");
    REFUSED("FILTER is missing: usage: psctl subs seek FILTER -i ID", "subs", "seek");
    REFUSED("too many words", "ping", "x");
}

Test(args, values_are_checked)
{
    REFUSED("not a port", "-p", "65536", "ping");
    REFUSED("not a port", "-p", "0", "ping");
    REFUSED("not a number", "sub", "t", "--from-offset", "-1");
    REFUSED("18446744073709551616 is too large", "sub", "t", "--from-offset", "18446744073709551616");
    REFUSED("not a number", "sub", "t", "--last", "");
    REFUSED("not a number from 1 on", "sub", "t", "--count", "0");
    REFUSED("not a number from 1 on", "sub", "t", "--count", "two");
    REFUSED("from 1ms on", "ping", "--connect-timeout", "0s");
    REFUSED("\"a\" is given twice", "pub", "t", "x", "-H", "a=1", "-H", "a=2");
    REFUSED("a Unix socket is written unix:./s.sock", "ping", "-s", "./s.sock");
    REFUSED("neither raw nor json", "sub", "t", "-o", "xml");
    REFUSED("not a time", "sub", "t", "--idle-timeout", "soon");
    REFUSED("not NAME=VALUE", "pub", "t", "x", "-H", "name");
    REFUSED("needs a value", "sub", "t", "--count");
    REFUSED("takes no value", "sub", "t", "--exit-at-end=yes");
    REFUSED("cannot be combined", "sub", "t", "--last", "1", "--from-beginning");
    REFUSED("cannot be combined", "get", "t", "0", "-N", "-0");
    REFUSED("is for -o raw", "get", "t", "0", "-N", "-o", "json");
    REFUSED("only one of", "subs", "seek", "t", "--to-end", "--to-offset", "1");
    cr_assert_eq(PARSE("sub", "t", "--from-offset", "18446744073709551615"), ARGS_RUN);
    cr_assert_eq(args.start_value, UINT64_MAX);
}

Test(args, durations)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"2", 2000},  {"2.5", 2500}, {".5", 500},    {"500ms", 500},
                {"5s", 5000}, {"1m", 60000}, {"1h", 3600000}};
    static const char *bad[] = {"", "s", "1x", "-1", "1.2.3", ".", "0", "1 s", "99999999999999999999999999h"};
    uint64_t ms;

    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(args_duration(good[i].text, &ms) && ms == good[i].ms, "%s", good[i].text);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(args_duration(bad[i], &ms), "%s", bad[i]);
}

Test(args, headers_keep_everything_behind_the_first_equals_sign)
{
    cr_assert_eq(PARSE("pub", "t", "x", "-H", "a=b=c", "--header", "empty="), ARGS_RUN);
    cr_assert_eq(args.header_count, 2);
    cr_assert_eq(args.headers[0].name.size, 1);
    cr_assert_eq(args.headers[0].value.size, 3);
    cr_assert_eq(args.headers[1].value.size, 0);
    cr_assert_not_null(args.headers[1].value.data);
}

Test(args, servers)
{
    cr_assert_eq(PARSE("-s", "unix:/run/b.sock", "ping"), ARGS_RUN);
    cr_assert_str_eq(args.unix_path, "/run/b.sock");
    cr_assert_eq(PARSE("-s", "localhost:7421", "ping"), ARGS_RUN);
    cr_assert_str_eq(args.host, "localhost");
    cr_assert_eq(args.port, 7421);
    cr_assert_eq(PARSE("-s", "[::1]:7421", "ping"), ARGS_RUN);
    cr_assert_str_eq(args.host, "::1");
    REFUSED("path", "-s", "unix:", "ping");
    REFUSED("not a port", "-s", "localhost:x", "ping");
    REFUSED("combined", "-s", "unix:/x", "-p", "1", "ping");
}

Test(args, the_command_line_goes_before_the_environment)
{
    environment[0][0] = "PSCTL_SERVER";
    environment[0][1] = "unix:/run/b.sock";
    environment[1][0] = "PSCTL_OUTPUT";
    environment[1][1] = "json";
    cr_assert_eq(PARSE("ping"), ARGS_RUN);
    cr_assert_str_eq(args.unix_path, "/run/b.sock");
    cr_assert(args.json);
    cr_assert_eq(PARSE("ping", "-p", "7421", "-o", "raw"), ARGS_RUN);
    cr_assert_null(args.unix_path);
    cr_assert_not(args.json);
    environment[0][0] = "PSCTL_PORT";
    environment[0][1] = "nonsense";
    REFUSED("PSCTL_PORT", "ping");
}

static bool lists(const char *help, const struct option *option)
{
    char name[64];

    if (option->letter != 0)
        snprintf(name, sizeof name, "\n  -%c, --%s ", option->letter, option->name);
    else
        snprintf(name, sizeof name, "\n      --%s ", option->name);
    return strstr(help, name) != NULL;
}

/* Whether the help of that command has to list the option: its own, and those of its subcommands. */
static bool belongs(const struct option *option, const struct command *command, uint32_t every)
{
    uint32_t listed = option->commands == every ? option->own : option->commands;

    for (unsigned i = 0; i < command_count; i++) {
        const struct command *other = &command_table[i];
        bool under =
            command->verb == NULL && other->summary != NULL && strcmp(other->name, command->name) == 0;
        if ((other == command || under) && (listed >> other->id & 1) != 0)
            return true;
    }
    return false;
}

Test(args, every_command_has_help_with_an_example_and_its_options)
{
    uint32_t every = (UINT32_C(1) << (COMMAND_HELP + 1)) - 1;

    for (unsigned i = 0; i < command_count; i++) {
        struct text text = {0};
        help_command(&text, &command_table[i]);
        const char *help = text_string(&text);
        cr_assert_not_null(strstr(help, command_table[i].example));
        cr_assert_not_null(strstr(command_table[i].example, command_table[i].name));
        for (unsigned j = 0; j < option_count; j++)
            cr_assert_eq(lists(help, &option_table[j]), belongs(&option_table[j], &command_table[i], every),
                         "--%s in the help of %s", option_table[j].name, command_table[i].name);
        text_deinit(&text);
    }
    ASSERT_NO_LEAKS();
}

Test(args, the_overview_lists_what_every_command_takes)
{
    uint32_t every = (UINT32_C(1) << (COMMAND_HELP + 1)) - 1;
    struct text text = {0};

    help_overview(&text);
    for (unsigned i = 0; i < option_count; i++)
        cr_assert_eq(lists(text_string(&text), &option_table[i]), option_table[i].commands == every);
    text_deinit(&text);
    ASSERT_NO_LEAKS();
}

Test(args, the_help_of_topics_and_subs_names_what_stands_under_them)
{
    struct text text = {0};

    help_command(&text, command_find("topics", NULL));
    cr_assert_not_null(strstr(text_string(&text), "psctl topics delete NAME"));
    cr_assert_not_null(strstr(text_string(&text), "--yes"));
    help_command(&text, command_find("subs", NULL));
    cr_assert_not_null(strstr(text_string(&text), "psctl subs seek FILTER"));
    cr_assert_not_null(strstr(text_string(&text), "--to-offset"));
    text_deinit(&text);
}

Test(args, rows_are_unique)
{
    for (unsigned i = 0; i < option_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            cr_assert_str_neq(option_table[i].name, option_table[j].name);
            cr_assert(option_table[i].letter == 0 || option_table[i].letter != option_table[j].letter);
        }
    }
}

Test(args, nearest_is_silent_when_nothing_is_near)
{
    struct nearest nearest = nearest_to("abcdefgh");

    nearest_offer(&nearest, "zzzzzzzz");
    cr_assert_null(nearest.name);
    nearest_offer(&nearest, "abcdefgz");
    nearest_offer(&nearest, "abcdeffz");
    cr_assert_str_eq(nearest.name, "abcdefgz");
}
