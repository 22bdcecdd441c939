/* What a reader holds is filled at its end while complete frames are taken from its beginning:
 *
 *      data      begin            end          size
 *       | handed out | received    | free        |
 *
 * With nothing pending, or where the frame under way does not fit behind `begin`, bytes are received into the
 * pool's spare block, behind a copy of what is pending. A read that brought much makes the block the reader's;
 * what a smaller one left is copied to a buffer of its size, with room for the rest of the frame it ends in, and
 * the block stays spare. A frame larger than a block gets a buffer of its own. So a frame is copied at most
 * twice, and one in a full block never but for the part that the block's end cut off. The length is compared
 * with the cap before anything is allocated for it. */
#include "frame.h"

#include <assert.h>
#include <stdlib.h>

/* With less room than this in a block, a fresh one saves tiny reads. */
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

void buffer_pool_deinit(struct buffer_pool *pool)
{
    buffer_unref(pool->spare);
    pool->spare = NULL;
}

void frame_reader_init(struct frame_reader *reader, size_t cap, struct buffer_pool *pool)
{
    *reader = (struct frame_reader){.pool = pool};
    frame_reader_set_cap(reader, cap);
}

/* Nothing is pending: the buffer goes back, to be received into again if nobody holds a frame in it. */
static void give_back(struct frame_reader *reader)
{
    struct buffer *buffer = reader->buffer;
    reader->buffer = NULL;
    reader->begin = reader->end = 0;
    if (buffer != NULL && buffer->refs == 1 && buffer->size == FRAME_BUFFER_BYTES &&
        reader->pool->spare == NULL) {
        buffer->charged = false;
        reader->pool->spare = buffer;
    } else {
        buffer_unref(buffer);
    }
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

/* What a frame's first bytes say. PS_OK: *size is what the frame takes with its header, 0 while not known. */
static enum ps_status look(const uint8_t *at, size_t pending, size_t cap, size_t *size)
{
    *size = 0;
    if (pending > 0 && at[0] >= FOREIGN_FIRST_BYTE)
        return PS_MALFORMED;
    if (pending < FRAME_HEADER_BYTES)
        return PS_OK;
    size_t length = get_length(at);
    if (length == 0)
        return PS_MALFORMED;
    if (length > cap)
        return PS_FRAME_TOO_LARGE;
    *size = FRAME_HEADER_BYTES + length;
    return PS_OK;
}

static enum ps_status look_ahead(const struct frame_reader *reader, size_t *size)
{
    const uint8_t *at = reader->buffer != NULL ? reader->buffer->data + reader->begin : NULL;
    return look(at, reader->end - reader->begin, reader->cap, size);
}

/* What is pending goes on at the front of another buffer. */
static void move_to(struct frame_reader *reader, struct buffer *buffer, size_t pending)
{
    buffer_unref(reader->buffer);
    reader->buffer = buffer;
    reader->begin = 0;
    reader->end = pending;
}

/* Whether the next bytes can go behind what was received. */
static bool has_room(const struct frame_reader *reader, size_t frame)
{
    const struct buffer *buffer = reader->buffer;
    if (buffer == NULL)
        return false;
    if (frame > 0)
        return buffer->size - reader->begin >= frame && reader->end < buffer->size;
    return buffer->size - reader->end >= ROOM_MIN_BYTES;
}

/* A place in a larger buffer of the reader's own. */
static enum ps_status grow(struct frame_reader *reader, size_t size)
{
    size_t pending = reader->end - reader->begin;
    struct buffer *buffer = buffer_new(size);
    if (buffer == NULL)
        return PS_NO_MEMORY;
    memcpy(buffer->data, reader->buffer->data + reader->begin, pending);
    move_to(reader, buffer, pending);
    return PS_OK;
}

/* A place in the spare block. */
static enum ps_status borrow(struct frame_reader *reader)
{
    struct buffer_pool *pool = reader->pool;
    if (pool->spare == NULL && (pool->spare = buffer_new(FRAME_BUFFER_BYTES)) == NULL)
        return PS_NO_MEMORY;
    if (reader->end > reader->begin)
        memcpy(pool->spare->data, reader->buffer->data + reader->begin, reader->end - reader->begin);
    reader->borrowing = true;
    return PS_OK;
}

enum ps_status frame_reader_space(struct frame_reader *reader, uint8_t **place, size_t *room)
{
    size_t frame;
    enum ps_status status = PS_OK;
    /* Behind a refusal bytes only need a place to be forgotten in; the first ones stay, to be refused again. */
    if (look_ahead(reader, &frame) != PS_OK && reader->end - reader->begin > FRAME_HEADER_BYTES)
        reader->end = reader->begin + FRAME_HEADER_BYTES;
    size_t pending = reader->end - reader->begin;
    /* An unread complete frame may fill the buffer to its end. */
    size_t needed = frame > 0 && pending >= frame ? pending + ROOM_MIN_BYTES : frame;
    reader->borrowing = false;
    if (!has_room(reader, frame))
        status = needed > FRAME_BUFFER_BYTES ? grow(reader, needed) : borrow(reader);
    if (status != PS_OK)
        return status;
    struct buffer *buffer = reader->borrowing ? reader->pool->spare : reader->buffer;
    size_t end = reader->borrowing ? pending : reader->end;
    *place = buffer->data + end;
    *room = buffer->size - end;
    return PS_OK;
}

/* What a buffer must hold for these bytes and the rest of the frame that they end in. */
static size_t with_the_rest(const uint8_t *data, size_t size, size_t cap)
{
    size_t at = 0, frame;
    while (look(data + at, size - at, cap, &frame) == PS_OK && frame > 0) {
        if (size - at < frame)
            return at + frame;
        at += frame;
    }
    return size;
}

/* `size` bytes at the front of the spare block are the reader's. Without memory for a copy the block is. */
static void take(struct frame_reader *reader, size_t size)
{
    struct buffer *spare = reader->pool->spare;
    struct buffer *own = NULL;
    if (size < FRAME_COPY_BYTES)
        own = buffer_new(with_the_rest(spare->data, size, reader->cap));
    if (own != NULL)
        memcpy(own->data, spare->data, size);
    else
        reader->pool->spare = NULL;
    move_to(reader, own != NULL ? own : spare, size);
}

void frame_reader_received(struct frame_reader *reader, size_t size)
{
    if (reader->borrowing) {
        size_t pending = reader->end - reader->begin;
        assert(size <= FRAME_BUFFER_BYTES - pending);
        reader->borrowing = false;
        take(reader, pending + size);
        return;
    }
    assert(reader->buffer != NULL && size <= reader->buffer->size - reader->end);
    reader->end += size;
}

enum ps_status frame_reader_next(struct frame_reader *reader, struct span *body, struct buffer **owner)
{
    size_t frame;
    enum ps_status status = look_ahead(reader, &frame);
    if (status != PS_OK)
        return status;
    if (frame == 0 || reader->end - reader->begin < frame) {
        *body = SPAN_ABSENT;
        /* A block with a frame in use is kept for what comes behind it, so that it is not pinned for little. */
        if (reader->begin == reader->end && (!has_room(reader, 0) || reader->buffer->refs == 1))
            give_back(reader);
        return PS_OK;
    }
    *body =
        (struct span){reader->buffer->data + reader->begin + FRAME_HEADER_BYTES, frame - FRAME_HEADER_BYTES};
    *owner = reader->buffer;
    reader->begin += frame;
    return PS_OK;
}

void frame_reader_rest(struct frame_reader *reader)
{
    if (reader->begin == reader->end)
        give_back(reader);
}

size_t frame_reader_pending(const struct frame_reader *reader)
{
    return reader->end - reader->begin;
}

size_t frame_reader_frame(const struct frame_reader *reader)
{
    size_t frame;
    return look_ahead(reader, &frame) == PS_OK ? frame : 0;
}

void frame_put_header(uint8_t place[FRAME_HEADER_BYTES], uint32_t body_size)
{
    place[0] = (uint8_t)(body_size >> 24);
    place[1] = (uint8_t)(body_size >> 16);
    place[2] = (uint8_t)(body_size >> 8);
    place[3] = (uint8_t)body_size;
}
