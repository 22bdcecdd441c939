#include "codec_decode.h"

#include "topic.h"

bool decode_u32(const struct wire_field *field, uint32_t *value)
{
    if (field->type != WIRE_VARINT || field->value > UINT32_MAX)
        return false;
    *value = (uint32_t)field->value;
    return true;
}

static bool decode_u64(const struct wire_field *field, uint64_t *value)
{
    if (field->type != WIRE_VARINT)
        return false;
    *value = field->value;
    return true;
}

bool decode_offset(const struct wire_field *field, uint64_t *value)
{
    return field->value <= OFFSET_MAX && decode_u64(field, value);
}

bool decode_bytes(const struct wire_field *field, struct span *value)
{
    if (field->type != WIRE_BYTES)
        return false;
    *value = field->bytes;
    return true;
}

static bool decode_bool(const struct wire_field *field, bool *value)
{
    if (field->type != WIRE_VARINT)
        return false;
    *value = field->value != 0;
    return true;
}

static bool decode_double(const struct wire_field *field, double *value)
{
    if (field->type != WIRE_FIXED64)
        return false;
    memcpy(value, &field->value, sizeof *value);
    return true;
}

static bool decode_text(const struct wire_field *field, struct span *value)
{
    return field->type == WIRE_BYTES && utf8_valid(field->bytes) && decode_bytes(field, value);
}

static bool decode_optional(const struct wire_field *field, uint64_t most, struct optional_u64 *value)
{
    if (field->type != WIRE_VARINT || field->value > most)
        return false;
    *value = (struct optional_u64){true, field->value};
    return true;
}

static bool decode_numbers(const struct wire_field *field)
{
    if (field->type != WIRE_BYTES)
        return field->type == WIRE_VARINT;
    struct wire_cursor cursor = wire_cursor_of(field->bytes);
    uint64_t number;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_varint(&cursor, &number))
            return false;
    }
    return true;
}

static bool decode_plain(enum member_kind kind, const struct wire_field *field, void *at)
{
    switch (kind) {
    case MEMBER_U32:
        return decode_u32(field, at);
    case MEMBER_U64:
        return decode_u64(field, at);
    case MEMBER_OFFSET:
        return decode_offset(field, at);
    case MEMBER_OPTIONAL_U64:
        return decode_optional(field, UINT64_MAX, at);
    case MEMBER_OPTIONAL_OFFSET:
        return decode_optional(field, OFFSET_MAX, at);
    case MEMBER_BOOL:
        return decode_bool(field, at);
    case MEMBER_DOUBLE:
        return decode_double(field, at);
    case MEMBER_BYTES:
        return decode_bytes(field, at);
    case MEMBER_TEXT:
        return decode_text(field, at);
    case MEMBER_NUMBERS:
        return decode_numbers(field);
    case MEMBER_UNKNOWN:
    case MEMBER_NESTED:
    case MEMBER_REPEATED:
        break;
    }
    return false;
}

/* How often `number` occurs as a nested message. False when the bytes are not fields. */
static bool count_nested(struct span bytes, uint32_t number, size_t *count)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    size_t found = 0;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return false;
        found += field.number == number && field.type == WIRE_BYTES;
    }
    *count = found;
    return true;
}

enum ps_status decode_array(struct arena *arena, size_t count, size_t size, void **array)
{
    if (count > SIZE_MAX / size)
        return PS_LIMIT_EXCEEDED;
    void *place = arena_alloc(arena, count * size);
    if (place == NULL)
        return arena_exhausted(arena) ? PS_LIMIT_EXCEEDED : PS_NO_MEMORY;
    memset(place, 0, count * size);
    *array = place;
    return PS_OK;
}

/* Makes room for all elements at the first one. */
static enum ps_status start_array(const struct member *member, struct span bytes, uint32_t number,
                                  struct arena *arena, uint8_t *place)
{
    size_t count;
    void *array;
    if (!count_nested(bytes, number, &count))
        return PS_MALFORMED;
    if (member->shape->max_elements > 0 && count > member->shape->max_elements)
        return PS_LIMIT_EXCEEDED;
    enum ps_status status = decode_array(arena, count, member->shape->size, &array);
    if (status == PS_OK)
        memcpy(place + member->at, &array, sizeof array);
    return status;
}

static enum ps_status decode_element(const struct member *member, struct span bytes, struct arena *arena,
                                     uint8_t *place)
{
    uint8_t *array;
    size_t count;
    memcpy(&array, place + member->at, sizeof array);
    memcpy(&count, place + member->count_at, sizeof count);
    enum ps_status status = decode_shape(member->shape, bytes, arena, array + count * member->shape->size);
    if (status != PS_OK)
        return status;
    count++;
    memcpy(place + member->count_at, &count, sizeof count);
    return PS_OK;
}

static enum ps_status decode_member(const struct member *member, const struct wire_field *field,
                                    struct span all, bool seen, struct arena *arena, uint8_t *place)
{
    if (member->kind != MEMBER_NESTED && member->kind != MEMBER_REPEATED)
        return decode_plain(member->kind, field, place + member->at) ? PS_OK : PS_MALFORMED;
    if (field->type != WIRE_BYTES)
        return PS_MALFORMED;
    if (member->kind == MEMBER_NESTED)
        return seen ? PS_MALFORMED : decode_shape(member->shape, field->bytes, arena, place + member->at);
    if (!seen) {
        enum ps_status status = start_array(member, all, field->number, arena, place);
        if (status != PS_OK)
            return status;
    }
    return decode_element(member, field->bytes, arena, place);
}

static bool has_required(const struct shape *shape, uint32_t seen)
{
    for (uint32_t i = 1; i < shape->member_count; i++) {
        if (shape->members[i].required && (seen & 1u << i) == 0)
            return false;
    }
    return true;
}

enum ps_status decode_shape(const struct shape *shape, struct span bytes, struct arena *arena, void *place)
{
    if (shape->decode != NULL)
        return shape->decode(bytes, arena, place);
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    uint32_t seen = 0;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        if (field.number >= shape->member_count || shape->members[field.number].kind == MEMBER_UNKNOWN)
            continue;
        uint32_t bit = 1u << field.number;
        enum ps_status status =
            decode_member(&shape->members[field.number], &field, bytes, (seen & bit) != 0, arena, place);
        if (status != PS_OK)
            return status;
        seen |= bit;
    }
    if (!has_required(shape, seen))
        return PS_MALFORMED;
    return shape->finish != NULL ? shape->finish(place, seen) : PS_OK;
}

enum ps_status decode_frame(struct span bytes, uint32_t numbers, struct optional_u64 *request_id,
                            struct frame_body *body)
{
    if (!span_present(bytes))
        return PS_MALFORMED;
    struct frame_body found = {0, SPAN_ABSENT};
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        if (field.number == 1) {
            if (!decode_optional(&field, UINT64_MAX, request_id))
                return PS_MALFORMED;
        } else if (field.number < numbers) {
            if (field.type != WIRE_BYTES || found.number != 0)
                return PS_MALFORMED;
            found = (struct frame_body){field.number, field.bytes};
        }
    }
    *body = found;
    return PS_OK;
}
