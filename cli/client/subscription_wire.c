/* Subscriptions on the wire: attaching and resuming, credit, acknowledgements, deliveries.
 *
 * Resuming. A temporary subscription resumes from a mark: the broker has sent everything before it, so only
 * topics that moved since the last Progress are named with their offsets. Should they not fit into a frame,
 * it begins at the beginning instead. A durable one is attached again and the broker resumes it at its
 * committed offset. Either way places at which the caller has been are remembered, and what lies below is
 * received, counted and dropped.
 *
 * A durable one may be moved, taken over or made anew by others while we are away. The generation tells: it then rose
 * by more than our own attempts to attach, or fell. What is remembered is forgotten then, so that nothing that was
 * asked for again is dropped. (A move that hides behind an attempt of ours that was lost with its connection is seen
 * only when the place lies before the last one known to be committed.)
 *
 * Attaching. Topics that match a wildcard are told in as many frames as it takes; until the last one came the
 * broker is given no credit, so that the caller hears where topics begin before the first message.
 *
 * Acknowledging. The broker refuses what it has not sent in this attachment. So what the caller acknowledged
 * in an earlier one is told again only as far as this one has come. Of a topic that is gone there is nothing
 * left to commit. */
#include "client.h"

#include "topic.h"

#include <stdlib.h>

/* ----------------------------------------------------------------------------------------------- credit */

static uint64_t room_in(uint64_t window, uint64_t held)
{
    return held < window ? window - held : 0;
}

static uint64_t grant_messages(const struct psc_subscription *subscription)
{
    return subscription->received_messages +
           room_in(subscription->options.window_messages, subscription->held_messages);
}

static uint64_t grant_bytes(const struct psc_subscription *subscription)
{
    return subscription->received_bytes +
           room_in(subscription->options.window_bytes, subscription->held_bytes);
}

/* A quarter of the window, or anything where the broker has nothing left. */
static bool grant_due(uint64_t grant, uint64_t granted, uint64_t received, uint64_t window)
{
    if (grant <= granted)
        return false;
    return grant - granted >= (window + 3) / 4 || granted <= received;
}

bool subscription_credit_due(const struct psc_subscription *subscription)
{
    return subscription->state == SUB_ATTACHED &&
           (grant_due(grant_messages(subscription), subscription->granted_messages,
                      subscription->received_messages, subscription->options.window_messages) ||
            grant_due(grant_bytes(subscription), subscription->granted_bytes, subscription->received_bytes,
                      subscription->options.window_bytes));
}

static enum ps_status send_credit(struct psc_subscription *subscription, struct bytes *out)
{
    struct client_frame frame = {
        .kind = CLIENT_CREDIT,
        .credit = {subscription->number, grant_messages(subscription), grant_bytes(subscription)},
    };
    enum ps_status status;

    if (!subscription_credit_due(subscription))
        return PS_OK;
    status = codec_encode_client(&frame, out);
    if (status != PS_OK)
        return status;
    subscription->granted_messages = frame.credit.messages;
    subscription->granted_bytes = frame.credit.bytes;
    return PS_OK;
}

/* ------------------------------------------------------------------------------------- acknowledgements */

static uint64_t ackable(const struct topic_place *place)
{
    return place->acked < place->received ? place->acked : place->received;
}

void subscription_note_ack(struct psc_subscription *subscription, struct topic_place *place)
{
    if (place->ack_waits || ackable(place) <= place->acked_sent)
        return;
    place->ack_waits = true;
    place->ack_next = subscription->acks;
    subscription->acks = place;
    client_wake(subscription->client);
}

static enum ps_status send_noted_acks(struct psc_subscription *subscription, struct bytes *out)
{
    while (subscription->acks != NULL) {
        struct topic_place *place = subscription->acks;
        struct client_frame frame = {
            .kind = CLIENT_ACK,
            .ack = {subscription->number, topic_place_name(place), ackable(place), SPAN_ABSENT},
        };

        if (frame.ack.next_offset > place->acked_sent) {
            enum ps_status status = codec_encode_client(&frame, out);

            if (status != PS_OK)
                return status;
            place->acked_sent = frame.ack.next_offset;
        }
        place->ack_waits = false;
        subscription->acks = place->ack_next;
    }
    return PS_OK;
}

