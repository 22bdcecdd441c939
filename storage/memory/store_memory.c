/* Topics and subscriptions in plain arrays behind one mutex.
 *
 * A commit holds the mutex from its first operation to its last, a reader for its whole step, so a reader
 * sees all of a commit or nothing. Operations take effect in their order. The only failure is memory: it
 * refuses the operation, or the single message, that asked for it. */
#include "store_memory.h"

#include "memory_subscriptions.h"
#include "memory_topics.h"
#include "topic.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

struct memory_store {
    struct store base;
    pthread_mutex_t mutex;
    struct memory_topics topics;
    struct memory_subscriptions subscriptions;
    struct store_limits limits;
    uint64_t next_seq;
    uint64_t indexed_through;
    int64_t last_published_at;
};

struct memory_reader {
    struct store_reader base;
    struct memory_store *store;
};

static struct store_state state_of(const struct memory_store *store)
{
    return (struct store_state){.mark = store->next_seq,
                                .indexed_through = store->indexed_through,
                                .database_bytes = store->topics.bytes};
}

/* ---------------------------------------------------------------------------------------------- writing */

static void refuse_all(struct store_append *append, enum ps_status status)
{
    for (uint32_t i = 0; i < append->count; i++)
        append->messages[i].status = status;
}

/* The topic to append to, added if need be. */
static enum ps_status topic_for(struct memory_store *store, struct span name, struct memory_topic **topic)
{
    struct memory_topic *found = memory_topics_find(&store->topics, name);
    if ((found == NULL || found->deleted) && store->topics.live >= store->limits.max_topics)
        return PS_LIMIT_EXCEEDED;
    if (found == NULL)
        found = memory_topics_add(&store->topics, name);
    if (found == NULL)
        return PS_NO_MEMORY;
    *topic = found;
    return PS_OK;
}

static enum ps_status apply_append(struct memory_store *store, struct store_append *append)
{
    assert(append->count > 0);
    struct memory_topic *topic;
    enum ps_status status = topic_for(store, append->topic, &topic);
    append->accepted = 0;
    if (status != PS_OK) {
        refuse_all(append, status);
        return status;
    }
    append->topic_id = topic->id;
    append->first_offset = topic->next_offset;
    append->first_seq = store->next_seq;
    append->topic_created = topic->deleted;
    for (uint32_t i = 0; i < append->count; i++) {
        struct message *message = &append->messages[i];
        message->published_at = store->last_published_at;
        if (!memory_topic_append(&store->topics, topic, message, store->next_seq)) {
            message->status = PS_NO_MEMORY;
            continue;
        }
        append->accepted++;
        store->next_seq++;
    }
    return append->accepted > 0 ? PS_OK : PS_NO_MEMORY;
}

/* What is kept of the topic that an exact filter names; an unknown one is empty. */
static void topic_range(struct memory_store *store, struct span name, uint64_t *first, uint64_t *head)
{
    const struct memory_topic *topic = memory_topics_find(&store->topics, name);
    *first = topic != NULL ? topic->first_offset : 0;
    *head = topic != NULL ? topic->next_offset : 0;
}

static struct start_rule plain_rule(struct start_rule rule)
{
    bool valued = rule.kind == START_OFFSET || rule.kind == START_LAST;
    return (struct start_rule){.kind = rule.kind, .value = valued ? rule.value : 0};
}

static enum ps_status apply_attach(struct memory_store *store, struct store_attach *attach)
{
    assert(attach->start.kind != START_RESUME || attach->existing_only);
    struct memory_subscription *found =
        memory_subscriptions_find(&store->subscriptions, attach->id, attach->filter);
    if (found == NULL && attach->existing_only)
        return PS_NO_SUCH_SUBSCRIPTION;
    if (found == NULL && store->subscriptions.count >= store->limits.max_durable)
        return PS_LIMIT_EXCEEDED;
    topic_range(store, attach->filter, &attach->first, &attach->head);
    attach->created = found == NULL;
    if (found == NULL) {
        if (attach->start.kind == START_OFFSET && attach->start.value > attach->head)
            return PS_OUT_OF_RANGE;
        found = memory_subscriptions_add(&store->subscriptions, attach->id, attach->filter);
        if (found == NULL)
            return PS_NO_MEMORY;
        found->stored.start = plain_rule(attach->start);
        found->stored.mark = store->next_seq;
    }
    attach->subscription_id = found->stored.subscription_id;
    attach->generation = ++found->stored.generation;
    attach->mark = found->stored.mark;
    attach->stored = found->stored.start;
    return PS_OK;
}

