/* Lines of a stream: what is one, whatever pieces it comes in. */
#include "leaks.h"
#include "lines.h"

#include <criterion/criterion.h>

static void feed(struct lines *lines, const char *bytes, size_t size)
{
    while (size != 0) {
        size_t room;
        char *at = lines_room(lines, &room);
        if (room > size)
            room = size;
        memcpy(at, bytes, room);
        lines_added(lines, room);
        bytes += room;
        size -= room;
    }
}

/* Feeds `input` in pieces of `piece` bytes and joins the lines with '|' behind each. */
static struct text split(const char *input, size_t size, size_t piece)
{
    struct lines lines;
    struct text joined = {0};
    struct psc_bytes line;
    enum lines_result result = LINES_MORE;

    lines_init(&lines, '\n', 1000);
    for (size_t at = 0; result != LINES_END;) {
        result = lines_next(&lines, &line);
        if (result == LINES_NEXT) {
            text_bytes(&joined, line);
            text_char(&joined, '|');
        } else if (result == LINES_MORE && at < size) {
            size_t part = size - at < piece ? size - at : piece;
            feed(&lines, input + at, part);
            at += part;
        } else if (result == LINES_MORE) {
            lines_ended(&lines);
        }
    }
    lines_deinit(&lines);
    return joined;
}

static void check(const char *input, const char *expected)
{
    for (size_t piece = 1; piece <= strlen(input) + 1; piece++) {
        struct text joined = split(input, strlen(input), piece);
        cr_assert_str_eq(text_string(&joined), expected, "in pieces of %zu", piece);
        text_deinit(&joined);
    }
}

Test(lines, any_pieces_give_the_same_lines)
{
    check("", "");
    check("a\nb\n", "a|b|");
    check("a\n\nb", "a||b|");
    check("\n", "|");
    check("a\r\nb\r", "a\r|b\r|");
    check("last", "last|");
    ASSERT_NO_LEAKS();
}

Test(lines, a_line_of_the_most_bytes_is_taken_and_one_more_is_refused_by_number)
{
    struct lines lines;
    struct psc_bytes line;

    lines_init(&lines, '\n', 4);
    feed(&lines, "one\nfour\nfives\nsix\n", 19);
    cr_assert_eq(lines_next(&lines, &line), LINES_NEXT);
    cr_assert_eq(lines_next(&lines, &line), LINES_NEXT);
    cr_assert_eq(line.size, 4);
    cr_assert_eq(lines_next(&lines, &line), LINES_TOO_LONG);
    cr_assert_eq(lines.number, 3);
    lines_deinit(&lines);
}

Test(lines, a_line_too_long_is_seen_before_its_end_comes)
{
    struct lines lines;
    struct psc_bytes line;

    lines_init(&lines, '\n', 4);
    feed(&lines, "fives", 5);
    cr_assert_eq(lines_next(&lines, &line), LINES_TOO_LONG);
    lines_deinit(&lines);
}

Test(lines, an_empty_line_is_not_absent)
{
    struct lines lines;
    struct psc_bytes line = {NULL, 1};

    lines_init(&lines, '\n', 4);
    feed(&lines, "\n", 1);
    cr_assert_eq(lines_next(&lines, &line), LINES_NEXT);
    cr_assert_eq(line.size, 0);
    cr_assert_not_null(line.data);
    lines_deinit(&lines);
}

Test(lines, what_is_left_is_counted)
{
    struct lines lines;
    struct psc_bytes line;

    lines_init(&lines, '\n', 10);
    cr_assert_eq(lines_left(&lines), 0);
    feed(&lines, "a\nb\nc\nd", 7);
    lines_next(&lines, &line);
    cr_assert_eq(lines_left(&lines), 2);
    lines_ended(&lines);
    cr_assert_eq(lines_left(&lines), 3);
    lines_deinit(&lines);
}

Test(lines, another_delimiter)
{
    struct lines lines;
    struct psc_bytes line;

    lines_init(&lines, '\0', 10);
    feed(&lines, "a\nb\0c", 5);
    cr_assert_eq(lines_next(&lines, &line), LINES_NEXT);
    cr_assert_eq(line.size, 3);
    cr_assert_eq(lines_next(&lines, &line), LINES_MORE);
    lines_deinit(&lines);
}
