/* Subscribe, and what ends or changes a subscription on request.
 *
 * A temporary subscription begins at once. A durable one is stored first: its STORE_ATTACH tells the rule in
 * force, the mark and the generation. Everything about durable subscriptions goes through one source of writes,
 * so its order in the store is the order of the requests here. */
#include "attachment.h"
#include "requests.h"
#include "topic.h"

#include <stdlib.h>

struct attach_request {
    struct log_write write;
    struct broker *broker;
    struct attachment *attachment; /* NULL: gone */
    uint8_t names[];
};

void attach_forget(struct attach_request *request)
{
    request->attachment = NULL;
}

static void refuse_start(struct attachment *a, const struct store_attach *attach, enum ps_status status)
{
    const struct broker *broker = a->session->broker;
    struct protocol_error error = error_of_store(broker, status);
    if (status == PS_OUT_OF_RANGE)
        error = error_with_range(status, attach->first, attach->head + 1);
    if (status == PS_LIMIT_EXCEEDED)
        error = error_with_limit(status, "max_durable", broker->config.max_durable);
    attachment_end(a, &error);
}

static void attach_done(struct log_write *write, const struct store_state *state)
{
    struct attach_request *request = LIST_OBJECT(write, struct attach_request, write);
    const struct store_attach *attach = &write->op.attach;
    struct attachment *a = request->attachment;
    broker_written(request->broker, write, state);
    if (a != NULL) {
        a->attaching = NULL;
        if (write->op.status != PS_OK) {
            refuse_start(a, attach, write->op.status);
        } else {
            a->subscription_id = attach->subscription_id;
            a->generation = attach->generation;
            a->mark = attach->mark;
            a->created = attach->created;
            attachment_begin(a, &attach->stored);
        }
    }
    free(request);
}

static void attach(struct attachment *a, const struct subscribe *subscribe)
{
    struct broker *broker = a->session->broker;
    struct attach_request *request = calloc(1, sizeof *request + a->id_size + a->filter_size);
    if (request == NULL) {
        attachment_end_status(a, PS_NO_MEMORY);
        return;
    }
    memcpy(request->names, a->names, a->id_size + a->filter_size);
    request->broker = broker;
    request->attachment = a;
    request->write.done = attach_done;
    request->write.op = (struct store_op){.kind = STORE_ATTACH};
    request->write.op.attach = (struct store_attach){
        .id = {request->names, a->id_size},
        .filter = {request->names + a->id_size, a->filter_size},
        .start = {.kind = subscribe->start_given ? subscribe->start.kind : START_NEW,
                  .value = subscribe->start_given ? subscribe->start.value : 0},
        .existing_only = subscribe->existing_only,
    };
    a->attaching = request;
    broker_write(broker, &request->write);
}

/* ------------------------------------------------------------------------------------------------ checking */

static bool names_other_log(const struct broker *broker, struct span log_id)
{
    return span_present(log_id) && !span_equal(log_id, (struct span){broker->log_id, LOG_ID_BYTES});
}

static enum ps_status check_start(const struct session *session, const struct subscribe *subscribe)
{
    const struct start_rule *start = &subscribe->start;
    bool durable = span_present(subscribe->durable_id);
    if (!subscribe->start_given)
        return PS_OK;
    if (start->kind == START_OFFSET && !filter_is_exact(subscribe->filter))
        return PS_INVALID_ARGUMENT;
    if (start->kind == START_RESUME && durable)
        return PS_INVALID_ARGUMENT;
    /* A place that this log has not reached can only come from another one. */
    if (start->kind == START_RESUME && start->value > session->broker->state.mark)
        return PS_LOG_CHANGED;
    return PS_OK;
}

static enum ps_status check_subscribe(const struct session *session, const struct subscribe *subscribe)
{
    bool durable = span_present(subscribe->durable_id);
    if (filter_validate(subscribe->filter) != PS_OK || name_is_too_long(session->broker, subscribe->filter))
        return PS_BAD_FILTER;
    if (durable && (id_validate(subscribe->durable_id) != PS_OK ||
                    name_is_too_long(session->broker, subscribe->durable_id)))
        return PS_BAD_ID;
    if (!durable && subscribe->existing_only)
        return PS_INVALID_ARGUMENT;
    if (names_other_log(session->broker, subscribe->log_id))
        return PS_LOG_CHANGED;
    return check_start(session, subscribe);
}

