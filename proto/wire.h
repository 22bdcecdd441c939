/* Protobuf's wire format: bounded reading of fields, writing of varints and fields.
 *
 * Reading never looks behind the end of the cursor and refuses what no encoder writes: varints of more than
 * 64 bits, keys of more than 32, field number 0, groups. No state, any thread. */
#ifndef PSBROKER_WIRE_H
#define PSBROKER_WIRE_H

#include "span.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { WIRE_VARINT_MAX_BYTES = 10, WIRE_SHORT_VARINT_MAX_BYTES = 5 };

struct wire_cursor {
    const uint8_t *at, *end;
};

struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;    /* WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32 */
    struct span bytes; /* WIRE_BYTES: present, inside of what the cursor runs over */
};

static inline struct wire_cursor wire_cursor_of(struct span bytes)
{
    return (struct wire_cursor){bytes.data, bytes.data + bytes.size};
}

static inline bool wire_at_end(const struct wire_cursor *cursor)
{
    return cursor->at == cursor->end;
}

/* False at a truncated varint or one of more than 64 bits. */
bool wire_get_long_varint(struct wire_cursor *cursor, uint64_t *value);

static inline bool wire_get_varint(struct wire_cursor *cursor, uint64_t *value)
{
    if (cursor->at < cursor->end && *cursor->at < 0x80) {
        *value = *cursor->at++;
        return true;
    }
    return wire_get_long_varint(cursor, value);
}

/* The next field; false when the bytes are not one. Not at the end. */
bool wire_get_field(struct wire_cursor *cursor, struct wire_field *field);

static inline size_t wire_varint_size(uint64_t value)
{
    /* Seven bits a byte: (bits + 6) / 7 without a division. */
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);
    return (bits * 9 + 64) / 64;
}

/* The writers return the place behind what they wrote. */
static inline uint8_t *wire_put_varint(uint8_t *place, uint64_t value)
{
    while (value >= 0x80) {
        *place++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *place++ = (uint8_t)value;
    return place;
}

static inline uint8_t *wire_put_key(uint8_t *place, uint32_t number, enum wire_type type)
{
    return wire_put_varint(place, (uint64_t)number << 3 | type);
}

/* Key, length and bytes. For field numbers below 16 the size is wire_bytes_size(). */
uint8_t *wire_put_bytes(uint8_t *place, uint32_t number, struct span bytes);

static inline size_t wire_bytes_size(size_t size)
{
    return 1 + wire_varint_size(size) + size;
}

#endif
