/* Messages, and immutable reference-counted batches of encoded messages.
 *
 * A message on its way in is a `struct message` whose spans point into a receive buffer. A message on its
 * way out lives encoded in a `struct batch`, made once after the commit (or by a reader from history) and
 * shared by every subscriber: any contiguous range of a batch is the tail of a valid Delivery frame. */
#ifndef PSBROKER_MESSAGE_H
#define PSBROKER_MESSAGE_H

#include "span.h"
#include "status.h"

enum {
    MESSAGE_MAX_BYTES = 1024 * 1024,     /* payload + key + header names and values, default limit */
    MESSAGE_MAX_HEADERS = 64,            /* per message */
    MESSAGE_MAX_HEADER_BYTES = 16 * 1024 /* names and values together */
};

struct header {
    struct span name;  /* 1..255 bytes of UTF-8 without control characters, unique in its message */
    struct span value; /* UTF-8 without NUL, may be empty */
};

struct message {
    uint64_t offset;       /* assigned by the store */
    int64_t published_at;  /* microseconds since 1970 UTC, assigned by the store */
    struct span publisher; /* absent when the publisher gave no id */
    struct span key;       /* absent differs from empty */
    struct span payload;   /* always present once validated, may be empty */
    const struct header *headers;
    uint32_t header_count;
    uint32_t flags;        /* bit 0: tombstone, reserved */
    enum ps_status status; /* set by the store for each publication: PS_OK, or why it was refused */
};

/* payload + key + header names and values, in bytes: what limits and credit count. */
size_t message_bytes(const struct message *message);

/* PS_OK, PS_BAD_HEADER, PS_MESSAGE_TOO_LARGE, or PS_UNSUPPORTED (a flag that is reserved). */
enum ps_status message_validate(const struct message *message, size_t max_bytes);

/* One encoded message inside a batch. */
struct batch_entry {
    uint64_t offset;
    uint32_t end;    /* position just behind it in `bytes`; it begins where the one before ends */
    uint32_t credit; /* message_bytes() of it */
};

/* Messages of one topic in offset order, encoded as the wire wants them. Immutable once built. References
 * are counted on the loop thread only; a reader thread builds one and hands it over whole. */
struct batch {
    unsigned refs;
    uint32_t count;
    uint32_t capacity; /* entries */
    struct batch_entry *entries;
    uint8_t *bytes;
    size_t size; /* bytes used */
    size_t room; /* bytes allocated */
};

/* Ours, with one reference, empty; NULL when out of memory. The hints only save growing. */
struct batch *batch_new(uint32_t entries_hint, size_t bytes_hint);
struct batch *batch_ref(struct batch *batch);
void batch_unref(struct batch *batch); /* takes NULL */

/* Encodes and appends one message (see codec.h for the form). Only before the batch is shared.
 * PS_OK or PS_NO_MEMORY; the batch is unchanged on failure. Offsets must grow. */
enum ps_status batch_append(struct batch *batch, const struct message *message);

/* Position in `bytes` where entry `index` begins; index == count gives the end. */
size_t batch_begin_of(const struct batch *batch, uint32_t index);

/* Index of the first entry whose offset is >= `offset`; `count` when there is none. */
uint32_t batch_find(const struct batch *batch, uint64_t offset);

/* Memory held, bookkeeping included: what is charged to whoever pins it. */
size_t batch_memory(const struct batch *batch);

#endif
