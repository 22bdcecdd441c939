/* One buffer is filled at its end while complete frames are taken from its beginning:
 *
 *      data      begin            end          size
 *       | handed out | received    | free        |
 *
 * When the frame under way does not fit behind `begin`, its received part moves: to the front of the same
 * buffer when nobody else holds it, else to a new one. A buffer made larger for one frame is dropped
 * after it. The length is compared with the cap before anything is allocated for it. */
#include "frame.h"

#include <assert.h>
#include <stdlib.h>

/* With nothing pending and less room than this, a fresh buffer saves tiny reads. */
enum { ROOM_MIN_BYTES = 4 * 1024 };

/* The high byte of a length can never reach this: such bytes are another protocol's. */
enum { FOREIGN_FIRST_BYTE = 0x05 };

struct buffer *buffer_ref(struct buffer *buffer)
{
    buffer->refs++;
    return buffer;
}

void buffer_unref(struct buffer *buffer)
{
    if (buffer == NULL)
        return;
    assert(buffer->refs > 0);
    if (--buffer->refs == 0)
        free(buffer);
}

static struct buffer *buffer_new(size_t size)
{
    struct buffer *buffer = malloc(sizeof *buffer + size);
    if (buffer == NULL)
        return NULL;
    buffer->refs = 1;
    buffer->charged = false;
    buffer->size = size;
    return buffer;
}

void frame_reader_init(struct frame_reader *reader, size_t cap)
{
    *reader = (struct frame_reader){0};
    frame_reader_set_cap(reader, cap);
}

void frame_reader_deinit(struct frame_reader *reader)
{
    buffer_unref(reader->buffer);
    *reader = (struct frame_reader){0};
}

void frame_reader_set_cap(struct frame_reader *reader, size_t cap)
{
    assert(cap <= FRAME_HARD_CAP);
    reader->cap = cap;
}

static uint32_t get_length(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* What the bytes at `begin` say. PS_OK: *size is what the frame takes with its header, 0 while not known. */
static enum ps_status look(const struct frame_reader *reader, size_t *size)
{
    size_t pending = reader->end - reader->begin;
    const uint8_t *at = pending > 0 ? reader->buffer->data + reader->begin : NULL;
    *size = 0;
    if (pending > 0 && at[0] >= FOREIGN_FIRST_BYTE)
        return PS_MALFORMED;
    if (pending < FRAME_HEADER_BYTES)
        return PS_OK;
    size_t length = get_length(at);
    if (length == 0)
        return PS_MALFORMED;
    if (length > reader->cap)
        return PS_FRAME_TOO_LARGE;
    *size = FRAME_HEADER_BYTES + length;
    return PS_OK;
}

/* Continues the frame under way at the front of a buffer of `size` bytes. */
static enum ps_status move_pending(struct frame_reader *reader, size_t size)
{
    size_t pending = reader->end - reader->begin;
    struct buffer *old = reader->buffer;
    if (old != NULL && old->refs == 1 && old->size == size) {
        memmove(old->data, old->data + reader->begin, pending);
    } else {
        struct buffer *buffer = buffer_new(size);
        if (buffer == NULL)
            return PS_NO_MEMORY;
        if (pending > 0)
            memcpy(buffer->data, old->data + reader->begin, pending);
        buffer_unref(old);
        reader->buffer = buffer;
    }
    reader->begin = 0;
    reader->end = pending;
    return PS_OK;
}

/* Whether the next bytes can go behind what was received. */
static bool has_room(const struct frame_reader *reader, size_t frame)
{
    const struct buffer *buffer = reader->buffer;
    if (buffer == NULL)
        return false;
    if (frame > 0)
        return buffer->size - reader->begin >= frame && reader->end < buffer->size;
    if (reader->begin == reader->end)
        return buffer->size == FRAME_BUFFER_BYTES && buffer->size - reader->end >= ROOM_MIN_BYTES;
    return reader->end < buffer->size;
}

enum ps_status frame_reader_space(struct frame_reader *reader, uint8_t **place, size_t *room)
{
    size_t frame;
    /* Behind a refusal bytes only need a place to be forgotten in; the first ones stay, to be refused again. */
    if (look(reader, &frame) != PS_OK && reader->end - reader->begin > FRAME_HEADER_BYTES)
        reader->end = reader->begin + FRAME_HEADER_BYTES;
    /* An unread complete frame may fill the buffer to its end. */
    bool complete = frame > 0 && reader->end - reader->begin >= frame;
    if (!has_room(reader, frame)) {
        size_t size = complete ? reader->end - reader->begin + ROOM_MIN_BYTES : frame;
        enum ps_status status = move_pending(reader, size > FRAME_BUFFER_BYTES ? size : FRAME_BUFFER_BYTES);
        if (status != PS_OK)
            return status;
    } else if (reader->begin == reader->end && reader->buffer->refs == 1) {
        reader->begin = reader->end = 0;
    }
    *place = reader->buffer->data + reader->end;
    *room = reader->buffer->size - reader->end;
    return PS_OK;
}

void frame_reader_received(struct frame_reader *reader, size_t size)
{
    assert(reader->buffer != NULL && size <= reader->buffer->size - reader->end);
    reader->end += size;
}

enum ps_status frame_reader_next(struct frame_reader *reader, struct span *body, struct buffer **owner)
{
    size_t frame;
    enum ps_status status = look(reader, &frame);
    if (status != PS_OK)
        return status;
    if (frame == 0 || reader->end - reader->begin < frame) {
        *body = SPAN_ABSENT;
        return PS_OK;
    }
    *body =
        (struct span){reader->buffer->data + reader->begin + FRAME_HEADER_BYTES, frame - FRAME_HEADER_BYTES};
    *owner = reader->buffer;
    reader->begin += frame;
    return PS_OK;
}

bool frame_reader_partial(const struct frame_reader *reader)
{
    return reader->end > reader->begin;
}

void frame_put_header(uint8_t place[FRAME_HEADER_BYTES], uint32_t body_size)
{
    place[0] = (uint8_t)(body_size >> 24);
    place[1] = (uint8_t)(body_size >> 16);
    place[2] = (uint8_t)(body_size >> 8);
    place[3] = (uint8_t)body_size;
}
