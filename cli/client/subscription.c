/* The life of subscriptions, and the calls of their users.
 *
 * A handle belongs to its user until `ended` or until the user leaves. Inside it is counted, because an
 * acknowledgement whose answer is awaited names it. Leaving never allocates: its request is made together
 * with the subscription. */
#include "subscription.h"

#include "client.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

void subscription_move(struct psc_subscription *subscription, enum subscription_state state)
{
    static const unsigned successors[] = {
        [SUB_WAITING] = 1U << SUB_ATTACHING | 1U << SUB_OVER | 1U << SUB_WAITING,
        [SUB_ATTACHING] = 1U << SUB_ATTACHED | 1U << SUB_CANCELLING | 1U << SUB_WAITING | 1U << SUB_OVER,
        [SUB_CANCELLING] = 1U << SUB_OVER,
        [SUB_ATTACHED] = 1U << SUB_WAITING | 1U << SUB_OVER,
        [SUB_OVER] = 0,
    };

    assert((successors[subscription->state] >> state & 1) != 0);
    subscription->state = state;
}

struct psc_subscription *subscription_by_request(const struct psc_client *client, uint64_t id)
{
    struct psc_subscription *at = client->subscriptions;

    while (at != NULL &&
           !((at->state == SUB_ATTACHING || at->state == SUB_CANCELLING) && at->attach_id == id))
        at = at->next;
    return at;
}

struct psc_subscription *subscription_by_number(const struct psc_client *client, uint64_t number)
{
    struct psc_subscription *at = client->subscriptions;

    while (at != NULL && !((at->state == SUB_ATTACHED || at->state == SUB_ATTACHING) && at->number == number))
        at = at->next;
    return at;
}

void subscription_unref(struct psc_subscription *subscription)
{
    if (subscription == NULL || --subscription->refs > 0)
        return;
    request_free(subscription->leave);
    topic_table_deinit(&subscription->topics);
    free(subscription->starts);
    free((void *)subscription->options.filter.data);
    free((void *)subscription->options.durable_id.data);
    free(subscription);
}

static void unlink_from_client(struct psc_subscription *subscription)
{
    struct psc_subscription **at = &subscription->client->subscriptions;

    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    subscription->next = NULL;
}

static void fail_held_acks(struct ack_request *held, const struct psc_error *error)
{
    while (held != NULL) {
        struct ack_request *next = (struct ack_request *)held->request.next;

        held->request.type->fail(&held->request, error);
        request_free(&held->request);
        held = next;
    }
}

static void cancel_held_acks(struct psc_subscription *subscription, enum ps_status status)
{
    struct request *held = (struct request *)subscription->held_acks;

    subscription->held_acks = NULL;
    while (held != NULL) {
        struct request *next = held->next;

        client_answer_later(subscription->client, held, status);
        held = next;
    }
}

void subscription_end(struct psc_subscription *subscription, const struct psc_error *reason)
{
    struct ack_request *held = subscription->held_acks;

    unlink_from_client(subscription);
    subscription_move(subscription, SUB_OVER);
    subscription->held_acks = NULL;
    fail_held_acks(held, reason);
    if (subscription->options.ended != NULL)
        subscription->options.ended(subscription, reason, subscription->options.data);
    subscription_unref(subscription);
}

/* ------------------------------------------------------------------------------------------ connections */

/* All change before the first callback runs: a callback may leave any subscription. */
void subscriptions_lost(struct psc_client *client, enum ps_status status, const char *text)
{
    struct request *held = NULL, **end = &held;
    struct psc_subscription *cancelled = NULL, **at = &client->subscriptions;
    struct error_box box;

    while (*at != NULL) {
        struct psc_subscription *subscription = *at;

        *end = (struct request *)subscription->held_acks;
        while (*end != NULL)
            end = &(*end)->next;
        subscription->held_acks = NULL;
        if (subscription->state != SUB_CANCELLING) {
            subscription_move(subscription, SUB_WAITING);
            at = &subscription->next;
            continue;
        }
        subscription_move(subscription, SUB_OVER);
        *at = subscription->next;
        subscription->next = cancelled;
        cancelled = subscription;
    }
    while (cancelled != NULL) {
        struct psc_subscription *next = cancelled->next;

        client_answer_later(client, cancelled->leave, cancelled->forget ? PS_UNKNOWN : PS_OK);
        cancelled->leave = NULL;
        subscription_unref(cancelled);
        cancelled = next;
    }
    error_set(&box, status, text);
    fail_held_acks((struct ack_request *)held, &box.error);
}

