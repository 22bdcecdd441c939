/* Incremental framing: a 4-byte big-endian length, then that many bytes of one protobuf message.
 *
 * Bytes are received straight into reference-counted buffers and frames are spans into them, so a payload is
 * not copied between the socket and the store. A buffer is never moved or written again where a frame was
 * handed out; a frame that does not fit in the rest of a buffer is continued in a new one. All readers of a
 * loop receive into one pool: a reader keeps memory only while part of a frame is pending or somebody holds a
 * frame, and a small read is copied out rather than pinning a whole block. Loop thread only. Total: any bytes
 * give frames or a named refusal. */
#ifndef PSBROKER_FRAME_H
#define PSBROKER_FRAME_H

#include "span.h"
#include "status.h"

enum {
    FRAME_HEADER_BYTES = 4,
    FRAME_CAP_BEFORE_HELLO = 4 * 1024,
    FRAME_OVERHEAD_BYTES = 64 * 1024,  /* frame cap = max_message + this */
    FRAME_HARD_CAP = 16 * 1024 * 1024, /* no frame in either direction is larger */
    FRAME_BUFFER_BYTES = 128 * 1024,   /* a block that is received into */
    FRAME_COPY_BYTES = 16 * 1024       /* less than this at a time is copied out of it */
};

struct buffer {
    unsigned refs;
    bool charged; /* somebody already answers for the memory of the whole buffer, who pins it for long */
    size_t size;  /* bytes in `data` */
    uint8_t data[];
};

struct buffer *buffer_ref(struct buffer *buffer);
void buffer_unref(struct buffer *buffer); /* takes NULL */

/* What the readers of one loop share. The zero state is an empty one. */
struct buffer_pool {
    struct buffer *spare; /* a block that no reader keeps; may be NULL */
};

void buffer_pool_deinit(struct buffer_pool *pool); /* takes the zero state, leaves it; no reader uses it */

struct frame_reader {
    struct buffer_pool *pool;
    struct buffer *buffer; /* holds what is pending; NULL: nothing is */
    size_t begin;          /* first byte not yet handed out */
    size_t end;            /* behind the last byte received */
    size_t cap;            /* largest body accepted, bytes */
    bool borrowing;        /* the place given last is in the pool's spare block */
};

/* The pool must stay put until deinit. */
void frame_reader_init(struct frame_reader *reader, size_t cap, struct buffer_pool *pool);
void frame_reader_deinit(struct frame_reader *reader);

/* From now on bodies up to `cap` bytes are accepted. */
void frame_reader_set_cap(struct frame_reader *reader, size_t cap);

/* Where the next bytes may be received: at least one byte. PS_OK or PS_NO_MEMORY. The place is valid until
 * the next call on any reader of the pool. */
enum ps_status frame_reader_space(struct frame_reader *reader, uint8_t **place, size_t *room);

/* `size` bytes were received at the place given last. */
void frame_reader_received(struct frame_reader *reader, size_t size);

/* The next complete body. PS_OK with body->data == NULL: more bytes are needed. PS_OK with a body: it is
 * borrowed from *owner; it stays valid as long as the caller holds a reference to *owner (buffer_ref()) and
 * at least until the next call on this reader. PS_FRAME_TOO_LARGE or PS_MALFORMED (an empty body, or a first
 * byte of 0x05 or more, which no length has: another protocol): the stream cannot be read further; the same
 * answer comes again. */
enum ps_status frame_reader_next(struct frame_reader *reader, struct span *body, struct buffer **owner);

/* Gives back a block that is kept only because somebody holds frames in it and it has room for more. To be
 * called now and then, so that a reader at rest holds nothing. */
void frame_reader_rest(struct frame_reader *reader);

/* Bytes that were received and not handed out: while there are any, the assembly clock of a connection runs. */
size_t frame_reader_pending(const struct frame_reader *reader);

/* Bytes that the first of them will take as a frame, with its header; 0 while that is not known. */
size_t frame_reader_frame(const struct frame_reader *reader);

/* Writes the length of a body in front of it. */
void frame_put_header(uint8_t place[FRAME_HEADER_BYTES], uint32_t body_size);

#endif