/* Makes way for a new attachment of the same durable subscription. */
static enum ps_status take_over(struct session *session, const struct subscribe *subscribe)
{
    struct attachment *holder = attachment_holder(session->broker, subscribe->durable_id, subscribe->filter);
    if (holder == NULL)
        return PS_OK;
    if (holder->session == session && holder->state != ATTACHMENT_FINISHED)
        return PS_ALREADY_SUBSCRIBED;
    if (holder->session == session)
        attachment_detach(holder);
    else
        attachment_end_status(holder, PS_REPLACED);
    return PS_OK;
}

void request_subscribe(struct session *session, const struct client_frame *frame)
{
    const struct subscribe *subscribe = &frame->subscribe;
    uint32_t most = session->broker->config.limits.max_subscriptions;
    bool durable = span_present(subscribe->durable_id);
    if (!frame->request_id.present) {
        session_end(session, frame->request_id, PS_PROTOCOL_VIOLATION);
        return;
    }
    enum ps_status status = check_subscribe(session, subscribe);
    if (status == PS_BAD_FILTER || status == PS_BAD_ID) {
        struct span name = status == PS_BAD_ID ? subscribe->durable_id : subscribe->filter;
        struct protocol_error error = error_of_name(session->broker, status, name);
        session_error(session, frame->request_id, &error);
        return;
    }
    if (status == PS_OK && session->attachment_count >= most) {
        struct protocol_error error = error_with_limit(PS_LIMIT_EXCEEDED, "max_subscriptions", most);
        session_error(session, frame->request_id, &error);
        return;
    }
    if (status == PS_OK && durable)
        status = take_over(session, subscribe);
    if (status != PS_OK) {
        session_error_status(session, frame->request_id, status);
        return;
    }
    struct attachment *a = attachment_new(session, frame);
    if (a == NULL) {
        struct protocol_error refusal = subscription_refusal(session->broker);
        session_error(session, frame->request_id, &refusal);
        return;
    }
    if (durable) {
        attach(a, subscribe);
        return;
    }
    a->created = true;
    a->mark = session->broker->state.mark;
    struct start_rule fresh = {.kind = START_NEW};
    attachment_begin(a, subscribe->start_given ? &subscribe->start : &fresh);
}

/* ------------------------------------------------------------------------------------- while it is attached */

/* Why a number names no attachment: it ended, or never was. */
static enum ps_status not_found(const struct session *session, uint64_t number)
{
    bool was = number > 0 && number <= session->last_subscription;
    return was ? PS_STALE_GENERATION : PS_NO_SUCH_SUBSCRIPTION;
}

void request_credit(struct session *session, const struct client_frame *frame)
{
    struct attachment *a = attachment_find(session, frame->credit.subscription);
    if (a == NULL) {
        session_error_status(session, frame->request_id, not_found(session, frame->credit.subscription));
        return;
    }
    /* Totals only grow: a smaller one is older. */
    if (frame->credit.messages > a->credit_messages)
        a->credit_messages = frame->credit.messages;
    if (frame->credit.bytes > a->credit_bytes)
        a->credit_bytes = frame->credit.bytes;
    session_done(session, frame->request_id);
    attachment_schedule(a);
}

/* Its cursor went with the topic: an acknowledgement of what was given before has nothing left to move. */
static bool may_be_gone(const struct attachment *a, const struct topic *topic, struct span name)
{
    struct span filter = attachment_filter(a);
    return (topic == NULL || !topic->listed) && a->state == ATTACHMENT_LIVE && !filter_is_exact(filter) &&
           topic_validate(name) == PS_OK && filter_match(filter, name);
}

/* PS_OK without a cursor: the topic was deleted. */
static enum ps_status find_acked(struct session *session, const struct ack *ack, struct cursor **cursor)
{
    const struct broker *broker = session->broker;
    struct attachment *a = attachment_find(session, ack->subscription);
    if (broker->phase >= BROKER_FAILING)
        return PS_STORAGE_FAILED;
    if (names_other_log(broker, ack->log_id))
        return PS_LOG_CHANGED;
    if (a == NULL)
        return not_found(session, ack->subscription);
    if (!attachment_durable(a))
        return PS_INVALID_ARGUMENT;
    const struct topic *topic = topics_find(&broker->topics, ack->topic);
    *cursor = topic == NULL ? NULL : attachment_cursor(a, topic);
    if (*cursor == NULL && may_be_gone(a, topic, ack->topic))
        return PS_OK;
    if (*cursor == NULL || (*cursor)->state == CURSOR_RESOLVING)
        return PS_OUT_OF_RANGE; /* nothing of it was given */
    return ack->next_offset > (*cursor)->offset ? PS_OUT_OF_RANGE : PS_OK;
}

