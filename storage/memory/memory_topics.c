#include "memory_topics.h"

#include <assert.h>
#include <stdlib.h>

int memory_compare(struct span a, struct span b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void topic_free(struct memory_topics *topics, struct memory_topic *topic)
{
    memory_topic_delete(topics, topic);
    free(topic->messages);
    free((void *)topic->name.data);
    free(topic);
}

void memory_topics_deinit(struct memory_topics *topics)
{
    for (size_t i = 0; i < topics->count; i++)
        topic_free(topics, topics->by_id[i]);
    free(topics->by_id);
    free(topics->by_name);
    *topics = (struct memory_topics){0};
}

/* Place of the first name that is not below `name`. */
static size_t lower_bound(const struct memory_topics *topics, struct span name)
{
    size_t low = 0, high = topics->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memory_compare(topics->by_name[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct memory_topic *memory_topics_find(const struct memory_topics *topics, struct span name)
{
    size_t place = lower_bound(topics, name);
    bool found = place < topics->count && span_equal(topics->by_name[place]->name, name);
    return found ? topics->by_name[place] : NULL;
}

struct memory_topic *memory_topics_of_id(const struct memory_topics *topics, uint64_t id)
{
    return id >= 1 && id <= topics->count ? topics->by_id[id - 1] : NULL;
}

static bool grow(struct memory_topics *topics)
{
    if (topics->count < topics->capacity)
        return true;
    size_t capacity = topics->capacity == 0 ? 16 : topics->capacity * 2;
    struct memory_topic **by_id = realloc(topics->by_id, capacity * sizeof *by_id);
    if (by_id == NULL)
        return false;
    topics->by_id = by_id;
    struct memory_topic **by_name = realloc(topics->by_name, capacity * sizeof *by_name);
    if (by_name == NULL)
        return false;
    topics->by_name = by_name;
    topics->capacity = capacity;
    return true;
}

struct memory_topic *memory_topics_add(struct memory_topics *topics, struct span name)
{
    struct memory_topic *topic = calloc(1, sizeof *topic);
    uint8_t *copy = malloc(name.size + 1);
    if (topic == NULL || copy == NULL || !grow(topics)) {
        free(topic);
        free(copy);
        return NULL;
    }
    memcpy(copy, name.data, name.size);
    topic->name = (struct span){copy, name.size};
    topic->deleted = true;
    size_t place = lower_bound(topics, name);
    memmove(&topics->by_name[place + 1], &topics->by_name[place],
            (topics->count - place) * sizeof topics->by_name[0]);
    topics->by_name[place] = topic;
    topics->by_id[topics->count] = topic;
    topic->id = ++topics->count;
    return topic;
}

static struct span copy_span(uint8_t **to, struct span from)
{
    if (!span_present(from))
        return SPAN_ABSENT;
    struct span copy = {*to, from.size};
    if (from.size > 0)
        memcpy(*to, from.data, from.size);
    *to += from.size;
    return copy;
}

/* The message, its header array and all its bytes in one block; NULL when out of memory. */
static struct kept_message *copy_message(const struct message *message)
{
    size_t headers_size = message->header_count * sizeof(struct header);
    size_t size = message_bytes(message) + message->publisher.size;
    struct kept_message *kept = malloc(sizeof *kept + headers_size + size + 1);
    if (kept == NULL)
        return NULL;
    struct header *headers = (struct header *)(kept + 1);
    uint8_t *to = (uint8_t *)headers + headers_size;
    kept->message = *message;
    kept->message.publisher = copy_span(&to, message->publisher);
    kept->message.key = copy_span(&to, message->key);
    kept->message.payload = copy_span(&to, message->payload);
    kept->message.headers = message->header_count > 0 ? headers : NULL;
    for (uint32_t i = 0; i < message->header_count; i++) {
        headers[i].name = copy_span(&to, message->headers[i].name);
        headers[i].value = copy_span(&to, message->headers[i].value);
    }
    return kept;
}

static bool topic_grow(struct memory_topic *topic)
{
    if (topic->next_offset - topic->first_offset < topic->capacity)
        return true;
    size_t capacity = topic->capacity == 0 ? 16 : topic->capacity * 2;
    struct kept_message **messages = realloc(topic->messages, capacity * sizeof *messages);
    if (messages == NULL)
        return false;
    topic->messages = messages;
    topic->capacity = capacity;
    return true;
}

bool memory_topic_append(struct memory_topics *topics, struct memory_topic *topic, struct message *message,
                         uint64_t seq)
{
    struct kept_message *kept = topic_grow(topic) ? copy_message(message) : NULL;
    if (kept == NULL)
        return false;
    if (topic->deleted) {
        topic->deleted = false;
        topic->created_seq = seq;
        topics->live++;
    }
    message->offset = topic->next_offset;
    message->status = PS_OK;
    kept->seq = seq;
    kept->message.offset = message->offset;
    kept->message.status = PS_OK;
    topic->messages[topic->next_offset - topic->first_offset] = kept;
    topic->next_offset++;
    topic->last_seq = seq;
    topics->bytes += message_bytes(message);
    return true;
}

void memory_topic_delete(struct memory_topics *topics, struct memory_topic *topic)
{
    for (uint64_t i = 0; i < topic->next_offset - topic->first_offset; i++) {
        topics->bytes -= message_bytes(&topic->messages[i]->message);
        free(topic->messages[i]);
    }
    topic->first_offset = topic->next_offset;
    topics->live -= topic->deleted ? 0 : 1;
    topic->deleted = true;
}

const struct kept_message *memory_topic_at(const struct memory_topic *topic, uint64_t offset)
{
    assert(offset >= topic->first_offset && offset < topic->next_offset);
    return topic->messages[offset - topic->first_offset];
}

uint64_t memory_topic_offset_of(const struct memory_topic *topic, uint64_t seq)
{
    uint64_t low = topic->first_offset, high = topic->next_offset;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (memory_topic_at(topic, middle)->seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
