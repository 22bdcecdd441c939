/* Every allocation of the wire fails once: the outcome is named, nothing is lost or leaked. */
#include "codec.h"
#include "failing_memory.h"
#include "frame.h"
#include "leaks.h"
#include "samples.h"

#include <criterion/criterion.h>

enum { MOST_ALLOCATIONS = 1000 };

/* Runs `step` with the first, second, … allocation failing until none does. Returns how many it makes. */
static size_t sweep(enum ps_status (*step)(size_t sample), size_t sample)
{
    for (size_t n = 0; n < MOST_ALLOCATIONS; n++) {
        memory_fails_after(n);
        enum ps_status status = step(sample);
        bool failed = memory_failed();
        cr_assert_eq(status, failed ? PS_NO_MEMORY : PS_OK, "sample %zu, allocation %zu: %s", sample, n,
                     ps_status_name(status));
        if (!failed)
            return n;
    }
    cr_assert_fail("sample %zu does not end", sample);
    return 0;
}

static enum ps_status encode(size_t sample, struct bytes *out)
{
    if (sample < SAMPLE_CLIENT_FRAMES)
        return codec_encode_client(&sample_client_frames[sample], out);
    return codec_encode_server(&sample_server_frames[sample - SAMPLE_CLIENT_FRAMES], out);
}

static bool is_delivery(size_t sample)
{
    return sample >= SAMPLE_CLIENT_FRAMES &&
           sample_server_frames[sample - SAMPLE_CLIENT_FRAMES].kind == SERVER_DELIVERY;
}

static enum ps_status encode_behind_another(size_t sample)
{
    struct bytes out = {0};
    if (bytes_reserve(&out, 4) != PS_OK)
        return PS_NO_MEMORY;
    memcpy(out.data, "abcd", 4);
    out.size = 4;
    enum ps_status status = encode(sample, &out);
    bool intact = out.size >= 4 && memcmp(out.data, "abcd", 4) == 0 && (status == PS_OK || out.size == 4);
    bytes_deinit(&out);
    return intact ? status : PS_INTERNAL;
}

Test(no_memory, an_encoder_leaves_the_output_as_it_was)
{
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES + SAMPLE_SERVER_FRAMES; i++) {
        if (!is_delivery(i))
            cr_assert_geq(sweep(encode_behind_another, i), 2u);
    }
    ASSERT_NO_LEAKS();
}

static struct bytes encoded;

static enum ps_status decode(size_t sample)
{
    struct span body = {encoded.data + FRAME_HEADER_BYTES, encoded.size - FRAME_HEADER_BYTES};
    struct client_frame client;
    struct server_frame server;
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    if (arena == NULL)
        return PS_NO_MEMORY;
    enum ps_status status = sample < SAMPLE_CLIENT_FRAMES ? codec_decode_client(body, arena, &client)
                                                          : codec_decode_server(body, arena, &server);
    arena_free(arena);
    return status;
}

Test(no_memory, a_decoder_says_so)
{
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES + SAMPLE_SERVER_FRAMES; i++) {
        if (is_delivery(i))
            continue;
        cr_assert_eq(encode(i, &encoded), PS_OK);
        cr_assert_geq(sweep(decode, i), 1u);
        bytes_deinit(&encoded);
    }
    ASSERT_NO_LEAKS();
}

Test(no_memory, a_decoder_of_many_messages_says_so)
{
    enum { MANY = 5000 };
    static struct message messages[MANY];
    for (size_t i = 0; i < MANY; i++)
        messages[i].payload = span_of("x");
    struct publish_group group = {span_of("a"), messages, MANY};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, MANY, false}};
    cr_assert_eq(codec_encode_client(&frame, &encoded), PS_OK);
    cr_assert_geq(sweep(decode, 0), 2u);
    bytes_deinit(&encoded);
    ASSERT_NO_LEAKS();
}

static enum ps_status build_batch(size_t count)
{
    struct batch *batch = batch_new(0, 0);
    enum ps_status status = batch != NULL ? PS_OK : PS_NO_MEMORY;
    for (uint64_t i = 0; status == PS_OK && i < count; i++) {
        const struct message message = {.offset = i, .payload = span_of("0123456789")};
        size_t size = batch->size;
        uint32_t entries = batch->count;
        status = batch_append(batch, &message);
        if (status != PS_OK && (batch->size != size || batch->count != entries))
            status = PS_INTERNAL;
    }
    batch_unref(batch);
    return status;
}

Test(no_memory, a_batch_is_unchanged)
{
    cr_assert_geq(sweep(build_batch, 100), 8u);
    ASSERT_NO_LEAKS();
}

/* Frames that stay in use, so that each buffer is a new one, and one that needs a buffer of its own. */
static enum ps_status receive(size_t size)
{
    struct buffer_pool pool = {0};
    struct frame_reader reader;
    struct buffer *held[4] = {NULL};
    enum ps_status status = PS_OK;
    frame_reader_init(&reader, 1 << 20, &pool);
    for (size_t i = 0; status == PS_OK && i < 4; i++) {
        size_t total = FRAME_HEADER_BYTES + size, done = 0;
        uint8_t header[FRAME_HEADER_BYTES];
        frame_put_header(header, (uint32_t)size);
        while (status == PS_OK && done < total) {
            uint8_t *place;
            size_t room;
            status = frame_reader_space(&reader, &place, &room);
            if (status != PS_OK)
                break;
            size_t part = done < FRAME_HEADER_BYTES ? 1 : room < total - done ? room : total - done;
            memset(place, done < FRAME_HEADER_BYTES ? header[done] : 'x', part);
            frame_reader_received(&reader, part);
            done += part;
        }
        struct span body = SPAN_ABSENT;
        struct buffer *owner;
        if (status == PS_OK && frame_reader_next(&reader, &body, &owner) == PS_OK && span_present(body))
            held[i] = buffer_ref(owner);
        else if (status == PS_OK)
            status = PS_INTERNAL;
    }
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    for (size_t i = 0; i < 4; i++)
        buffer_unref(held[i]);
    return status;
}

/* One that has no memory for a copy does without: only a block that is missing is told. */
static size_t sweep_reader(size_t size)
{
    for (size_t n = 0; n < MOST_ALLOCATIONS; n++) {
        memory_fails_after(n);
        enum ps_status status = receive(size);
        bool failed = memory_failed();
        cr_assert(status == PS_OK || (failed && status == PS_NO_MEMORY), "%zu bytes, allocation %zu: %s",
                  size, n, ps_status_name(status));
        if (!failed)
            return n;
    }
    cr_assert_fail("%zu bytes do not end", size);
    return 0;
}

Test(no_memory, a_frame_reader_says_so_or_does_without)
{
    cr_assert_geq(sweep_reader(100), 5u);
    cr_assert_geq(sweep_reader(FRAME_BUFFER_BYTES - 10), 4u);
    cr_assert_geq(sweep_reader(3 * FRAME_BUFFER_BYTES), 4u);
    ASSERT_NO_LEAKS();
}
