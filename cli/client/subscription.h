/* A subscription: its life over several connections, credit, acknowledgements, what was already delivered.
 *
 *   WAITING --Subscribe sent--> ATTACHING --Subscribed--> ATTACHED --ended, detached--> OVER
 *      ^  \                      |     \                    |
 *      |   +-- detached --> OVER |      +-- detached --> CANCELLING --Subscribed--> OVER (Detach sent)
 *      +-------- lost -----------+--------- lost, moved ----+
 *
 * Credit told to the broker = received in this attachment + window - given to the caller and not consumed. */
#ifndef PSCLIENT_SUBSCRIPTION_H
#define PSCLIENT_SUBSCRIPTION_H

#include "convert.h"
#include "requests.h"
#include "topic_table.h"

enum subscription_state { SUB_WAITING, SUB_ATTACHING, SUB_CANCELLING, SUB_ATTACHED, SUB_OVER };

enum {
    SUBSCRIPTION_WINDOW_MESSAGES = 65536,
    SUBSCRIPTION_WINDOW_BYTES = 4 * 1024 * 1024,
    SUBSCRIPTION_MOST_TOPICS = 1024 * 1024
};

struct ack_request;

struct psc_subscription {
    struct psc_client *client;
    struct psc_subscription *next;
    unsigned refs; /* the client's list, and requests that name it */
    enum subscription_state state;
    struct psc_subscribe_options options; /* filter and id are ours */
    bool exact;
    uint64_t attach_id, number, mark;
    uint64_t generation; /* durable: of the attachment answered last */
    uint64_t attempts;   /* to attach since then: each may have raised it by one */
    bool stored;         /* the broker has answered it once */
    bool resumed;        /* it has been attached more than once */
    uint64_t era;        /* raised by every Progress */
    struct topic_table topics;
    struct psc_topic_start *starts; /* collected until the last Subscribed of an answer */
    size_t start_count, start_room;
    uint64_t received_messages, received_bytes; /* in this attachment */
    uint64_t held_messages, held_bytes;         /* given to the caller, not consumed */
    uint64_t granted_messages, granted_bytes;   /* as the broker was told */
    struct topic_place *acks;                   /* acknowledgements to send */
    struct ack_request *held_acks;              /* they wait for this attachment to come as far */
    struct request *leave;                      /* made in advance, so that leaving cannot fail */
    bool forget;                                /* leaving forgets it */
};

/* One step of the drawing above. */
void subscription_move(struct psc_subscription *subscription, enum subscription_state state);

/* In the list of the client that is asked. Borrowed. */
struct psc_subscription *subscription_by_request(const struct psc_client *client, uint64_t id);
struct psc_subscription *subscription_by_number(const struct psc_client *client, uint64_t number);

void subscription_unref(struct psc_subscription *subscription);

/* Takes it out of the client's list and tells `ended`. */
void subscription_end(struct psc_subscription *subscription, const struct psc_error *reason);

/* The connection is gone: back to WAITING. Acknowledgements that waited fail with `status`. */
void subscriptions_lost(struct psc_client *client, enum ps_status status, const char *text);

/* Ends all. With `unanswered_only` those that were once answered go silently. */
void subscriptions_end_all(struct psc_client *client, enum ps_status status, const char *text,
                           bool unanswered_only);

/* A broker with another log has welcomed us: places in the old one mean nothing. */
void subscriptions_log_changed(struct psc_client *client);

/* ------------------------------------------------------------------------ subscription_wire.c: frames */

/* Sends what has to be sent on a welcomed connection. PS_OK or PS_NO_MEMORY. */
enum ps_status subscriptions_send(struct psc_client *client, struct bytes *out);

/* Frames of the broker. PS_OK, PS_PROTOCOL_VIOLATION, PS_LIMIT_EXCEEDED, PS_NO_MEMORY. */
enum ps_status subscription_subscribed(struct psc_subscription *subscription,
                                       const struct subscribed *subscribed);
enum ps_status subscription_delivery(struct psc_subscription *subscription, const struct delivery *delivery);
enum ps_status subscription_gap(struct psc_subscription *subscription, const struct gap *gap);
void subscription_progress(struct psc_subscription *subscription, const struct progress *progress);
void subscription_refused(struct psc_subscription *subscription, const struct protocol_error *error);
void subscription_ended(struct psc_subscription *subscription, const struct protocol_error *reason);

/* Whether enough credit came together, or the broker has none left, so that it should be told. */
bool subscription_credit_due(const struct psc_subscription *subscription);

/* Puts the topic into the list of acknowledgements to send, if there is something new to send. */
void subscription_note_ack(struct psc_subscription *subscription, struct topic_place *place);

/* Sends what was acknowledged, as far as this attachment has come, if it is attached. */
void subscription_flush_acks(struct psc_subscription *subscription);

/* Says farewell to the broker where that is needed; the subscription is over. */
void subscription_finish_leaving(struct psc_subscription *subscription);

struct ack_request {
    struct request request;
    struct psc_subscription *subscription; /* a reference */
    struct topic_place *place;
    uint64_t next_offset;
};

#endif
