/* A broker that does what a test says, in the test's own loop, and a client beside it.
 *
 * Tests read as a dialogue: fake_expect() runs the loop until the client's next frame is there, the fake_…
 * functions answer. Pings of the client are skipped unless one is expected. */
#ifndef TESTS_FAKE_BROKER_H
#define TESTS_FAKE_BROKER_H

#include "codec.h"
#include "frame.h"
#include "psclient.h"

struct heard {
    struct heard *next;
    struct arena *arena;
    uint8_t *body;
    struct client_frame frame;
};

struct peer {
    struct fake_broker *broker;
    struct peer *next;
    uv_tcp_t socket;
    struct buffer_pool buffers;
    struct frame_reader reader;
    bool open;
};

struct fake_broker {
    uv_loop_t *loop;
    uv_tcp_t listener;
    int port;
    bool listening;
    unsigned accepted, open_sockets;
    struct peer *peer;          /* the newest connection */
    struct heard *heard, *told; /* not yet expected; handed out and still borrowed */
    struct welcome welcome;
    uint64_t generation; /* of the last Subscribed; each one raises it */
};

void fake_start(struct fake_broker *broker, uv_loop_t *loop);
/* Closes everything and runs the loop until that is done. */
void fake_stop(struct fake_broker *broker);
/* No new connection is accepted; port stays as it was. */
void fake_stop_listening(struct fake_broker *broker);
void fake_listen_again(struct fake_broker *broker);

/* The next frame, which must be of this kind. Borrowed until fake_stop(). */
const struct client_frame *fake_expect(struct fake_broker *broker, enum client_frame_kind kind);
/* Expects Hello, answers Welcome. */
void fake_greet(struct fake_broker *broker);
/* Runs the loop until the client has read everything that was sent so far; no frame may have come before. */
void fake_quiet(struct fake_broker *broker);

void fake_send(struct fake_broker *broker, const struct server_frame *frame);
void fake_send_bytes(struct fake_broker *broker, const void *data, size_t size);
/* Reads nothing more from the newest connection, and reads on. */
void fake_stop_reading(struct fake_broker *broker);
void fake_read_on(struct fake_broker *broker);
/* Closes the newest connection. */
void fake_drop(struct fake_broker *broker);

void fake_accept(struct fake_broker *broker, uint64_t id, uint32_t first_index, uint32_t count,
                 uint64_t offset);
void fake_refuse_run(struct fake_broker *broker, uint64_t id, uint32_t first_index, uint32_t count,
                     enum ps_status status, bool unknown);
void fake_error(struct fake_broker *broker, uint64_t id, enum ps_status status);
void fake_done(struct fake_broker *broker, uint64_t id);
/* One topic, begins at `offset`. */
void fake_subscribed(struct fake_broker *broker, uint64_t id, uint64_t number, const char *topic,
                     uint64_t offset, uint64_t head, bool created);
/* Messages "m<offset>" from `offset` on. */
void fake_deliver(struct fake_broker *broker, uint64_t number, const char *topic, uint64_t offset,
                  unsigned count);
void fake_end(struct fake_broker *broker, uint64_t number, enum ps_status reason);

/* ----------------------------------------------------------------------------------------- the client */

enum { OUTCOMES_MOST = 4096 };

struct outcome {
    enum ps_status status;
    uint64_t offset;
    uintptr_t which; /* the data it was published with */
};

/* What the callbacks of a test's client were told. */
struct story {
    uv_loop_t loop;
    struct fake_broker broker;
    struct psc_client *client;
    unsigned connected, disconnected, writable, closed;
    enum ps_status lost_status;
    int64_t retry_in_ms;
    struct outcome outcomes[OUTCOMES_MOST];
    unsigned published; /* number of outcomes */
    unsigned in_call;   /* set while a function of the library runs: no callback may come then */
    /* requests */
    unsigned done;
    enum ps_status done_status;
    /* subscriptions */
    struct psc_subscription *subscription;
    unsigned subscribed, messages, gaps, ended;
    bool created;
    uint64_t first_offset, next_offset; /* of messages; each must come once and in order */
    uint64_t start_offset;
    uint64_t gap_from, gap_to;
    enum ps_status end_status;
    void (*on_message)(struct story *story);
};

/* A loop, a broker and a client that knows where it listens; not started. `options` may be NULL. */
void story_begin(struct story *story, const struct psc_options *options);
/* story_begin() and a first connection. */
void story_connect(struct story *story, bool reconnect);
/* Ends client, broker and loop; checks that all is given back. */
void story_end(struct story *story);

/* Runs the loop until *counter reaches `value`. */
void story_wait(struct story *story, const unsigned *counter, unsigned value);
void story_close(struct story *story);

enum ps_status story_publish(struct story *story, const char *topic, const char *payload, uintptr_t which);
void story_published(const struct psc_error *error, uint64_t offset, void *data);
void story_done(const struct psc_error *error, void *data);

struct psc_bytes text(const char *text);
struct psc_subscribe_options story_subscription(struct story *story, const char *filter);
void story_subscribe(struct story *story, const struct psc_subscribe_options *options);

#endif
