/* The client's life and what its parts share. Internal to the library.
 *
 *   IDLE --start--> CONNECTING --open--> GREETING --Welcome--> READY --close--> LEAVING
 *                     ^    |                 |                   |                 |
 *                     |    +---- lost -------+------- lost ------+                 | written, lost
 *                     |    v                 v                                     | or too late
 *                   WAITING <-- tried again ---- given up --> FAILED               v
 *                     |                                          |              CLOSING --> ENDED
 *                     +-------------- psc_close() ---------------+-----------------^
 *
 * What has to be sent is collected in one turn of the loop and sent by turn_cb(), from an idle handle that is
 * active only while there is something to do. User callbacks run from events of the loop only. */
#ifndef PSCLIENT_CLIENT_H
#define PSCLIENT_CLIENT_H

#include "backoff.h"
#include "convert.h"
#include "keepalive.h"
#include "publisher.h"
#include "requests.h"
#include "subscription.h"
#include "transport.h"

enum client_state {
    PSC_CLIENT_IDLE,
    PSC_CLIENT_CONNECTING,
    PSC_CLIENT_GREETING,
    PSC_CLIENT_READY,
    PSC_CLIENT_WAITING,
    PSC_CLIENT_FAILED,
    PSC_CLIENT_LEAVING,
    PSC_CLIENT_CLOSING,
    PSC_CLIENT_ENDED
};

struct psc_client {
    uv_loop_t *loop;
    struct psc_options options; /* strings are ours */
    enum client_state state;
    uv_idle_t turn;   /* active while something is to be sent or told */
    uv_timer_t retry; /* the next attempt; in LEAVING: patience for what is being written */
    uv_timer_t tick;  /* keep-alive; before READY: patience with the attempt */
    unsigned handles; /* that libuv has not given back, the transport among them */
    struct transport *transport;
    struct backoff backoff;
    struct keepalive keepalive;
    struct arena *arena;
    uint64_t next_id; /* of requests and publications, growing for the whole life */
    struct publisher publisher;
    struct requests requests;
    struct request *later; /* requests that end without the broker, told in the next turn */
    struct psc_subscription *subscriptions;
    uint8_t log_id[LOG_ID_BYTES];
    bool log_known;
    struct limits limits;
    struct error_box reason; /* what the broker said before it goes away */
    bool reason_given;
    enum ps_status broken; /* not PS_OK: the connection ends with this in the next turn */
    const char *broken_text;
    struct psc_header *headers; /* of the message that is being told */
    size_t header_room;
    void (*closed)(void *data);
    void *closed_data;
};

/* Something is to be sent or told: turn_cb() will run. */
void client_wake(struct psc_client *client);

/* Where frames go: NULL while there is no welcomed connection. */
struct bytes *client_out(struct psc_client *client);

/* PS_OK; PS_CONNECTION_LOST or PS_CANCELLED when a request would wait for ever. */
enum ps_status client_accepts(const struct psc_client *client);

/* Ends the connection because of what the broker sent, or because of lack of memory. Tells the caller in the
 * next turn, so it may be used anywhere. */
void client_break(struct psc_client *client, enum ps_status status, const char *text);

/* Takes a request that ends without the broker; PS_OK is success. */
void client_answer_later(struct psc_client *client, struct request *request, enum ps_status status);

/* Encodes and takes a request. PS_OK, PS_NO_MEMORY, PS_LIMIT_EXCEEDED: too many wait; the outcomes of
 * client_accepts(). When it fails the request is freed. */
enum ps_status client_request(struct psc_client *client, struct request *request, struct client_frame *frame);

void client_move(struct psc_client *client, enum client_state state);

/* Queues a frame that nobody waits for. Only while there is a transport. */
void client_send(struct psc_client *client, const struct client_frame *frame);

/* The broker says why it goes away. */
void client_farewell(struct psc_client *client, const struct protocol_error *reason);

/* Keep-alive ticks from now on; 0: none. */
void client_tick_every(struct psc_client *client, uint32_t interval_ms);

/* Tells a publisher that was refused that there is room again, if there is. */
void client_tell_room(struct psc_client *client);

/* greeting.c: one frame before Welcome. */
void client_greet(struct psc_client *client, const struct server_frame *frame);

/* dispatch.c: one frame of a welcomed connection. */
void client_dispatch(struct psc_client *client, const struct server_frame *frame);

/* A message as the caller sees it; headers live until the next call. PS_OK or PS_NO_MEMORY. */
enum ps_status client_message(struct psc_client *client, const struct message *message,
                              struct psc_message *told);

#endif
