/* A server on a thread of its own, and a client with a blocking socket that speaks frames: a whole broker
 * inside one test. Misuse and failure of the surroundings abort. */
#ifndef PSBROKER_TESTS_HOSTED_H
#define PSBROKER_TESTS_HOSTED_H

#include "arena.h"
#include "codec.h"
#include "frame.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>

/* Threads of their own cannot fail a case: they abort, naming the line. */
#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct hosted {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    uv_sem_t started;
    struct server_config config;
    struct server *server;
    enum ps_status start_status, end_status;
    char error[512];
    struct address addresses[SERVER_LISTENERS_MAX];
};

/* One TCP listener on a free port, over a store in memory unless a directory or a store is set; it logs nothing, and
 * leaves the limit of descriptors as it is. */
struct server_config hosted_config(void);
void hosted_start(struct hosted *hosted, const struct server_config *config);
/* Asks for the drain; returns at once. */
void hosted_ask_stop(struct hosted *hosted);
/* Waits until it is gone; returns what `stopped` was told. */
enum ps_status hosted_join(struct hosted *hosted);

struct peer {
    int socket;
    struct buffer_pool buffers;
    struct frame_reader reader;
    struct arena *arena;
    uint64_t next_request;
};

void peer_connect(struct peer *peer, const struct address *address);
void peer_close(struct peer *peer);
void peer_send_bytes(struct peer *peer, const void *bytes, size_t size);
/* Encodes and sends; returns the request id that it carried. */
uint64_t peer_send(struct peer *peer, struct client_frame *frame);
/* The next frame that is not a Ping; valid until the next call. False: the connection ended, or nothing
 * came for 20 seconds. */
bool peer_receive(struct peer *peer, struct server_frame *frame);
/* Hello, and Welcome awaited. */
void peer_hello(struct peer *peer);
/* Both, at the first listener. */
void peer_open(struct peer *peer, const struct hosted *hosted);
/* `count` messages of one payload to a topic; not awaited. */
uint64_t peer_publish(struct peer *peer, const char *topic, uint32_t count, size_t payload_size);
/* From the beginning, with unlimited credit; not awaited. */
void peer_subscribe(struct peer *peer, const char *filter);

#endif