/* What was never given to the caller cannot be waited for: the broker refuses it. */
static bool may_send(const struct ack_request *ack)
{
    return ack->next_offset <= ack->place->received || ack->next_offset > topic_place_wanted(ack->place);
}

/* It was deleted while we were away: what was given of it will never come again. */
static bool is_of_no_use(const struct psc_subscription *subscription, const struct ack_request *ack)
{
    const struct topic_place *place = ack->place;
    bool gone = place->named != subscription->attach_id && place->received == 0;

    return ack->next_offset <= place->committed || (gone && ack->next_offset <= topic_place_wanted(place));
}

static enum ps_status send_held_acks(struct psc_subscription *subscription)
{
    struct request **at = (struct request **)&subscription->held_acks;

    while (*at != NULL) {
        struct ack_request *ack = (struct ack_request *)*at;
        struct client_frame frame = {
            .kind = CLIENT_ACK,
            .ack = {subscription->number, topic_place_name(ack->place), ack->next_offset, SPAN_ABSENT},
        };
        enum ps_status status;

        if (is_of_no_use(subscription, ack)) {
            *at = ack->request.next;
            client_answer_later(subscription->client, &ack->request, PS_OK);
            continue;
        }
        if (!may_send(ack)) {
            at = &ack->request.next;
            continue;
        }
        status = request_encode(&ack->request, &frame);
        if (status != PS_OK)
            return status;
        *at = ack->request.next;
        requests_add(&subscription->client->requests, &ack->request);
        if (ack->place->acked_sent < ack->next_offset && ack->next_offset <= ack->place->received)
            ack->place->acked_sent = ack->next_offset;
    }
    return PS_OK;
}

static enum ps_status send_acks(struct psc_subscription *subscription, struct bytes *out)
{
    enum ps_status status = send_held_acks(subscription);

    return status == PS_OK ? send_noted_acks(subscription, out) : status;
}

void subscription_flush_acks(struct psc_subscription *subscription)
{
    struct psc_client *client = subscription->client;
    struct bytes *out = client_out(client);
    enum ps_status status;

    if (out == NULL || subscription->state != SUB_ATTACHED)
        return;
    status = send_acks(subscription, out);
    if (status != PS_OK)
        client_break(client, status, NULL);
}

/* -------------------------------------------------------------------------------------------- attaching */

static bool resumes(const struct psc_subscription *subscription)
{
    return subscription->stored && subscription->options.durable_id.data == NULL;
}

/* The topics that the mark does not speak for. Free the offsets. */
static enum ps_status resume_rule(const struct psc_subscription *subscription, struct start_rule *rule)
{
    const struct topic_table *topics = &subscription->topics;
    struct topic_offset *offsets = malloc((topics->count + 1) * sizeof *offsets);
    size_t count = 0;

    if (offsets == NULL)
        return PS_NO_MEMORY;
    for (size_t i = 0; i < topics->count; i++) {
        const struct topic_place *place = topics->places[i];

        if (subscription->exact || place->touched == subscription->era)
            offsets[count++] = (struct topic_offset){topic_place_name(place), topic_place_wanted(place)};
    }
    *rule = (struct start_rule){
        .kind = START_RESUME, .value = subscription->mark, .offsets = offsets, .offset_count = count};
    return PS_OK;
}