void subscriptions_end_all(struct psc_client *client, enum ps_status status, const char *text,
                           bool unanswered_only)
{
    subscriptions_lost(client, status, text);
    while (client->subscriptions != NULL) {
        struct psc_subscription *subscription = client->subscriptions;
        struct error_box box;

        if (unanswered_only && subscription->stored)
            subscription->options.ended = NULL;
        error_set(&box, status, text);
        subscription_end(subscription, &box.error);
    }
}

static struct psc_subscription *find_of_old_log(struct psc_client *client)
{
    struct psc_subscription *at = client->subscriptions;

    while (at != NULL && !at->stored)
        at = at->next;
    return at;
}

void subscriptions_log_changed(struct psc_client *client)
{
    struct psc_subscription *subscription;

    while ((subscription = find_of_old_log(client)) != NULL) {
        struct error_box box;

        if (subscription->options.durable_id.data == NULL) {
            error_set(&box, PS_LOG_CHANGED, NULL);
            subscription_end(subscription, &box.error);
            continue;
        }
        cancel_held_acks(subscription, PS_LOG_CHANGED);
        subscription->stored = false;
        subscription->acks = NULL;
        topic_table_deinit(&subscription->topics);
    }
}

/* ----------------------------------------------------------------------------------------------- calls */

static enum ps_status check_options(const struct psc_subscribe_options *options)
{
    bool exact;

    if (filter_validate(span_from(options->filter)) != PS_OK)
        return PS_BAD_FILTER;
    if (options->durable_id.data != NULL && id_validate(span_from(options->durable_id)) != PS_OK)
        return PS_BAD_ID;
    exact = filter_is_exact(span_from(options->filter));
    if (options->message == NULL || options->ended == NULL || options->start > PSC_START_LAST ||
        (options->start == PSC_START_OFFSET && !exact) || options->value > INT64_MAX ||
        (options->existing_only && options->durable_id.data == NULL))
        return PS_INVALID_ARGUMENT;
    return PS_OK;
}

static enum ps_status copy_options(struct psc_subscription *subscription,
                                   const struct psc_subscribe_options *options)
{
    struct psc_subscribe_options *copy = &subscription->options;
    enum ps_status status;

    *copy = *options;
    copy->durable_id = (struct psc_bytes){NULL, 0};
    status = bytes_copy(options->filter, &copy->filter);
    if (status == PS_OK)
        status = bytes_copy(options->durable_id, &copy->durable_id);
    if (copy->window_messages == 0)
        copy->window_messages = SUBSCRIPTION_WINDOW_MESSAGES;
    if (copy->window_bytes == 0)
        copy->window_bytes = SUBSCRIPTION_WINDOW_BYTES;
    if (copy->window_messages > INT64_MAX / 2)
        copy->window_messages = INT64_MAX / 2;
    if (copy->window_bytes > INT64_MAX / 2)
        copy->window_bytes = INT64_MAX / 2;
    subscription->exact = filter_is_exact(span_from(copy->filter));
    return status;
}

static void append_to_client(struct psc_subscription *subscription)
{
    struct psc_subscription **at = &subscription->client->subscriptions;

    while (*at != NULL)
        at = &(*at)->next;
    *at = subscription;
}

enum ps_status psc_subscribe(struct psc_client *client, const struct psc_subscribe_options *options,
                             struct psc_subscription **subscription)
{
    enum ps_status status = check_options(options);
    struct psc_subscription *made;

    if (status == PS_OK)
        status = client_accepts(client);
    if (status != PS_OK)
        return status;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return PS_NO_MEMORY;
    made->client = client;
    made->refs = 1;
    status = copy_options(made, options);
    if (status == PS_OK)
        status = request_new(&request_done_type, sizeof(struct request), client->next_id++, &made->leave);
    if (status != PS_OK) {
        subscription_unref(made);
        return status;
    }
    append_to_client(made);
    client_wake(client);
    *subscription = made;
    return PS_OK;
}

void psc_consumed(struct psc_subscription *subscription, uint64_t messages, uint64_t bytes)
{
    subscription->held_messages -=
        messages < subscription->held_messages ? messages : subscription->held_messages;
    subscription->held_bytes -= bytes < subscription->held_bytes ? bytes : subscription->held_bytes;
    if (subscription_credit_due(subscription))
        client_wake(subscription->client);
}

static void ack_fail(struct request *request, const struct psc_error *error)
{
    request->done(error, request->data);
}

static enum request_verdict ack_answer(struct request *request, const struct server_frame *frame)
{
    struct ack_request *ack = (struct ack_request *)request;

    if (frame->kind != SERVER_DONE)
        return REQUEST_WRONG;
    if (ack->place->committed < ack->next_offset)
        ack->place->committed = ack->next_offset;
    request->done(NULL, request->data);
    return REQUEST_ANSWERED;
}

