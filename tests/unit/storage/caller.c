#include "caller.h"

#include "leaks.h"
#include "tmpdir.h"
#include "topic.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

char test_note[64];

/* ---------------------------------------------------------------------------------------- what is known */

struct known_topic *caller_find(struct caller *caller, const char *name)
{
    for (size_t i = 0; i < caller->topic_count; i++) {
        if (strcmp(caller->topics[i].name, name) == 0)
            return &caller->topics[i];
    }
    return NULL;
}

static struct known_topic *find_or_add(struct caller *caller, struct span name)
{
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)name.size, (const char *)name.data);
    struct known_topic *known = caller_find(caller, text);
    if (known != NULL)
        return known;
    HOLDS(caller->topic_count < (size_t)CALLER_TOPICS, "caller->topic_count < (size_t)CALLER_TOPICS");
    known = &caller->topics[caller->topic_count++];
    *known = (struct known_topic){0};
    memcpy(known->name, text, sizeof text);
    return known;
}

static void add_run(struct known_topic *known, struct store_run run)
{
    struct store_run *last = known->recent_count > 0 ? &known->recent[known->recent_count - 1] : NULL;
    if (last != NULL && last->first_seq + last->count == run.first_seq) {
        last->count += run.count;
        return;
    }
    if (known->recent_count == known->recent_capacity) {
        known->recent_capacity = known->recent_capacity * 2 + 8;
        known->recent = realloc(known->recent, known->recent_capacity * sizeof *known->recent);
    }
    known->recent[known->recent_count++] = run;
}

/* Runs wholly inside the index need not be lent any more. */
static void drop_indexed(struct caller *caller)
{
    for (size_t i = 0; i < caller->topic_count; i++) {
        struct known_topic *known = &caller->topics[i];
        size_t gone = 0;
        while (gone < known->recent_count &&
               known->recent[gone].first_seq + known->recent[gone].count - 1 <= caller->state.indexed_through)
            gone++;
        known->recent_count -= gone;
        if (gone > 0)
            memmove(known->recent, known->recent + gone, known->recent_count * sizeof *known->recent);
    }
}

static void learn_append(struct caller *caller, const struct store_append *append)
{
    struct known_topic *known = find_or_add(caller, append->topic);
    known->id = append->topic_id;
    if (append->topic_created) {
        known->live = true;
        known->created_seq = append->first_seq;
        known->first_offset = append->first_offset;
    }
    known->next_offset = append->first_offset + append->accepted;
    known->last_seq = append->first_seq + append->accepted - 1;
    add_run(known, (struct store_run){append->first_offset, append->first_seq, append->accepted});
}

static void learn_load(void *ctx, const struct store_topic *topic)
{
    struct known_topic *known = find_or_add(ctx, topic->name);
    HOLDS(!known->live, "%s was loaded twice", known->name);
    known->id = topic->topic_id;
    known->live = true;
    known->first_offset = topic->first_offset;
    known->next_offset = topic->next_offset;
    known->created_seq = topic->created_seq;
    known->last_seq = topic->last_seq;
    for (size_t i = 0; i < topic->recent_count; i++)
        add_run(known, topic->recent[i]);
}

static void learn(struct caller *caller, const struct store_op *op)
{
    if (op->status != PS_OK)
        return;
    if (op->kind == STORE_APPEND)
        learn_append(caller, &op->append);
    if (op->kind == STORE_DELETE_TOPIC) {
        struct known_topic *known = find_or_add(caller, op->delete_topic.topic);
        known->live = false;
        known->first_offset = op->delete_topic.first_offset;
    }
}

struct store_topic caller_lend(struct caller *caller, const char *name)
{
    const struct known_topic *known = caller_find(caller, name);
    HOLDS(known != NULL, "topic %s is not known", name);
    return (struct store_topic){.topic_id = known->id,
                                .name = span_of(known->name),
                                .first_offset = known->first_offset,
                                .next_offset = known->next_offset,
                                .created_seq = known->created_seq,
                                .last_seq = known->last_seq,
                                .recent = known->recent,
                                .recent_count = known->recent_count};
}

/* --------------------------------------------------------------------------------------------- life time */

static void forget_topics(struct caller *caller)
{
    for (size_t i = 0; i < caller->topic_count; i++)
        free(caller->topics[i].recent);
    caller->topic_count = 0;
}

static enum ps_status try_open(struct caller *caller)
{
    enum ps_status status =
        caller->body->open(caller->directory, &caller->limits, &caller->store, &caller->opened);
    if (status != PS_OK)
        return status;
    caller->state = caller->opened.state;
    store_load(caller->store, learn_load, caller);
    status = store_reader_new(caller->store, &caller->reader);
    if (status != PS_OK)
        store_close(caller->store);
    return status;
}

static void open_store(struct caller *caller)
{
    enum ps_status status = try_open(caller);
    HOLDS(status == PS_OK, "open: %s", ps_status_name(status));
}

