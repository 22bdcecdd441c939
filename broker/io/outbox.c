/* Segments hold positions, not pointers, since `control` moves as it grows. A box is filled until it is
 * sent from; a connection has two and swaps them, so that buffers given to the kernel stay put. */
#include "outbox.h"

#include <stdlib.h>

enum { CONTROL_KEPT_BYTES = 64 * 1024 }; /* memory an empty box may keep */

void outbox_deinit(struct outbox *outbox)
{
    for (size_t i = outbox->first; i < outbox->count; i++)
        batch_unref(outbox->segments[i].batch);
    free(outbox->segments);
    bytes_deinit(&outbox->control);
    *outbox = (struct outbox){0};
}

void outbox_rest(struct outbox *outbox)
{
    if (outbox_empty(outbox))
        outbox_deinit(outbox);
}

static enum ps_status reserve_segments(struct outbox *outbox, size_t more)
{
    if (outbox->room - outbox->count >= more)
        return PS_OK;
    size_t room = outbox->room > 0 ? outbox->room * 2 : 16;
    struct outbox_segment *segments = realloc(outbox->segments, room * sizeof *segments);
    if (segments == NULL)
        return PS_NO_MEMORY;
    outbox->segments = segments;
    outbox->room = room;
    return PS_OK;
}

/* Bytes [begin, control.size) were appended; room for a segment is there. */
static void add_control(struct outbox *outbox, size_t begin)
{
    size_t size = outbox->control.size - begin;
    struct outbox_segment *last = outbox_empty(outbox) ? NULL : &outbox->segments[outbox->count - 1];

    if (last != NULL && last->batch == NULL && last->end == begin) {
        last->end += size;
        last->charge += size;
    } else {
        outbox->segments[outbox->count++] =
            (struct outbox_segment){.begin = begin, .end = outbox->control.size, .charge = size};
    }
    outbox->charge += size;
}

enum ps_status outbox_frame(struct outbox *outbox, const struct server_frame *frame)
{
    size_t begin = outbox->control.size;
    enum ps_status status = reserve_segments(outbox, 1);

    if (status == PS_OK)
        status = codec_encode_server(frame, &outbox->control);
    if (status == PS_OK)
        add_control(outbox, begin);
    return status;
}

/* A batch that follows itself is charged once, with the segment that is sent last. */
static void add_batch(struct outbox *outbox, struct batch *batch, uint32_t begin, uint32_t end)
{
    size_t charge = batch_memory(batch);

    for (size_t i = outbox->count; i > outbox->first; i--) {
        struct outbox_segment *before = &outbox->segments[i - 1];
        if (before->batch == NULL)
            continue;
        if (before->batch == batch) {
            outbox->charge -= before->charge;
            before->charge = 0;
        }
        break;
    }
    outbox->segments[outbox->count++] = (struct outbox_segment){.batch = batch,
                                                                .begin = batch_begin_of(batch, begin),
                                                                .end = batch_begin_of(batch, end),
                                                                .charge = charge};
    outbox->charge += charge;
}

enum ps_status outbox_delivery(struct outbox *outbox, uint64_t subscription, struct span topic,
                               struct batch *batch, uint32_t begin, uint32_t end)
{
    size_t position = outbox->control.size;

    if (reserve_segments(outbox, 2) != PS_OK ||
        bytes_reserve(&outbox->control, DELIVERY_HEADER_MAX_BYTES) != PS_OK) {
        batch_unref(batch);
        return PS_NO_MEMORY;
    }
    outbox->control.size +=
        codec_put_delivery_header(outbox->control.data + position, subscription, topic,
                                  batch_begin_of(batch, end) - batch_begin_of(batch, begin));
    add_control(outbox, position);
    add_batch(outbox, batch, begin, end);
    return PS_OK;
}

unsigned outbox_buffers(const struct outbox *outbox, uv_buf_t *buffers, unsigned room)
{
    unsigned count = 0;

    for (size_t i = outbox->first; i < outbox->count && count < room; i++) {
        const struct outbox_segment *segment = &outbox->segments[i];
        uint8_t *data = segment->batch != NULL ? segment->batch->bytes : outbox->control.data;
        buffers[count++] =
            uv_buf_init((char *)data + segment->begin, (unsigned)(segment->end - segment->begin));
    }
    return count;
}

/* Everything went: keep a little memory for the next time. */
static void reset(struct outbox *outbox)
{
    outbox->first = outbox->count = 0;
    outbox->control.size = 0;
    if (outbox->control.room > CONTROL_KEPT_BYTES)
        bytes_deinit(&outbox->control);
}

void outbox_sent(struct outbox *outbox, size_t size)
{
    while (!outbox_empty(outbox)) {
        struct outbox_segment *segment = &outbox->segments[outbox->first];
        size_t left = segment->end - segment->begin;
        if (size < left) {
            segment->begin += size;
            return;
        }
        size -= left;
        outbox->charge -= segment->charge;
        batch_unref(segment->batch);
        outbox->first++;
    }
    reset(outbox);
}
