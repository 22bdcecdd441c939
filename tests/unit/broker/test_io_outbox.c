#include "leaks.h"
#include "outbox.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct batch *batch_of(uint32_t count, size_t payload)
{
    struct batch *batch = batch_new(1, 1);
    uint8_t *bytes = malloc(payload + 1);

    memset(bytes, 'x', payload + 1);
    for (uint32_t i = 0; i < count; i++) {
        struct message message = {.offset = i, .payload = {bytes, payload}};
        cr_assert_eq(batch_append(batch, &message), PS_OK);
    }
    free(bytes);
    return batch;
}

static void put_pong(struct outbox *outbox, uint64_t token)
{
    struct server_frame frame = {.kind = SERVER_PONG, .ping_token = token};

    cr_assert_eq(outbox_frame(outbox, &frame), PS_OK);
}

static size_t all_bytes(const struct outbox *outbox, uint8_t *place)
{
    uv_buf_t buffers[64];
    unsigned count = outbox_buffers(outbox, buffers, 64);
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        memcpy(place + size, buffers[i].base, buffers[i].len);
        size += buffers[i].len;
    }
    return size;
}

Test(io_outbox, bytes_leave_in_order_whatever_the_kernel_takes)
{
    enum { ROOM = 64 * 1024 };
    struct outbox outbox = {0};
    struct batch *batch = batch_of(20, 100);
    uint8_t *whole = malloc(ROOM), *parts = malloc(ROOM);
    size_t got = 0;

    for (uint32_t i = 0; i < 10; i++) {
        put_pong(&outbox, i);
        cr_assert_eq(outbox_delivery(&outbox, 1, span_of("A"), batch_ref(batch), 2 * i, 2 * i + 2), PS_OK);
    }
    size_t size = all_bytes(&outbox, whole);
    while (!outbox_empty(&outbox)) {
        uv_buf_t first;
        cr_assert_eq(outbox_buffers(&outbox, &first, 1), 1u);
        size_t step = got % 37 + 1 < first.len ? got % 37 + 1 : first.len;
        memcpy(parts + got, first.base, step);
        outbox_sent(&outbox, step);
        got += step;
    }
    cr_assert_eq(got, size);
    cr_assert_arr_eq(whole, parts, size);
    cr_assert_eq(outbox.charge, 0u);
    cr_assert_eq(batch->refs, 1u, "every reference was given back");
    batch_unref(batch);
    outbox_deinit(&outbox);
    free(whole);
    free(parts);
    ASSERT_NO_LEAKS();
}

Test(io_outbox, batches_are_sent_in_place)
{
    struct outbox outbox = {0};
    struct batch *batch = batch_of(4, 50);
    uv_buf_t buffers[4];

    cr_assert_eq(outbox_delivery(&outbox, 1, span_of("A"), batch_ref(batch), 1, 3), PS_OK);
    cr_assert_eq(outbox_buffers(&outbox, buffers, 4), 2u);
    cr_assert_eq((uint8_t *)buffers[1].base, batch->bytes + batch_begin_of(batch, 1));
    outbox_deinit(&outbox);
    cr_assert_eq(batch->refs, 1u);
    batch_unref(batch);
    ASSERT_NO_LEAKS();
}

Test(io_outbox, a_batch_is_charged_in_full_once_until_its_last_byte_left)
{
    struct outbox outbox = {0};
    struct batch *batch = batch_of(4, 1000), *other = batch_of(1, 10);
    size_t memory = batch_memory(batch);

    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(outbox_delivery(&outbox, 1, span_of("A"), batch_ref(batch), i, i + 1), PS_OK);
    cr_assert_geq(outbox.charge, memory);
    cr_assert_lt(outbox.charge, memory + 1000);
    cr_assert_eq(outbox_delivery(&outbox, 1, span_of("A"), batch_ref(other), 0, 1), PS_OK);
    cr_assert_geq(outbox.charge, memory + batch_memory(other));
    while (batch->refs > 1) {
        cr_assert_geq(outbox.charge, memory, "it is still held");
        outbox_sent(&outbox, 1);
    }
    cr_assert_lt(outbox.charge, memory);
    outbox_deinit(&outbox);
    batch_unref(batch);
    batch_unref(other);
    ASSERT_NO_LEAKS();
}

Test(io_outbox, frames_in_a_row_are_one_buffer)
{
    struct outbox outbox = {0};
    uv_buf_t buffers[4];

    for (uint64_t i = 0; i < 100; i++)
        put_pong(&outbox, i);
    cr_assert_eq(outbox_buffers(&outbox, buffers, 4), 1u);
    outbox_deinit(&outbox);
    ASSERT_NO_LEAKS();
}
