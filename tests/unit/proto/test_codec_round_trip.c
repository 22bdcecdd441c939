#include "codec_oracle.h"
#include "dice.h"
#include "frame.h"
#include "leaks.h"
#include "psbroker.pb-c.h"
#include "samples.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct span body_of(const struct bytes *frame)
{
    return (struct span){frame->data + FRAME_HEADER_BYTES, frame->size - FRAME_HEADER_BYTES};
}

static struct bytes encode_client(const struct client_frame *frame)
{
    struct bytes out = {0};
    cr_assert_eq(codec_encode_client(frame, &out), PS_OK);
    return out;
}

static struct bytes encode_server(const struct server_frame *frame)
{
    struct bytes out = {0};
    cr_assert_eq(oracle_encode_server(frame, &out), PS_OK);
    return out;
}

Test(codec, every_kind_of_client_frame_comes_back_equal)
{
    bool seen[CLIENT_READ_BACKUP + 1] = {false};
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES; i++) {
        const struct client_frame *sample = &sample_client_frames[i];
        struct bytes first = encode_client(sample);
        struct arena *arena = arena_new(codec_arena_budget(first.size));
        struct client_frame frame;
        cr_assert_eq(codec_decode_client(body_of(&first), arena, &frame), PS_OK, "sample %zu", i);
        cr_assert_eq(frame.kind, sample->kind, "sample %zu", i);
        cr_assert_eq(frame.request_id.present, sample->request_id.present, "sample %zu", i);
        struct bytes second = encode_client(&frame);
        cr_assert(span_equal(body_of(&first), body_of(&second)), "sample %zu", i);
        seen[frame.kind] = true;
        bytes_deinit(&first);
        bytes_deinit(&second);
        arena_free(arena);
    }
    for (int kind = CLIENT_HELLO; kind <= CLIENT_READ_BACKUP; kind++)
        cr_assert(seen[kind], "no sample of kind %d", kind);
    ASSERT_NO_LEAKS();
}

Test(codec, every_kind_of_server_frame_comes_back_equal)
{
    bool seen[SERVER_BACKUP_CHUNK + 1] = {false};
    for (size_t i = 0; i < SAMPLE_SERVER_FRAMES; i++) {
        const struct server_frame *sample = &sample_server_frames[i];
        struct bytes first = encode_server(sample);
        struct arena *arena = arena_new(codec_arena_budget(first.size));
        struct server_frame frame;
        cr_assert_eq(codec_decode_server(body_of(&first), arena, &frame), PS_OK, "sample %zu", i);
        cr_assert_eq(frame.kind, sample->kind, "sample %zu", i);
        struct bytes second = encode_server(&frame);
        cr_assert(span_equal(body_of(&first), body_of(&second)), "sample %zu", i);
        seen[frame.kind] = true;
        bytes_deinit(&first);
        bytes_deinit(&second);
        arena_free(arena);
    }
    for (int kind = SERVER_ERROR; kind <= SERVER_BACKUP_CHUNK; kind++)
        cr_assert(seen[kind], "no sample of kind %d", kind);
    ASSERT_NO_LEAKS();
}

Test(codec, protobuf_c_reads_the_same_in_every_frame)
{
    enum ps_status status;
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES; i++) {
        struct bytes frame = encode_client(&sample_client_frames[i]);
        const char *differs = oracle_check_client(body_of(&frame), &status);
        cr_assert_eq(status, PS_OK);
        cr_assert_null(differs, "client sample %zu: %s", i, differs);
        bytes_deinit(&frame);
    }
    for (size_t i = 0; i < SAMPLE_SERVER_FRAMES; i++) {
        struct bytes frame = encode_server(&sample_server_frames[i]);
        const char *differs = oracle_check_server(body_of(&frame), &status);
        cr_assert_eq(status, PS_OK);
        cr_assert_null(differs, "server sample %zu: %s", i, differs);
        bytes_deinit(&frame);
    }
    ASSERT_NO_LEAKS();
}

/* What is written by hand is byte for byte what protobuf-c packs. */
static void check_packs_equal(const ProtobufCMessageDescriptor *shape, const struct bytes *frame, size_t i)
{
    struct span body = body_of(frame);
    ProtobufCMessage *message = protobuf_c_message_unpack(shape, NULL, body.size, body.data);
    cr_assert_not_null(message, "sample %zu", i);
    uint8_t *packed = malloc(body.size + 1);
    cr_assert_eq(protobuf_c_message_get_packed_size(message), body.size, "sample %zu", i);
    protobuf_c_message_pack(message, packed);
    cr_assert(memcmp(packed, body.data, body.size) == 0, "sample %zu", i);
    free(packed);
    protobuf_c_message_free_unpacked(message, NULL);
}

Test(codec, publish_and_delivery_are_the_bytes_that_protobuf_c_packs)
{
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES; i++) {
        struct bytes frame = encode_client(&sample_client_frames[i]);
        check_packs_equal(&psbroker__client_frame__descriptor, &frame, i);
        bytes_deinit(&frame);
    }
    for (size_t i = 0; i < SAMPLE_SERVER_FRAMES; i++) {
        struct bytes frame = encode_server(&sample_server_frames[i]);
        check_packs_equal(&psbroker__server_frame__descriptor, &frame, i);
        bytes_deinit(&frame);
    }
    ASSERT_NO_LEAKS();
}

