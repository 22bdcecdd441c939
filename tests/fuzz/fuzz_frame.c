/* Input: two bytes of cap, then records of one byte n and n bytes of stream. Fed piece by piece, the reader
 * must give the frames that the whole stream holds, and refuse where it must. */
#include "frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool held)
{
    if (!held)
        abort();
}

struct stream {
    uint8_t *bytes;
    size_t size;
    size_t taken; /* by frames that came out */
    size_t cap;
};

/* What the next frame must be, read from the whole stream. */
static enum ps_status expected_next(const struct stream *stream, struct span *body)
{
    const uint8_t *at = stream->bytes + stream->taken;
    size_t left = stream->size - stream->taken;
    *body = SPAN_ABSENT;
    if (left >= 1 && at[0] >= 5)
        return PS_MALFORMED;
    if (left < FRAME_HEADER_BYTES)
        return PS_OK;
    size_t length = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    if (length == 0)
        return PS_MALFORMED;
    if (length > stream->cap)
        return PS_FRAME_TOO_LARGE;
    if (left - FRAME_HEADER_BYTES >= length)
        *body = (struct span){at + FRAME_HEADER_BYTES, length};
    return PS_OK;
}

/* Takes what is complete; false when the stream is refused. */
static bool take_frames(struct frame_reader *reader, struct stream *stream, struct buffer **held)
{
    for (;;) {
        struct span body = SPAN_ABSENT, expected;
        struct buffer *owner = NULL;
        enum ps_status status = frame_reader_next(reader, &body, &owner);
        require(status == expected_next(stream, &expected));
        if (status != PS_OK)
            return false;
        require(span_equal(body, expected));
        if (!span_present(body)) {
            require(frame_reader_pending(reader) == stream->size - stream->taken);
            return true;
        }
        stream->taken += FRAME_HEADER_BYTES + body.size;
        /* Every other frame stays in use for a while. */
        if (body.size % 2 == 0) {
            buffer_unref(*held);
            *held = buffer_ref(owner);
        }
    }
}

static void give(struct frame_reader *reader, const uint8_t *piece, size_t size)
{
    while (size > 0) {
        uint8_t *place;
        size_t room;
        if (frame_reader_space(reader, &place, &room) != PS_OK)
            abort();
        require(room > 0);
        size_t part = size < room ? size : room;
        memcpy(place, piece, part);
        frame_reader_received(reader, part);
        piece += part;
        size -= part;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct stream stream = {.bytes = malloc(size), .cap = ((size_t)data[0] << 8 | data[1]) * 8};
    struct buffer_pool pool = {0};
    struct frame_reader reader;
    struct buffer *held = NULL;
    if (stream.bytes == NULL)
        return 0;
    frame_reader_init(&reader, stream.cap, &pool);
    for (size_t at = 2; at < size;) {
        size_t piece = data[at++];
        if (piece > size - at)
            piece = size - at;
        memcpy(stream.bytes + stream.size, data + at, piece);
        stream.size += piece;
        give(&reader, data + at, piece);
        at += piece;
        if (!take_frames(&reader, &stream, &held))
            break;
    }
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    buffer_unref(held);
    free(stream.bytes);
    return 0;
}
