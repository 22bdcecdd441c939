/* The hot path: Publish and Delivery, written out because tables would cost time for every message. */
#include "codec_decode.h"

static const uint8_t nothing[1];

/* What a message may carry depends on who sent it. */
struct message_rules {
    bool published; /* by a client: what the broker sets, or nobody knows, makes it unsupported */
    bool *unsupported;
};

static enum ps_status decode_header(struct span bytes, const struct message_rules *rules,
                                    struct header *header)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        bool fits = true;
        if (field.number == 1)
            fits = decode_bytes(&field, &header->name);
        else if (field.number == 2)
            fits = decode_bytes(&field, &header->value);
        else if (rules->published)
            *rules->unsupported = true;
        if (!fits)
            return PS_MALFORMED;
    }
    return span_present(header->name) && span_present(header->value) ? PS_OK : PS_MALFORMED;
}

static bool decode_time(const struct wire_field *field, int64_t *time)
{
    if (field->type != WIRE_FIXED64)
        return false;
    memcpy(time, &field->value, sizeof *time);
    return true;
}

/* Members of one message but its headers, which are counted. */
static bool decode_message_field(const struct wire_field *field, const struct message_rules *rules,
                                 struct message *message)
{
    if (rules->published && (field->number < 4 || field->number > 7))
        *rules->unsupported = true;
    switch (field->number) {
    case 1:
        return decode_offset(field, &message->offset);
    case 2:
        return decode_time(field, &message->published_at);
    case 3:
        return decode_bytes(field, &message->publisher);
    case 4:
        return decode_bytes(field, &message->key);
    case 5:
        message->header_count++;
        return field->type == WIRE_BYTES;
    case 6:
        return decode_bytes(field, &message->payload);
    case 7:
        return decode_u32(field, &message->flags);
    default:
        return true;
    }
}

static enum ps_status decode_headers(struct span bytes, struct arena *arena,
                                     const struct message_rules *rules, struct message *message)
{
    void *place;
    enum ps_status status = decode_array(arena, message->header_count, sizeof(struct header), &place);
    if (status != PS_OK)
        return status;
    struct header *header = place;
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    message->headers = header;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        if (field.number != 5)
            continue;
        status = decode_header(field.bytes, rules, header++);
        if (status != PS_OK)
            return status;
    }
    return PS_OK;
}

static enum ps_status decode_message(struct span bytes, struct arena *arena,
                                     const struct message_rules *rules, struct message *message)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    message->payload = (struct span){nothing, 0};
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field) || !decode_message_field(&field, rules, message))
            return PS_MALFORMED;
    }
    return message->header_count == 0 ? PS_OK : decode_headers(bytes, arena, rules, message);
}

/* Decodes every member `number` of `bytes` into an array of its own. */
static enum ps_status decode_messages(struct span bytes, uint32_t number, size_t count, struct arena *arena,
                                      const struct message_rules *rules, struct message **messages)
{
    void *place;
    if (count > PROTOCOL_MAX_MESSAGES_PER_FRAME)
        return PS_LIMIT_EXCEEDED;
    enum ps_status status = decode_array(arena, count, sizeof(struct message), &place);
    if (status != PS_OK)
        return status;
    struct message *message = place;
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    *messages = message;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        if (field.number != number)
            continue;
        status = decode_message(field.bytes, arena, rules, message++);
        if (status != PS_OK)
            return status;
    }
    return PS_OK;
}

static enum ps_status decode_group(struct span bytes, struct arena *arena, struct publish *publish,
                                   struct publish_group *group)
{
    const struct message_rules rules = {true, &publish->unsupported};
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        bool fits = true;
        if (field.number == 1)
            fits = decode_bytes(&field, &group->topic);
        else if (field.number == 2)
            fits = field.type == WIRE_BYTES;
        else
            publish->unsupported = true;
        if (!fits)
            return PS_MALFORMED;
        group->count += field.number == 2;
    }
    if (!span_present(group->topic))
        return PS_MALFORMED;
    if (group->count > PROTOCOL_MAX_MESSAGES_PER_FRAME - publish->message_count)
        return PS_LIMIT_EXCEEDED;
    publish->message_count += group->count;
    return decode_messages(bytes, 2, group->count, arena, &rules, &group->messages);
}

static bool count_groups(struct span bytes, struct publish *publish, size_t *count)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    size_t groups = 0;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field) || (field.number == 1 && field.type != WIRE_BYTES))
            return false;
        if (field.number == 1)
            groups++;
        else
            publish->unsupported = true;
    }
    *count = groups;
    return true;
}

enum ps_status decode_publish(struct span bytes, struct arena *arena, void *place)
{
    struct publish *publish = place;
    size_t groups;
    void *array;
    if (!count_groups(bytes, publish, &groups))
        return PS_MALFORMED;
    if (groups > PROTOCOL_MAX_MESSAGES_PER_FRAME)
        return PS_LIMIT_EXCEEDED;
    enum ps_status status = decode_array(arena, groups, sizeof(struct publish_group), &array);
    if (status != PS_OK)
        return status;
    publish->groups = array;
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        if (field.number != 1)
            continue;
        status = decode_group(field.bytes, arena, publish, &publish->groups[publish->group_count++]);
        if (status != PS_OK)
            return status;
    }
    return PS_OK;
}

enum ps_status decode_delivery(struct span bytes, struct arena *arena, void *place)
{
    const struct message_rules rules = {false, NULL};
    struct delivery *delivery = place;
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    bool numbered = false;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        bool fits = true;
        if (field.number == 1) {
            fits = field.type == WIRE_VARINT;
            delivery->subscription = field.value;
            numbered = true;
        } else if (field.number == 2) {
            fits = decode_bytes(&field, &delivery->topic);
        } else if (field.number == 15) {
            fits = field.type == WIRE_BYTES;
            delivery->message_count++;
        }
        if (!fits)
            return PS_MALFORMED;
    }
    if (!numbered || !span_present(delivery->topic))
        return PS_MALFORMED;
    struct message *messages;
    enum ps_status status = decode_messages(bytes, 15, delivery->message_count, arena, &rules, &messages);
    if (status == PS_OK)
        delivery->messages = messages;
    return status;
}
