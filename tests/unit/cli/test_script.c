/* Lines of the shell. */
#include "script.h"

#include <criterion/criterion.h>

static struct script_line parsed;

static const char *parse(const char *line, bool timed)
{
    return script_parse((struct psc_bytes){line, strlen(line)}, timed, &parsed);
}

static bool same(struct psc_bytes bytes, const char *text)
{
    return bytes.data != NULL && bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

Test(script, commands_of_a_file)
{
    cr_assert_null(parse("2 sub a/#", true));
    cr_assert_eq(parsed.verb, SCRIPT_SUB);
    cr_assert_eq(parsed.wait_ms, 2000);
    cr_assert(same(parsed.topic, "a/#"));
    cr_assert_not(parsed.has_start);
    cr_assert_null(parse("0.25 unsub a", true));
    cr_assert_eq(parsed.verb, SCRIPT_UNSUB);
    cr_assert_eq(parsed.wait_ms, 250);
    cr_assert_null(parse("0 pub a hello", true));
    cr_assert_eq(parsed.verb, SCRIPT_PUB);
    cr_assert(same(parsed.message, "hello"));
}

Test(script, a_message_is_the_rest_of_the_line)
{
    cr_assert_null(parse("0  pub\ta   two  blanks  ", true));
    cr_assert(same(parsed.topic, "a"));
    cr_assert(same(parsed.message, "two  blanks  "));
    cr_assert_null(parse("0 pub a x\r", true));
    cr_assert(same(parsed.message, "x"));
    cr_assert_null(parse("0 pub a x\ry\r\r", true));
    cr_assert(same(parsed.message, "x\ry\r"));
    cr_assert_null(parse("0 pub a ", true));
    cr_assert(same(parsed.message, ""));
}

Test(script, the_keyboard_waits_for_nothing)
{
    cr_assert_null(parse("  sub a", false));
    cr_assert_eq(parsed.verb, SCRIPT_SUB);
    cr_assert_not_null(parse("0 sub a", false));
}

Test(script, comments_and_blank_lines_say_nothing)
{
    static const char *const lines[] = {"", "  \t", "\r", "# a course file", "   #2 pub a x", "#"};

    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        parsed.verb = SCRIPT_PUB;
        cr_assert_null(parse(lines[i], i % 2 == 0));
        cr_assert_eq(parsed.verb, SCRIPT_NOTHING, "%s", lines[i]);
    }
    cr_assert_null(parse("0 pub #a #b", true));
    cr_assert(same(parsed.topic, "#a") && same(parsed.message, "#b"));
}

Test(script, help_and_quit_are_for_the_keyboard)
{
    cr_assert_null(parse("help", false));
    cr_assert_eq(parsed.verb, SCRIPT_HELP);
    cr_assert_null(parse(" quit ", false));
    cr_assert_eq(parsed.verb, SCRIPT_QUIT);
    cr_assert_not_null(parse("quit now", false));
    cr_assert_not_null(parse("0 quit", true));
}

Test(script, starts_of_a_subscription)
{
    cr_assert_null(parse("sub a new", false));
    cr_assert(parsed.has_start && parsed.start == PSC_START_NEW);
    cr_assert_null(parse("sub a 18446744073709551615", false));
    cr_assert(parsed.has_start && parsed.start == PSC_START_OFFSET && parsed.offset == UINT64_MAX);
}

Test(script, seconds)
{
    static const struct {
        const char *line;
        uint64_t ms;
    } rows[] = {{"0 sub a", 0},     {"1.5 sub a", 1500}, {".5 sub a", 500},
                {"1. sub a", 1000}, {"0.0019 sub a", 1}, {"1000000000 sub a", 1000000000000}};

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_null(parse(rows[i].line, true), "%s", rows[i].line);
        cr_assert_eq(parsed.wait_ms, rows[i].ms, "%s", rows[i].line);
    }
}

Test(script, blank_lines_are_nothing)
{
    static const char *lines[] = {"", " ", "\t", "\r", "  \r"};

    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_assert_null(parse(lines[i], true));
        cr_assert_eq(parsed.verb, SCRIPT_NOTHING);
    }
}

Test(script, what_cannot_be_read_is_refused)
{
    static const char *lines[] = {"x pub t a",   "0 fly t",         "0 pub",     "0",           "-1 pub t a",
                                  "0 sub",       "nan sub t",       "0 pub t",   "0 sub t 1 2", ". sub t",
                                  "1.2.3 sub t", "0 unsub t x",     "0 sub t x", "0 unsub",     "1e3 sub t",
                                  "0x1 sub t",   "1000000001 sub t"};

    parsed.verb = SCRIPT_NOTHING;
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cr_assert_not_null(parse(lines[i], true), "%s", lines[i]);
        cr_assert_eq(parsed.verb, SCRIPT_NOTHING, "a refused line must not be written");
    }
}