void request_ack(struct session *session, const struct client_frame *frame)
{
    struct broker *broker = session->broker;
    struct cursor *cursor = NULL;
    enum ps_status status = find_acked(session, &frame->ack, &cursor);
    if (status == PS_OUT_OF_RANGE) {
        struct protocol_error error = protocol_error_of(status);
        if (cursor != NULL)
            error = error_with_range(status, cursor->committed, cursor->offset + 1);
        error.topic = frame->ack.topic;
        session_error(session, frame->request_id, &error);
        return;
    }
    if (status != PS_OK) {
        session_error_status(session, frame->request_id, status);
        return;
    }
    if (cursor == NULL) {
        session_done(session, frame->request_id);
        return;
    }
    struct attachment *a = cursor->attachment;
    if (frame->ack.next_offset > cursor->committed) {
        cursor->committed = frame->ack.next_offset;
        cursor->acked = true;
        if (a->seeks == 0)
            offsets_touch(broker, cursor);
    }
    if (!frame->request_id.present)
        return;
    if (a->seeks == 0)
        offsets_answer(broker, session, frame->request_id);
    else if (!offsets_hold_waiter(&a->seek_waiters, session, frame->request_id))
        session_close(session);
}

void request_detach(struct session *session, const struct client_frame *frame)
{
    struct attachment *a = attachment_find(session, frame->detach);
    if (a == NULL) {
        session_error_status(session, frame->request_id, not_found(session, frame->detach));
        return;
    }
    bool durable = attachment_durable(a);
    if (durable && !offsets_idle(&session->broker->offsets) && !offsets_submit(session->broker)) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    attachment_detach(a);
    if (frame->request_id.present && durable)
        offsets_answer(session->broker, session, frame->request_id);
    else
        session_done(session, frame->request_id);
}

/* ------------------------------------------------------------------------------------- forgetting and moving */

/* STORE_FORGET or STORE_SEEK under way. */
struct change {
    struct log_write write;
    struct broker *broker;
    struct reply reply;
    uint64_t held_session, held_number; /* the attachment that a seek holds back; 0: none */
    struct span id, filter;
    uint8_t names[];
};

/* The named subscription's change; NULL: out of memory, the client was told. */
static struct change *change_new(struct session *session, struct optional_u64 request_id, struct span id,
                                 struct span filter)
{
    struct change *change = calloc(1, sizeof *change + id.size + filter.size);
    if (change == NULL) {
        session_error_status(session, request_id, PS_NO_MEMORY);
        return NULL;
    }
    memcpy(change->names, id.data, id.size);
    memcpy(change->names + id.size, filter.data, filter.size);
    change->id = (struct span){change->names, id.size};
    change->filter = (struct span){change->names + id.size, filter.size};
    change->broker = session->broker;
    reply_init(&change->reply, session, request_id, true);
    return change;
}

static void forget_done(struct log_write *write, const struct store_state *state)
{
    struct change *change = LIST_OBJECT(write, struct change, write);
    broker_written(change->broker, write, state);
    struct attachment *holder = attachment_holder(change->broker, change->id, change->filter);
    if (write->op.status != PS_OK) {
        reply_refuse(&change->reply, write->op.status);
    } else {
        if (holder != NULL && holder->subscription_id == write->op.forget.subscription_id)
            attachment_end_status(holder, PS_REMOVED);
        reply_done(&change->reply);
    }
    free(change);
}

static void forget(struct session *session, struct optional_u64 request_id, struct span id,
                   struct span filter)
{
    struct change *change = change_new(session, request_id, id, filter);
    if (change == NULL)
        return;
    change->write.done = forget_done;
    change->write.op = (struct store_op){.kind = STORE_FORGET};
    change->write.op.forget = (struct store_forget){.id = change->id, .filter = change->filter};
    broker_write(session->broker, &change->write);
}