static enum ps_status apply_offsets(struct memory_store *store, const struct store_offsets *offsets)
{
    for (size_t i = 0; i < offsets->count; i++) {
        const struct store_offset *item = &offsets->items[i];
        struct memory_subscription *subscription =
            memory_subscriptions_of_id(&store->subscriptions, item->subscription_id);
        /* It may have been forgotten since the offset was acknowledged. */
        if (subscription == NULL)
            continue;
        if (!memory_subscription_commit(subscription, item->topic_id, item->next_offset))
            return PS_NO_MEMORY;
    }
    return PS_OK;
}

static enum ps_status apply_seek(struct memory_store *store, struct store_seek *seek)
{
    struct memory_subscription *found =
        memory_subscriptions_find(&store->subscriptions, seek->id, seek->filter);
    if (found == NULL)
        return PS_NO_SUCH_SUBSCRIPTION;
    topic_range(store, seek->filter, &seek->first, &seek->head);
    if (seek->to.kind == START_OFFSET) {
        const struct memory_topic *topic = memory_topics_find(&store->topics, seek->filter);
        if (topic == NULL || topic->deleted)
            return PS_NO_SUCH_TOPIC;
        if (seek->to.value > seek->head)
            return PS_OUT_OF_RANGE;
    }
    found->stored.start = plain_rule(seek->to);
    found->stored.mark = store->next_seq;
    found->offset_count = 0;
    seek->subscription_id = found->stored.subscription_id;
    seek->generation = ++found->stored.generation;
    seek->mark = found->stored.mark;
    return PS_OK;
}

static enum ps_status apply_forget(struct memory_store *store, struct store_forget *forget)
{
    struct memory_subscription *found =
        memory_subscriptions_find(&store->subscriptions, forget->id, forget->filter);
    if (found == NULL)
        return PS_NO_SUCH_SUBSCRIPTION;
    forget->subscription_id = found->stored.subscription_id;
    memory_subscriptions_remove(&store->subscriptions, found);
    return PS_OK;
}

static enum ps_status apply_delete_topic(struct memory_store *store, struct store_delete_topic *delete_topic)
{
    struct memory_topic *topic = memory_topics_find(&store->topics, delete_topic->topic);
    if (topic == NULL || topic->deleted)
        return PS_NO_SUCH_TOPIC;
    memory_topic_delete(&store->topics, topic);
    delete_topic->topic_id = topic->id;
    delete_topic->first_offset = topic->first_offset;
    return PS_OK;
}

static enum ps_status apply(struct memory_store *store, struct store_op *op)
{
    switch (op->kind) {
    case STORE_APPEND:
        return apply_append(store, &op->append);
    case STORE_ATTACH:
        return apply_attach(store, &op->attach);
    case STORE_OFFSETS:
        return apply_offsets(store, &op->offsets);
    case STORE_SEEK:
        return apply_seek(store, &op->seek);
    case STORE_FORGET:
        return apply_forget(store, &op->forget);
    case STORE_DELETE_TOPIC:
        return apply_delete_topic(store, &op->delete_topic);
    case STORE_BACKUP:
        return PS_UNSUPPORTED;
    }
    return PS_INTERNAL;
}

/* One time for the whole commit, never below that of an earlier one. */
static void take_time(struct memory_store *store)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t published_at = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (published_at > store->last_published_at)
        store->last_published_at = published_at;
}

static enum ps_status memory_commit(struct store *base, struct store_op **ops, size_t count,
                                    struct store_state *state)
{
    struct memory_store *store = (struct memory_store *)base;
    pthread_mutex_lock(&store->mutex);
    take_time(store);
    for (size_t i = 0; i < count; i++)
        ops[i]->status = apply(store, ops[i]);
    if (store->next_seq - 1 - store->indexed_through >= STORE_MEMORY_EPOCH)
        store->indexed_through = store->next_seq - 1;
    *state = state_of(store);
    pthread_mutex_unlock(&store->mutex);
    return PS_OK;
}

static enum ps_status memory_work(struct store *base, bool *more, struct store_state *state)
{
    struct memory_store *store = (struct memory_store *)base;
    pthread_mutex_lock(&store->mutex);
    *state = state_of(store);
    pthread_mutex_unlock(&store->mutex);
    *more = false;
    return PS_OK;
}

/* ---------------------------------------------------------------------------------------------- loading */

