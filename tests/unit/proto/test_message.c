#include "message.h"

#include "codec.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct message message_of(const struct header *headers, uint32_t count)
{
    return (struct message){.payload = span_of("payload"), .headers = headers, .header_count = count};
}

static enum ps_status check_header(struct span name, struct span value)
{
    const struct header header = {name, value};
    const struct message message = message_of(&header, 1);
    return message_validate(&message, MESSAGE_MAX_BYTES);
}

Test(message, bytes_count_payload_key_and_headers)
{
    const struct header headers[] = {{span_of("ab"), span_of("c")}, {span_of("d"), span_of("")}};
    struct message message = message_of(headers, 2);
    message.key = span_of("key");
    message.publisher = span_of("does not count");
    cr_assert_eq(message_bytes(&message), 7 + 3 + 3 + 1);
}

Test(message, the_limit_is_exact)
{
    static uint8_t payload[100];
    struct message message = {.payload = {payload, 96}, .key = span_of("1234")};
    cr_assert_eq(message_validate(&message, 100), PS_OK);
    cr_assert_eq(message_validate(&message, 99), PS_MESSAGE_TOO_LARGE);
}

Test(message, a_reserved_flag_is_unsupported)
{
    struct message message = {.payload = span_of(""), .flags = 1};
    cr_assert_eq(message_validate(&message, 100), PS_UNSUPPORTED);
}

Test(message, header_names_follow_the_rule_of_ids)
{
    static uint8_t name[256];
    memset(name, 'n', sizeof name);
    cr_assert_eq(check_header(span_of("name"), span_of("")), PS_OK);
    cr_assert_eq(check_header((struct span){name, 255}, span_of("")), PS_OK);
    cr_assert_eq(check_header((struct span){name, 256}, span_of("")), PS_BAD_HEADER);
    cr_assert_eq(check_header(span_of(""), span_of("")), PS_BAD_HEADER);
    cr_assert_eq(check_header(SPAN_ABSENT, span_of("")), PS_BAD_HEADER);
    cr_assert_eq(check_header(span_of("a\nb"), span_of("")), PS_BAD_HEADER);
    cr_assert_eq(check_header(span_of("a\xff"), span_of("")), PS_BAD_HEADER);
}

Test(message, header_values_are_utf8_without_nul)
{
    cr_assert_eq(check_header(span_of("n"), span_of("line\nline \xe2\x82\xac")), PS_OK);
    cr_assert_eq(check_header(span_of("n"), (struct span){(const uint8_t *)"a\0b", 3}), PS_BAD_HEADER);
    cr_assert_eq(check_header(span_of("n"), span_of("\xed\xa0\x80")), PS_BAD_HEADER);
    cr_assert_eq(check_header(span_of("n"), SPAN_ABSENT), PS_BAD_HEADER);
}

Test(message, a_header_name_stands_once)
{
    const struct header twice[] = {
        {span_of("a"), span_of("1")}, {span_of("b"), span_of("2")}, {span_of("a"), span_of("3")}};
    struct message message = message_of(twice, 3);
    cr_assert_eq(message_validate(&message, 1000), PS_BAD_HEADER);
    message.header_count = 2;
    cr_assert_eq(message_validate(&message, 1000), PS_OK);
    const struct header cases[] = {{span_of("a"), span_of("1")}, {span_of("A"), span_of("2")}};
    message = message_of(cases, 2);
    cr_assert_eq(message_validate(&message, 1000), PS_OK);
}

Test(message, headers_are_counted_before_they_are_compared)
{
    enum { MANY = 200000 };
    struct header *headers = malloc(MANY * sizeof *headers);
    for (size_t i = 0; i < MANY; i++)
        headers[i] = (struct header){{(const uint8_t *)headers + i, 1}, span_of("")};
    struct message message = message_of(headers, MANY);
    cr_assert_eq(message_validate(&message, SIZE_MAX), PS_BAD_HEADER);
    free(headers);
    ASSERT_NO_LEAKS();
}