Test(codec, a_range_of_a_batch_behind_a_header_is_a_delivery)
{
    struct batch *batch = batch_new(0, 0);
    static uint8_t payload[300];
    for (uint64_t i = 0; i < 40; i++) {
        struct message message = {
            .offset = 100 + i * i, .published_at = (int64_t)i, .payload = {payload, (size_t)i * 7}};
        cr_assert_eq(batch_append(batch, &message), PS_OK);
    }
    for (uint32_t begin = 0; begin <= batch->count; begin++) {
        for (uint32_t end = begin; end <= batch->count; end++) {
            size_t from = batch_begin_of(batch, begin), size = batch_begin_of(batch, end) - from;
            struct bytes frame = {0};
            bytes_reserve(&frame, DELIVERY_HEADER_MAX_BYTES + size);
            frame.size = codec_put_delivery_header(frame.data, 300, span_of("a/b"), size);
            memcpy(frame.data + frame.size, batch->bytes + from, size);
            frame.size += size;
            check_packs_equal(&psbroker__server_frame__descriptor, &frame, begin);
            uint32_t length = (uint32_t)frame.data[0] << 24 | (uint32_t)frame.data[1] << 16 |
                              (uint32_t)frame.data[2] << 8 | frame.data[3];
            cr_assert_eq(length, frame.size - FRAME_HEADER_BYTES);
            struct arena *arena = arena_new(codec_arena_budget(frame.size));
            struct server_frame decoded;
            cr_assert_eq(codec_decode_server(body_of(&frame), arena, &decoded), PS_OK);
            cr_assert_eq(decoded.delivery.message_count, end - begin);
            for (uint32_t i = begin; i < end; i++)
                cr_assert_eq(decoded.delivery.messages[i - begin].offset, batch->entries[i].offset);
            arena_free(arena);
            bytes_deinit(&frame);
        }
    }
    batch_unref(batch);
    ASSERT_NO_LEAKS();
}

Test(codec, a_delivery_header_fits_its_place_at_every_width)
{
    uint8_t place[DELIVERY_HEADER_MAX_BYTES];
    static uint8_t topic[255];
    memset(topic, 'a', sizeof topic);
    for (unsigned shift = 0; shift < 64; shift++) {
        for (size_t messages = 0; messages < FRAME_HARD_CAP - 300; messages = messages * 2 + 1) {
            size_t size =
                codec_put_delivery_header(place, UINT64_MAX >> shift, (struct span){topic, 255}, messages);
            cr_assert_leq(size, (size_t)DELIVERY_HEADER_MAX_BYTES);
        }
    }
}

Test(codec, payloads_are_not_copied)
{
    struct bytes bytes = encode_client(&sample_client_frames[4]);
    struct arena *arena = arena_new(codec_arena_budget(bytes.size));
    struct client_frame frame;
    cr_assert_eq(codec_decode_client(body_of(&bytes), arena, &frame), PS_OK);
    const struct message *message = &frame.publish.groups[0].messages[2];
    const uint8_t *end = bytes.data + bytes.size;
    cr_assert(message->payload.data > bytes.data && message->payload.data < end);
    cr_assert(message->headers[0].value.data > bytes.data && message->headers[0].value.data < end);
    cr_assert(frame.publish.groups[1].topic.data > bytes.data && frame.publish.groups[1].topic.data < end);
    arena_free(arena);
    bytes_deinit(&bytes);
    ASSERT_NO_LEAKS();
}

Test(codec, a_frame_beyond_the_hard_cap_is_refused_and_leaves_the_output_alone)
{
    struct message message = {.payload = {NULL, FRAME_HARD_CAP}};
    struct publish_group group = {span_of("a"), &message, 1};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};
    struct bytes out = {0};
    cr_assert_eq(codec_encode_client(&frame, &out), PS_FRAME_TOO_LARGE);
    cr_assert_eq(out.size, 0);
    cr_assert_null(out.data);
}

Test(codec, frames_are_appended_behind_each_other)
{
    struct bytes out = {0};
    struct client_frame ping = {.kind = CLIENT_PING, .ping_token = 5};
    cr_assert_eq(codec_encode_client(&ping, &out), PS_OK);
    size_t one = out.size;
    cr_assert_eq(codec_encode_client(&ping, &out), PS_OK);
    cr_assert_eq(out.size, 2 * one);
    cr_assert(memcmp(out.data, out.data + one, one) == 0);
    bytes_deinit(&out);
    ASSERT_NO_LEAKS();
}

Test(codec, a_status_of_this_process_travels_as_internal)
{
    struct server_frame frame = {.kind = SERVER_ERROR, .error = protocol_error_of(PS_IO_ERROR)}, decoded;
    struct bytes out = encode_server(&frame);
    struct arena *arena = arena_new(codec_arena_budget(out.size));
    cr_assert_eq(codec_decode_server(body_of(&out), arena, &decoded), PS_OK);
    cr_assert_eq(decoded.error.status, PS_INTERNAL);
    arena_free(arena);
    bytes_deinit(&out);
    ASSERT_NO_LEAKS();
}
