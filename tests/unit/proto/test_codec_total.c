/* Any bytes give a frame or a named refusal, within the budget. */
#include "codec_oracle.h"
#include "dice.h"
#include "frame.h"
#include "leaks.h"
#include "samples.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { SAMPLES = SAMPLE_CLIENT_FRAMES + SAMPLE_SERVER_FRAMES };

static struct bytes encode_sample(size_t index)
{
    struct bytes out = {0};
    if (index < SAMPLE_CLIENT_FRAMES)
        cr_assert_eq(codec_encode_client(&sample_client_frames[index], &out), PS_OK);
    else
        cr_assert_eq(oracle_encode_server(&sample_server_frames[index - SAMPLE_CLIENT_FRAMES], &out), PS_OK);
    return out;
}

/* Decodes a copy that ends where its memory ends, so that the sanitizers see a read behind it. */
static enum ps_status check(size_t index, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    enum ps_status status;
    if (size > 0)
        memcpy(copy, data, size);
    struct span body = {copy, size};
    const char *differs = index < SAMPLE_CLIENT_FRAMES ? oracle_check_client(body, &status)
                                                       : oracle_check_server(body, &status);
    cr_assert_null(differs, "sample %zu: %s", index, differs);
    cr_assert(status == PS_OK || status == PS_MALFORMED || status == PS_LIMIT_EXCEEDED, "sample %zu: %s",
              index, ps_status_name(status));
    free(copy);
    return status;
}

Test(codec, every_truncation_of_every_kind_has_an_outcome)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct bytes frame = encode_sample(i);
        for (size_t size = 0; size < frame.size - FRAME_HEADER_BYTES; size++)
            check(i, frame.data + FRAME_HEADER_BYTES, size);
        bytes_deinit(&frame);
    }
    ASSERT_NO_LEAKS();
}

Test(codec, a_frame_cut_inside_its_body_is_malformed)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct bytes frame = encode_sample(i);
        bool with_id = i < SAMPLE_CLIENT_FRAMES
                           ? sample_client_frames[i].request_id.present
                           : sample_server_frames[i - SAMPLE_CLIENT_FRAMES].request_id.present;
        if (with_id && frame.size > FRAME_HEADER_BYTES + 14) {
            enum ps_status status =
                check(i, frame.data + FRAME_HEADER_BYTES, frame.size - FRAME_HEADER_BYTES - 1);
            cr_assert_eq(status, PS_MALFORMED, "sample %zu", i);
        }
        bytes_deinit(&frame);
    }
    ASSERT_NO_LEAKS();
}

static void mutate(struct dice *dice, uint8_t *data, size_t *size)
{
    static const uint8_t favourites[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0x08,
                                         0x0a, 0x12, 0x1a, 0x2a, 0x32, 0x7a};
    size_t at = dice_below(dice, *size);
    switch (dice_below(dice, 5)) {
    case 0:
        data[at] ^= (uint8_t)(1u << dice_below(dice, 8));
        break;
    case 1:
        data[at] = favourites[dice_below(dice, sizeof favourites)];
        break;
    case 2: /* remove a piece */
    {
        size_t gone = 1 + dice_below(dice, *size - at);
        if (gone < *size) {
            memmove(data + at, data + at + gone, *size - at - gone);
            *size -= gone;
        }
        break;
    }
    case 3: /* overwrite a piece by another */
    {
        size_t from = dice_below(dice, *size);
        size_t most = *size - (from > at ? from : at);
        memmove(data + at, data + from, dice_below(dice, most + 1));
        break;
    }
    default:
        data[at] = (uint8_t)dice_u64(dice);
    }
}

Test(codec, random_mutations_have_an_outcome_and_agree_with_protobuf_c)
{
    struct dice dice = dice_of(20260101);
    size_t accepted = 0;
    for (int round = 0; round < 40000; round++) {
        size_t i = dice_below(&dice, SAMPLES);
        struct bytes frame = encode_sample(i);
        size_t size = frame.size - FRAME_HEADER_BYTES;
        for (size_t changes = 1 + dice_below(&dice, 3); changes > 0 && size > 0; changes--)
            mutate(&dice, frame.data + FRAME_HEADER_BYTES, &size);
        accepted += check(i, frame.data + FRAME_HEADER_BYTES, size) == PS_OK;
        bytes_deinit(&frame);
    }
    cr_assert_gt(accepted, 1000u);
    ASSERT_NO_LEAKS();
}