/* Runs of the topic behind the index; their number, at most one a message. */
static size_t recent_runs(const struct memory_store *store, const struct memory_topic *topic,
                          struct store_run *runs)
{
    size_t count = 0;
    uint64_t offset = memory_topic_offset_of(topic, store->indexed_through + 1);
    for (; offset < topic->next_offset; offset++) {
        uint64_t seq = memory_topic_at(topic, offset)->seq;
        struct store_run *last = count > 0 ? &runs[count - 1] : NULL;
        if (last != NULL && last->first_seq + last->count == seq)
            last->count++;
        else
            runs[count++] = (struct store_run){offset, seq, 1};
    }
    return count;
}

static void memory_load(struct store *base, store_topic_fn *show, void *ctx)
{
    struct memory_store *store = (struct memory_store *)base;
    struct store_run runs[STORE_MEMORY_EPOCH];
    for (size_t i = 0; i < store->topics.count; i++) {
        const struct memory_topic *topic = store->topics.by_id[i];
        if (topic->deleted)
            continue;
        struct store_topic shown = {.topic_id = topic->id,
                                    .name = topic->name,
                                    .first_offset = topic->first_offset,
                                    .next_offset = topic->next_offset,
                                    .created_seq = topic->created_seq,
                                    .last_seq = topic->last_seq,
                                    .recent = runs,
                                    .recent_count = recent_runs(store, topic, runs)};
        show(ctx, &shown);
    }
}

/* ---------------------------------------------------------------------------------------------- reading */

static enum ps_status memory_reader_new(struct store *base, struct store_reader **reader)
{
    struct memory_reader *made = malloc(sizeof *made);
    if (made == NULL)
        return PS_NO_MEMORY;
    made->base.vtable = base->vtable;
    made->store = (struct memory_store *)base;
    *reader = &made->base;
    return PS_OK;
}

static void memory_reader_free(struct store_reader *reader)
{
    free(reader);
}

