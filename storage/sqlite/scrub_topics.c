#include "scrub_topics.h"

#include <stdlib.h>

enum { FIRST_PLACES = 64 };

enum ps_status scrub_topics_init(struct scrub_topics *topics)
{
    *topics = (struct scrub_topics){.places = FIRST_PLACES};
    topics->topics = calloc(topics->places, sizeof(*topics->topics));
    return topics->topics == NULL ? PS_NO_MEMORY : PS_OK;
}

void scrub_topics_deinit(struct scrub_topics *topics)
{
    for (size_t i = 0; i < topics->places; i++)
        free(topics->topics[i].name);
    free(topics->topics);
    *topics = (struct scrub_topics){0};
}

/* Its own, or the free one where it belongs. */
static struct scrub_topic *place_of(const struct scrub_topics *topics, uint64_t topic_id)
{
    size_t at = (size_t)(topic_id * 0x9E3779B97F4A7C15u >> 20) & (topics->places - 1);

    while (topics->topics[at].is_met && topics->topics[at].topic_id != topic_id)
        at = (at + 1) & (topics->places - 1);
    return &topics->topics[at];
}

static bool grow(struct scrub_topics *topics)
{
    struct scrub_topics larger = {.count = topics->count, .places = topics->places * 2};

    larger.topics = calloc(larger.places, sizeof(*larger.topics));
    if (larger.topics == NULL)
        return false;
    for (size_t i = 0; i < topics->places; i++)
        if (topics->topics[i].is_met)
            *place_of(&larger, topics->topics[i].topic_id) = topics->topics[i];
    free(topics->topics);
    *topics = larger;
    return true;
}

const struct scrub_topic *scrub_topics_find(const struct scrub_topics *topics, uint64_t topic_id)
{
    const struct scrub_topic *topic = place_of(topics, topic_id);

    return topic->is_met ? topic : NULL;
}

enum ps_status scrub_topics_obtain(struct scrub_topics *topics, struct database *db, uint64_t topic_id,
                                   struct scrub_topic **found)
{
    struct scrub_topic *topic = place_of(topics, topic_id);
    struct scrub_topic fresh = {.topic_id = topic_id, .is_met = true};
    enum ps_status status = PS_OK;

    if (!topic->is_met) {
        status = scrub_topic_look_up(&fresh, db);
        if (status != PS_OK)
            return status;
        if (2 * topics->count >= topics->places && !grow(topics)) {
            free(fresh.name);
            return PS_NO_MEMORY;
        }
        topic = place_of(topics, topic_id);
        *topic = fresh;
        topics->count++;
    }
    *found = topic;
    return PS_OK;
}

static enum ps_status keep_name(struct scrub_topic *topic, struct span name)
{
    topic->name = malloc(name.size + 1);
    if (topic->name == NULL)
        return PS_NO_MEMORY;
    if (name.size > 0)
        memcpy(topic->name, name.data, name.size);
    topic->name_size = name.size;
    return PS_OK;
}

enum ps_status scrub_topic_look_up(struct scrub_topic *topic, struct database *db)
{
    sqlite3_stmt *select = database_statement(db, STATEMENT_SCRUB_TOPIC);
    enum ps_status status = PS_OK;
    int rc;

    if (select == NULL)
        return database_error(db);
    bind_u64(select, 1, topic->topic_id);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        topic->first = column_u64(select, 1);
        if (!topic->known) {
            status = keep_name(topic, column_span(select, 0));
            topic->known = status == PS_OK;
            topic->next = topic->first;
        }
    }
    sqlite3_reset(select);
    return status == PS_OK ? database_status(rc) : status;
}

struct span scrub_topic_name(const struct scrub_topic *topic)
{
    return topic->known ? (struct span){(const uint8_t *)topic->name, topic->name_size} : SPAN_ABSENT;
}
