#include "message.h"

#include "codec.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

size_t message_bytes(const struct message *message)
{
    size_t bytes = message->payload.size + message->key.size;
    for (uint32_t i = 0; i < message->header_count; i++)
        bytes += message->headers[i].name.size + message->headers[i].value.size;
    return bytes;
}

static bool header_is_valid(const struct header *header)
{
    const struct span value = header->value;
    return id_validate(header->name) == PS_OK && span_present(value) && utf8_valid(value) &&
           (value.size == 0 || memchr(value.data, 0, value.size) == NULL);
}

/* Callers have bounded `count` by MESSAGE_MAX_HEADERS: comparing each with each stays small. */
static bool names_are_unique(const struct header *headers, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (span_equal(headers[i].name, headers[j].name))
                return false;
        }
    }
    return true;
}

enum ps_status message_validate(const struct message *message, size_t max_bytes)
{
    if (message->flags != 0)
        return PS_UNSUPPORTED;
    if (message->header_count > MESSAGE_MAX_HEADERS)
        return PS_BAD_HEADER;
    size_t bytes = message_bytes(message);
    if (bytes > max_bytes)
        return PS_MESSAGE_TOO_LARGE;
    if (bytes - message->payload.size - message->key.size > MESSAGE_MAX_HEADER_BYTES)
        return PS_BAD_HEADER;
    for (uint32_t i = 0; i < message->header_count; i++) {
        if (!header_is_valid(&message->headers[i]))
            return PS_BAD_HEADER;
    }
    return names_are_unique(message->headers, message->header_count) ? PS_OK : PS_BAD_HEADER;
}

struct batch *batch_new(uint32_t entries_hint, size_t bytes_hint)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return NULL;
    batch->refs = 1;
    batch->capacity = entries_hint > 0 ? entries_hint : 1;
    batch->room = bytes_hint > 0 ? bytes_hint : 64;
    batch->entries = malloc(batch->capacity * sizeof *batch->entries);
    batch->bytes = malloc(batch->room);
    if (batch->entries == NULL || batch->bytes == NULL) {
        batch_unref(batch);
        return NULL;
    }
    return batch;
}

struct batch *batch_ref(struct batch *batch)
{
    batch->refs++;
    return batch;
}

void batch_unref(struct batch *batch)
{
    if (batch == NULL)
        return;
    assert(batch->refs > 0);
    if (--batch->refs > 0)
        return;
    free(batch->entries);
    free(batch->bytes);
    free(batch);
}

static enum ps_status reserve_entry(struct batch *batch)
{
    if (batch->count < batch->capacity)
        return PS_OK;
    if (batch->capacity > UINT32_MAX / 2)
        return PS_NO_MEMORY;
    uint32_t capacity = batch->capacity * 2;
    struct batch_entry *entries = realloc(batch->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return PS_NO_MEMORY;
    batch->entries = entries;
    batch->capacity = capacity;
    return PS_OK;
}

static enum ps_status reserve_bytes(struct batch *batch, size_t more)
{
    /* Positions in a batch are 32 bits wide. */
    if (more > UINT32_MAX - batch->size)
        return PS_NO_MEMORY;
    if (more <= batch->room - batch->size)
        return PS_OK;
    size_t needed = batch->size + more;
    size_t room = batch->room > needed / 2 ? batch->room * 2 : needed;
    uint8_t *bytes = realloc(batch->bytes, room);
    if (bytes == NULL)
        return PS_NO_MEMORY;
    batch->bytes = bytes;
    batch->room = room;
    return PS_OK;
}

enum ps_status batch_append(struct batch *batch, const struct message *message)
{
    assert(batch->count == 0 || batch->entries[batch->count - 1].offset < message->offset);
    size_t size = codec_message_size(message);
    if (reserve_entry(batch) != PS_OK || reserve_bytes(batch, size) != PS_OK)
        return PS_NO_MEMORY;
    codec_put_message(batch->bytes + batch->size, message);
    batch->size += size;
    batch->entries[batch->count++] = (struct batch_entry){
        .offset = message->offset,
        .end = (uint32_t)batch->size,
        .credit = (uint32_t)message_bytes(message),
    };
    return PS_OK;
}

size_t batch_begin_of(const struct batch *batch, uint32_t index)
{
    assert(index <= batch->count);
    return index == 0 ? 0 : batch->entries[index - 1].end;
}

uint32_t batch_find(const struct batch *batch, uint64_t offset)
{
    uint32_t low = 0, high = batch->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (batch->entries[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t batch_memory(const struct batch *batch)
{
    return sizeof *batch + batch->capacity * sizeof *batch->entries + batch->room;
}
