/* Lines of a dump, and that a line there is no memory for is not called a wrong one. */
#include "failing_memory.h"
#include "load_line.h"

#include <criterion/criterion.h>
#include <string.h>

static struct psc_bytes bytes_of_text(const char *text)
{
    return (struct psc_bytes){text, strlen(text)};
}

static const char full[] =
    "{\"topic\":\"a/b\",\"offset\":7,\"published\":\"2024-01-01T00:00:00Z\",\"publisher\":\"p\","
    "\"key_b64\":\"/w==\",\"headers\":{\"h\":\"1\"},\"payload_b64\":\"aGk=\"}";

Test(load_line, a_line_becomes_a_message)
{
    struct load_line line;
    char error[LOAD_LINE_ERROR_BYTES];

    cr_assert_eq(load_line_parse(&line, bytes_of_text(full), error), PS_OK);
    cr_assert_eq(line.topic.size, 3u);
    cr_assert(line.has_offset && line.offset == 7);
    cr_assert_eq(line.message.key.size, 1u);
    cr_assert_eq(line.message.header_count, 1u);
    cr_assert_eq(line.message.payload.size, 2u);
    cr_assert_arr_eq(line.message.payload.data, "hi", 2);
    load_line_deinit(&line);
}

Test(load_line, what_is_no_message_is_told)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"{", "no JSON"},
        {"[]", "no JSON object"},
        {"{\"topic\":\"a\"}", "no payload"},
        {"{\"payload\":\"a\"}", "no topic"},
        {"{\"topic\":\"a\",\"payload_b64\":\"a\"}", "no base64"},
        {"{\"topic\":\"a\",\"payload\":\"a\",\"offset\":-1}", "no offset"},
        {"{\"topic\":\"a\",\"payload\":\"a\",\"pay\":1}", "a member pay"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct load_line line;
        char error[LOAD_LINE_ERROR_BYTES] = "";

        cr_assert_eq(load_line_parse(&line, bytes_of_text(cases[i].text), error), PS_INVALID_ARGUMENT);
        cr_assert_not_null(strstr(error, cases[i].error), "%s: %s", cases[i].text, error);
    }
}

Test(load_line, any_allocation_fails)
{
    size_t n = 0;

    for (bool came = true; came; n++) {
        struct load_line line;
        char error[LOAD_LINE_ERROR_BYTES];

        memory_fails_after(n);
        enum ps_status status = load_line_parse(&line, bytes_of_text(full), error);
        came = memory_failed();
        cr_assert_eq(status, came ? PS_NO_MEMORY : PS_OK, "allocation %zu: %s", n, ps_status_name(status));
        load_line_deinit(&line);
    }
    cr_assert_gt(n, 10u);
}