static void close_store(struct caller *caller)
{
    store_reader_free(caller->reader);
    store_close(caller->store);
    forget_topics(caller);
}

void caller_open(struct caller *caller, const struct body *body, struct store_limits limits)
{
    *caller = (struct caller){.body = body, .limits = limits};
    HOLDS(tmpdir_make(caller->directory), "no directory");
    caller->topics = calloc(CALLER_TOPICS, sizeof *caller->topics);
    open_store(caller);
}

enum ps_status caller_open_in(struct caller *caller, const struct body *body, const char *directory)
{
    *caller = (struct caller){.body = body};
    snprintf(caller->directory, sizeof caller->directory, "%s", directory);
    caller->topics = calloc(CALLER_TOPICS, sizeof *caller->topics);
    enum ps_status status = try_open(caller);
    if (status != PS_OK) {
        forget_topics(caller);
        free(caller->topics);
    }
    return status;
}

void caller_leave(struct caller *caller)
{
    close_store(caller);
    free(caller->topics);
}

void caller_close(struct caller *caller)
{
    caller_leave(caller);
    tmpdir_remove(caller->directory);
}

void caller_reopen(struct caller *caller)
{
    close_store(caller);
    open_store(caller);
}

void caller_run(const struct body *body, void (*run)(struct caller *caller))
{
    struct caller caller;
    caller_open(&caller, body, (struct store_limits){0});
    run(&caller);
    caller_close(&caller);
    ASSERT_NO_LEAKS();
}

/* --------------------------------------------------------------------------------------------- operations */

enum ps_status caller_try_commit(struct caller *caller, struct store_op *ops, size_t count)
{
    struct store_op **pointers = calloc(count, sizeof *pointers);
    for (size_t i = 0; i < count; i++)
        pointers[i] = &ops[i];
    enum ps_status status = store_commit(caller->store, pointers, count, &caller->state);
    free(pointers);
    for (size_t i = 0; i < count; i++)
        learn(caller, &ops[i]);
    drop_indexed(caller);
    return status;
}

void caller_commit(struct caller *caller, struct store_op *ops, size_t count)
{
    enum ps_status status = caller_try_commit(caller, ops, count);
    HOLDS(status == PS_OK, "commit: %s", ps_status_name(status));
}

enum ps_status caller_do(struct caller *caller, struct store_op *op)
{
    caller_commit(caller, op, 1);
    return op->status;
}

enum ps_status caller_try_work(struct caller *caller)
{
    enum ps_status status = PS_OK;
    for (bool more = true; more && status == PS_OK;)
        status = store_work(caller->store, &more, &caller->state);
    drop_indexed(caller);
    return status;
}

void caller_work(struct caller *caller)
{
    cr_assert_eq(caller_try_work(caller), PS_OK);
}

uint64_t caller_publish(struct caller *caller, const char *topic, const char *payload)
{
    struct message message = {.payload = span_of(payload)};
    struct store_op op = append_op(topic, &message, 1);
    HOLDS(caller_do(caller, &op) == PS_OK, "%s", ps_status_name(op.status));
    HOLDS(message.status == PS_OK, "message.status == PS_OK");
    return message.offset;
}

uint64_t caller_publish_many(struct caller *caller, const char *topic, uint32_t count)
{
    struct message *messages = calloc(count, sizeof *messages);
    char(*texts)[12] = calloc(count, sizeof *texts);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%u", i);
        messages[i].payload = span_of(texts[i]);
    }
    struct store_op op = append_op(topic, messages, count);
    HOLDS(caller_do(caller, &op) == PS_OK, "%s", ps_status_name(op.status));
    HOLDS(op.append.accepted == count, "op.append.accepted == count");
    free(messages);
    free(texts);
    return op.append.first_offset;
}

struct store_op append_op(const char *topic, struct message *messages, uint32_t count)
{
    return (struct store_op){.kind = STORE_APPEND,
                             .append = {.topic = span_of(topic), .messages = messages, .count = count}};
}

struct store_op attach_op(const char *id, const char *filter, enum start_kind kind, uint64_t value)
{
    return (struct store_op){
        .kind = STORE_ATTACH,
        .attach = {.id = span_of(id), .filter = span_of(filter), .start = {.kind = kind, .value = value}}};
}

struct store_op seek_op(const char *id, const char *filter, enum start_kind kind, uint64_t value)
{
    return (struct store_op){
        .kind = STORE_SEEK,
        .seek = {.id = span_of(id), .filter = span_of(filter), .to = {.kind = kind, .value = value}}};
}

struct store_op forget_op(const char *id, const char *filter)
{
    return (struct store_op){.kind = STORE_FORGET, .forget = {.id = span_of(id), .filter = span_of(filter)}};
}

struct store_op delete_op(const char *topic)
{
    return (struct store_op){.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of(topic)}};
}