static void subscribe_frame(const struct psc_subscription *subscription, struct client_frame *frame)
{
    const struct psc_subscribe_options *options = &subscription->options;

    *frame = (struct client_frame){
        .request_id = {true, subscription->attach_id},
        .kind = CLIENT_SUBSCRIBE,
        .subscribe = {.filter = span_from(options->filter),
                      .durable_id = span_from(options->durable_id),
                      .start = start_to_wire(options->start, options->value),
                      .start_given = true,
                      .until_end = options->until_end,
                      .existing_only = options->existing_only},
    };
    if (subscription->exact) {
        frame->subscribe.credit_messages = room_in(options->window_messages, subscription->held_messages);
        frame->subscribe.credit_bytes = room_in(options->window_bytes, subscription->held_bytes);
    }
    if (subscription->stored && options->durable_id.data != NULL)
        frame->subscribe.existing_only = true; /* one that was removed meanwhile is not made again */
    if (subscription->stored)
        frame->subscribe.log_id = (struct span){subscription->client->log_id, LOG_ID_BYTES};
}

static enum ps_status encode_resume(struct psc_subscription *subscription, struct client_frame *frame,
                                    struct bytes *out)
{
    size_t before = out->size;
    enum ps_status status = resume_rule(subscription, &frame->subscribe.start);

    if (status != PS_OK)
        return status;
    status = codec_encode_client(frame, out);
    free((void *)frame->subscribe.start.offsets);
    if (status == PS_NO_MEMORY)
        return status;
    if (status == PS_OK && out->size - before <= subscription->client->limits.max_frame)
        return PS_OK;
    out->size = before;
    frame->subscribe.start = start_to_wire(PSC_START_BEGINNING, 0);
    return codec_encode_client(frame, out);
}

static enum ps_status attach(struct psc_subscription *subscription, struct bytes *out)
{
    struct client_frame frame;
    enum ps_status status;

    subscription->attach_id = subscription->client->next_id++;
    subscription->attempts++;
    subscribe_frame(subscription, &frame);
    status =
        resumes(subscription) ? encode_resume(subscription, &frame, out) : codec_encode_client(&frame, out);
    if (status != PS_OK)
        return status;
    subscription_move(subscription, SUB_ATTACHING);
    subscription->number = UINT64_MAX; /* not yet told */
    subscription->received_messages = 0;
    subscription->received_bytes = 0;
    subscription->granted_messages = frame.subscribe.credit_messages;
    subscription->granted_bytes = frame.subscribe.credit_bytes;
    subscription->start_count = 0;
    subscription->acks = NULL;
    for (size_t i = 0; i < subscription->topics.count; i++) {
        struct topic_place *place = subscription->topics.places[i];

        place->received = 0;
        place->acked_sent = 0;
        place->ack_waits = false;
    }
    return PS_OK;
}

enum ps_status subscriptions_send(struct psc_client *client, struct bytes *out)
{
    enum ps_status status = PS_OK;

    for (struct psc_subscription *at = client->subscriptions; at != NULL && status == PS_OK; at = at->next) {
        if (at->state == SUB_WAITING)
            status = attach(at, out);
        if (at->state != SUB_ATTACHED || status != PS_OK)
            continue;
        status = send_acks(at, out);
        if (status == PS_OK)
            status = send_credit(at, out);
    }
    return status;
}

/* ---------------------------------------------------------------------------------------------- answers */

static enum ps_status get_place(struct psc_subscription *subscription, struct span topic,
                                struct topic_place **place)
{
    *place = topic_table_find(&subscription->topics, topic);
    if (*place != NULL)
        return PS_OK;
    if (topic_validate(topic) != PS_OK)
        return PS_PROTOCOL_VIOLATION;
    if (subscription->topics.count >= SUBSCRIPTION_MOST_TOPICS)
        return PS_LIMIT_EXCEEDED;
    return topic_table_get(&subscription->topics, topic, place);
}

/* A durable subscription never moves back by itself: then it was moved while we were away, and the caller
 * gets again what was asked for again. */
static void place_starts(struct psc_subscription *subscription, struct topic_place *place,
                         const struct topic_start *start)
{
    bool durable = subscription->options.durable_id.data != NULL;

    if (durable && start->offset < place->committed) {
        place->next = 0;
        place->floor = 0;
        place->acked = 0;
    }
    if (place->floor < start->offset)
        place->floor = start->offset;
    if (!subscription->stored)
        place->end = start->head;
    place->received = start->offset;
    place->committed = start->offset;
    place->acked_sent = start->offset;
    place->touched = subscription->era;
    place->named = subscription->attach_id;
}

