#include "topic.h"

#include "dice.h"
#include "naive_topic.h"

#include <criterion/criterion.h>

static uint8_t long_name[300];

static void fill(void)
{
    memset(long_name, 'x', sizeof long_name);
}

TestSuite(topic, .init = fill);

#define BYTES(literal) ((struct span){(const uint8_t *)(literal), sizeof(literal) - 1})

Test(topic, names)
{
    static const char *const good[] = {
        "a",        "a/b",  "/",    "a//b",         "/a",  "a/",     " ",     "#a",
        "a+",       "a/#b", "+a/b", "\xc3\xa4",     "007", "$sys/x", "a#/+b", "\xf4\x8f\xbf\xbf",
        "\xc2\xa0", "++",   "##",   "\xee\x80\x80", "1e3"};
    static const char *const bad[] = {"",
                                      "+",
                                      "#",
                                      "a/+",
                                      "+/a",
                                      "a/+/b",
                                      "a/#",
                                      "#/a",
                                      "a\nb",
                                      "\x7f",
                                      "\xc2\x80",
                                      "\xc2\x9f",
                                      "\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xf0\x80\x80\x80",
                                      "\x1f"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert_eq(topic_validate(span_of(good[i])), PS_OK, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(topic_validate(span_of(bad[i])), PS_BAD_TOPIC, "bad name %zu", i);
    cr_assert_eq(topic_validate(SPAN_ABSENT), PS_BAD_TOPIC);
    cr_assert_eq(topic_validate(BYTES("a\0b")), PS_BAD_TOPIC);
}

Test(topic, lengths)
{
    cr_assert_eq(topic_validate((struct span){long_name, 255}), PS_OK);
    cr_assert_eq(topic_validate((struct span){long_name, 256}), PS_BAD_TOPIC);
    cr_assert_eq(filter_validate((struct span){long_name, 255}), PS_OK);
    cr_assert_eq(filter_validate((struct span){long_name, 256}), PS_BAD_FILTER);
    cr_assert_eq(id_validate((struct span){long_name, 255}), PS_OK);
    cr_assert_eq(id_validate((struct span){long_name, 256}), PS_BAD_ID);
    cr_assert_eq(id_validate(BYTES("")), PS_BAD_ID);
    cr_assert_eq(id_validate(BYTES("+")), PS_OK);
    cr_assert_eq(id_validate(BYTES("a\x01")), PS_BAD_ID);
}

Test(topic, reserved_names_are_not_published_to)
{
    cr_assert_eq(topic_validate_publish(BYTES("$")), PS_RESERVED_TOPIC);
    cr_assert_eq(topic_validate_publish(BYTES("$sys/a")), PS_RESERVED_TOPIC);
    cr_assert_eq(topic_validate_publish(BYTES("a/$b")), PS_OK);
    cr_assert_eq(topic_validate_publish(BYTES("$/+")), PS_BAD_TOPIC);
}

Test(topic, filters)
{
    static const char *const exact[] = {"a", "a/b", "#a", "+a", "a/b+", "/", "##"};
    static const char *const wild[] = {"+", "#", "a/#", "a/+", "+/+", "+/#", "/#", "a/+/b", "$s/#"};
    static const char *const bad[] = {"", "#/a", "a/#/b", "#/", "a\n", "\xff", "#/#"};
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        cr_assert_eq(filter_validate(span_of(exact[i])), PS_OK, "%s", exact[i]);
        cr_assert(filter_is_exact(span_of(exact[i])), "%s", exact[i]);
    }
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
        cr_assert_eq(filter_validate(span_of(wild[i])), PS_OK, "%s", wild[i]);
        cr_assert_not(filter_is_exact(span_of(wild[i])), "%s", wild[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(filter_validate(span_of(bad[i])), PS_BAD_FILTER, "%s", bad[i]);
}

struct match {
    const char *filter, *name;
    bool matches;
};

Test(topic, matches)
{
    static const struct match table[] = {
        {"a", "a", true},           {"a", "b", false},       {"a", "a/b", false},
        {"a/b", "a", false},        {"+", "a", true},        {"+", "a/b", false},
        {"+", "/", false},          {"+/+", "/", true},      {"+/+", "a/b", true},
        {"a/+", "a/", true},        {"a/+", "a", false},     {"a/+", "a/b/c", false},
        {"a/+/c", "a/b/c", true},   {"a/+/c", "a//c", true}, {"a/+/c", "a/c", false},
        {"#", "a", true},           {"#", "/", true},        {"#", "a/b/c", true},
        {"a/#", "a", true},         {"a/#", "a/", true},     {"a/#", "a/b/c", true},
        {"a/#", "ab", false},       {"a/#", "b/a", false},   {"/#", "/a", true},
        {"/#", "a", false},         {"a/+/#", "a", false},   {"a/+/#", "a/b", true},
        {"a/+/#", "a/b/c/d", true}, {"#", "$s", false},      {"+", "$s", false},
        {"+/a", "$s/a", false},     {"$s/#", "$s/a", true},  {"$s/#", "$s", true},
        {"$s/+", "$s/a", true},     {"a/+", "a/$b", true},   {"a/#", "a/$b", true},
        {"a/b/", "a/b", false},     {"a//b", "a/b", false},  {"#a", "#a", true},
        {"#a", "b", false},         {"a+", "a+", true},      {"a+", "ab", false},
        {"A", "a", false},          {"/", "/", true},        {"a/b/c/d", "a/b/c", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_eq(filter_match(span_of(table[i].filter), span_of(table[i].name)), table[i].matches,
                     "%s %s", table[i].filter, table[i].name);
}

static void draw(struct dice *dice, const char *letters, char *text)
{
    size_t length = 1 + dice_below(dice, 9);
    for (size_t i = 0; i < length; i++)
        text[i] = letters[dice_below(dice, strlen(letters))];
    text[length] = '\0';
}

Test(topic, matching_equals_the_definition)
{
    struct dice dice = dice_of(42);
    size_t matched = 0, tried = 0;
    while (tried < 200000) {
        char filter[16], name[16];
        draw(&dice, "ab//++#$", filter);
        draw(&dice, "ab//$", name);
        if (filter_validate(span_of(filter)) != PS_OK || topic_validate(span_of(name)) != PS_OK)
            continue;
        bool expected = naive_match(filter, name);
        cr_assert_eq(filter_match(span_of(filter), span_of(name)), expected, "%s %s", filter, name);
        matched += expected;
        tried++;
    }
    cr_assert_gt(matched, 1000u);
}

Test(topic, an_exact_filter_matches_itself_only)
{
    struct dice dice = dice_of(43);
    for (int i = 0; i < 20000; i++) {
        char filter[16], name[16];
        draw(&dice, "ab/+#", filter);
        draw(&dice, "ab/", name);
        if (filter_validate(span_of(filter)) == PS_OK && filter_is_exact(span_of(filter)))
            cr_assert_eq(filter_match(span_of(filter), span_of(name)), strcmp(filter, name) == 0);
    }
}

/* All strings of up to two bytes, and all four-byte ones by their ranges, against the definition of UTF-8. */
static bool naive_utf8(const uint8_t *at, size_t size)
{
    while (size > 0) {
        size_t length = at[0] < 0x80       ? 1
                        : at[0] >> 5 == 6  ? 2
                        : at[0] >> 4 == 14 ? 3
                        : at[0] >> 3 == 30 ? 4
                                           : 0;
        if (length == 0 || length > size)
            return false;
        uint32_t point = length == 1 ? at[0] : at[0] & (0x7fu >> length);
        for (size_t i = 1; i < length; i++) {
            if (at[i] >> 6 != 2)
                return false;
            point = point << 6 | (at[i] & 0x3f);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
            return false;
        at += length;
        size -= length;
    }
    return true;
}

Test(topic, utf8_equals_the_definition)
{
    uint8_t text[3] = {0};
    for (uint32_t i = 0; i < 0x1000000; i += 3) {
        text[0] = (uint8_t)(i >> 16);
        text[1] = (uint8_t)(i >> 8);
        text[2] = (uint8_t)i;
        cr_assert(utf8_valid((struct span){text, 3}) == naive_utf8(text, 3));
    }
    struct dice dice = dice_of(44);
    static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
                                    0xdf, 0xe0, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff};
    for (int round = 0; round < 300000; round++) {
        uint8_t mixed[24];
        size_t size = dice_below(&dice, sizeof mixed);
        for (size_t i = 0; i < size; i++)
            mixed[i] = dice_below(&dice, 3) == 0 ? edges[dice_below(&dice, sizeof edges)] : 'a';
        cr_assert(utf8_valid((struct span){mixed, size}) == naive_utf8(mixed, size));
    }
}