struct store_op offsets_op(const struct store_offset *items, size_t count)
{
    return (struct store_op){.kind = STORE_OFFSETS, .offsets = {.items = items, .count = count}};
}

/* ------------------------------------------------------------------------------------------------ reading */

static struct span copy_span(struct span from)
{
    if (!span_present(from))
        return SPAN_ABSENT;
    uint8_t *copy = malloc(from.size + 1);
    if (from.size > 0)
        memcpy(copy, from.data, from.size);
    return (struct span){copy, from.size};
}

bool shown_add(void *ctx, const struct message *message)
{
    struct shown *shown = ctx;
    if (shown->count == shown->capacity) {
        shown->capacity = shown->capacity * 2 + 16;
        shown->messages = realloc(shown->messages, shown->capacity * sizeof *shown->messages);
    }
    struct message *copy = &shown->messages[shown->count++];
    *copy = *message;
    copy->publisher = copy_span(message->publisher);
    copy->key = copy_span(message->key);
    copy->payload = copy_span(message->payload);
    struct header *headers = calloc(message->header_count + 1, sizeof *headers);
    for (uint32_t i = 0; i < message->header_count; i++)
        headers[i] =
            (struct header){copy_span(message->headers[i].name), copy_span(message->headers[i].value)};
    copy->headers = headers;
    return shown->stop_after == 0 || shown->count < shown->stop_after;
}

void shown_clear(struct shown *shown)
{
    for (size_t i = 0; i < shown->count; i++) {
        struct message *message = &shown->messages[i];
        free((void *)message->publisher.data);
        free((void *)message->key.data);
        free((void *)message->payload.data);
        for (uint32_t j = 0; j < message->header_count; j++) {
            free((void *)message->headers[j].name.data);
            free((void *)message->headers[j].value.data);
        }
        free((void *)message->headers);
    }
    free(shown->messages);
    *shown = (struct shown){0};
}

struct store_read caller_read_of(struct caller *caller, const char *topic, uint64_t from, uint64_t to,
                                 struct shown *shown)
{
    return (struct store_read){.topic = caller_lend(caller, topic),
                               .from = from,
                               .to = to,
                               .max_messages = UINT32_MAX,
                               .max_bytes = SIZE_MAX / 2,
                               .max_microseconds = 60 * 1000000,
                               .show = shown_add,
                               .ctx = shown};
}

void caller_read(struct caller *caller, const char *topic, uint64_t from, uint64_t to, struct shown *shown)
{
    struct store_read read = caller_read_of(caller, topic, from, to, shown);
    while (read.from < to) {
        enum ps_status status = store_read(caller->reader, &read);
        HOLDS(status == PS_OK, "read: %s at %llu", ps_status_name(status),
              (unsigned long long)read.damaged_offset);
        HOLDS(read.next_offset > read.from, "no progress at %llu", (unsigned long long)read.from);
        read.from = read.next_offset;
    }
}

uint64_t caller_resolve(struct caller *caller, uint64_t subscription_id, struct start_rule start,
                        uint64_t mark, const char *topic, bool *committed)
{
    struct store_position position = {.topic = caller_lend(caller, topic)};
    struct store_resolve resolve = {
        .subscription_id = subscription_id, .start = start, .mark = mark, .positions = &position, .count = 1};
    enum ps_status status = store_resolve(caller->reader, &resolve);
    HOLDS(status == PS_OK, "resolve: %s", ps_status_name(status));
    if (committed != NULL)
        *committed = position.committed;
    return position.offset > position.topic.first_offset ? position.offset : position.topic.first_offset;
}

void assert_same_message(const struct message *actual, const struct message *expected)
{
    unsigned long long offset = expected->offset;
    HOLDS(actual->offset == expected->offset, "offset %llu, not %llu", (unsigned long long)actual->offset,
          offset);
    if (actual->published_at != 0 && expected->published_at != 0)
        HOLDS(actual->published_at == expected->published_at, "time at %llu", offset);
    HOLDS(actual->flags == expected->flags, "flags at %llu", offset);
    HOLDS(span_equal(actual->publisher, expected->publisher), "publisher at %llu", offset);
    HOLDS(span_equal(actual->key, expected->key), "key at %llu", offset);
    HOLDS(span_present(actual->payload), "no payload at %llu", offset);
    HOLDS(span_equal(actual->payload, expected->payload), "payload at %llu: %zu bytes, not %zu", offset,
          actual->payload.size, expected->payload.size);
    HOLDS(actual->header_count == expected->header_count, "headers at %llu", offset);
    for (uint32_t i = 0; i < expected->header_count; i++) {
        HOLDS(span_equal(actual->headers[i].name, expected->headers[i].name), "header %u at %llu", i, offset);
        HOLDS(span_equal(actual->headers[i].value, expected->headers[i].value), "header %u at %llu", i,
              offset);
    }
}
