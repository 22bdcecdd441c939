#include "frame.h"

#include "dice.h"
#include "leaks.h"

#include <criterion/criterion.h>

static struct buffer_pool pool;

/* Gives bytes to a reader as far as there is room. */
static size_t feed(struct frame_reader *reader, const uint8_t *data, size_t size)
{
    uint8_t *place;
    size_t room;
    cr_assert_eq(frame_reader_space(reader, &place, &room), PS_OK);
    cr_assert_gt(room, 0u);
    size_t taken = size < room ? size : room;
    memcpy(place, data, taken);
    frame_reader_received(reader, taken);
    return taken;
}

static void feed_all(struct frame_reader *reader, const uint8_t *data, size_t size)
{
    for (size_t done = 0; done < size;)
        done += feed(reader, data + done, size - done);
}

/* The next body must be `size` bytes that count up from `first`. */
static void expect_frame(struct frame_reader *reader, size_t size, uint8_t first)
{
    struct span body;
    struct buffer *owner;
    cr_assert_eq(frame_reader_next(reader, &body, &owner), PS_OK);
    cr_assert(span_present(body), "a frame of %zu bytes", size);
    cr_assert_eq(body.size, size);
    cr_assert(body.data >= owner->data && body.data + body.size <= owner->data + owner->size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(body.data[i], (uint8_t)(first + i));
}

static void expect_nothing(struct frame_reader *reader)
{
    struct span body;
    struct buffer *owner;
    cr_assert_eq(frame_reader_next(reader, &body, &owner), PS_OK);
    cr_assert_not(span_present(body));
}

static enum ps_status refusal(struct frame_reader *reader)
{
    struct span body = SPAN_ABSENT;
    struct buffer *owner = NULL;
    return frame_reader_next(reader, &body, &owner);
}

static size_t put_frame(uint8_t *place, size_t size, uint8_t first)
{
    frame_put_header(place, (uint32_t)size);
    for (size_t i = 0; i < size; i++)
        place[FRAME_HEADER_BYTES + i] = (uint8_t)(first + i);
    return FRAME_HEADER_BYTES + size;
}

Test(frame, split_anywhere_the_same_frames_come_out)
{
    uint8_t stream[256];
    static const size_t sizes[] = {1, 5, 60, 1, 130};
    size_t length = 0;
    for (size_t i = 0; i < 5; i++)
        length += put_frame(stream + length, sizes[i], (uint8_t)i);
    for (size_t first = 0; first <= length; first++) {
        for (size_t second = first; second <= length; second++) {
            struct frame_reader reader;
            frame_reader_init(&reader, FRAME_CAP_BEFORE_HELLO, &pool);
            const size_t ends[] = {first, second, length};
            size_t at = 0, taken = 0, behind = 0;
            for (size_t piece = 0; piece < 3; piece++) {
                if (ends[piece] > at)
                    feed_all(&reader, stream + at, ends[piece] - at);
                at = ends[piece];
                while (taken < 5 && behind + FRAME_HEADER_BYTES + sizes[taken] <= at) {
                    expect_frame(&reader, sizes[taken], (uint8_t)taken);
                    behind += FRAME_HEADER_BYTES + sizes[taken++];
                }
                expect_nothing(&reader);
                cr_assert_eq(frame_reader_pending(&reader), at - behind);
            }
            cr_assert_eq(taken, 5u);
            frame_reader_deinit(&reader);
        }
    }
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, a_byte_at_a_time_through_many_buffers)
{
    struct frame_reader reader;
    uint8_t frame[3000];
    frame_reader_init(&reader, 4096, &pool);
    for (int i = 0; i < 100; i++) {
        size_t size = put_frame(frame, 2900, (uint8_t)i);
        for (size_t at = 0; at < size; at++) {
            expect_nothing(&reader);
            cr_assert_eq(feed(&reader, frame + at, 1), 1u);
        }
        expect_frame(&reader, 2900, (uint8_t)i);
    }
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, a_frame_in_use_is_not_written_again)
{
    enum { HELD = 200 };
    struct frame_reader reader;
    struct buffer *owners[HELD];
    struct span bodies[HELD];
    uint8_t *frame = malloc(50000);
    struct dice dice = dice_of(5);
    frame_reader_init(&reader, 1 << 20, &pool);
    for (int i = 0; i < HELD; i++) {
        size_t size = 1 + dice_below(&dice, 40000);
        feed_all(&reader, frame, put_frame(frame, size, (uint8_t)i));
        cr_assert_eq(frame_reader_next(&reader, &bodies[i], &owners[i]), PS_OK);
        cr_assert_eq(bodies[i].size, size);
        buffer_ref(owners[i]);
        expect_nothing(&reader);
    }
    frame_reader_deinit(&reader);
    for (int i = 0; i < HELD; i++) {
        for (size_t at = 0; at < bodies[i].size; at++)
            cr_assert_eq(bodies[i].data[at], (uint8_t)((size_t)i + at));
        buffer_unref(owners[i]);
    }
    free(frame);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, a_large_frame_gets_a_buffer_that_holds_it_and_no_more)
{
    static const size_t sizes[] = {FRAME_BUFFER_BYTES - FRAME_HEADER_BYTES, FRAME_BUFFER_BYTES, 1 << 20};
    uint8_t *frame = malloc((1 << 20) + FRAME_HEADER_BYTES);
    for (size_t i = 0; i < 3; i++) {
        struct frame_reader reader;
        frame_reader_init(&reader, FRAME_HARD_CAP, &pool);
        feed_all(&reader, frame, put_frame(frame, 10, 3));
        expect_frame(&reader, 10, 3);
        feed_all(&reader, frame, put_frame(frame, sizes[i], 1));
        cr_assert_leq(reader.buffer->size, sizes[i] + FRAME_HEADER_BYTES + FRAME_BUFFER_BYTES);
        expect_frame(&reader, sizes[i], 1);
        expect_nothing(&reader);
        cr_assert_null(reader.buffer, "afterwards nothing is held");
        feed_all(&reader, frame, put_frame(frame, 10, 9));
        expect_frame(&reader, 10, 9);
        frame_reader_deinit(&reader);
    }
    free(frame);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

/* The next frame, which is held. */
static struct buffer *hold_frame(struct frame_reader *reader)
{
    struct span body;
    struct buffer *owner;
    cr_assert_eq(frame_reader_next(reader, &body, &owner), PS_OK);
    cr_assert(span_present(body));
    return buffer_ref(owner);
}

Test(frame, a_reader_at_rest_holds_nothing_and_a_partial_frame_no_more_than_itself)
{
    enum { READERS = 100 };
    static struct frame_reader readers[READERS];
    static uint8_t stream[FRAME_COPY_BYTES * 2];
    for (size_t i = 0; i < READERS; i++)
        frame_reader_init(&readers[i], 1 << 20, &pool);
    for (size_t large = 0; large < 2; large++) {
        size_t size = put_frame(stream, large ? sizeof stream - FRAME_HEADER_BYTES : 100, 1);
        for (size_t i = 0; i < READERS; i++) {
            feed_all(&readers[i], stream, size);
            expect_frame(&readers[i], size - FRAME_HEADER_BYTES, 1);
            expect_nothing(&readers[i]);
            cr_assert_null(readers[i].buffer);
        }
        cr_assert_not_null(pool.spare, "one block served all");
    }
    size_t size = put_frame(stream, 1000, 2);
    for (size_t i = 0; i < READERS; i++) {
        feed_all(&readers[i], stream, size / 2);
        expect_nothing(&readers[i]);
        cr_assert_eq(readers[i].buffer->size, size);
        frame_reader_rest(&readers[i]);
    }
    for (size_t i = 0; i < READERS; i++) {
        feed_all(&readers[i], stream + size / 2, size - size / 2);
        expect_frame(&readers[i], 1000, 2);
        expect_nothing(&readers[i]);
        cr_assert_null(readers[i].buffer);
        frame_reader_deinit(&readers[i]);
    }
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, a_small_read_pins_its_size_and_a_large_one_a_block_that_is_filled_further)
{
    struct frame_reader reader;
    static uint8_t stream[FRAME_COPY_BYTES * 2];
    frame_reader_init(&reader, 1 << 20, &pool);
    size_t size = put_frame(stream, 100, 1);
    size += put_frame(stream + size, 200, 2);
    feed_all(&reader, stream, size);
    struct buffer *small = hold_frame(&reader);
    expect_frame(&reader, 200, 2);
    expect_nothing(&reader);
    cr_assert_eq(small->size, size);
    cr_assert_null(reader.buffer);

    size = put_frame(stream, FRAME_COPY_BYTES, 3);
    feed_all(&reader, stream, size);
    struct buffer *block = hold_frame(&reader);
    expect_nothing(&reader);
    feed_all(&reader, stream, size);
    struct buffer *again = hold_frame(&reader);
    cr_assert_eq(again, block, "the rest of a pinned block is used");
    expect_nothing(&reader);
    frame_reader_rest(&reader);
    cr_assert_null(reader.buffer, "but not kept for ever");
    buffer_unref(small);
    buffer_unref(block);
    buffer_unref(again);
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, many_complete_frames_may_wait_while_more_arrive)
{
    struct frame_reader reader;
    uint8_t frame[2048];
    frame_reader_init(&reader, 4096, &pool);
    for (int i = 0; i < 500; i++)
        feed_all(&reader, frame, put_frame(frame, 2000, (uint8_t)i));
    for (int i = 0; i < 500; i++)
        expect_frame(&reader, 2000, (uint8_t)i);
    expect_nothing(&reader);
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, the_cap_is_exact_and_follows_its_change)
{
    struct frame_reader reader;
    uint8_t frame[5004];
    frame_reader_init(&reader, FRAME_CAP_BEFORE_HELLO, &pool);
    feed_all(&reader, frame, put_frame(frame, FRAME_CAP_BEFORE_HELLO, 1));
    expect_frame(&reader, FRAME_CAP_BEFORE_HELLO, 1);
    put_frame(frame, FRAME_CAP_BEFORE_HELLO + 1, 2);
    feed_all(&reader, frame, 3);
    expect_nothing(&reader);
    feed_all(&reader, frame + 3, 1);
    cr_assert_eq(refusal(&reader), PS_FRAME_TOO_LARGE, "known from the length alone");
    cr_assert_eq(refusal(&reader), PS_FRAME_TOO_LARGE, "and again");
    cr_assert_leq(reader.buffer->size, 16u, "nothing was allocated for it");
    frame_reader_deinit(&reader);

    frame_reader_init(&reader, FRAME_CAP_BEFORE_HELLO, &pool);
    frame_reader_set_cap(&reader, 5000);
    feed_all(&reader, frame, put_frame(frame, 5000, 2));
    expect_frame(&reader, 5000, 2);
    frame_put_header(frame, 5001);
    feed_all(&reader, frame, 4);
    cr_assert_eq(refusal(&reader), PS_FRAME_TOO_LARGE);
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, an_empty_body_and_another_protocol_are_malformed)
{
    static const char *const starts[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02", "\x05",
                                         "\xff\xff\xff\xff"};
    struct frame_reader reader;
    frame_reader_init(&reader, 4096, &pool);
    feed_all(&reader, (const uint8_t *)"\0\0\0\0", 4);
    cr_assert_eq(refusal(&reader), PS_MALFORMED);
    frame_reader_deinit(&reader);
    for (size_t i = 0; i < 4; i++) {
        frame_reader_init(&reader, 4096, &pool);
        feed_all(&reader, (const uint8_t *)starts[i], strlen(starts[i]));
        cr_assert_eq(refusal(&reader), PS_MALFORMED);
        cr_assert_eq(refusal(&reader), PS_MALFORMED);
        frame_reader_deinit(&reader);
    }
    frame_reader_init(&reader, FRAME_HARD_CAP, &pool);
    feed_all(&reader, (const uint8_t *)"\x04\xff\xff\xff", 4);
    cr_assert_eq(refusal(&reader), PS_FRAME_TOO_LARGE);
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, bytes_behind_a_refusal_find_room)
{
    struct frame_reader reader;
    static uint8_t noise[1000];
    frame_reader_init(&reader, 4096, &pool);
    memset(noise, 0xff, sizeof noise);
    for (int i = 0; i < 300; i++) {
        feed_all(&reader, noise, sizeof noise);
        cr_assert_eq(refusal(&reader), PS_MALFORMED);
    }
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}

Test(frame, random_bytes_in_random_pieces_have_an_outcome)
{
    struct dice dice = dice_of(77);
    for (int round = 0; round < 300; round++) {
        struct frame_reader reader;
        struct buffer *held[8] = {NULL};
        uint8_t noise[600];
        frame_reader_init(&reader, 1 + dice_below(&dice, 400000), &pool);
        for (int piece = 0; piece < 60; piece++) {
            size_t size = 1 + dice_below(&dice, sizeof noise);
            for (size_t i = 0; i < size; i++)
                noise[i] = dice_below(&dice, 3) != 0 ? 0 : (uint8_t)dice_u64(&dice);
            feed_all(&reader, noise, size);
            struct span body;
            struct buffer *owner;
            while (frame_reader_next(&reader, &body, &owner) == PS_OK && span_present(body)) {
                cr_assert(body.data >= owner->data && body.data + body.size <= owner->data + owner->size);
                cr_assert(body.size > 0 && body.size <= reader.cap);
                size_t slot = dice_below(&dice, 8);
                buffer_unref(held[slot]);
                held[slot] = buffer_ref(owner);
            }
        }
        frame_reader_deinit(&reader);
        for (size_t i = 0; i < 8; i++)
            buffer_unref(held[i]);
    }
    buffer_pool_deinit(&pool);
    ASSERT_NO_LEAKS();
}