static enum ps_status collect_start(struct psc_subscription *subscription, const struct topic_start *start)
{
    struct topic_place *place;
    enum ps_status status = get_place(subscription, start->topic, &place);

    if (status != PS_OK)
        return status;
    if (subscription->start_count == subscription->start_room) {
        size_t room = subscription->start_room == 0 ? 8 : subscription->start_room * 2;
        struct psc_topic_start *grown = realloc(subscription->starts, room * sizeof *grown);

        if (grown == NULL)
            return PS_NO_MEMORY;
        subscription->starts = grown;
        subscription->start_room = room;
    }
    if (subscription->start_count >= SUBSCRIPTION_MOST_TOPICS)
        return PS_LIMIT_EXCEEDED;
    place_starts(subscription, place, start);
    subscription->starts[subscription->start_count++] = (struct psc_topic_start){
        .topic = bytes_from(topic_place_name(place)),
        .offset = topic_place_wanted(place),
        .head = start->head,
        .first = start->first,
    };
    return PS_OK;
}

static void forget_places(struct psc_subscription *subscription)
{
    for (size_t i = 0; i < subscription->topics.count; i++) {
        struct topic_place *place = subscription->topics.places[i];

        place->next = 0;
        place->floor = 0;
        place->acked = 0;
        place->committed = 0;
    }
}

/* The first frame of an answer tells whether others had a hand in it. */
static void compare_generation(struct psc_subscription *subscription, uint64_t generation)
{
    uint64_t before = subscription->generation, attempts = subscription->attempts;

    subscription->generation = generation;
    subscription->attempts = 0;
    if (subscription->stored && attempts != 0 && subscription->options.durable_id.data != NULL &&
        (generation <= before || generation - before > attempts))
        forget_places(subscription);
}

static void note_all_acks(struct psc_subscription *subscription)
{
    for (size_t i = 0; i < subscription->topics.count; i++)
        subscription_note_ack(subscription, subscription->topics.places[i]);
}

static void tell_subscribed(struct psc_subscription *subscription, bool created)
{
    struct psc_topic_start *starts = subscription->starts;
    size_t count = subscription->start_count;

    subscription->starts = NULL;
    subscription->start_count = 0;
    subscription->start_room = 0;
    subscription->refs++;
    if (subscription->options.subscribed != NULL)
        subscription->options.subscribed(subscription, created, starts, count, subscription->options.data);
    subscription_unref(subscription);
    free(starts);
}

enum ps_status subscription_subscribed(struct psc_subscription *subscription,
                                       const struct subscribed *subscribed)
{
    bool first = !subscription->stored;

    subscription->number = subscribed->subscription;
    if (subscription->state == SUB_CANCELLING) {
        if (!subscribed->more)
            subscription_finish_leaving(subscription);
        return PS_OK;
    }
    compare_generation(subscription, subscribed->generation);
    for (size_t i = 0; i < subscribed->start_count; i++) {
        enum ps_status status = collect_start(subscription, &subscribed->starts[i]);

        if (status != PS_OK)
            return status;
    }
    if (subscribed->more)
        return PS_OK;
    subscription->mark = subscribed->mark;
    subscription_move(subscription, SUB_ATTACHED);
    subscription->resumed = !first;
    subscription->stored = true;
    note_all_acks(subscription);
    client_wake(subscription->client);
    tell_subscribed(subscription, first && subscribed->created);
    return PS_OK;
}