Test(message, the_limits_of_headers_are_exact)
{
    static char names[MESSAGE_MAX_HEADERS + 1][4];
    static uint8_t value[MESSAGE_MAX_HEADER_BYTES];
    struct header headers[MESSAGE_MAX_HEADERS + 1];
    memset(value, 'v', sizeof value);
    for (size_t i = 0; i < MESSAGE_MAX_HEADERS + 1; i++) {
        snprintf(names[i], sizeof names[i], "%03zu", i % 1000);
        headers[i] = (struct header){span_of(names[i]), span_of("")};
    }
    struct message message = message_of(headers, MESSAGE_MAX_HEADERS);
    cr_assert_eq(message_validate(&message, MESSAGE_MAX_BYTES), PS_OK);
    message.header_count++;
    cr_assert_eq(message_validate(&message, MESSAGE_MAX_BYTES), PS_BAD_HEADER);
    message.header_count = 1;
    headers[0].value = (struct span){value, MESSAGE_MAX_HEADER_BYTES - 3};
    cr_assert_eq(message_validate(&message, MESSAGE_MAX_BYTES), PS_OK);
    headers[0].value.size++;
    cr_assert_eq(message_validate(&message, MESSAGE_MAX_BYTES), PS_BAD_HEADER);
}

static struct batch *batch_of(uint64_t first, uint64_t step, uint32_t count)
{
    struct batch *batch = batch_new(0, 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct message message = {
            .offset = first + step * i, .payload = span_of("0123456789"), .key = span_of("k")};
        cr_assert_eq(batch_append(batch, &message), PS_OK);
    }
    return batch;
}

Test(batch, entries_lie_one_behind_the_other)
{
    struct batch *batch = batch_of(5, 1, 1000);
    cr_assert_eq(batch->count, 1000u);
    cr_assert_eq(batch_begin_of(batch, 0), 0u);
    cr_assert_eq(batch_begin_of(batch, 1000), batch->size);
    for (uint32_t i = 0; i < 1000; i++) {
        struct message message = {.offset = 5 + i, .payload = span_of("0123456789"), .key = span_of("k")};
        size_t size = codec_message_size(&message);
        uint8_t expected[64];
        codec_put_message(expected, &message);
        cr_assert_eq(batch_begin_of(batch, i + 1) - batch_begin_of(batch, i), size);
        cr_assert(memcmp(batch->bytes + batch_begin_of(batch, i), expected, size) == 0);
        cr_assert_eq(batch->entries[i].offset, 5 + i);
        cr_assert_eq(batch->entries[i].credit, 11u);
    }
    batch_unref(batch);
    ASSERT_NO_LEAKS();
}

Test(batch, an_offset_is_found_or_the_next_one)
{
    struct batch *batch = batch_of(10, 3, 50);
    for (uint64_t offset = 0; offset < 10 + 3 * 50 + 5; offset++) {
        uint32_t expected = 0;
        while (expected < 50 && 10 + 3 * (uint64_t)expected < offset)
            expected++;
        cr_assert_eq(batch_find(batch, offset), expected, "offset %lu", (unsigned long)offset);
    }
    batch_unref(batch);
    struct batch *empty = batch_new(8, 100);
    cr_assert_eq(batch_find(empty, 0), 0u);
    cr_assert_eq(batch_begin_of(empty, 0), 0u);
    batch_unref(empty);
    ASSERT_NO_LEAKS();
}

Test(batch, the_last_reference_frees_it)
{
    struct batch *batch = batch_of(0, 1, 3);
    cr_assert_eq(batch_ref(batch), batch);
    batch_unref(batch);
    cr_assert_eq(batch->count, 3u);
    batch_unref(batch);
    batch_unref(NULL);
    ASSERT_NO_LEAKS();
}

Test(batch, memory_counts_what_is_held)
{
    struct batch *batch = batch_new(100, 10000);
    size_t empty = batch_memory(batch);
    cr_assert_geq(empty, 10000u + 100 * sizeof(struct batch_entry));
    static uint8_t payload[20000];
    const struct message message = {.payload = {payload, sizeof payload}};
    cr_assert_eq(batch_append(batch, &message), PS_OK);
    cr_assert_geq(batch_memory(batch), empty + 10000);
    batch_unref(batch);
    ASSERT_NO_LEAKS();
}
