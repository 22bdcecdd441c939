/* All connections of a server: what they share, their deadlines, the end of a turn. Loop thread only. */
#ifndef PSBROKER_CONNECTIONS_H
#define PSBROKER_CONNECTIONS_H

#include "frame.h"
#include "hosts.h"
#include "quota.h"
#include "status.h"
#include "turn.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Deadlines in milliseconds; they are looked at four times a second. 0: its default, defaults.h or the number behind
 * it. */
struct connection_deadlines {
    uint32_t assembly_ms; /* for each 256 KiB of one frame to arrive */
    uint32_t send_ms;     /* 5,000: for what is queued when the connection ends */
    uint32_t linger_ms;   /* 1,000: for the peer to close after us */
};

/* Who is refused by name, or makes way. 0: its default in defaults.h. */
struct connection_limits {
    uint32_t total;    /* connections served */
    uint32_t greeting; /* that have not said Hello: the one that waited longest makes way */
    uint32_t per_address;
    uint32_t topic_rate; /* new topics a second for one address */
    uint64_t arriving;   /* bytes of large frames that are arriving */
    bool local;          /* the last two for loopback and Unix sockets too */
};

enum {
    CONNECTIONS_PER_TURN = 64, /* accepted before those that are there are looked at */
    CONNECTIONS_LINGERING = 64 /* so many may wait for their peer to close; others just close */
};

struct broker;
struct connection;

struct connections {
    uv_loop_t *loop;
    struct broker *broker;
    struct turn *turn;
    struct connection_deadlines deadlines;
    struct connection_limits limits;
    struct hosts hosts;
    struct list greeting;            /* connections before Hello, oldest first */
    uint32_t served, greeting_count; /* not refused; of those, before Hello */
    uint32_t lingering;
    uint32_t accepted;            /* in this turn */
    struct quota arriving;        /* frames that have a buffer of their own */
    struct list arriving_waiters; /* connections whose frame is to get one, in order */
    struct connection *all, *dirty;
    struct arena *arena;        /* spare, for the next frame */
    struct buffer_pool buffers; /* what is received into */
    uv_timer_t timer;           /* runs while there is a connection */
    uint32_t count;             /* of all, also of those that were refused and are not closed yet */
    /* A connection is gone, `count` says how many are left. Never from inside a call. May be NULL. */
    void (*closed)(void *ctx);
    void *ctx;
    uint8_t discarded[16 * 1024]; /* where bytes go that nobody wants any more */
};

/* `broker` and `turn` outlive it. PS_OK; a status of uv_status(). */
enum ps_status connections_init(struct connections *connections, uv_loop_t *loop, struct broker *broker,
                                struct turn *turn, const struct connection_deadlines *deadlines,
                                const struct connection_limits *limits);

/* After `count` came to 0. `closed` is called with `ctx` later, once. */
void connections_deinit(struct connections *connections, void (*closed)(void *ctx), void *ctx);

/* The end of a turn, behind broker_flush(): sends what was queued and lets sessions go on where the kernel
 * took bytes. True: sessions were called or output is left over, so flush again. */
bool connections_flush(struct connections *connections);

/* Sends what is queued, then closes, all of them: at most send_ms + linger_ms. */
void connections_end(struct connections *connections);

/* Bytes queued for sockets, pinned batches included. */
uint64_t connections_queued_bytes(const struct connections *connections);

#endif
