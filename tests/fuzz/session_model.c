#include "session_model.h"

#include "model_log.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SUBSCRIPTIONS = 256 };

struct request {
    uint64_t id;
    enum client_frame_kind kind;
    bool answered;
    struct kept_list messages; /* of a Publish; claimed: covered by an answer */
    uint8_t *topics;           /* of each message */
    struct ack ack;
    size_t ack_topic;
    unsigned ack_moves;
    uint8_t filter[TOPIC_MAX_BYTES];
    size_t filter_size;
    size_t durable; /* DURABLES: none */
    uint64_t credit_messages;
    uint64_t detached;
};

struct subscription {
    bool is_known, has_ended;
    uint64_t request; /* the Subscribe */
    uint8_t filter[TOPIC_MAX_BYTES];
    size_t filter_size;
    size_t durable;
    uint64_t credit_messages, delivered;
    struct {
        bool is_known, has_moved; /* since Subscribed */
        uint64_t next;
    } topics[TOPICS];
};

struct connection {
    struct request *requests;
    size_t request_count, request_room;
    struct subscription *subscriptions;
    uint64_t last_request[TOPICS], last_offset[TOPICS]; /* acknowledged */
};

struct model {
    struct model_log log;
    struct connection connections[MODEL_CLIENTS];
};

/* ------------------------------------------------------------------------------------------- connections */

static void end_connection(struct connection *connection)
{
    for (size_t i = 0; i < connection->request_count; i++) {
        kept_forget(&connection->requests[i].messages);
        free(connection->requests[i].topics);
    }
    free(connection->requests);
    free(connection->subscriptions);
    *connection = (struct connection){0};
}

struct model *model_new(void)
{
    struct model *model = calloc(1, sizeof *model);
    cr_assert_not_null(model);
    return model;
}

void model_free(struct model *model)
{
    if (model == NULL)
        return;
    for (unsigned i = 0; i < MODEL_CLIENTS; i++)
        end_connection(&model->connections[i]);
    model_log_deinit(&model->log);
    free(model);
}

struct store *model_watch(struct model *model, struct store *store)
{
    return model_log_watch(&model->log, store);
}

void model_connected(struct model *model, unsigned client)
{
    struct connection *connection = &model->connections[client];
    end_connection(connection);
    connection->subscriptions = calloc(SUBSCRIPTIONS, sizeof *connection->subscriptions);
    cr_assert_not_null(connection->subscriptions);
}

static struct subscription *subscription_of(const struct model *model, unsigned client, uint64_t number)
{
    struct subscription *all = model->connections[client].subscriptions;
    return number < SUBSCRIPTIONS && all[number].is_known ? &all[number] : NULL;
}

void model_rests(const struct model *model, unsigned client)
{
    const struct connection *connection = &model->connections[client];
    for (size_t i = 0; i < connection->request_count; i++) {
        const struct request *request = &connection->requests[i];
        cr_assert(request->answered || request->kind == CLIENT_PONG,
                  "request %llu of kind %d is not answered", (unsigned long long)request->id,
                  (int)request->kind);
    }
}