void subscription_refused(struct psc_subscription *subscription, const struct protocol_error *error)
{
    struct error_box box;

    if (subscription->state == SUB_CANCELLING) {
        struct request *leave = subscription->leave;

        subscription->leave = NULL;
        error_from_wire(&box, error);
        client_answer_later(subscription->client, leave, subscription->forget ? box.error.status : PS_OK);
        subscription->options.ended = NULL;
        subscription_end(subscription, &box.error);
        return;
    }
    if (error->status == PS_DRAINING && subscription->client->options.reconnect)
        return; /* attached again when the broker is back: the connection ends soon */
    error_from_wire(&box, error);
    subscription_end(subscription, &box.error);
}

void subscription_ended(struct psc_subscription *subscription, const struct protocol_error *reason)
{
    struct error_box box;

    if (reason->status == PS_MOVED) {
        forget_places(subscription);
        subscription_move(subscription, SUB_WAITING);
        client_wake(subscription->client);
        return;
    }
    error_from_wire(&box, reason);
    subscription_end(subscription, &box.error);
}

/* ------------------------------------------------------------------------------------------- deliveries */

static bool is_new(const struct psc_subscription *subscription, const struct topic_place *place,
                   uint64_t offset)
{
    bool bounded = subscription->resumed && subscription->options.until_end;

    return offset >= topic_place_wanted(place) && !(bounded && offset >= place->end);
}

static enum ps_status tell_message(struct psc_subscription *subscription, struct topic_place *place,
                                   const struct message *message, uint64_t bytes)
{
    struct psc_message told;
    enum ps_status status = client_message(subscription->client, message, &told);

    if (status != PS_OK)
        return status;
    place->next = message->offset + 1;
    subscription->held_messages++;
    subscription->held_bytes += bytes;
    subscription->options.message(subscription, bytes_from(topic_place_name(place)), &told,
                                  subscription->options.data);
    return PS_OK;
}

static enum ps_status receive_message(struct psc_subscription *subscription, struct topic_place *place,
                                      const struct message *message)
{
    uint64_t bytes = message_bytes(message);

    if (message->offset >= INT64_MAX || message->offset < place->received)
        return PS_PROTOCOL_VIOLATION;
    subscription->received_messages++;
    subscription->received_bytes += bytes;
    place->received = message->offset + 1;
    if (!is_new(subscription, place, message->offset))
        return PS_OK;
    return tell_message(subscription, place, message, bytes);
}

enum ps_status subscription_delivery(struct psc_subscription *subscription, const struct delivery *delivery)
{
    struct topic_place *place;
    enum ps_status status = get_place(subscription, delivery->topic, &place);

    if (status != PS_OK)
        return status;
    place->touched = subscription->era;
    subscription->refs++;
    for (size_t i = 0; i < delivery->message_count && status == PS_OK && subscription->state == SUB_ATTACHED;
         i++)
        status = receive_message(subscription, place, &delivery->messages[i]);
    if (subscription->state == SUB_ATTACHED) {
        subscription_note_ack(subscription, place);
        if (subscription->held_acks != NULL || subscription_credit_due(subscription))
            client_wake(subscription->client);
    }
    subscription_unref(subscription);
    return status;
}

enum ps_status subscription_gap(struct psc_subscription *subscription, const struct gap *gap)
{
    struct topic_place *place;
    enum ps_status status = get_place(subscription, gap->topic, &place);
    uint64_t from;

    if (status != PS_OK)
        return status;
    if (gap->from > gap->to || gap->to > INT64_MAX)
        return PS_PROTOCOL_VIOLATION;
    place->touched = subscription->era;
    if (place->received < gap->to)
        place->received = gap->to;
    if (place->next >= gap->to)
        return PS_OK;
    from = place->next > gap->from ? place->next : gap->from;
    place->next = gap->to;
    if (subscription->options.gap != NULL)
        subscription->options.gap(subscription, bytes_from(topic_place_name(place)), from, gap->to,
                                  subscription->options.data);
    return PS_OK;
}

void subscription_progress(struct psc_subscription *subscription, const struct progress *progress)
{
    if (progress->mark < subscription->mark)
        return;
    subscription->mark = progress->mark;
    subscription->era++;
}
