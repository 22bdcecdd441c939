/* What is written by hand because it is written for every message: Message, the head of a Delivery, Publish.
 * Everything else is packed by protobuf-c, in codec_encode_*.c; decoding is in codec_decode*.c. */
#include "codec.h"

#include "codec_encode.h"
#include "frame.h"
#include "topic.h"
#include "wire.h"

#include <assert.h>
#include <stdlib.h>

/* What an element that takes two bytes on the wire may cost at most, and a byte of everything else. */
enum { ELEMENT_BYTES = 320, BYTES_PER_BYTE = 12, BUDGET_BASE = 16 * 1024 };

_Static_assert(sizeof(struct message) + sizeof(struct publish_group) <= 240, "codec_arena_budget()");
_Static_assert(sizeof(struct published_run) <= 240, "codec_arena_budget()");
_Static_assert(sizeof(struct subscription_info) <= 240, "codec_arena_budget()");
/* The smallest header, start, position and topic on the wire take 6, 8, 8 and 8 bytes. */
_Static_assert(sizeof(struct header) <= 8 * 6 && sizeof(struct topic_start) <= 8 * 8 &&
                   sizeof(struct topic_position) <= 8 * 8 && sizeof(struct topic_info) <= 8 * 8,
               "codec_arena_budget()");

size_t codec_arena_budget(size_t body_size)
{
    size_t elements = body_size / 2;
    if (elements > PROTOCOL_MAX_MESSAGES_PER_FRAME)
        elements = PROTOCOL_MAX_MESSAGES_PER_FRAME;
    return BUDGET_BASE + elements * ELEMENT_BYTES + body_size * BYTES_PER_BYTE;
}

