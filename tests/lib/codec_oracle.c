#include "codec_oracle.h"

#include "frame.h"
#include "psbroker.pb-c.h"

#include <stdlib.h>

/* ------------------------------------------------------------------------------- comparing by descriptor */

static bool is_bytes(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_STRING;
}

static const void *member(const ProtobufCMessage *message, unsigned offset)
{
    return (const char *)message + offset;
}

static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REQUIRED)
        return true;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)member(message, field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
        return *(void *const *)member(message, field->offset) != NULL;
    return *(const protobuf_c_boolean *)member(message, field->quantifier_offset) != 0;
}

static uint64_t number_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *place = member(message, field->offset);
    uint64_t value = 0;
    if (!is_present(message, field))
        return 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&value, place, 8);
        return value;
    case PROTOBUF_C_TYPE_UINT32:
        return *(const uint32_t *)place;
    case PROTOBUF_C_TYPE_ENUM:
        return *(const int *)place != 0;
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)place != 0;
    default:
        abort(); /* the schema has no other type */
    }
}

static struct span bytes_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    static const uint8_t nothing[1];
    if (!is_present(message, field))
        return strcmp(field->name, "payload") == 0 ? (struct span){nothing, 0} : SPAN_ABSENT;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return span_of(*(char *const *)member(message, field->offset));
    const ProtobufCBinaryData *data = member(message, field->offset);
    return (struct span){data->data != NULL ? data->data : nothing, data->len};
}

static const char *compare(const ProtobufCMessage *a, const ProtobufCMessage *b);

static const char *compare_repeated(const ProtobufCMessage *a, const ProtobufCMessage *b,
                                    const ProtobufCFieldDescriptor *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return NULL; /* features: read and forgotten */
    size_t count_a = *(const size_t *)member(a, field->quantifier_offset);
    size_t count_b = *(const size_t *)member(b, field->quantifier_offset);
    if (count_a != count_b)
        return field->name;
    for (size_t i = 0; i < count_a; i++) {
        const char *differs = compare((*(ProtobufCMessage * *const *)member(a, field->offset))[i],
                                      (*(ProtobufCMessage * *const *)member(b, field->offset))[i]);
        if (differs != NULL)
            return differs;
    }
    return NULL;
}

static const char *compare_field(const ProtobufCMessage *a, const ProtobufCMessage *b,
                                 const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return compare_repeated(a, b, field);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && !is_present(a, field) && !is_present(b, field))
        return NULL;
    if (is_bytes(field))
        return span_equal(bytes_of(a, field), bytes_of(b, field)) ? NULL : field->name;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && is_present(a, field) != is_present(b, field))
            return field->name;
        /* A choice of `new: false` is that choice. */
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && field->type == PROTOBUF_C_TYPE_BOOL)
            return NULL;
        return number_of(a, field) == number_of(b, field) ? NULL : field->name;
    }
    if (is_present(a, field) != is_present(b, field))
        return strcmp(field->name, "start") == 0 ? NULL : field->name;
    if (!is_present(a, field))
        return NULL;
    return compare(*(ProtobufCMessage *const *)member(a, field->offset),
                   *(ProtobufCMessage *const *)member(b, field->offset));
}

/* The name of the first member that differs. Absent numbers equal zero, absent bytes equal nothing else. */
static const char *compare(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const ProtobufCMessageDescriptor *shape = a->descriptor;
    /* A start of an unknown kind that is only shown reads as the default. */
    if (shape == &psbroker__start__descriptor && ((const Psbroker__Start *)a)->at_case == 0)
        return NULL;
    for (unsigned i = 0; i < shape->n_fields; i++) {
        const char *differs = compare_field(a, b, &shape->fields[i]);
        if (differs != NULL)
            return differs;
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- checking */

static const char *check(const ProtobufCMessageDescriptor *shape, struct span original, struct bytes *again)
{
    const char *differs = "protobuf-c refuses what was accepted";
    ProtobufCMessage *a = protobuf_c_message_unpack(shape, NULL, original.size, original.data);
    ProtobufCMessage *b = protobuf_c_message_unpack(shape, NULL, again->size - FRAME_HEADER_BYTES,
                                                    again->data + FRAME_HEADER_BYTES);
    if (a != NULL && b != NULL)
        differs = compare(a, b);
    else if (a != NULL)
        differs = "protobuf-c refuses what was encoded";
    if (a != NULL)
        protobuf_c_message_free_unpacked(a, NULL);
    if (b != NULL)
        protobuf_c_message_free_unpacked(b, NULL);
    return differs;
}

const char *oracle_check_client(struct span body, enum ps_status *status)
{
    const char *differs = NULL;
    struct client_frame frame;
    struct bytes again = {0};
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    *status = codec_decode_client(body, arena, &frame);
    bool comparable = *status == PS_OK && frame.kind != CLIENT_NONE;
    if (comparable && frame.kind == CLIENT_PUBLISH)
        comparable = !frame.publish.unsupported;
    if (comparable && codec_encode_client(&frame, &again) == PS_OK)
        differs = check(&psbroker__client_frame__descriptor, body, &again);
    bytes_deinit(&again);
    arena_free(arena);
    return differs;
}

enum ps_status oracle_encode_server(const struct server_frame *frame, struct bytes *out)
{
    if (frame->kind != SERVER_DELIVERY)
        return codec_encode_server(frame, out);
    const struct delivery *delivery = &frame->delivery;
    size_t size = 0;
    for (size_t i = 0; i < delivery->message_count; i++)
        size += codec_message_size(&delivery->messages[i]);
    if (bytes_reserve(out, DELIVERY_HEADER_MAX_BYTES + size) != PS_OK)
        return PS_NO_MEMORY;
    out->size +=
        codec_put_delivery_header(out->data + out->size, delivery->subscription, delivery->topic, size);
    for (size_t i = 0; i < delivery->message_count; i++) {
        codec_put_message(out->data + out->size, &delivery->messages[i]);
        out->size += codec_message_size(&delivery->messages[i]);
    }
    return PS_OK;
}

const char *oracle_check_server(struct span body, enum ps_status *status)
{
    const char *differs = NULL;
    struct server_frame frame;
    struct bytes again = {0};
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    *status = codec_decode_server(body, arena, &frame);
    if (*status == PS_OK && frame.kind == SERVER_DELIVERY) {
        /* A broker's deliveries have no request id and topics of at most 255 bytes. */
        if (frame.request_id.present || frame.delivery.topic.size > 255)
            frame.kind = SERVER_NONE;
    }
    if (*status == PS_OK && frame.kind != SERVER_NONE && oracle_encode_server(&frame, &again) == PS_OK)
        differs = check(&psbroker__server_frame__descriptor, body, &again);
    bytes_deinit(&again);
    arena_free(arena);
    return differs;
}
