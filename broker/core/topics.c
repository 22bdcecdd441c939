/* The listing is an array of pointers sorted by name, so that a page is a binary search. New topics stand behind
 * those in order until somebody looks, or there are NEW_TOPICS: moving what is behind each of thousands that one
 * frame makes would hold the loop. */
#include "topics.h"
#include "prefetch.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

enum { NEW_TOPICS = 1024, TOPICS_PER_SEARCH = 256 };

void topics_init(struct topics *topics, uint64_t seed)
{
    *topics = (struct topics){.seed = seed};
    list_init(&topics->with_runs);
}

void topics_deinit(struct topics *topics)
{
    while (topics->count > 0) {
        struct topic *topic = topics->sorted[--topics->count];
        topic->listed = false;
        topics->unlisted++;
        topic_unref(topic);
    }
    assert(topics->by_name.count == 0);
    map_deinit(&topics->by_name);
    free(topics->sorted);
}

struct topic *topics_find(const struct topics *topics, struct span name)
{
    struct map_node *node = map_find(&topics->by_name, hash_bytes(name, topics->seed));
    for (; node != NULL; node = map_next(node)) {
        struct topic *topic = LIST_OBJECT(node, struct topic, by_name);
        if (span_equal(topic_name(topic), name))
            return topic;
    }
    return NULL;
}

void topics_prefetch(const struct topics *topics, struct span name)
{
    prefetch(map_first(&topics->by_name, hash_bytes(name, topics->seed)), sizeof(struct topic) + name.size);
}

static bool reserve_listing(struct topics *topics)
{
    if (topics->count + topics->unlisted < topics->room)
        return true;
    uint32_t room = topics->room + topics->room / 2 + 64;
    struct topic **sorted = realloc(topics->sorted, room * sizeof(struct topic *));
    if (sorted == NULL)
        return false;
    topics->sorted = sorted;
    topics->room = room;
    return true;
}

static struct topic *make(struct topics *topics, struct span name)
{
    assert(name.size > 0 && name.size <= TOPIC_MAX_BYTES);
    if (!reserve_listing(topics) || !map_prepare(&topics->by_name))
        return NULL;
    struct topic *topic = calloc(1, sizeof *topic + name.size);
    if (topic == NULL)
        return NULL;
    list_init(&topic->with_runs);
    list_init(&topic->in_burst);
    list_init(&topic->fresh);
    list_init(&topic->waiting);
    list_init(&topic->busy);
    topic->table = topics;
    topic->name_size = (uint8_t)name.size;
    memcpy(topic->name, name.data, name.size);
    (void)map_insert(&topics->by_name, &topic->by_name, hash_bytes(name, topics->seed));
    topics->unlisted++;
    return topic;
}

struct topic *topics_obtain(struct topics *topics, struct span name)
{
    struct topic *topic = topics_find(topics, name);
    if (topic == NULL)
        topic = make(topics, name);
    return topic == NULL ? NULL : topic_ref(topic);
}

struct topic *topic_ref(struct topic *topic)
{
    topic->refs++;
    return topic;
}

void topic_unref(struct topic *topic)
{
    if (topic == NULL || --topic->refs > 0)
        return;
    struct topics *topics = topic->table;
    assert(!topic->listed && topic->cursors == 0 && topic->tail.count == 0 && list_empty(&topic->in_burst));
    topics->unlisted--;
    list_remove(&topic->with_runs);
    map_remove(&topics->by_name, &topic->by_name);
    runs_deinit(&topic->runs);
    free(topic->tail.entries);
    free(topic);
}

