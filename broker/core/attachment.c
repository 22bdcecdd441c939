/*     STORING ──► RESOLVING ──► ANSWERING ──► LIVE ──► FINISHED
 *        └─────────────────────────▲
 *
 * An attachment is registered with the router before it looks at the existing topics, so that a topic is found
 * there or announced, never neither; one that is both is added once. They are looked at by name, a part in each
 * step, because there may be many. For a durable one that begins with the
 * completion of its STORE_ATTACH: completions come in commit order, so every topic created before its mark is
 * in the table by then. */
#include "attachment.h"

#include "resolve.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

enum { TOPICS_PER_STEP = 256, STARTS_PER_FRAME = 256, STARTS_FRAME_BYTES = 60 * 1024 };

static uint64_t durable_hash(const struct broker *broker, struct span id, struct span filter)
{
    return hash_bytes(filter, hash_bytes(id, broker->seed));
}

struct attachment *attachment_holder(const struct broker *broker, struct span id, struct span filter)
{
    struct map_node *node = map_find(&broker->durables, durable_hash(broker, id, filter));
    for (; node != NULL; node = map_next(node)) {
        struct attachment *a = LIST_OBJECT(node, struct attachment, by_durable);
        if (span_equal(attachment_id(a), id) && span_equal(attachment_filter(a), filter))
            return a;
    }
    return NULL;
}

struct attachment *attachment_find(const struct session *session, uint64_t number)
{
    struct map_node *node = map_find(&session->by_number, hash_number(number));
    for (; node != NULL; node = map_next(node)) {
        struct attachment *a = LIST_OBJECT(node, struct attachment, by_number);
        if (a->number == number)
            return a->told ? a : NULL;
    }
    return NULL;
}