Test(codec, random_bytes_have_an_outcome)
{
    struct dice dice = dice_of(7);
    uint8_t data[64];
    for (int round = 0; round < 20000; round++) {
        size_t size = dice_below(&dice, sizeof data);
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)dice_u64(&dice);
        check(0, data, size);
        check(SAMPLE_CLIENT_FRAMES, data, size);
    }
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------ hostile size */

enum { BOMB_BYTES = 1024 * 1024 };

static uint8_t *put_length(uint8_t *at, uint8_t key, size_t length)
{
    *at++ = key;
    for (; length >= 0x80; length >>= 7)
        *at++ = (uint8_t)(length | 0x80);
    *at++ = (uint8_t)length;
    return at;
}

struct bomb {
    enum ps_status status;
    size_t held; /* bytes of the arena afterwards */
    size_t budget;
};

/* A frame whose body is nested `keys` deep and then repeats two bytes to the end. */
static struct bomb explode(bool client, const uint8_t *keys, size_t depth, uint8_t first, uint8_t second)
{
    uint8_t *data = malloc(BOMB_BYTES);
    uint8_t *at = data, *end = data + BOMB_BYTES;
    for (size_t i = 0; i < depth; i++) {
        size_t header = 5, left = (size_t)(end - at);
        at = put_length(at, keys[i], left - header + (left - header < 0x200000 ? 1 : 0));
        cr_assert_leq((size_t)(end - at), left);
    }
    size_t left = (size_t)(end - at) / 2;
    for (size_t i = 0; i < left; i++) {
        *at++ = first;
        *at++ = second;
    }
    struct span body = {data, (size_t)(at - data)};
    struct bomb bomb = {.budget = codec_arena_budget(body.size)};
    struct arena *arena = arena_new(bomb.budget);
    struct client_frame client_frame;
    struct server_frame server_frame;
    bomb.status = client ? codec_decode_client(body, arena, &client_frame)
                         : codec_decode_server(body, arena, &server_frame);
    bomb.held = arena_size(arena);
    arena_free(arena);
    free(data);
    return bomb;
}

Test(codec, unknown_members_cost_no_memory)
{
    for (uint8_t key = 0x12; key <= 0x7a; key = (uint8_t)(key + 8)) {
        /* Member 14 as a varint: unknown in every body. */
        struct bomb bomb = explode(true, &key, 1, 14 << 3, 0x01);
        cr_assert(bomb.status == PS_OK || bomb.status == PS_MALFORMED, "%x: %s", key,
                  ps_status_name(bomb.status));
        cr_assert_leq(bomb.held, 8192u, "%x", key);
    }
    ASSERT_NO_LEAKS();
}

Test(codec, repeated_members_stay_within_the_budget)
{
    static const struct {
        bool client;
        uint8_t keys[3];
        size_t depth;
        uint8_t element;
    } nests[] = {
        {true, {0x2a}, 1, 0x0a},             /* batches of a publish */
        {true, {0x2a, 0x0a}, 2, 0x12},       /* messages of a batch */
        {true, {0x2a, 0x0a, 0x12}, 3, 0x2a}, /* headers of a message */
        {true, {0x32, 0x1a, 0x2a}, 3, 0x12}, /* offsets of a resume */
        {false, {0x32}, 1, 0x0a},            /* runs */
        {false, {0x3a}, 1, 0x2a},            /* starts */
        {false, {0x42}, 1, 0x7a},            /* messages of a delivery */
        {false, {0x6a}, 1, 0x0a},            /* topics */
        {false, {0x72}, 1, 0x0a},            /* subscriptions */
        {false, {0x72, 0x0a}, 2, 0x3a},      /* positions */
    };
    for (size_t i = 0; i < sizeof nests / sizeof nests[0]; i++) {
        struct bomb bomb = explode(nests[i].client, nests[i].keys, nests[i].depth, nests[i].element, 0);
        cr_assert(bomb.status == PS_LIMIT_EXCEEDED || bomb.status == PS_MALFORMED, "%zu: %s", i,
                  ps_status_name(bomb.status));
        cr_assert_leq(bomb.held, bomb.budget, "%zu", i);
    }
    ASSERT_NO_LEAKS();
}