int span_compare(struct span a, struct span b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_name_order(const void *a, const void *b)
{
    const struct topic *const *x = a, *const *y = b;
    return span_compare(topic_name(*x), topic_name(*y));
}

/* Position of the first name that is >= `name`; with `behind`, of the first that is > `name`. */
static uint32_t position(struct topic *const *sorted, uint32_t count, struct span name, bool behind)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = span_compare(topic_name(sorted[middle]), name);
        if (order < 0 || (behind && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The new ones go to their places, from the last on; what is behind each place moves once. */
static void merge(struct topic **all, uint32_t in_order, struct topic *const *new_ones, uint32_t count)
{
    uint32_t end = in_order;
    for (; count > 0; count--) {
        struct span name = topic_name(new_ones[count - 1]);
        uint32_t at = position(all, end, name, false);
        memmove(all + at + count, all + at, (end - at) * sizeof *all);
        all[at + count - 1] = new_ones[count - 1];
        end = at;
    }
}

void topics_sort(struct topics *topics)
{
    struct topic *new_ones[NEW_TOPICS];
    struct topic **first = topics->sorted + topics->in_order;
    uint32_t count = topics->count - topics->in_order;
    if (count == 0)
        return;
    if (count > NEW_TOPICS) {
        qsort(topics->sorted, topics->count, sizeof *first, by_name_order);
    } else {
        qsort(first, count, sizeof *first, by_name_order);
        memcpy(new_ones, first, count * sizeof *first);
        merge(topics->sorted, topics->in_order, new_ones, count);
    }
    topics->in_order = topics->count;
}

uint32_t topics_behind(struct topics *topics, struct span name)
{
    topics_sort(topics);
    return position(topics->sorted, topics->count, name, true);
}

void topic_load(struct topic *topic)
{
    struct topics *topics = topic->table;
    if (topic->listed)
        return;
    topic->listed = true;
    topic_ref(topic);
    topics->unlisted--;
    topics->sorted[topics->count++] = topic;
}

void topic_list(struct topic *topic)
{
    struct topics *topics = topic->table;
    topic_load(topic);
    if (topics->count - topics->in_order >= NEW_TOPICS)
        topics_sort(topics);
}

void topic_unlist(struct topic *topic)
{
    struct topics *topics = topic->table;
    if (!topic->listed)
        return;
    topics_sort(topics);
    uint32_t at = position(topics->sorted, topics->count, topic_name(topic), false);
    assert(topics->sorted[at] == topic);
    topics->in_order = --topics->count;
    topics->unlisted++;
    memmove(topics->sorted + at, topics->sorted + at + 1, (topics->count - at) * sizeof(struct topic *));
    topic->listed = false;
    topic_unref(topic);
}

void topic_append(struct topic *topic, uint64_t first_offset, uint64_t first_seq, uint64_t count)
{
    runs_append(&topic->runs, first_offset, first_seq, count);
    if (list_empty(&topic->with_runs))
        list_append(&topic->table->with_runs, &topic->with_runs);
    topic->head = first_offset + count;
    topic->last_seq = first_seq + count - 1;
}

void topics_trim(struct topics *topics, uint64_t indexed_through)
{
    struct list *node = topics->with_runs.next;
    while (node != &topics->with_runs) {
        struct topic *topic = LIST_OBJECT(node, struct topic, with_runs);
        node = node->next;
        runs_trim(&topic->runs, indexed_through);
        if (topic->runs.count > 0)
            continue;
        list_remove(&topic->with_runs);
        if (topic->pending == 0)
            runs_deinit(&topic->runs);
    }
}

/* The bytes that every matching name begins with: the levels before the first wildcard. */
static struct span literal_prefix(struct span filter)
{
    size_t level = 0;
    for (size_t i = 0; i <= filter.size; i++) {
        if (i < filter.size && filter.data[i] != '/')
            continue;
        if (i - level == 1 && (filter.data[level] == '+' || filter.data[level] == '#'))
            return (struct span){filter.data, level > 0 ? level - 1 : 0};
        level = i + 1;
    }
    return filter;
}

void topics_range(struct topics *topics, struct span filter, uint32_t *begin, uint32_t *end)
{
    struct span prefix = literal_prefix(filter);
    topics_sort(topics);
    *begin = position(topics->sorted, topics->count, prefix, false);
    uint32_t low = *begin, high = topics->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct span name = topic_name(topics->sorted[middle]);
        if (name.size >= prefix.size && memcmp(name.data, prefix.data, prefix.size) == 0)
            low = middle + 1;
        else
            high = middle;
    }
    *end = low;
}

void topics_place_set(struct topics_place *place, struct span name)
{
    /* A longer one divides the names as its beginning does: none of them is as long. */
    place->size = (uint8_t)(name.size < sizeof place->name ? name.size : sizeof place->name);
    if (place->size > 0)
        memcpy(place->name, name.data, place->size);
}

uint32_t topics_search(struct topics *topics, struct span filter, struct topics_place *place,
                       struct topic **found, uint32_t room, bool *last)
{
    uint32_t i, end, count = 0;
    topics_range(topics, filter, &i, &end);
    if (place->size > 0) {
        uint32_t behind = topics_behind(topics, (struct span){place->name, place->size});
        i = behind > i ? behind : i;
    }
    uint32_t stop = i < end && end - i > TOPICS_PER_SEARCH ? i + TOPICS_PER_SEARCH : end;
    uint32_t begin = i;
    for (; i < stop && count < room; i++) {
        if (filter_match(filter, topic_name(topics->sorted[i])))
            found[count++] = topic_ref(topics->sorted[i]);
    }
    if (i > begin)
        topics_place_set(place, topic_name(topics->sorted[i - 1]));
    *last = i >= end;
    return count;
}