uint64_t model_next(const struct model *model, unsigned client, uint64_t number, struct span name)
{
    const struct subscription *subscription = subscription_of(model, client, number);
    for (size_t i = 0; subscription != NULL && i < model->log.topic_count; i++) {
        if (span_equal((struct span){model->log.topics[i].name, model->log.topics[i].name_size}, name))
            return subscription->topics[i].next;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------- asked */

static void note_publish(struct model *model, struct request *request, const struct publish *publish)
{
    size_t at = 0;
    request->topics = malloc(publish->message_count + 1);
    cr_assert_not_null(request->topics);
    for (uint32_t i = 0; i < publish->group_count; i++) {
        for (uint32_t j = 0; j < publish->groups[i].count; j++) {
            request->topics[at++] = (uint8_t)model_log_topic(&model->log, publish->groups[i].topic);
            kept_add(&request->messages, &publish->groups[i].messages[j]);
        }
    }
}

/* What it may commit, once it is committed. */
static void note_ack(struct model *model, unsigned client, struct request *request, const struct ack *ack)
{
    struct subscription *subscription = subscription_of(model, client, ack->subscription);
    request->ack = *ack;
    request->ack_topic = model_log_topic(&model->log, ack->topic);
    if (subscription == NULL || subscription->durable == DURABLES || request->ack_topic == TOPICS)
        return;
    request->ack_moves = model->log.durables[subscription->durable].moves;
    uint64_t *acked = &model->log.durables[subscription->durable].acked[request->ack_topic];
    if (ack->next_offset <= subscription->topics[request->ack_topic].next && ack->next_offset > *acked)
        *acked = ack->next_offset;
}

static void note_subscribe(struct model *model, struct request *request, const struct subscribe *subscribe)
{
    request->durable = model_log_durable(&model->log, subscribe->durable_id, subscribe->filter);
    request->credit_messages = subscribe->credit_messages;
    if (filter_validate(subscribe->filter) != PS_OK)
        return;
    memcpy(request->filter, subscribe->filter.data, subscribe->filter.size);
    request->filter_size = subscribe->filter.size;
}

/* It may be on its way to being answered. */
static void note_credit(const struct model *model, unsigned client, const struct credit *credit)
{
    struct subscription *all = model->connections[client].subscriptions;
    if (credit->subscription < SUBSCRIPTIONS && credit->messages > all[credit->subscription].credit_messages)
        all[credit->subscription].credit_messages = credit->messages;
}

void model_sent(struct model *model, unsigned client, const struct client_frame *frame)
{
    struct connection *connection = &model->connections[client];
    struct request request = {.id = frame->request_id.value, .kind = frame->kind};
    if (frame->kind == CLIENT_ACK)
        note_ack(model, client, &request, &frame->ack);
    if (frame->kind == CLIENT_CREDIT)
        note_credit(model, client, &frame->credit);
    if (!frame->request_id.present)
        return;
    if (frame->kind == CLIENT_PUBLISH)
        note_publish(model, &request, &frame->publish);
    if (frame->kind == CLIENT_SUBSCRIBE)
        note_subscribe(model, &request, &frame->subscribe);
    if (frame->kind == CLIENT_DETACH)
        request.detached = frame->detach;
    if (frame->kind == CLIENT_UNSUBSCRIBE && frame->unsubscribe.subscription.present)
        request.detached = frame->unsubscribe.subscription.value;
    connection->requests = model_more(connection->requests, connection->request_count,
                                      &connection->request_room, sizeof request);
    connection->requests[connection->request_count++] = request;
}

/* -------------------------------------------------------------------------------------------------- told */

static struct request *request_of(struct connection *connection, struct optional_u64 id)
{
    cr_assert(id.present, "an answer without a request id");
    for (size_t i = connection->request_count; i-- > 0;) {
        if (connection->requests[i].id == id.value) {
            cr_assert_not(connection->requests[i].answered, "a request is answered twice");
            return &connection->requests[i];
        }
    }
    cr_assert(false, "an answer to request %llu, which was not asked", (unsigned long long)id.value);
    return NULL;
}

/* The request's acknowledged message stands there in the log, and nobody else's does. */
static void claim(struct model *model, struct connection *connection, struct request *request, size_t index,
                  uint64_t offset)
{
    size_t number = request->topics[index];
    cr_assert(number < TOPICS, "acknowledged in no topic");
    struct model_topic *topic = &model->log.topics[number];
    cr_assert(offset < topic->log.count, "acknowledged before it is stored");
    struct kept *kept = &topic->log.items[offset];
    cr_assert_not(kept->claimed, "one place is acknowledged twice");
    kept->claimed = true;
    cr_assert(same_message(&kept->message, &request->messages.items[index].message),
              "acknowledged, and something else is stored");
    bool first = connection->last_request[number] == 0;
    cr_assert(first || offset > connection->last_offset[number], "acknowledged out of turn");
    cr_assert(first || request->id >= connection->last_request[number], "acknowledged out of turn");
    connection->last_request[number] = request->id;
    connection->last_offset[number] = offset;
}

/* A payload that begins so is never sent twice. */
static void check_refused(const struct model *model, const struct request *request, size_t index)
{
    const struct message *message = &request->messages.items[index].message;
    size_t mark = strlen(MODEL_UNIQUE);
    bool is_unique = message->payload.size > mark && memcmp(message->payload.data, MODEL_UNIQUE, mark) == 0;
    if (request->topics[index] >= TOPICS || !is_unique)
        return;
    const struct kept_list *log = &model->log.topics[request->topics[index]].log;
    for (size_t i = 0; i < log->count; i++)
        cr_assert(log->items[i].claimed || !same_message(&log->items[i].message, message),
                  "message %zu of request %llu, refused, is stored at %zu", index,
                  (unsigned long long)request->id, i);
}

static void check_error(const struct protocol_error *error)
{
    cr_assert(ps_status_known(error->status) && error->status != PS_OK && (unsigned)error->status < 200,
              "status %d travels", (int)error->status);
    cr_assert(error->status != PS_INTERNAL, "a defect is reported");
}

static void told_published(struct model *model, unsigned client, const struct server_frame *frame)
{
    struct connection *connection = &model->connections[client];
    struct request *request = request_of(connection, frame->request_id);
    cr_assert_eq(request->kind, CLIENT_PUBLISH);
    for (size_t i = 0; i < frame->published.run_count; i++) {
        const struct published_run *run = &frame->published.runs[i];
        if (run->status != PS_OK)
            check_error(&run->error);
        for (uint32_t j = 0; j < run->count; j++) {
            size_t index = run->first_index + j;
            cr_assert(index < request->messages.count, "a run outside of its frame");
            cr_assert_not(request->messages.items[index].claimed, "a message is answered twice");
            request->messages.items[index].claimed = true;
            if (run->status == PS_OK)
                claim(model, connection, request, index, run->first_offset + j);
            else if (!run->error.unknown)
                check_refused(model, request, index);
        }
    }
    request->answered = true;
    for (size_t i = 0; i < request->messages.count; i++)
        request->answered = request->answered && request->messages.items[i].claimed;
}

static void told_subscribed(struct model *model, unsigned client, const struct server_frame *frame)
{
    const struct subscribed *subscribed = &frame->subscribed;
    struct request *request = request_of(&model->connections[client], frame->request_id);
    cr_assert_eq(request->kind, CLIENT_SUBSCRIBE);
    cr_assert(subscribed->subscription > 0 && subscribed->subscription < SUBSCRIPTIONS, "no number");
    struct subscription *subscription = &model->connections[client].subscriptions[subscribed->subscription];
    if (!subscription->is_known) {
        subscription->is_known = true;
        subscription->request = request->id;
        subscription->durable = request->durable;
        subscription->filter_size = request->filter_size;
        memcpy(subscription->filter, request->filter, request->filter_size);
        if (request->credit_messages > subscription->credit_messages)
            subscription->credit_messages = request->credit_messages;
    }
    for (size_t i = 0; i < subscribed->start_count; i++) {
        size_t topic = model_log_topic(&model->log, subscribed->starts[i].topic);
        cr_assert(topic < TOPICS && !subscription->topics[topic].is_known, "a start that is none");
        subscription->topics[topic].is_known = true;
        subscription->topics[topic].next = subscribed->starts[i].offset;
        cr_assert(request->durable == DURABLES ||
                      subscribed->starts[i].offset >= model->log.durables[request->durable].done[topic],
                  "a committed offset is lost");
    }
    request->answered = !subscribed->more;
}

static struct subscription *live_subscription(struct model *model, unsigned client, uint64_t number)
{
    struct subscription *subscription = subscription_of(model, client, number);
    cr_assert(subscription != NULL && !subscription->has_ended, "of a subscription that is none");
    return subscription;
}

static void told_delivery(struct model *model, unsigned client, const struct delivery *delivery)
{
    struct subscription *subscription = live_subscription(model, client, delivery->subscription);
    size_t index = model_log_topic(&model->log, delivery->topic);
    cr_assert(index < TOPICS && delivery->message_count > 0);
    const struct kept_list *log = &model->log.topics[index].log;
    cr_assert(filter_match((struct span){subscription->filter, subscription->filter_size}, delivery->topic),
              "a topic that was not asked for");
    for (size_t i = 0; i < delivery->message_count; i++) {
        const struct message *message = &delivery->messages[i];
        cr_assert(!subscription->topics[index].is_known ||
                      message->offset == subscription->topics[index].next,
                  "offset %llu, not %llu", (unsigned long long)message->offset,
                  (unsigned long long)subscription->topics[index].next);
        cr_assert(message->offset < log->count, "delivered before it is stored");
        const struct message *stored = &log->items[message->offset].message;
        cr_assert(same_message(message, stored) && span_equal(message->publisher, stored->publisher) &&
                      message->published_at == stored->published_at,
                  "something else than what is stored");
        subscription->topics[index].is_known = subscription->topics[index].has_moved = true;
        subscription->topics[index].next = message->offset + 1;
    }
    subscription->delivered += delivery->message_count;
    cr_assert(subscription->delivered <= subscription->credit_messages, "more than the credit");
}

static void told_gap(struct model *model, unsigned client, const struct gap *gap)
{
    struct subscription *subscription = live_subscription(model, client, gap->subscription);
    size_t index = model_log_topic(&model->log, gap->topic);
    cr_assert(index < TOPICS && gap->from < gap->to, "a gap of nothing");
    /* Subscribed tells the place behind a gap that is still to be told. */
    uint64_t next = subscription->topics[index].next;
    bool early = !subscription->topics[index].has_moved && gap->from < next && gap->to >= next;
    cr_assert(!subscription->topics[index].is_known || gap->from == next || early, "a gap elsewhere");
    subscription->topics[index].is_known = subscription->topics[index].has_moved = true;
    subscription->topics[index].next = gap->to;
}

/* By its own wish: what was still to be said about its beginning is not said. */
static void end_by_wish(struct model *model, unsigned client, uint64_t number)
{
    struct connection *connection = &model->connections[client];
    struct subscription *subscription = subscription_of(model, client, number);
    if (subscription == NULL)
        return;
    subscription->has_ended = true;
    for (size_t i = 0; i < connection->request_count; i++) {
        if (connection->requests[i].id == subscription->request)
            connection->requests[i].answered = true;
    }
}

/* What a wildcard acknowledges of a topic that is not there has nothing left to move, however much it is. */
static bool moves_nothing(const struct model *model, const struct request *request)
{
    return request->ack_topic >= TOPICS || model->log.topics[request->ack_topic].log.count == 0 ||
           model->log.topics[request->ack_topic].was_deleted;
}

static void note_done(struct model *model, const struct subscription *subscription,
                      const struct request *request)
{
    struct durable *durable = &model->log.durables[subscription->durable];
    if (durable->moves == request->ack_moves && request->ack.next_offset > durable->done[request->ack_topic])
        durable->done[request->ack_topic] = request->ack.next_offset;
}

static void told_done(struct model *model, unsigned client, struct optional_u64 id)
{
    struct request *request = request_of(&model->connections[client], id);
    switch (request->kind) {
    case CLIENT_ACK: {
        struct subscription *subscription = subscription_of(model, client, request->ack.subscription);
        cr_assert(subscription != NULL, "acknowledged for nothing");
        if (request->ack_topic < TOPICS &&
            request->ack.next_offset <= subscription->topics[request->ack_topic].next)
            note_done(model, subscription, request);
        else
            cr_assert(moves_nothing(model, request), "more was acknowledged than given");
        break;
    }
    case CLIENT_DETACH:
    case CLIENT_UNSUBSCRIBE:
        end_by_wish(model, client, request->detached);
        break;
    case CLIENT_CREDIT:
    case CLIENT_SEEK:
    case CLIENT_DELETE_TOPIC:
        break;
    default:
        cr_assert(false, "Done for kind %d", (int)request->kind);
    }
    request->answered = true;
}

static void told_error(struct model *model, unsigned client, const struct server_frame *frame)
{
    check_error(&frame->error);
    if (!frame->request_id.present)
        return;
    struct request *request = request_of(&model->connections[client], frame->request_id);
    request->answered = true;
    for (size_t i = 0; i < request->messages.count; i++) {
        cr_assert_not(request->messages.items[i].claimed, "refused as a whole after a part was answered");
        if (!frame->error.unknown)
            check_refused(model, request, i);
    }
}

static void told_answer(struct model *model, unsigned client, const struct server_frame *frame,
                        enum client_frame_kind kind, bool more_comes)
{
    struct request *request = request_of(&model->connections[client], frame->request_id);
    cr_assert(request->kind == kind, "kind %d answers kind %d", (int)frame->kind, (int)request->kind);
    request->answered = !more_comes;
}

void model_told(struct model *model, unsigned client, const struct server_frame *frame)
{
    switch (frame->kind) {
    case SERVER_WELCOME:
        told_answer(model, client, frame, CLIENT_HELLO, false);
        break;
    case SERVER_PONG:
        if (frame->request_id.present)
            told_answer(model, client, frame, CLIENT_PING, false);
        break;
    case SERVER_TOPIC_LIST:
        told_answer(model, client, frame, CLIENT_LIST_TOPICS, false);
        break;
    case SERVER_SUBSCRIPTION_LIST:
        told_answer(model, client, frame, CLIENT_LIST_SUBSCRIPTIONS, frame->subscription_list.more);
        break;
    case SERVER_INFO:
        told_answer(model, client, frame, CLIENT_GET_INFO, false);
        break;
    case SERVER_PUBLISHED:
        told_published(model, client, frame);
        break;
    case SERVER_SUBSCRIBED:
        told_subscribed(model, client, frame);
        break;
    case SERVER_DELIVERY:
        told_delivery(model, client, &frame->delivery);
        break;
    case SERVER_GAP:
        told_gap(model, client, &frame->gap);
        break;
    case SERVER_SUBSCRIPTION_ENDED:
        check_error(&frame->ended.reason);
        live_subscription(model, client, frame->ended.subscription)->has_ended = true;
        break;
    case SERVER_DONE:
        told_done(model, client, frame->request_id);
        break;
    case SERVER_ERROR:
        told_error(model, client, frame);
        break;
    case SERVER_PROGRESS:
        live_subscription(model, client, frame->progress.subscription);
        break;
    case SERVER_PING:
    case SERVER_GOODBYE:
        break;
    default:
        cr_assert(false, "kind %d", (int)frame->kind);
    }
}

uint64_t model_given(const struct model *model, unsigned client, uint64_t number)
{
    const struct subscription *subscription = subscription_of(model, client, number);
    uint64_t given = 0;
    cr_assert_not_null(subscription);
    for (size_t i = 0; i < model->log.topic_count; i++) {
        struct span name = {model->log.topics[i].name, model->log.topics[i].name_size};
        if (model->log.topics[i].log.count == 0 || model->log.topics[i].is_deleted ||
            !filter_match((struct span){subscription->filter, subscription->filter_size}, name))
            continue;
        cr_assert(subscription->topics[i].next == model->log.topics[i].log.count,
                  "the end of %.*s is missing", (int)name.size, (const char *)name.data);
        given += model->log.topics[i].log.count;
    }
    return given;
}
