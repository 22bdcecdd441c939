/* A chained hash table. A topic that does not exist when a transaction ends, because it was deleted or its
 * creation was refused, leaves the table; its row in the database remembers its id and next offset. */
#include "topics.h"

#include "prefetch.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

enum { FIRST_BUCKETS = 1024, FIRST_TOUCHED = 64 };

enum ps_status sqlite_topics_init(struct topics *topics)
{
    *topics = (struct topics){.bucket_count = FIRST_BUCKETS, .next_id = 1, .staged_next_id = 1};
    topics->buckets = calloc(FIRST_BUCKETS, sizeof(struct topic *));
    return topics->buckets == NULL ? PS_NO_MEMORY : PS_OK;
}

void sqlite_topics_deinit(struct topics *topics)
{
    for (size_t i = 0; topics->buckets != NULL && i < topics->bucket_count; i++) {
        for (struct topic *next, *topic = topics->buckets[i]; topic != NULL; topic = next) {
            next = topic->next;
            free(topic);
        }
    }
    free(topics->touched);
    free(topics->buckets);
    *topics = (struct topics){0};
}

struct topic *sqlite_topics_find(const struct topics *topics, struct span name)
{
    uint64_t hash = XXH3_64bits(name.data, name.size);
    struct topic *topic = topics->buckets[hash & (topics->bucket_count - 1)];

    while (topic != NULL && (topic->hash != hash || !span_equal(topic_name(topic), name)))
        topic = topic->next;
    return topic;
}

void sqlite_topics_prefetch(const struct topics *topics, struct span name)
{
    prefetch(topics->buckets[XXH3_64bits(name.data, name.size) & (topics->bucket_count - 1)],
             sizeof(struct topic) + name.size);
}

/* A table that cannot grow only gets slower. */
static void grow(struct topics *topics)
{
    size_t count = topics->bucket_count * 2;
    struct topic **buckets = calloc(count, sizeof(struct topic *));

    if (buckets == NULL)
        return;
    for (size_t i = 0; i < topics->bucket_count; i++) {
        for (struct topic *next, *topic = topics->buckets[i]; topic != NULL; topic = next) {
            struct topic **bucket = &buckets[topic->hash & (count - 1)];

            next = topic->next;
            topic->next = *bucket;
            *bucket = topic;
        }
    }
    free(topics->buckets);
    topics->buckets = buckets;
    topics->bucket_count = count;
}

struct topic *sqlite_topics_add(struct topics *topics, struct span name, uint64_t topic_id,
                                const struct topic_facts *facts)
{
    struct topic *topic = calloc(1, sizeof(*topic) + name.size);
    struct topic **bucket;

    if (topic == NULL)
        return NULL;
    topic->topic_id = topic_id;
    topic->hash = XXH3_64bits(name.data, name.size);
    topic->committed = *facts;
    topic->name_size = name.size;
    memcpy(topic->name, name.data, name.size);
    if (topics->count >= topics->bucket_count)
        grow(topics);
    bucket = &topics->buckets[topic->hash & (topics->bucket_count - 1)];
    topic->next = *bucket;
    *bucket = topic;
    topics->count++;
    return topic;
}

enum ps_status sqlite_topics_reserve(struct topics *topics)
{
    size_t room = topics->touched_room * 2 + FIRST_TOUCHED;
    struct topic **grown;

    if (topics->touched_count < topics->touched_room)
        return PS_OK;
    grown = realloc(topics->touched, room * sizeof(struct topic *));
    if (grown == NULL)
        return PS_NO_MEMORY;
    topics->touched = grown;
    topics->touched_room = room;
    return PS_OK;
}

void sqlite_topics_touch(struct topics *topics, struct topic *topic)
{
    if (topic->touched)
        return;
    assert(topics->touched_count < topics->touched_room);
    topic->touched = true;
    topic->row_due = false;
    topic->staged = topic->committed;
    topics->touched[topics->touched_count++] = topic;
}

static void remove_topic(struct topics *topics, struct topic *topic)
{
    struct topic **at = &topics->buckets[topic->hash & (topics->bucket_count - 1)];

    while (*at != topic)
        at = &(*at)->next;
    *at = topic->next;
    topics->count--;
    free(topic);
}

static void settle(struct topics *topics)
{
    for (size_t i = 0; i < topics->touched_count; i++) {
        struct topic *topic = topics->touched[i];

        topic->touched = false;
        if (!topic->committed.exists)
            remove_topic(topics, topic);
    }
    topics->touched_count = 0;
}

void sqlite_topics_promote(struct topics *topics)
{
    for (size_t i = 0; i < topics->touched_count; i++) {
        if (i + PREFETCH_AHEAD < topics->touched_count)
            prefetch(topics->touched[i + PREFETCH_AHEAD], sizeof(struct topic));
        topics->touched[i]->committed = topics->touched[i]->staged;
    }
    topics->next_id = topics->staged_next_id;
    settle(topics);
}

void sqlite_topics_discard(struct topics *topics)
{
    topics->staged_next_id = topics->next_id;
    settle(topics);
}