struct cursor *attachment_cursor(const struct attachment *a, const struct topic *topic)
{
    struct map_node *node = map_find(&a->cursors, hash_number((uint64_t)(uintptr_t)topic));
    for (; node != NULL; node = map_next(node)) {
        struct cursor *cursor = LIST_OBJECT(node, struct cursor, by_topic);
        if (cursor->topic == topic)
            return cursor;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ life */

static void init_lists(struct attachment *a)
{
    list_init(&a->in_session);
    list_init(&a->in_ready);
    list_init(&a->in_progressing);
    list_init(&a->route.in_node);
    list_init(&a->all);
    list_init(&a->ready);
    list_init(&a->resolving);
    list_init(&a->gone);
    list_init(&a->answer.in_session);
    list_init(&a->seek_waiters);
}

/* With its places in maps, the first buckets of its own, and what the allocator adds. */
static uint64_t charge(const struct attachment *a)
{
    return sizeof *a + a->id_size + a->filter_size + 96;
}

struct protocol_error subscription_refusal(const struct broker *broker)
{
    const struct quota *budget = &broker->subscriptions;
    if (!quota_full(budget))
        return protocol_error_of(PS_NO_MEMORY);
    return error_with_limit(PS_LIMIT_EXCEEDED, "cursor_memory", budget->limit);
}

struct attachment *attachment_new(struct session *session, const struct client_frame *frame)
{
    const struct subscribe *subscribe = &frame->subscribe;
    struct broker *broker = session->broker;
    if (quota_full(&broker->subscriptions) || !map_prepare(&session->by_number))
        return NULL;
    struct attachment *a = calloc(1, sizeof *a + subscribe->durable_id.size + subscribe->filter.size);
    if (a == NULL)
        return NULL;
    init_lists(a);
    a->session = session;
    a->number = ++session->last_subscription;
    a->until_end = subscribe->until_end;
    a->credit_messages = subscribe->credit_messages;
    a->credit_bytes = subscribe->credit_bytes;
    a->id_size = subscribe->durable_id.size;
    a->filter_size = subscribe->filter.size;
    if (a->id_size > 0)
        memcpy(a->names, subscribe->durable_id.data, a->id_size);
    memcpy(a->names + a->id_size, subscribe->filter.data, a->filter_size);
    quota_charge(&broker->subscriptions, charge(a));
    reply_init(&a->reply, session, frame->request_id, true);
    list_append(&session->attachments, &a->in_session);
    session->attachment_count++;
    broker->metrics.subscriptions++;
    (void)map_insert(&session->by_number, &a->by_number, hash_number(a->number));
    if (attachment_durable(a))
        (void)map_insert(&broker->durables, &a->by_durable,
                         durable_hash(broker, attachment_id(a), attachment_filter(a)));
    return a;
}

/* Nothing is delivered any more; cursors stay for what they know. */
static void stop(struct attachment *a)
{
    router_remove(&a->session->broker->router, &a->route);
    list_remove(&a->in_ready);
    list_remove(&a->in_progressing);
    list_remove(&a->answer.in_session);
    if (a->resolve != NULL)
        a->resolve->owner = NULL;
    a->resolve = NULL;
    topic_unref(a->added);
    a->added = NULL;
}

void attachment_free(struct attachment *a)
{
    if (a == NULL)
        return;
    struct session *session = a->session;
    stop(a);
    offsets_refuse_waiters(&a->seek_waiters, PS_STALE_GENERATION);
    if (a->attaching != NULL)
        attach_forget(a->attaching);
    while (!list_empty(&a->all))
        cursor_free(LIST_OBJECT(a->all.next, struct cursor, in_attachment));
    map_deinit(&a->cursors);
    reply_drop(&a->reply);
    if (attachment_durable(a))
        map_remove(&session->broker->durables, &a->by_durable);
    map_remove(&session->by_number, &a->by_number);
    list_remove(&a->in_session);
    session->attachment_count--;
    quota_release(&session->broker->subscriptions, charge(a));
    session->broker->metrics.subscriptions--;
    free(a);
}

static void move(struct attachment *a, enum attachment_state state)
{
    static const unsigned successors[] = {
        [ATTACHMENT_STORING] = 1u << ATTACHMENT_ADDING,
        [ATTACHMENT_ADDING] = 1u << ATTACHMENT_RESOLVING | 1u << ATTACHMENT_ANSWERING,
        [ATTACHMENT_RESOLVING] = 1u << ATTACHMENT_ANSWERING,
        [ATTACHMENT_ANSWERING] = 1u << ATTACHMENT_LIVE,
        [ATTACHMENT_LIVE] = 1u << ATTACHMENT_FINISHED,
        [ATTACHMENT_FINISHED] = 0,
    };
    assert(successors[a->state] & 1u << state);
    a->state = state;
}

void attachment_detach(struct attachment *a)
{
    if (attachment_durable(a) && !list_empty(&a->session->broker->offsets.dirty))
        offsets_submit(a->session->broker);
    attachment_free(a);
}

static void finish(struct attachment *a)
{
    move(a, ATTACHMENT_FINISHED);
    stop(a);
    struct list *at = a->all.next;
    for (; at != &a->all; at = at->next) {
        struct cursor *cursor = LIST_OBJECT(at, struct cursor, in_attachment);
        if (cursor->state != CURSOR_ENDED)
            cursor_move(cursor, CURSOR_ENDED);
    }
}

void attachment_end(struct attachment *a, const struct protocol_error *reason)
{
    bool by_itself = reason->status == PS_END_REACHED || reason->status == PS_DAMAGED;
    if (a->state < ATTACHMENT_LIVE) {
        reply_error(&a->reply, reason);
    } else if (a->state == ATTACHMENT_LIVE) {
        struct server_frame frame = {.kind = SERVER_SUBSCRIPTION_ENDED};
        frame.ended = (struct subscription_ended){a->number, *reason};
        session_send(a->session, &frame);
    }
    if (by_itself && a->state == ATTACHMENT_LIVE && attachment_durable(a))
        finish(a);
    else
        attachment_detach(a);
}

void attachment_end_status(struct attachment *a, enum ps_status status)
{
    struct protocol_error reason = protocol_error_of(status_on_wire(status));
    attachment_end(a, &reason);
}

void attachment_touch_acked(struct attachment *a)
{
    if (!attachment_durable(a) || a->subscription_id == 0 || a->seeks > 0)
        return;
    struct list *at = a->all.next;
    for (; at != &a->all; at = at->next) {
        struct cursor *cursor = LIST_OBJECT(at, struct cursor, in_attachment);
        if (cursor->acked)
            offsets_touch(a->session->broker, cursor);
    }
}

/* ------------------------------------------------------------------------------------------------ starting */

static void resolve_next(struct attachment *a);

static void resolve_next_cb(struct resolve *resolve)
{
    struct attachment *a = resolve->owner;
    a->resolve = NULL;
    if (resolve->read.status != PS_OK) {
        attachment_end_status(a, resolve->read.status);
        return;
    }
    for (size_t i = 0; i < resolve->read.resolve.count; i++)
        cursor_begin(resolve->subjects[i], resolve->positions[i].offset);
    resolve_next(a);
}

/* Asks for the next chunk of unknown starts, or answers when there is none. May free the attachment. */
static void resolve_next(struct attachment *a)
{
    struct broker *broker = a->session->broker;
    if (list_empty(&a->resolving)) {
        attachment_answer(a);
        return;
    }
    struct resolve *resolve = resolve_new(broker, a->subscription_id, &a->start, a->mark);
    if (resolve == NULL) {
        attachment_end_status(a, PS_NO_MEMORY);
        return;
    }
    struct list *at = a->resolving.next;
    for (; at != &a->resolving; at = at->next) {
        struct cursor *cursor = LIST_OBJECT(at, struct cursor, in_queue);
        if (!resolve_add(resolve, cursor->topic, cursor))
            break;
    }
    if (a->state == ATTACHMENT_ADDING)
        move(a, ATTACHMENT_RESOLVING);
    resolve->owner = a;
    resolve->done = resolve_next_cb;
    a->resolve = resolve;
    resolve_submit(resolve);
}

/* Adds a topic that exists already. False: out of memory. */
static bool add_topic(struct attachment *a, struct topic *topic)
{
    uint64_t offset;
    if (attachment_cursor(a, topic) != NULL)
        return true;
    struct cursor *cursor = cursor_new(a, topic);
    if (cursor == NULL)
        return false;
    /* What a durable subscription has committed is known to the store only. */
    bool rule_counts = !attachment_durable(a) || a->created;
    if (rule_counts && start_known(&a->start, a->mark, topic, &offset))
        cursor_begin(cursor, offset);
    return true;
}

static bool add_exact(struct attachment *a)
{
    struct topic *topic = topics_find(&a->session->broker->topics, attachment_filter(a));
    return topic == NULL || !topic->listed || add_topic(a, topic);
}

/* Begins behind the one that was added last and remembers how far it came. False: out of memory. */
static bool add_some(struct attachment *a)
{
    struct topics *topics = &a->session->broker->topics;
    struct span filter = attachment_filter(a);
    uint32_t i, end, last;
    topics_range(topics, filter, &i, &end);
    if (a->added != NULL) {
        uint32_t behind = topics_behind(topics, topic_name(a->added));
        i = behind > i ? behind : i;
    }
    last = end - i > TOPICS_PER_STEP ? i + TOPICS_PER_STEP : end;
    topic_unref(a->added);
    a->added = last < end ? topic_ref(topics->sorted[last - 1]) : NULL;
    for (; i < last; i++) {
        struct topic *topic = topics->sorted[i];
        bool wanted = !a->until_end || topic->created_seq < a->begun_mark;
        if (wanted && filter_match(filter, topic_name(topic)) && !add_topic(a, topic))
            return false;
    }
    return true;
}

/* Topics whose next offset the client knows. */
static bool add_resumed(struct attachment *a, const struct start_rule *start)
{
    struct topics *topics = &a->session->broker->topics;
    for (size_t i = 0; start->kind == START_RESUME && i < start->offset_count; i++) {
        const struct topic_offset *known = &start->offsets[i];
        struct topic *topic = topics_find(topics, known->topic);
        if (topic == NULL || !topic->listed || attachment_cursor(a, topic) != NULL ||
            !filter_match(attachment_filter(a), known->topic))
            continue;
        struct cursor *cursor = cursor_new(a, topic);
        if (cursor == NULL)
            return false;
        cursor_begin(cursor, known->offset);
    }
    return true;
}

static void add_step(struct producer *producer);

void attachment_begin(struct attachment *a, const struct start_rule *start)
{
    struct broker *broker = a->session->broker;
    move(a, ATTACHMENT_ADDING);
    a->start = (struct start_rule){.kind = start->kind, .value = start->value};
    if (!router_add(&broker->router, attachment_filter(a), &a->route)) {
        attachment_end_status(a, PS_NO_MEMORY);
        return;
    }
    bool exact = filter_is_exact(attachment_filter(a));
    if (!add_resumed(a, start) || (exact && !add_exact(a))) {
        struct protocol_error refusal = subscription_refusal(a->session->broker);
        attachment_end(a, &refusal);
        return;
    }
    if (exact) {
        resolve_next(a);
        return;
    }
    a->begun_mark = broker->state.mark;
    a->answer.step = add_step;
    list_append(&a->session->producers, &a->answer.in_session);
    session_wants_pump(a->session);
}

static void add_step(struct producer *producer)
{
    struct attachment *a = LIST_OBJECT(producer, struct attachment, answer);
    if (!add_some(a)) {
        struct protocol_error refusal = subscription_refusal(a->session->broker);
        attachment_end(a, &refusal);
        return;
    }
    if (a->added != NULL)
        return;
    list_remove(&a->answer.in_session);
    resolve_next(a);
}

void attachment_topic_created(struct attachment *a, struct topic *topic)
{
    if (a->until_end || attachment_cursor(a, topic) != NULL)
        return;
    struct cursor *cursor = cursor_new(a, topic);
    if (cursor == NULL) {
        /* Its router entry is being visited: the attachment ends with its connection. */
        struct protocol_error refusal = subscription_refusal(a->session->broker);
        session_end_error(a->session, &refusal);
        return;
    }
    bool exact_offset = a->start.kind == START_OFFSET && !attachment_durable(a);
    cursor_begin(cursor, exact_offset ? a->start.value : topic->first);
    attachment_schedule(a);
}

/* ------------------------------------------------------------------------------------------------ answering */

static void answer_step(struct producer *producer);

void attachment_answer(struct attachment *a)
{
    move(a, ATTACHMENT_ANSWERING);
    a->answer_next = a->all.next;
    a->answer.step = answer_step;
    list_append(&a->session->producers, &a->answer.in_session);
    session_wants_pump(a->session);
}

static void answer_step(struct producer *producer)
{
    struct attachment *a = LIST_OBJECT(producer, struct attachment, answer);
    struct topic_start starts[STARTS_PER_FRAME];
    size_t count = 0, bytes = 0;
    for (; a->answer_next != &a->all && count < STARTS_PER_FRAME && bytes < STARTS_FRAME_BYTES; count++) {
        const struct cursor *cursor = LIST_OBJECT(a->answer_next, struct cursor, in_attachment);
        const struct topic *topic = cursor->topic;
        uint64_t offset = cursor->offset < topic->first ? topic->first : cursor->offset;
        starts[count] = (struct topic_start){topic_name(topic), offset, topic->head, topic->first};
        bytes += topic->name_size + 48u;
        a->answer_next = a->answer_next->next;
    }
    bool more = a->answer_next != &a->all;
    struct server_frame frame = {.request_id = a->reply.request_id, .kind = SERVER_SUBSCRIBED};
    frame.subscribed = (struct subscribed){.subscription = a->number,
                                           .mark = a->mark,
                                           .generation = a->generation,
                                           .created = a->created,
                                           .more = more,
                                           .starts = starts,
                                           .start_count = count};
    session_send(a->session, &frame);
    a->told = true;
    if (more)
        return;
    list_remove(&a->answer.in_session);
    reply_drop(&a->reply);
    move(a, ATTACHMENT_LIVE);
    attachment_schedule(a);
}
