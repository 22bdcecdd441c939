/* Layout that the checksum covers (version 1), integers little-endian:
 *
 *   u8 version | u32 size, topic | u64 offset | u64 published_at | u32 flags
 *   | 4 × (u32 size, bytes) for publisher, key, headers, payload; an absent one is the size 0xffffffff alone
 *
 * Short records are laid out on the stack and hashed at once, which is several times faster than streaming;
 * both give the same sum. */
#include "record.h"
#include "topic.h"

#include <jansson.h>
#define XXH_STATIC_LINKING_ONLY /* the streaming state on the stack */
#include <xxhash.h>

enum { LAYOUT_VERSION = 1, FIXED_BYTES = 1 + 4 + TOPIC_MAX_BYTES + 8 + 8 + 4 + 4 * 4, SHORT_BYTES = 2048 };

/* Most payloads are plain ASCII: eight bytes at a time, with neither a high bit nor a zero byte. */
static size_t plain_prefix(struct span bytes)
{
    const uint64_t high = 0x8080808080808080u;
    const uint64_t low = 0x0101010101010101u;
    size_t at = 0;

    for (uint64_t word; at + sizeof(word) <= bytes.size; at += sizeof(word)) {
        memcpy(&word, bytes.data + at, sizeof(word));
        if (((word | ((word - low) & ~word)) & high) != 0)
            break;
    }
    while (at < bytes.size && bytes.data[at] != 0 && bytes.data[at] < 0x80)
        at++;
    return at;
}

bool record_is_text(struct span bytes)
{
    size_t plain = plain_prefix(bytes);
    struct span rest = {bytes.data + plain, bytes.size - plain};

    return rest.size == 0 || (memchr(rest.data, 0, rest.size) == NULL && utf8_valid(rest));
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    return put_u32(put_u32(at, (uint32_t)value), (uint32_t)(value >> 32));
}

static uint8_t *put_bytes(uint8_t *at, struct span bytes)
{
    if (bytes.size > 0)
        memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static uint8_t *put_fixed(uint8_t *at, struct span topic, const struct message *message)
{
    *at++ = LAYOUT_VERSION;
    at = put_u32(at, (uint32_t)topic.size);
    at = put_bytes(at, topic);
    at = put_u64(at, message->offset);
    at = put_u64(at, (uint64_t)message->published_at);
    return put_u32(at, message->flags);
}

static uint32_t size_word(struct span field)
{
    return span_present(field) ? (uint32_t)field.size : UINT32_MAX;
}

static uint64_t checksum_streamed(const uint8_t *fixed, size_t fixed_size, const struct span *fields)
{
    XXH3_state_t state;
    uint8_t size[4];

    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, fixed, fixed_size);
    for (int i = 0; i < 4; i++) {
        put_u32(size, size_word(fields[i]));
        XXH3_64bits_update(&state, size, sizeof(size));
        if (fields[i].size > 0)
            XXH3_64bits_update(&state, fields[i].data, fields[i].size);
    }
    return XXH3_64bits_digest(&state);
}

uint64_t record_checksum(struct span topic, const struct message *message, struct span headers)
{
    const struct span fields[4] = {message->publisher, message->key, headers, message->payload};
    uint8_t bytes[SHORT_BYTES];
    uint8_t *at = put_fixed(bytes, topic, message);
    size_t total = FIXED_BYTES;

    for (int i = 0; i < 4; i++)
        total += fields[i].size;
    if (total > sizeof(bytes))
        return checksum_streamed(bytes, (size_t)(at - bytes), fields);
    for (int i = 0; i < 4; i++)
        at = put_bytes(put_u32(at, size_word(fields[i])), fields[i]);
    return XXH3_64bits(bytes, (size_t)(at - bytes));
}

enum ps_status record_headers_to_json(const struct header *headers, uint32_t count, char **json)
{
    enum ps_status status = PS_NO_MEMORY;
    json_t *object = NULL;
    char *text = NULL;

    if (count > 0) {
        object = json_object();
        for (uint32_t i = 0; i < count; i++) {
            json_t *value = json_stringn((const char *)headers[i].value.data, headers[i].value.size);

            /* Fails, and releases the value, on NULL, on what is not UTF-8 and without memory. */
            if (json_object_setn_new(object, (const char *)headers[i].name.data, headers[i].name.size,
                                     value) != 0) {
                status = PS_BAD_HEADER;
                goto done;
            }
        }
        text = json_dumps(object, JSON_COMPACT);
        if (text == NULL)
            goto done;
    }
    *json = text;
    status = PS_OK;
done:
    json_decref(object);
    return status;
}

void record_free_json(char *json)
{
    free(json);
}

void record_headers_deinit(struct record_headers *headers)
{
    json_decref(headers->parsed);
    headers->parsed = NULL;
    headers->count = 0;
}

enum ps_status record_headers_set(struct record_headers *headers, struct span json)
{
    json_t *object;

    record_headers_deinit(headers);
    if (!span_present(json))
        return PS_OK;
    object = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    headers->parsed = object;
    if (!json_is_object(object) || json_object_size(object) > MESSAGE_MAX_HEADERS)
        goto damaged;
    for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
        const json_t *value = json_object_iter_value(i);
        const char *name = json_object_iter_key(i);

        if (!json_is_string(value))
            goto damaged;
        headers->items[headers->count++] =
            (struct header){{(const uint8_t *)name, json_object_iter_key_len(i)},
                            {(const uint8_t *)json_string_value(value), json_string_length(value)}};
    }
    return PS_OK;

damaged:
    record_headers_deinit(headers);
    return PS_DAMAGED;
}
