#include "wire.h"

bool wire_get_long_varint(struct wire_cursor *cursor, uint64_t *value)
{
    uint64_t result = 0;
    size_t left = (size_t)(cursor->end - cursor->at);
    size_t most = left < WIRE_VARINT_MAX_BYTES ? left : WIRE_VARINT_MAX_BYTES;
    for (size_t i = 0; i < most; i++) {
        uint8_t byte = cursor->at[i];
        /* The tenth byte carries the 64th bit and nothing else. */
        if (i == WIRE_VARINT_MAX_BYTES - 1 && byte > 1)
            return false;
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            cursor->at += i + 1;
            *value = result;
            return true;
        }
    }
    return false;
}

static bool get_little_endian(struct wire_cursor *cursor, size_t bytes, uint64_t *value)
{
    if ((size_t)(cursor->end - cursor->at) < bytes)
        return false;
    uint64_t result = 0;
    for (size_t i = 0; i < bytes; i++)
        result |= (uint64_t)cursor->at[i] << (8 * i);
    cursor->at += bytes;
    *value = result;
    return true;
}

/* A key or a length. Five bytes hold 32 bits: protobuf reads no more, though they were padded with zeros. */
static bool get_short_varint(struct wire_cursor *cursor, uint64_t *value)
{
    const uint8_t *begin = cursor->at;
    return wire_get_varint(cursor, value) && cursor->at - begin <= WIRE_SHORT_VARINT_MAX_BYTES &&
           *value <= UINT32_MAX;
}

bool wire_get_field(struct wire_cursor *cursor, struct wire_field *field)
{
    uint64_t key, length;
    if (!get_short_varint(cursor, &key) || key >> 3 == 0)
        return false;
    field->number = (uint32_t)(key >> 3);
    switch (key & 7) {
    case WIRE_VARINT:
        field->type = WIRE_VARINT;
        return wire_get_varint(cursor, &field->value);
    case WIRE_FIXED64:
        field->type = WIRE_FIXED64;
        return get_little_endian(cursor, 8, &field->value);
    case WIRE_FIXED32:
        field->type = WIRE_FIXED32;
        return get_little_endian(cursor, 4, &field->value);
    case WIRE_BYTES:
        field->type = WIRE_BYTES;
        if (!get_short_varint(cursor, &length) || length > (uint64_t)(cursor->end - cursor->at))
            return false;
        field->bytes = (struct span){cursor->at, (size_t)length};
        cursor->at += length;
        return true;
    default:
        return false;
    }
}

uint8_t *wire_put_bytes(uint8_t *place, uint32_t number, struct span bytes)
{
    place = wire_put_key(place, number, WIRE_BYTES);
    place = wire_put_varint(place, bytes.size);
    if (bytes.size > 0)
        memcpy(place, bytes.data, bytes.size);
    return place + bytes.size;
}
