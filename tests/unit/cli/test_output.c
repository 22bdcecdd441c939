/* What records look like: raw, with topic and offset, as JSON, on a terminal. */
#include "escape.h"
#include "json.h"
#include "leaks.h"
#include "output.h"

#include <criterion/criterion.h>

static struct psc_bytes bytes(const char *text, size_t size)
{
    return (struct psc_bytes){text, size};
}

static void check(struct output_style style, const struct psc_message *message, const char *expected,
                  size_t size)
{
    struct text text = {0};

    output_message(&text, &style, bytes("a/b", 3), message);
    cr_assert_eq(text_size(&text), size, "%s", text_string(&text));
    cr_assert_eq(memcmp(text_string(&text), expected, size), 0, "%s", text_string(&text));
    text_deinit(&text);
}

#define CHECK(style, message, expected) check(style, message, expected, sizeof(expected) - 1)
#define PAYLOAD(text) (&(struct psc_message){.offset = 7, .payload = {"" text, sizeof(text) - 1}})

Test(output, raw_is_a_copy_and_one_line_feed)
{
    struct output_style raw = {0};

    CHECK(raw, PAYLOAD("hello"), "hello\n");
    CHECK(raw, PAYLOAD(""), "\n");
    CHECK(raw, PAYLOAD("\x1b\xff\n\0x"), "\x1b\xff\n\0x\n");
    ASSERT_NO_LEAKS();
}

Test(output, records_may_end_with_nul)
{
    CHECK(((struct output_style){.nul = true}), PAYLOAD("a\nb"), "a\nb\0");
}

Test(output, raw_records_may_end_with_nothing)
{
    CHECK(((struct output_style){.bare = true}), PAYLOAD("a\n\0"), "a\n\0");
    CHECK(((struct output_style){.bare = true}), PAYLOAD(""), "");
}

Test(output, verbose_names_topic_and_offset)
{
    CHECK(((struct output_style){.verbose = true}), PAYLOAD("x\ty"), "a/b\t7\tx\ty\n");
}

Test(output, a_terminal_is_shown_no_control_byte)
{
    struct output_style terminal = {.terminal = true};

    CHECK(terminal, PAYLOAD("\x1b[31mred\a\0\x7f"), "\\x1b[31mred\\x07\\x00\\x7f\n");
    CHECK(terminal, PAYLOAD("gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80"),
          "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80\n");
    CHECK(terminal, PAYLOAD("a\xc2\x9b\x62"), "a\\xc2\\x9bb\n");
    CHECK(terminal, PAYLOAD("\xff\xc3"), "\\xff\\xc3\n");
    CHECK(terminal, PAYLOAD("a\nb"), "a\\x0ab\n");
}

Test(output, utf8_is_recognized_strictly)
{
    static const char *bad[] = {"\xc0\x80",         "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                "\xf5\x80\x80\x80", "\x80",         "\xe2\x82",     "\xf0\x9f\x98"};

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(utf8_length((const unsigned char *)bad[i], strlen(bad[i])), 0, "case %u", i);
    cr_assert_eq(utf8_length((const unsigned char *)"\xf4\x8f\xbf\xbf", 4), 4);
    cr_assert_eq(utf8_length((const unsigned char *)"\xed\x9f\xbf", 3), 3);
}

Test(output, json_leaves_out_what_is_absent)
{
    struct output_style json = {.json = true};
    struct psc_message message = {.offset = 7, .published_at = 1, .payload = {"", 0}};

    CHECK(
        json, &message,
        "{\"topic\":\"a/b\",\"offset\":7,\"published\":\"1970-01-01T00:00:00.000001Z\",\"payload\":\"\"}\n");
}

Test(output, json_has_every_field)
{
    struct output_style json = {.json = true};
    struct psc_header headers[] = {{{"one", 3}, {"1", 1}}, {{"two", 3}, {"", 0}}};
    struct psc_message message = {.offset = UINT64_MAX,
                                  .published_at = 1700000000123456,
                                  .publisher = {"me", 2},
                                  .key = {"", 0},
                                  .payload = {"\xff\0", 2},
                                  .headers = headers,
                                  .header_count = 2};

    CHECK(json, &message,
          "{\"topic\":\"a/b\",\"offset\":18446744073709551615,\"published\":\"2023-11-14T22:13:20.123456Z\","
          "\"publisher\":\"me\",\"key\":\"\",\"headers\":{\"one\":\"1\",\"two\":\"\"},\"payload_b64\":\"/"
          "wA=\"}\n");
}

static void check_string(const char *value, size_t size, const char *expected)
{
    struct text text = {0};
    struct json json = json_object(&text);

    json_bytes(&json, "v", bytes(value, size));
    json_end(&json);
    cr_assert_str_eq(text_string(&text), expected);
    text_deinit(&text);
}

Test(output, json_escapes)
{
    check_string("say \"hi\"\\\n\r\t", 12, "{\"v\":\"say \\\"hi\\\"\\\\\\n\\r\\t\"}");
    check_string("nul\0", 4, "{\"v\":\"nul\\u0000\"}");
    check_string("\x7f\xc2\x9b", 3, "{\"v\":\"\\u007f\\u009b\"}");
    check_string("\xe2\x82\xac/", 4, "{\"v\":\"\xe2\x82\xac/\"}");
}

Test(output, base64_pads)
{
    check_string("\xff", 1, "{\"v_b64\":\"/w==\"}");
    check_string("\xff\xff", 2, "{\"v_b64\":\"//8=\"}");
    check_string("\xff\xff\xff", 3, "{\"v_b64\":\"////\"}");
    check_string("\xff\xfe\xfd\x61", 4, "{\"v_b64\":\"//79YQ==\"}");
}

Test(output, json_nests)
{
    struct text text = {0};
    struct json json = json_object(&text), list, item;

    json_bool(&json, "yes", true);
    list = json_member_array(&json, "list");
    for (unsigned i = 0; i < 2; i++) {
        item = json_member_object(&list, NULL);
        json_u64(&item, "n", i);
        json_end(&item);
    }
    json_end(&list);
    json_string(&json, "absent", bytes(NULL, 0));
    json_end(&json);
    cr_assert_str_eq(text_string(&text), "{\"yes\":true,\"list\":[{\"n\":0},{\"n\":1}]}");
    text_deinit(&text);
}

Test(output, times)
{
    static const struct {
        int64_t time;
        const char *shown;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {951782400000000, "2000-02-29T00:00:00.000000Z"},
        {4107542399999999, "2100-02-28T23:59:59.999999Z"},
        {4107542400000000, "2100-03-01T00:00:00.000000Z"},
        {253402300799999999, "9999-12-31T23:59:59.999999Z"},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char shown[OUTPUT_TIME_BYTES];
        output_time(shown, rows[i].time);
        cr_assert_str_eq(shown, rows[i].shown);
    }
}

Test(output, publications)
{
    struct text text = {0};

    output_published(&text, &(struct output_style){0}, bytes("q\"t", 3), 41);
    output_published(&text, &(struct output_style){.json = true}, bytes("q\"t", 3), 42);
    cr_assert_str_eq(text_string(&text), "41\n{\"topic\":\"q\\\"t\",\"offset\":42}\n");
    text_deinit(&text);
}