static void ack_deinit(struct request *request)
{
    subscription_unref(((struct ack_request *)request)->subscription);
}

static const struct request_type ack_type = {
    .answer = ack_answer, .fail = ack_fail, .deinit = ack_deinit, .changes = true};

static enum ps_status ack_and_wait(struct psc_subscription *subscription, struct topic_place *place,
                                   uint64_t next_offset, psc_done_fn *done, void *data)
{
    struct psc_client *client = subscription->client;
    struct request *request, **at = (struct request **)&subscription->held_acks;
    struct ack_request *ack;
    enum ps_status status = request_new(&ack_type, sizeof *ack, client->next_id++, &request);

    if (status != PS_OK)
        return status;
    request->done = done;
    request->data = data;
    ack = (struct ack_request *)request;
    ack->subscription = subscription;
    ack->place = place;
    ack->next_offset = next_offset;
    subscription->refs++;
    while (*at != NULL)
        at = &(*at)->next;
    *at = request;
    return PS_OK;
}

enum ps_status psc_ack(struct psc_subscription *subscription, struct psc_bytes topic, uint64_t next_offset,
                       psc_done_fn *done, void *data)
{
    enum ps_status status = client_accepts(subscription->client);
    struct topic_place *place;

    if (status != PS_OK)
        return status;
    if (subscription->options.durable_id.data == NULL || next_offset > INT64_MAX)
        return PS_INVALID_ARGUMENT;
    if (topic_validate(span_from(topic)) != PS_OK)
        return PS_BAD_TOPIC;
    status = topic_table_get(&subscription->topics, span_from(topic), &place);
    if (status == PS_OK && done != NULL)
        status = ack_and_wait(subscription, place, next_offset, done, data);
    if (status != PS_OK)
        return status;
    if (place->acked < next_offset)
        place->acked = next_offset;
    if (done == NULL)
        subscription_note_ack(subscription, place);
    client_wake(subscription->client);
    return PS_OK;
}

/* --------------------------------------------------------------------------------------------- leaving */

/* Without a connection a stored subscription is forgotten by name; there is nothing to detach from. */
static bool needs_broker(const struct psc_subscription *subscription)
{
    return subscription->state != SUB_WAITING || subscription->forget;
}

static void leave_frame(const struct psc_subscription *subscription, struct client_frame *frame)
{
    if (!subscription->forget) {
        frame->kind = CLIENT_DETACH;
        frame->detach = subscription->number;
        return;
    }
    frame->kind = CLIENT_UNSUBSCRIBE;
    frame->unsubscribe = (struct unsubscribe){.durable_id = span_from(subscription->options.durable_id),
                                              .filter = span_from(subscription->options.filter)};
}

void subscription_finish_leaving(struct psc_subscription *subscription)
{
    struct psc_client *client = subscription->client;
    struct request *request = subscription->leave;
    struct client_frame frame = {.kind = CLIENT_NONE};
    enum ps_status status = PS_OK;
    bool asks = needs_broker(subscription);

    subscription->leave = NULL;
    if (asks) {
        leave_frame(subscription, &frame);
        status = client_accepts(client);
        if (status == PS_OK)
            status = request_encode(request, &frame);
    }
    unlink_from_client(subscription);
    subscription_move(subscription, SUB_OVER);
    if (asks && status == PS_OK)
        requests_add(&client->requests, request);
    else
        client_answer_later(client, request, status);
    if (status == PS_NO_MEMORY)
        client_break(client, PS_NO_MEMORY, NULL);
    client_wake(client);
    subscription_unref(subscription);
}

/* What was acknowledged goes out in front of the farewell. */
static void leave(struct psc_subscription *subscription, bool forget, psc_done_fn *done, void *data)
{
    subscription->forget = forget && subscription->options.durable_id.data != NULL;
    subscription->leave->done = done;
    subscription->leave->data = data;
    if (!subscription->forget)
        subscription->leave->type = &request_detach_type;
    subscription_flush_acks(subscription);
    cancel_held_acks(subscription, PS_CANCELLED);
    if (subscription->state == SUB_ATTACHING)
        subscription_move(subscription, SUB_CANCELLING);
    else
        subscription_finish_leaving(subscription);
}

void psc_detach(struct psc_subscription *subscription, psc_done_fn *done, void *data)
{
    leave(subscription, false, done, data);
}

void psc_unsubscribe(struct psc_subscription *subscription, psc_done_fn *done, void *data)
{
    leave(subscription, true, done, data);
}

void *psc_subscription_data(const struct psc_subscription *subscription)
{
    return subscription->options.data;
}

struct psc_bytes psc_subscription_filter(const struct psc_subscription *subscription)
{
    return subscription->options.filter;
}