void bytes_deinit(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

enum ps_status bytes_reserve(struct bytes *bytes, size_t more)
{
    if (more <= bytes->room - bytes->size)
        return PS_OK;
    if (more > SIZE_MAX / 2 - bytes->size)
        return PS_NO_MEMORY;
    size_t needed = bytes->size + more;
    size_t room = bytes->room > needed / 2 ? bytes->room * 2 : needed;
    uint8_t *data = realloc(bytes->data, room);
    if (data == NULL)
        return PS_NO_MEMORY;
    bytes->data = data;
    bytes->room = room;
    return PS_OK;
}

enum ps_status encode_begin(struct bytes *out, size_t body_size, uint8_t **body)
{
    if (body_size > FRAME_HARD_CAP)
        return PS_FRAME_TOO_LARGE;
    if (bytes_reserve(out, FRAME_HEADER_BYTES + body_size) != PS_OK)
        return PS_NO_MEMORY;
    uint8_t *place = out->data + out->size;
    frame_put_header(place, (uint32_t)body_size);
    out->size += FRAME_HEADER_BYTES + body_size;
    *body = place + FRAME_HEADER_BYTES;
    return PS_OK;
}

/* ------------------------------------------------------------------------------------------- messages */

/* A broker's message carries what a publisher's may not: offset, time and publisher. */
enum message_form { MESSAGE_PUBLISHED, MESSAGE_DELIVERED };

static size_t header_size(const struct header *header)
{
    return wire_bytes_size(header->name.size) + wire_bytes_size(header->value.size);
}

static size_t message_size(const struct message *message, enum message_form form)
{
    size_t size = wire_bytes_size(message->payload.size);
    if (form == MESSAGE_DELIVERED) {
        size += 1 + wire_varint_size(message->offset) + 1 + sizeof(int64_t);
        if (span_present(message->publisher))
            size += wire_bytes_size(message->publisher.size);
    }
    if (span_present(message->key))
        size += wire_bytes_size(message->key.size);
    for (uint32_t i = 0; i < message->header_count; i++)
        size += wire_bytes_size(header_size(&message->headers[i]));
    if (message->flags != 0)
        size += 1 + wire_varint_size(message->flags);
    return size;
}

static uint8_t *put_header(uint8_t *place, const struct header *header)
{
    place = wire_put_key(place, 5, WIRE_BYTES);
    place = wire_put_varint(place, header_size(header));
    place = wire_put_bytes(place, 1, header->name);
    return wire_put_bytes(place, 2, header->value);
}

static uint8_t *put_time(uint8_t *place, int64_t time)
{
    uint64_t value = (uint64_t)time;
    place = wire_put_key(place, 2, WIRE_FIXED64);
    for (unsigned i = 0; i < 8; i++)
        place[i] = (uint8_t)(value >> (8 * i));
    return place + 8;
}

static uint8_t *put_message(uint8_t *place, const struct message *message, enum message_form form)
{
    if (form == MESSAGE_DELIVERED) {
        place = wire_put_key(place, 1, WIRE_VARINT);
        place = wire_put_varint(place, message->offset);
        place = put_time(place, message->published_at);
        if (span_present(message->publisher))
            place = wire_put_bytes(place, 3, message->publisher);
    }
    if (span_present(message->key))
        place = wire_put_bytes(place, 4, message->key);
    for (uint32_t i = 0; i < message->header_count; i++)
        place = put_header(place, &message->headers[i]);
    place = wire_put_bytes(place, 6, message->payload);
    if (message->flags != 0) {
        place = wire_put_key(place, 7, WIRE_VARINT);
        place = wire_put_varint(place, message->flags);
    }
    return place;
}

size_t codec_message_size(const struct message *message)
{
    return wire_bytes_size(message_size(message, MESSAGE_DELIVERED));
}

void codec_put_message(uint8_t *place, const struct message *message)
{
    place = wire_put_key(place, 15, WIRE_BYTES);
    place = wire_put_varint(place, message_size(message, MESSAGE_DELIVERED));
    put_message(place, message, MESSAGE_DELIVERED);
}

/* ------------------------------------------------------------------------------------ delivery, publish */

size_t codec_put_delivery_header(uint8_t place[DELIVERY_HEADER_MAX_BYTES], uint64_t subscription,
                                 struct span topic, size_t messages_size)
{
    assert(topic.size <= TOPIC_MAX_BYTES && messages_size <= FRAME_HARD_CAP);
    size_t delivery = 1 + wire_varint_size(subscription) + wire_bytes_size(topic.size) + messages_size;
    size_t body = wire_bytes_size(delivery);
    assert(body <= FRAME_HARD_CAP);
    frame_put_header(place, (uint32_t)body);
    uint8_t *at = place + FRAME_HEADER_BYTES;
    at = wire_put_key(at, 8, WIRE_BYTES);
    at = wire_put_varint(at, delivery);
    at = wire_put_key(at, 1, WIRE_VARINT);
    at = wire_put_varint(at, subscription);
    at = wire_put_bytes(at, 2, topic);
    return (size_t)(at - place);
}

static size_t group_size(const struct publish_group *group)
{
    size_t size = wire_bytes_size(group->topic.size);
    for (uint32_t i = 0; i < group->count; i++)
        size += wire_bytes_size(message_size(&group->messages[i], MESSAGE_PUBLISHED));
    return size;
}

static uint8_t *put_group(uint8_t *place, const struct publish_group *group)
{
    place = wire_put_key(place, 1, WIRE_BYTES);
    place = wire_put_varint(place, group_size(group));
    place = wire_put_bytes(place, 1, group->topic);
    for (uint32_t i = 0; i < group->count; i++) {
        const struct message *message = &group->messages[i];
        place = wire_put_key(place, 2, WIRE_BYTES);
        place = wire_put_varint(place, message_size(message, MESSAGE_PUBLISHED));
        place = put_message(place, message, MESSAGE_PUBLISHED);
    }
    return place;
}

enum ps_status encode_publish(const struct optional_u64 *request_id, const struct publish *publish,
                              struct bytes *out)
{
    size_t inner = 0;
    for (uint32_t i = 0; i < publish->group_count; i++)
        inner += wire_bytes_size(group_size(&publish->groups[i]));
    size_t size = wire_bytes_size(inner);
    if (request_id->present)
        size += 1 + wire_varint_size(request_id->value);
    uint8_t *place;
    enum ps_status status = encode_begin(out, size, &place);
    if (status != PS_OK)
        return status;
    if (request_id->present) {
        place = wire_put_key(place, 1, WIRE_VARINT);
        place = wire_put_varint(place, request_id->value);
    }
    place = wire_put_key(place, 5, WIRE_BYTES);
    place = wire_put_varint(place, inner);
    for (uint32_t i = 0; i < publish->group_count; i++)
        place = put_group(place, &publish->groups[i]);
    return PS_OK;
}
