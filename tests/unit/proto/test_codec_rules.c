/* What the decoder makes of unknown, missing, repeated and wrong members: bytes written out by hand. */
#include "codec.h"
#include "leaks.h"

#include <criterion/criterion.h>

static struct arena *arena;
static struct client_frame client;
static struct server_frame server;

static void make_arena(void)
{
    arena = arena_new(1 << 20);
}

static void free_arena(void)
{
    arena_free(arena);
}

TestSuite(codec_rules, .init = make_arena, .fini = free_arena);

#define BYTES(literal) ((struct span){(const uint8_t *)(literal), sizeof(literal) - 1})
#define DECODE_CLIENT(literal) codec_decode_client(BYTES(literal), arena, &client)
#define DECODE_SERVER(literal) codec_decode_server(BYTES(literal), arena, &server)

Test(codec_rules, an_unknown_body_keeps_the_request_id)
{
    cr_assert_eq(DECODE_CLIENT("\x08\x07\xa2\x06\x00"), PS_OK);
    cr_assert_eq(client.kind, CLIENT_NONE);
    cr_assert(client.request_id.present);
    cr_assert_eq(client.request_id.value, 7);
    cr_assert_eq(DECODE_SERVER("\x08\x07\xa2\x06\x01x"), PS_OK);
    cr_assert_eq(server.kind, SERVER_NONE);
    cr_assert_eq(server.request_id.value, 7);
}

Test(codec_rules, a_frame_without_a_body_is_of_unknown_kind)
{
    cr_assert_eq(DECODE_CLIENT("\x08\x07"), PS_OK);
    cr_assert_eq(client.kind, CLIENT_NONE);
}

Test(codec_rules, two_bodies_are_malformed)
{
    cr_assert_eq(DECODE_CLIENT("\x1a\x00\x22\x00"), PS_MALFORMED);
    cr_assert_eq(DECODE_CLIENT("\x1a\x00\x1a\x00"), PS_MALFORMED);
}

Test(codec_rules, no_bytes_are_malformed_when_absent_and_of_no_kind_when_empty)
{
    cr_assert_eq(codec_decode_client(SPAN_ABSENT, arena, &client), PS_MALFORMED);
    cr_assert_eq(DECODE_CLIENT(""), PS_OK);
    cr_assert_eq(client.kind, CLIENT_NONE);
}

Test(codec_rules, the_last_of_a_plain_member_wins)
{
    cr_assert_eq(DECODE_CLIENT("\x08\x01\x08\x02\x1a\x04\x08\x05\x08\x06"), PS_OK);
    cr_assert_eq(client.request_id.value, 2);
    cr_assert_eq(client.ping_token, 6);
}

Test(codec_rules, a_wrong_wire_type_is_malformed)
{
    cr_assert_eq(DECODE_CLIENT("\x0a\x00"), PS_MALFORMED);         /* request_id as bytes */
    cr_assert_eq(DECODE_CLIENT("\x18\x01"), PS_MALFORMED);         /* ping as a varint */
    cr_assert_eq(DECODE_CLIENT("\x1a\x02\x0a\x00"), PS_MALFORMED); /* token as bytes */
    cr_assert_eq(DECODE_CLIENT("\x2a\x02\x08\x01"), PS_MALFORMED); /* batch as a varint */
}

