/* One connection as connection.c and connections.c see it. Private to both. */
#ifndef PSBROKER_CONNECTION_STATE_H
#define PSBROKER_CONNECTION_STATE_H

#include "connections.h"
#include "frame.h"
#include "outbox.h"
#include "session.h"

enum connection_state {
    CONNECTION_OPEN,
    CONNECTION_ENDING,
    CONNECTION_LINGERING,
    CONNECTION_CLOSING,
    CONNECTION_STATES
};

struct connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    struct connections *owner;
    struct connection *next, **link; /* in owner->all */
    struct connection *next_dirty;
    struct list in_greeting; /* in owner->greeting while it is open and before Hello */
    struct host *host;       /* NULL: no limit by address */
    struct list in_arriving; /* in owner->arriving_waiters: the socket is not read meanwhile */
    uint64_t arriving;       /* charged to owner->arriving */
    bool served;             /* was not refused */
    bool lingering;          /* counted as such */
    bool dirty;
    bool paused;
    bool backlog;    /* complete frames may wait in the reader; the socket is not read */
    bool writing;    /* `write` is pending */
    bool peer_ended; /* its FIN came */
    enum connection_state state;
    uint64_t deadline_ms; /* loop time; 0: none */
    struct session *session;
    struct frame_reader reader;
    struct outbox filling, flying;
    uint64_t charged; /* to the broker's output, once there is no session to do it */
    uv_write_t write;
    size_t write_size;
    uint64_t given; /* bytes handed to libuv so far */
    size_t pieces;  /* of the frame that is arriving, whole ones */
    uv_shutdown_t shutdown;
};

/* Sends what is queued, then closes. May be called from inside a call of the session: the rest happens at the
 * end of the turn. Idempotent. */
void connection_end(struct connection *connection);

/* Sends what is queued. True: the session was called and may have more to send, or frames are left. */
bool connection_end_of_turn(struct connection *connection);

/* Gives back memory that only helps while it works. Called a few times a second. */
void connection_rest(struct connection *connection);

/* Its deadline has passed. */
void connection_overdue(struct connection *connection);

static inline size_t connection_queued(const struct connection *connection)
{
    return connection->filling.charge + connection->flying.charge;
}

struct refusal {
    const char *limit;
    uint64_t value;
};

/* Counts a new connection from `peer` (NULL: a Unix socket) as served. PS_OK; PS_LIMIT_EXCEEDED, told in *refusal;
 * PS_NO_MEMORY. */
enum ps_status connections_admit(struct connections *connections, struct connection *connection,
                                 const struct sockaddr_storage *peer, struct refusal *refusal);

/* It is one of those before Hello; one too many, and the oldest is refused. Until it greeted or ends. */
void connections_await_hello(struct connections *connections, struct connection *connection);
void connections_greeted(struct connections *connections, struct connection *connection); /* idempotent */

/* A frame of this size is arriving, 0 for none or a small one. False: it has to wait for others, and
 * connection_go_on() will be called. Replaces what the connection asked for before. */
bool connections_arrive(struct connections *connections, struct connection *connection, size_t frame);

/* The frame it waited with may arrive. */
void connection_go_on(struct connection *connection);

/* The connection's place among all: in from its accept to its end, and in the turn while it is dirty. */
void connections_add(struct connections *connections, struct connection *connection);
void connections_remove(struct connections *connections, struct connection *connection);
void connections_mark_dirty(struct connections *connections, struct connection *connection);

#endif
