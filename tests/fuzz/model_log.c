#include "model_log.h"

#include "own_work.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

void *model_more(void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    *room = *room * 2 + 8;
    items = realloc(items, *room * size);
    cr_assert_not_null(items);
    return items;
}

/* --------------------------------------------------------------------------------------------- messages */

static struct span put(uint8_t **at, struct span bytes)
{
    if (!span_present(bytes))
        return bytes;
    struct span copy = {*at, bytes.size};
    if (bytes.size > 0)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return copy;
}

void kept_add(struct kept_list *list, const struct message *message)
{
    size_t headers = message->header_count * sizeof(struct header);
    struct kept kept = {.message = *message};
    kept.bytes = malloc(headers + message_bytes(message) + message->publisher.size + 1);
    cr_assert_not_null(kept.bytes);
    uint8_t *at = kept.bytes + headers;
    struct header *copies = (struct header *)kept.bytes;
    for (uint32_t i = 0; i < message->header_count; i++) {
        copies[i].name = put(&at, message->headers[i].name);
        copies[i].value = put(&at, message->headers[i].value);
    }
    kept.message.headers = copies;
    kept.message.publisher = put(&at, message->publisher);
    kept.message.key = put(&at, message->key);
    kept.message.payload = put(&at, message->payload);
    list->items = model_more(list->items, list->count, &list->room, sizeof kept);
    list->items[list->count++] = kept;
}

void kept_forget(struct kept_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].bytes);
    free(list->items);
    *list = (struct kept_list){0};
}

