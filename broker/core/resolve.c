#include "resolve.h"

#include "broker_state.h"

#include <stdlib.h>

/* The topic's offset at a mark: the first message at or behind it. */
static bool offset_at(const struct topic *topic, uint64_t mark, uint64_t *offset)
{
    if (topic->last_seq < mark) {
        *offset = topic->head;
        return true;
    }
    if (topic->created_seq >= mark) {
        *offset = topic->first;
        return true;
    }
    const struct store_run *first = runs_first(&topic->runs);
    if (first == NULL || first->first_seq > mark)
        return false; /* it may lie in what the store's index covers */
    const struct store_run *run = runs_at_seq(&topic->runs, mark);
    *offset = run->first_offset + (run->first_seq < mark ? mark - run->first_seq : 0);
    return true;
}

bool start_known(const struct start_rule *rule, uint64_t mark, const struct topic *topic, uint64_t *offset)
{
    uint64_t at;
    switch (rule->kind) {
    case START_BEGINNING:
        *offset = topic->first;
        return true;
    case START_OFFSET:
        *offset = rule->value;
        return true;
    case START_NEW:
        return offset_at(topic, mark, offset);
    case START_RESUME:
        return offset_at(topic, rule->value, offset);
    case START_LAST:
        if (!offset_at(topic, mark, &at))
            return false;
        if (topic->created_seq >= mark || at < topic->first || at - topic->first < rule->value)
            *offset = topic->first;
        else
            *offset = at - rule->value;
        return true;
    }
    return false;
}

struct resolve *resolve_new(struct broker *broker, uint64_t subscription_id, const struct start_rule *rule,
                            uint64_t mark)
{
    struct resolve *resolve = calloc(1, sizeof *resolve);
    if (resolve == NULL)
        return NULL;
    resolve->broker = broker;
    resolve->read.kind = LOG_READ_RESOLVE;
    resolve->read.resolve = (struct store_resolve){
        .subscription_id = subscription_id, .start = *rule, .mark = mark, .positions = resolve->positions};
    return resolve;
}

/* Of the recent runs the store needs only the one that holds the mark or follows it: everything before lies in
 * its own index or does not count. */
bool resolve_add(struct resolve *resolve, struct topic *topic, void *subject)
{
    struct store_resolve *ask = &resolve->read.resolve;
    size_t i = ask->count;
    if (i == RESOLVE_CHUNK)
        return false;
    resolve->subjects[i] = subject;
    resolve->topics[i] = topic_ref(topic);
    struct store_position *position = &resolve->positions[i];
    position->topic = broker_store_topic(topic);
    uint64_t mark = ask->start.kind == START_RESUME ? ask->start.value : ask->mark;
    const struct store_run *run = runs_at_seq(&topic->runs, mark);
    if (run != NULL) {
        resolve->runs[i] = *run;
        position->topic.recent = &resolve->runs[i];
        position->topic.recent_count = 1;
    }
    ask->count++;
    return true;
}

static void resolve_done(struct log_read *read)
{
    struct resolve *resolve = LIST_OBJECT(read, struct resolve, read);
    broker_read_done(resolve->broker);
    if (resolve->owner != NULL)
        resolve->done(resolve);
    for (size_t i = 0; i < resolve->read.resolve.count; i++)
        topic_unref(resolve->topics[i]);
    free(resolve);
}

void resolve_submit(struct resolve *resolve)
{
    resolve->read.done = resolve_done;
    broker_read(resolve->broker, &resolve->read);
}