static bool is_lent(const struct store_topic *topic, uint64_t offset, uint64_t seq)
{
    for (size_t i = 0; i < topic->recent_count; i++) {
        const struct store_run *run = &topic->recent[i];
        if (offset >= run->first_offset && offset - run->first_offset < run->count)
            return run->first_seq + (offset - run->first_offset) == seq;
    }
    return false;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static enum ps_status show_range(const struct memory_store *store, const struct memory_topic *topic,
                                 uint64_t to, struct store_read *read)
{
    int64_t until = now_us() + (int64_t)read->max_microseconds;
    size_t bytes = 0;
    for (uint32_t shown = 0; read->next_offset < to && shown < read->max_messages; shown++) {
        const struct kept_message *kept = memory_topic_at(topic, read->next_offset);
        if (kept->seq > store->indexed_through && !is_lent(&read->topic, read->next_offset, kept->seq)) {
            read->damaged_offset = read->next_offset;
            return PS_DAMAGED;
        }
        bytes += message_bytes(&kept->message);
        if (shown > 0 && (bytes > read->max_bytes || now_us() > until))
            break;
        read->next_offset++;
        if (!read->show(read->ctx, &kept->message))
            break;
    }
    return PS_OK;
}

static enum ps_status memory_read(struct store_reader *base, struct store_read *read)
{
    struct memory_store *store = ((struct memory_reader *)base)->store;
    enum ps_status status = PS_OK;
    pthread_mutex_lock(&store->mutex);
    const struct memory_topic *topic = memory_topics_of_id(&store->topics, read->topic.topic_id);
    read->first_kept = topic != NULL ? topic->first_offset : 0;
    read->next_offset = read->from > read->first_kept ? read->from : read->first_kept;
    if (topic != NULL) {
        uint64_t to = read->to < topic->next_offset ? read->to : topic->next_offset;
        status = show_range(store, topic, to, read);
    }
    read->hint = read->next_offset;
    pthread_mutex_unlock(&store->mutex);
    return status;
}

static uint64_t offset_by_rule(const struct memory_topic *topic, struct start_rule rule, uint64_t mark)
{
    uint64_t new = memory_topic_offset_of(topic, rule.kind == START_RESUME ? rule.value : mark);
    if (rule.kind == START_OFFSET)
        return rule.value;
    if (rule.kind == START_BEGINNING)
        return topic->first_offset;
    if (rule.kind == START_LAST)
        return new - topic->first_offset > rule.value ? new - rule.value : topic->first_offset;
    return new;
}

static void resolve_position(const struct memory_store *store, const struct store_resolve *resolve,
                             const struct memory_subscription *subscription, struct store_position *position)
{
    uint64_t topic_id = position->topic.topic_id;
    const struct committed_offset *committed =
        subscription != NULL ? memory_subscription_offset(subscription, topic_id) : NULL;
    position->committed = committed != NULL;
    if (committed != NULL) {
        position->offset = committed->next_offset;
        return;
    }
    const struct memory_topic *topic = memory_topics_of_id(&store->topics, topic_id);
    position->offset = topic != NULL ? offset_by_rule(topic, resolve->start, resolve->mark) : 0;
}

static enum ps_status memory_resolve(struct store_reader *base, struct store_resolve *resolve)
{
    struct memory_store *store = ((struct memory_reader *)base)->store;
    pthread_mutex_lock(&store->mutex);
    const struct memory_subscription *subscription =
        memory_subscriptions_of_id(&store->subscriptions, resolve->subscription_id);
    for (size_t i = 0; i < resolve->count; i++)
        resolve_position(store, resolve, subscription, &resolve->positions[i]);
    pthread_mutex_unlock(&store->mutex);
    return PS_OK;
}

/* Whether (id, filter) lies behind where the listing goes on. */
static bool is_after(const struct store_list *list, const struct store_subscription *stored)
{
    if (!span_present(list->after_id))
        return true;
    int order = memory_compare(stored->id, list->after_id);
    if (order == 0 && span_present(list->after_filter))
        order = memory_compare(stored->filter, list->after_filter);
    return order > 0;
}

static enum ps_status memory_list(struct store_reader *base, struct store_list *list)
{
    struct memory_store *store = ((struct memory_reader *)base)->store;
    uint32_t shown = 0;
    pthread_mutex_lock(&store->mutex);
    for (size_t i = 0; i < store->subscriptions.count && shown < list->limit; i++) {
        const struct store_subscription *stored = &store->subscriptions.items[i]->stored;
        if (!is_after(list, stored) || (span_present(list->id) && !span_equal(stored->id, list->id)))
            continue;
        shown++;
        if (!list->show(list->ctx, stored))
            break;
    }
    pthread_mutex_unlock(&store->mutex);
    return PS_OK;
}

/* --------------------------------------------------------------------------------------------- life time */

static enum ps_status memory_close(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    memory_topics_deinit(&store->topics);
    memory_subscriptions_deinit(&store->subscriptions);
    pthread_mutex_destroy(&store->mutex);
    free(store);
    return PS_OK;
}

/* Nothing can happen to it on the way. */
static enum ps_status memory_verify(struct store_reader *base, struct store_verify *verify)
{
    struct memory_store *store = ((struct memory_reader *)base)->store;

    pthread_mutex_lock(&store->mutex);
    verify->checked = verify->total = store->next_seq - 1;
    verify->records = 0;
    for (size_t i = 0; i < store->topics.count; i++)
        verify->records += store->topics.by_id[i]->next_offset - store->topics.by_id[i]->first_offset;
    pthread_mutex_unlock(&store->mutex);
    verify->done = true;
    return PS_OK;
}

static enum ps_status memory_read_backup(struct store_reader *base, struct store_backup_read *read)
{
    (void)base, (void)read;
    return PS_OUT_OF_RANGE;
}

static const struct store_vtable memory_vtable = {.commit = memory_commit,
                                                  .work = memory_work,
                                                  .load = memory_load,
                                                  .reader_new = memory_reader_new,
                                                  .reader_free = memory_reader_free,
                                                  .read = memory_read,
                                                  .resolve = memory_resolve,
                                                  .list = memory_list,
                                                  .verify = memory_verify,
                                                  .read_backup = memory_read_backup,
                                                  .close = memory_close};

enum ps_status store_memory_open(const struct store_limits *limits, struct store **store,
                                 struct store_opened *opened)
{
    struct memory_store *made = calloc(1, sizeof *made);
    if (made == NULL)
        return PS_NO_MEMORY;
    struct store_opened facts = {.start_count = 1};
    if (getrandom(facts.log_id, sizeof facts.log_id, 0) != (ssize_t)sizeof facts.log_id ||
        pthread_mutex_init(&made->mutex, NULL) != 0) {
        free(made);
        return PS_NO_MEMORY;
    }
    made->base.vtable = &memory_vtable;
    if (limits != NULL)
        made->limits = *limits;
    if (made->limits.max_topics == 0)
        made->limits.max_topics = STORE_MAX_TOPICS;
    if (made->limits.max_durable == 0)
        made->limits.max_durable = STORE_MAX_DURABLE;
    made->next_seq = 1;
    facts.state = state_of(made);
    *store = &made->base;
    *opened = facts;
    return PS_OK;
}