/* An absent payload is an empty one. */
static bool same_payload(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool same_message(const struct message *a, const struct message *b)
{
    if (!same_payload(a->payload, b->payload) || !span_equal(a->key, b->key) || a->flags != b->flags ||
        a->header_count != b->header_count)
        return false;
    for (uint32_t i = 0; i < a->header_count; i++) {
        if (!span_equal(a->headers[i].name, b->headers[i].name) ||
            !same_payload(a->headers[i].value, b->headers[i].value))
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------ names */

size_t model_log_topic(struct model_log *log, struct span name)
{
    if (topic_validate(name) != PS_OK)
        return TOPICS;
    for (size_t i = 0; i < log->topic_count; i++) {
        struct model_topic *topic = &log->topics[i];
        if (topic->name_size == name.size && memcmp(topic->name, name.data, name.size) == 0)
            return i;
    }
    if (log->topic_count == TOPICS)
        return TOPICS;
    struct model_topic *topic = &log->topics[log->topic_count];
    memcpy(topic->name, name.data, name.size);
    topic->name_size = name.size;
    return log->topic_count++;
}

size_t model_log_durable(struct model_log *log, struct span id, struct span filter)
{
    uint8_t name[2 * TOPIC_MAX_BYTES + 1];
    if (id_validate(id) != PS_OK || filter_validate(filter) != PS_OK)
        return DURABLES;
    memcpy(name, id.data, id.size);
    name[id.size] = 0;
    memcpy(name + id.size + 1, filter.data, filter.size);
    size_t size = id.size + 1 + filter.size;
    for (size_t i = 0; i < log->durable_count; i++) {
        if (log->durables[i].name_size == size && memcmp(log->durables[i].name, name, size) == 0)
            return i;
    }
    cr_assert_lt(log->durable_count, (size_t)DURABLES);
    memcpy(log->durables[log->durable_count].name, name, size);
    log->durables[log->durable_count].name_size = size;
    return log->durable_count++;
}

void model_log_deinit(struct model_log *log)
{
    for (size_t i = 0; i < log->topic_count; i++)
        kept_forget(&log->topics[i].log);
    free(log->ids);
    *log = (struct model_log){0};
}

/* ----------------------------------------------------------------------------------------- the watched store */

struct watched {
    struct store base;
    struct store *real;
    struct model_log *log;
};

static void learn_append(struct model_log *log, const struct store_append *append)
{
    size_t index = model_log_topic(log, append->topic);
    cr_assert(index < TOPICS, "a topic without a valid name is stored");
    struct model_topic *topic = &log->topics[index];
    cr_assert(topic->log.count == 0 || topic->id == append->topic_id, "another id for the same topic");
    topic->id = append->topic_id;
    topic->is_deleted = false;
    for (uint32_t i = 0; i < append->count; i++) {
        const struct message *message = &append->messages[i];
        if (message->status != PS_OK)
            continue;
        cr_assert_eq(message->offset, topic->log.count, "an offset is skipped or used twice");
        cr_assert(message->published_at >= log->newest, "published_at falls");
        log->newest = message->published_at;
        kept_add(&topic->log, message);
    }
}

static void learn_offset(const struct model_log *log, const struct store_offset *offset)
{
    size_t topic = 0, at = 0;
    while (topic < log->topic_count && log->topics[topic].id != offset->topic_id)
        topic++;
    while (at < log->id_count && log->ids[at].id != offset->subscription_id)
        at++;
    cr_assert(topic < log->topic_count && at < log->id_count, "an offset of nothing");
    cr_assert(offset->next_offset <= log->durables[log->ids[at].durable].acked[topic],
              "committed beyond what was acknowledged");
}

/* It begins anew: what was committed does not count any more. */
static void learn_move(struct model_log *log, struct span id, struct span filter)
{
    size_t index = model_log_durable(log, id, filter);
    cr_assert(index < DURABLES);
    log->durables[index].moves++;
    memset(log->durables[index].done, 0, sizeof log->durables[index].done);
}

static void mark_deleted(struct model_topic *topic)
{
    topic->is_deleted = topic->was_deleted = true;
}

static void learn(struct model_log *log, const struct store_op *op)
{
    if (op->status != PS_OK)
        return;
    if (op->kind == STORE_APPEND)
        learn_append(log, &op->append);
    for (size_t i = 0; op->kind == STORE_OFFSETS && i < op->offsets.count; i++)
        learn_offset(log, &op->offsets.items[i]);
    if (op->kind == STORE_DELETE_TOPIC)
        mark_deleted(&log->topics[model_log_topic(log, op->delete_topic.topic)]);
    if (op->kind == STORE_SEEK)
        learn_move(log, op->seek.id, op->seek.filter);
    if (op->kind == STORE_FORGET)
        learn_move(log, op->forget.id, op->forget.filter);
    if (op->kind == STORE_ATTACH) {
        log->ids = model_more(log->ids, log->id_count, &log->id_room, sizeof *log->ids);
        log->ids[log->id_count++] = (struct stored_id){
            op->attach.subscription_id, model_log_durable(log, op->attach.id, op->attach.filter)};
    }
}

static enum ps_status watched_commit(struct store *store, struct store_op **ops, size_t count,
                                     struct store_state *state)
{
    struct watched *watched = (struct watched *)store;
    enum ps_status status = store_commit(watched->real, ops, count, state);
    own_work_begin();
    for (size_t i = 0; i < count; i++)
        learn(watched->log, ops[i]);
    own_work_end();
    return status;
}

static enum ps_status watched_work(struct store *store, bool *more, struct store_state *state)
{
    return store_work(((struct watched *)store)->real, more, state);
}

static void watched_load(struct store *store, store_topic_fn *show, void *ctx)
{
    store_load(((struct watched *)store)->real, show, ctx);
}

static enum ps_status watched_reader_new(struct store *store, struct store_reader **reader)
{
    return store_reader_new(((struct watched *)store)->real, reader);
}

static enum ps_status watched_close(struct store *store)
{
    enum ps_status status = store_close(((struct watched *)store)->real);
    free(store);
    return status;
}

struct store *model_log_watch(struct model_log *log, struct store *store)
{
    static const struct store_vtable vtable = {.commit = watched_commit,
                                               .work = watched_work,
                                               .load = watched_load,
                                               .reader_new = watched_reader_new,
                                               .close = watched_close};
    struct watched *watched = malloc(sizeof *watched);
    cr_assert_not_null(watched);
    *watched = (struct watched){{&vtable}, store, log};
    return &watched->base;
}