Test(codec_rules, groups_field_zero_and_long_varints_are_malformed)
{
    cr_assert_eq(DECODE_CLIENT("\xa3\x06\xa4\x06"), PS_MALFORMED);
    cr_assert_eq(DECODE_CLIENT("\x00\x00"), PS_MALFORMED);
    cr_assert_eq(DECODE_CLIENT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), PS_MALFORMED);
    cr_assert_eq(DECODE_CLIENT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), PS_OK);
    cr_assert_eq(client.request_id.value, UINT64_MAX);
    cr_assert_eq(DECODE_CLIENT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), PS_MALFORMED);
    /* Keys and lengths padded with zeros: five bytes are the most. */
    cr_assert_eq(DECODE_CLIENT("\x1a\x80\x80\x80\x80\x00"), PS_OK);
    cr_assert_eq(DECODE_CLIENT("\x1a\x80\x80\x80\x80\x80\x00"), PS_MALFORMED);
    cr_assert_eq(DECODE_CLIENT("\x88\x80\x80\x80\x00\x07"), PS_OK);
    cr_assert_eq(client.request_id.value, 7);
    cr_assert_eq(DECODE_CLIENT("\x88\x80\x80\x80\x80\x00\x07"), PS_MALFORMED);
    /* A length that would wrap around an address. */
    cr_assert_eq(DECODE_CLIENT("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), PS_MALFORMED);
}

Test(codec_rules, a_missing_required_member_is_malformed)
{
    cr_assert_eq(DECODE_CLIENT("\x12\x02\x08\x01"), PS_MALFORMED); /* hello without max_version */
    cr_assert_eq(DECODE_CLIENT("\x32\x00"), PS_MALFORMED);         /* subscribe without filter */
    cr_assert_eq(DECODE_CLIENT("\x2a\x02\x0a\x00"), PS_MALFORMED); /* batch without topic */
    cr_assert_eq(DECODE_SERVER("\x12\x00"), PS_MALFORMED);         /* error without status */
}

Test(codec_rules, unknown_members_elsewhere_are_skipped)
{
    cr_assert_eq(DECODE_CLIENT("\x1a\x07\x08\x09\xa2\x06\x02xx"), PS_OK);
    cr_assert_eq(client.kind, CLIENT_PING);
    cr_assert_eq(client.ping_token, 9);
}

Test(codec_rules, unknown_members_of_a_publish_are_seen)
{
    cr_assert_eq(DECODE_CLIENT("\x2a\x05\x0a\x03\x0a\x01"
                               "A"),
                 PS_OK);
    cr_assert_not(client.publish.unsupported);
    /* in Publish (atomic), in PublishBatch, in Message, in Header */
    cr_assert_eq(DECODE_CLIENT("\x2a\x02\x10\x01"), PS_OK);
    cr_assert(client.publish.unsupported);
    cr_assert_eq(DECODE_CLIENT("\x2a\x07\x0a\x05\x0a\x01"
                               "A\x18\x01"),
                 PS_OK);
    cr_assert(client.publish.unsupported);
    cr_assert_eq(DECODE_CLIENT("\x2a\x09\x0a\x07\x0a\x01"
                               "A\x12\x02\x40\x01"),
                 PS_OK);
    cr_assert(client.publish.unsupported);
    cr_assert_eq(DECODE_CLIENT("\x2a\x0f\x0a\x0d\x0a\x01"
                               "A\x12\x08\x2a\x06\x0a\x00\x12\x00\x18\x01"),
                 PS_OK);
    cr_assert(client.publish.unsupported);
}

Test(codec_rules, what_only_the_broker_sets_makes_a_publish_unsupported)
{
    cr_assert_eq(DECODE_CLIENT("\x2a\x09\x0a\x07\x0a\x01"
                               "A\x12\x02\x08\x00"),
                 PS_OK);
    cr_assert(client.publish.unsupported, "offset");
    cr_assert_eq(DECODE_CLIENT("\x2a\x10\x0a\x0e\x0a\x01"
                               "A\x12\x09\x11\0\0\0\0\0\0\0\0"),
                 PS_OK);
    cr_assert(client.publish.unsupported, "published_at");
    cr_assert_eq(DECODE_CLIENT("\x2a\x09\x0a\x07\x0a\x01"
                               "A\x12\x02\x1a\x00"),
                 PS_OK);
    cr_assert(client.publish.unsupported, "publisher");
}

Test(codec_rules, an_absent_payload_is_an_empty_one_and_an_absent_key_is_none)
{
    cr_assert_eq(DECODE_CLIENT("\x2a\x0b\x0a\x09\x0a\x01"
                               "A\x12\x00\x12\x02\x22\x00"),
                 PS_OK);
    const struct message *messages = client.publish.groups[0].messages;
    cr_assert(span_present(messages[0].payload));
    cr_assert_eq(messages[0].payload.size, 0);
    cr_assert_not(span_present(messages[0].key));
    cr_assert(span_present(messages[1].key));
    cr_assert_eq(messages[1].key.size, 0);
}

Test(codec_rules, offsets_beyond_63_bits_are_malformed)
{
    cr_assert_eq(DECODE_CLIENT("\x42\x0e\x08\x01\x12\x01"
                               "A\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
                 PS_MALFORMED); /* cut */
    cr_assert_eq(DECODE_CLIENT("\x42\x0f\x08\x01\x12\x01"
                               "A\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
                 PS_OK);
    cr_assert_eq(client.ack.next_offset, (uint64_t)INT64_MAX);
    cr_assert_eq(DECODE_CLIENT("\x42\x10\x08\x01\x12\x01"
                               "A\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
                 PS_MALFORMED);
    cr_assert_eq(DECODE_SERVER("\x4a\x0d\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), PS_MALFORMED);
}

Test(codec_rules, numbers_beyond_32_bits_are_malformed_where_32_are_meant)
{
    cr_assert_eq(DECODE_CLIENT("\x12\x08\x08\x01\x10\xff\xff\xff\xff\x0f"), PS_OK);
    cr_assert_eq(client.hello.max_version, UINT32_MAX);
    cr_assert_eq(DECODE_CLIENT("\x12\x08\x08\x01\x10\x80\x80\x80\x80\x10"), PS_MALFORMED);
}

Test(codec_rules, text_must_be_utf8)
{
    cr_assert_eq(DECODE_SERVER("\x12\x06\x08\x01\x12\x02\xc3\xa4"), PS_OK);
    cr_assert_eq(DECODE_SERVER("\x12\x06\x08\x01\x12\x02\xc3\x28"), PS_MALFORMED);
}

Test(codec_rules, a_start_of_an_unknown_kind_does_not_become_another)
{
    cr_assert_eq(DECODE_CLIENT("\x08\x05\x32\x07\x0a\x01"
                               "a\x1a\x02\x30\x01"),
                 PS_OK);
    cr_assert_eq(client.kind, CLIENT_NONE);
    cr_assert_eq(client.request_id.value, 5);
    cr_assert_eq(DECODE_CLIENT("\x32\x05\x0a\x01"
                               "a\x1a\x00"),
                 PS_OK);
    cr_assert_eq(client.kind, CLIENT_NONE);
}

Test(codec_rules, the_last_start_wins)
{
    cr_assert_eq(DECODE_CLIENT("\x32\x09\x0a\x01"
                               "a\x1a\x04\x18\x05\x20\x07"),
                 PS_OK);
    cr_assert_eq(client.subscribe.start.kind, START_LAST);
    cr_assert_eq(client.subscribe.start.value, 7);
    cr_assert(client.subscribe.start_given);
}

Test(codec_rules, a_nested_message_that_occurs_twice_is_malformed)
{
    cr_assert_eq(DECODE_CLIENT("\x32\x0b\x0a\x01"
                               "a\x1a\x02\x08\x01\x1a\x02\x08\x01"),
                 PS_MALFORMED);
}

Test(codec_rules, features_are_read_packed_or_not)
{
    cr_assert_eq(DECODE_CLIENT("\x12\x0a\x08\x01\x10\x01\x1a\x02\x01\x02\x18\x03"), PS_OK);
    cr_assert_eq(DECODE_CLIENT("\x12\x07\x08\x01\x10\x01\x1a\x01\x80"), PS_MALFORMED);
}

Test(codec_rules, an_error_has_a_status_that_travels)
{
    cr_assert_eq(DECODE_SERVER("\x12\x02\x08\x00"), PS_MALFORMED);
    cr_assert_eq(DECODE_SERVER("\x12\x03\x08\xc8\x01"), PS_MALFORMED); /* 200 */
    cr_assert_eq(DECODE_SERVER("\x12\x05\x08\xc7\x01\x18\x01"), PS_OK);
    cr_assert_eq((uint32_t)server.error.status, 199);
    cr_assert(server.error.retryable);
}

Test(codec_rules, an_outcome_that_is_not_known_counts_as_unknown)
{
    cr_assert_eq(DECODE_SERVER("\x12\x04\x08\x01\x28\x00"), PS_OK);
    cr_assert_not(server.error.unknown);
    cr_assert_eq(DECODE_SERVER("\x12\x04\x08\x01\x28\x02"), PS_OK);
    cr_assert(server.error.unknown);
}

Test(codec_rules, a_run_is_accepted_or_refused_and_its_sums_fit)
{
    cr_assert_eq(DECODE_SERVER("\x32\x08\x0a\x06\x08\x00\x10\x01\x18\x00"), PS_OK);
    cr_assert_eq(server.published.runs[0].status, PS_OK);
    cr_assert_eq(DECODE_SERVER("\x32\x06\x0a\x04\x08\x00\x10\x01"), PS_MALFORMED);
    cr_assert_eq(DECODE_SERVER("\x32\x0c\x0a\x0a\x08\x00\x10\x01\x18\x00\x22\x02\x08\x0f"), PS_MALFORMED);
    cr_assert_eq(DECODE_SERVER("\x32\x0c\x0a\x0a\x08\xff\xff\xff\xff\x0f\x10\x01\x18\x00"), PS_MALFORMED);
    cr_assert_eq(DECODE_SERVER("\x32\x10\x0a\x0e\x08\x00\x10\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
                 PS_MALFORMED);
}

Test(codec_rules, the_readme_shows_the_bytes_that_are_sent)
{
    struct bytes out = {0};
    struct message message = {.published_at = 1767225600000000, .payload = span_of("hello")};
    struct publish_group group = {span_of("A"), &message, 1};
    struct client_frame frame = {
        .request_id = {true, 7}, .kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};
    cr_assert_eq(codec_encode_client(&frame, &out), PS_OK);
    const struct span publish = BYTES("\0\0\0\x12\x08\x07\x2a\x0e\x0a\x0c\x0a\x01\x41\x12\x07\x32\x05hello");
    cr_assert(span_equal((struct span){out.data, out.size}, publish));
    bytes_deinit(&out);

    uint8_t place[DELIVERY_HEADER_MAX_BYTES + 64];
    size_t size = codec_message_size(&message);
    size_t header = codec_put_delivery_header(place, 1, span_of("A"), size);
    codec_put_message(place + header, &message);
    const struct span delivery = BYTES("\0\0\0\x1b\x42\x19\x08\x01\x12\x01\x41\x7a\x12\x08\x00"
                                       "\x11\x00\x40\x20\x46\x48\x47\x06\x00\x32\x05hello");
    cr_assert(span_equal((struct span){place, header + size}, delivery));
}