/* A publish of `count` messages, each `size` bytes of `piece`, in groups of `group`. */
static struct bytes publish_of(uint32_t count, const struct message *message, uint32_t per_group)
{
    struct message *messages = malloc(count * sizeof *messages);
    for (uint32_t i = 0; i < count; i++)
        messages[i] = *message;
    uint32_t group_count = (count + per_group - 1) / per_group;
    struct publish_group *groups = malloc(group_count * sizeof *groups);
    for (uint32_t i = 0; i < group_count; i++)
        groups[i] = (struct publish_group){span_of("a"), messages + i * per_group, per_group};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {groups, group_count, count, false}};
    struct bytes out = {0};
    cr_assert_eq(codec_encode_client(&frame, &out), PS_OK);
    free(messages);
    free(groups);
    return out;
}

static void check_decodes(struct bytes *bytes, uint32_t count)
{
    struct span body = {bytes->data + FRAME_HEADER_BYTES, bytes->size - FRAME_HEADER_BYTES};
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    struct client_frame frame;
    cr_assert_eq(codec_decode_client(body, arena, &frame), PS_OK);
    cr_assert_eq(frame.publish.message_count, count);
    arena_free(arena);
    bytes_deinit(bytes);
}

Test(codec, the_budget_is_enough_for_every_frame_within_the_limits)
{
    static const struct header headers[2] = {{{(const uint8_t *)"n", 1}, {(const uint8_t *)"", 0}},
                                             {{(const uint8_t *)"m", 1}, {(const uint8_t *)"", 0}}};
    const struct message empty = {.payload = span_of("")};
    const struct message headed = {.payload = span_of(""), .headers = headers, .header_count = 2};
    for (uint32_t count = 1; count <= PROTOCOL_MAX_MESSAGES_PER_FRAME; count *= 2) {
        struct bytes one = publish_of(count, &empty, count);
        check_decodes(&one, count);
        struct bytes many = publish_of(count, &empty, 1);
        check_decodes(&many, count);
        struct bytes with_headers = publish_of(count, &headed, 1);
        check_decodes(&with_headers, count);
    }
    ASSERT_NO_LEAKS();
}

Test(codec, bare_messages_of_two_bytes_each_decode)
{
    /* Shorter than our encoder makes them: a message without any member. */
    uint8_t data[2 * PROTOCOL_MAX_MESSAGES_PER_FRAME + 64], *at = data;
    size_t batch = 3 + 2 * PROTOCOL_MAX_MESSAGES_PER_FRAME;
    at = put_length(at, 0x2a, batch + 4);
    at = put_length(at, 0x0a, batch);
    memcpy(at,
           "\x0a\x01"
           "A",
           3);
    at += 3;
    for (int i = 0; i < PROTOCOL_MAX_MESSAGES_PER_FRAME; i++) {
        *at++ = 0x12;
        *at++ = 0;
    }
    struct span body = {data, (size_t)(at - data)};
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    struct client_frame frame;
    cr_assert_eq(codec_decode_client(body, arena, &frame), PS_OK);
    cr_assert_eq(frame.publish.message_count, (uint32_t)PROTOCOL_MAX_MESSAGES_PER_FRAME);
    cr_assert(span_present(frame.publish.groups[0].messages[9].payload));
    arena_free(arena);
    ASSERT_NO_LEAKS();
}

static void check_refused(uint32_t count, uint32_t per_group)
{
    const struct message empty = {.payload = span_of("")};
    struct bytes bytes = publish_of(count, &empty, per_group);
    struct span body = {bytes.data + FRAME_HEADER_BYTES, bytes.size - FRAME_HEADER_BYTES};
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    struct client_frame frame;
    cr_assert_eq(codec_decode_client(body, arena, &frame), PS_LIMIT_EXCEEDED, "%u a group", per_group);
    arena_free(arena);
    bytes_deinit(&bytes);
}

Test(codec, more_messages_than_a_frame_may_hold_are_refused)
{
    check_refused(PROTOCOL_MAX_MESSAGES_PER_FRAME + 1, 1);
    check_refused(PROTOCOL_MAX_MESSAGES_PER_FRAME + 128, 128);
    check_refused(PROTOCOL_MAX_MESSAGES_PER_FRAME + 1, PROTOCOL_MAX_MESSAGES_PER_FRAME + 1);
    ASSERT_NO_LEAKS();
}
