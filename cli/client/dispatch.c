/* Frames of a welcomed connection: to whom they belong.
 *
 * Answers to what nobody waits for any more, and frames for subscriptions that are over, are skipped: they
 * were on their way. Frames that contradict what was asked end the connection. */
#include "client.h"

static void check(struct psc_client *client, enum ps_status status)
{
    if (status == PS_PROTOCOL_VIOLATION)
        client_break(client, status, "the broker sent an answer that contradicts what was asked");
    else if (status != PS_OK)
        client_break(client, status, NULL);
}

static void answer_request(struct psc_client *client, uint64_t id, const struct server_frame *frame)
{
    enum request_verdict verdict = REQUEST_ANSWERED;

    if (!requests_answer(&client->requests, id, frame, &verdict))
        return;
    if (verdict == REQUEST_WRONG)
        check(client, PS_PROTOCOL_VIOLATION);
    else if (verdict == REQUEST_MORE)
        client_wake(client);
}

/* Refused acknowledgements and credits that nobody awaits say nothing about the connection. */
static bool concerns_connection(const struct protocol_error *error)
{
    switch (error->status) {
    case PS_NO_SUCH_SUBSCRIPTION:
    case PS_STALE_GENERATION:
    case PS_OUT_OF_RANGE:
    case PS_LOG_CHANGED:
    case PS_INVALID_ARGUMENT:
        return false;
    default:
        return true;
    }
}

static void dispatch_error(struct psc_client *client, const struct server_frame *frame)
{
    struct psc_subscription *subscription;
    bool known;

    if (!frame->request_id.present) {
        if (concerns_connection(&frame->error))
            client_farewell(client, &frame->error);
        return;
    }
    publisher_refused(&client->publisher, frame->request_id.value, &frame->error, &known);
    if (known) {
        client_tell_room(client);
        return;
    }
    subscription = subscription_by_request(client, frame->request_id.value);
    if (subscription != NULL)
        subscription_refused(subscription, &frame->error);
    else
        answer_request(client, frame->request_id.value, frame);
}

static void dispatch_published(struct psc_client *client, const struct server_frame *frame)
{
    bool known = false;

    if (frame->request_id.present)
        check(client,
              publisher_answer(&client->publisher, frame->request_id.value, &frame->published, &known));
    if (!known)
        check(client, PS_PROTOCOL_VIOLATION);
    client_tell_room(client);
}

static void dispatch_subscribed(struct psc_client *client, const struct server_frame *frame)
{
    struct psc_subscription *subscription =
        frame->request_id.present ? subscription_by_request(client, frame->request_id.value) : NULL;

    check(client, subscription != NULL ? subscription_subscribed(subscription, &frame->subscribed)
                                       : PS_PROTOCOL_VIOLATION);
}

static uint64_t subscription_number(const struct server_frame *frame)
{
    switch (frame->kind) {
    case SERVER_DELIVERY:
        return frame->delivery.subscription;
    case SERVER_GAP:
        return frame->gap.subscription;
    case SERVER_PROGRESS:
        return frame->progress.subscription;
    default:
        return frame->ended.subscription;
    }
}

static void dispatch_to_subscription(struct psc_client *client, const struct server_frame *frame)
{
    struct psc_subscription *subscription = subscription_by_number(client, subscription_number(frame));

    /* After psc_close() only answers matter. */
    if (subscription == NULL || client->state != PSC_CLIENT_READY)
        return;
    if (frame->kind == SERVER_DELIVERY)
        check(client, subscription_delivery(subscription, &frame->delivery));
    else if (frame->kind == SERVER_GAP)
        check(client, subscription_gap(subscription, &frame->gap));
    else if (frame->kind == SERVER_PROGRESS)
        subscription_progress(subscription, &frame->progress);
    else
        subscription_ended(subscription, &frame->ended.reason);
}

void client_dispatch(struct psc_client *client, const struct server_frame *frame)
{
    struct client_frame pong = {.kind = CLIENT_PONG};

    switch (frame->kind) {
    case SERVER_ERROR:
        dispatch_error(client, frame);
        break;
    case SERVER_PING:
        pong.ping_token = frame->ping_token;
        client_send(client, &pong);
        break;
    case SERVER_PUBLISHED:
        dispatch_published(client, frame);
        break;
    case SERVER_SUBSCRIBED:
        dispatch_subscribed(client, frame);
        break;
    case SERVER_DELIVERY:
    case SERVER_GAP:
    case SERVER_PROGRESS:
    case SERVER_SUBSCRIPTION_ENDED:
        dispatch_to_subscription(client, frame);
        break;
    case SERVER_GOODBYE:
        client_farewell(client, &frame->error);
        break;
    case SERVER_WELCOME:
        check(client, PS_PROTOCOL_VIOLATION);
        break;
    case SERVER_PONG:
    case SERVER_DONE:
    case SERVER_TOPIC_LIST:
    case SERVER_SUBSCRIPTION_LIST:
    case SERVER_INFO:
    case SERVER_VERIFICATION:
    case SERVER_BACKUP_STATE:
    case SERVER_BACKUP_CHUNK:
        if (frame->request_id.present)
            answer_request(client, frame->request_id.value, frame);
        break;
    case SERVER_NONE:
        break; /* of a newer broker */
    }
}