static void unsubscribe_attached(struct session *session, const struct client_frame *frame)
{
    struct attachment *a = attachment_find(session, frame->unsubscribe.subscription.value);
    if (a == NULL) {
        enum ps_status status = not_found(session, frame->unsubscribe.subscription.value);
        session_error_status(session, frame->request_id, status);
        return;
    }
    if (attachment_durable(a))
        forget(session, frame->request_id, attachment_id(a), attachment_filter(a));
    else
        session_done(session, frame->request_id);
    attachment_free(a);
}

void request_unsubscribe(struct session *session, const struct client_frame *frame)
{
    const struct unsubscribe *unsubscribe = &frame->unsubscribe;
    if (unsubscribe->subscription.present)
        unsubscribe_attached(session, frame);
    else if (id_validate(unsubscribe->durable_id) != PS_OK)
        session_error_status(session, frame->request_id, PS_BAD_ID);
    else if (filter_validate(unsubscribe->filter) != PS_OK)
        session_error_status(session, frame->request_id, PS_BAD_FILTER);
    else
        forget(session, frame->request_id, unsubscribe->durable_id, unsubscribe->filter);
}

/* A seek that was refused: what was acknowledged meanwhile counts. */
static void release_seek(struct attachment *a)
{
    if (--a->seeks > 0)
        return;
    attachment_touch_acked(a);
    offsets_release_waiters(a->session->broker, &a->seek_waiters);
}

static struct protocol_error seek_error(const struct store_op *op)
{
    struct protocol_error error = protocol_error_of(status_on_wire(op->status));
    if (op->status == PS_OUT_OF_RANGE)
        error = error_with_range(op->status, op->seek.first, op->seek.head + 1);
    error.unknown = op->status == PS_UNKNOWN;
    return error;
}

static void seek_done(struct log_write *write, const struct store_state *state)
{
    struct change *change = LIST_OBJECT(write, struct change, write);
    broker_written(change->broker, write, state);
    struct attachment *holder = attachment_holder(change->broker, change->id, change->filter);
    bool held = holder != NULL && holder->session->number == change->held_session &&
                holder->number == change->held_number;
    if (write->op.status != PS_OK) {
        struct protocol_error error = seek_error(&write->op);
        if (held)
            release_seek(holder);
        reply_error(&change->reply, &error);
    } else {
        if (holder != NULL && holder->subscription_id != 0 && holder->generation < write->op.seek.generation)
            attachment_end_status(holder, PS_MOVED);
        reply_done(&change->reply);
    }
    free(change);
}

static enum ps_status check_seek(const struct session *session, const struct seek *seek)
{
    if (id_validate(seek->durable_id) != PS_OK)
        return PS_BAD_ID;
    if (filter_validate(seek->filter) != PS_OK)
        return PS_BAD_FILTER;
    if (names_other_log(session->broker, seek->log_id))
        return PS_LOG_CHANGED;
    if (seek->to.kind == START_LAST || seek->to.kind == START_RESUME)
        return PS_INVALID_ARGUMENT;
    if (seek->to.kind == START_OFFSET && !filter_is_exact(seek->filter))
        return PS_INVALID_ARGUMENT;
    return PS_OK;
}

void request_seek(struct session *session, const struct client_frame *frame)
{
    const struct seek *seek = &frame->seek;
    struct broker *broker = session->broker;
    enum ps_status status = check_seek(session, seek);
    if (status != PS_OK) {
        session_error_status(session, frame->request_id, status);
        return;
    }
    struct change *change = change_new(session, frame->request_id, seek->durable_id, seek->filter);
    if (change == NULL)
        return;
    /* What was acknowledged before is committed before; what comes now waits for the outcome. */
    if (!list_empty(&broker->offsets.dirty))
        offsets_submit(broker);
    struct attachment *holder = attachment_holder(broker, seek->durable_id, seek->filter);
    if (holder != NULL) {
        change->held_session = holder->session->number;
        change->held_number = holder->number;
        holder->seeks++;
    }
    change->write.done = seek_done;
    change->write.op = (struct store_op){.kind = STORE_SEEK};
    change->write.op.seek = (struct store_seek){
        .id = change->id, .filter = change->filter, .to = {.kind = seek->to.kind, .value = seek->to.value}};
    broker_write(broker, &change->write);
}
