/* The loop of a generator that works on sockets itself: one thread decides how much may be published now, waits for
 * what comes in on all connections, and knows when the last acknowledgement and delivery is there.
 *
 * One connection publishes; up to plan.subscribers others are delivered to. A window is refilled when half of it is
 * acknowledged, so that the broker always has work before it. In live modes publishing is also never more than
 * `ahead` messages ahead of the slowest subscriber: what is measured stays live, and no queue in a broker grows
 * beyond that.
 *
 * A generator that waits for every packet is woken for every packet, which the broker pays for and, where both share
 * a machine, the generator too. With a pause it reads what came in meanwhile in one go, while the broker lives on the
 * other half of the window. There is none at a rate, where latency is measured, nor with a window below DRIVE_PAUSES.
 *
 * A broker that says nothing for DRIVE_STALL_S ends the process by peer_fail(). */
#ifndef PSBROKER_TESTS_DRIVE_H
#define PSBROKER_TESTS_DRIVE_H

#include "peer.h"

enum { DRIVE_AHEAD = 65536, DRIVE_STALL_S = 20, DRIVE_PAUSES = 1000 };

struct drive;

/* What a broker's protocol adds. `subscriber` counts from 0. None of them is called from inside another. */
struct drive_calls {
    void (*publish)(struct drive *drive, unsigned topic,
                    const char *payload); /* may hold it back until flush */
    void (*flush)(struct drive *drive);
    void (*answered)(struct drive *drive);                      /* the publisher's socket is readable */
    void (*received)(struct drive *drive, unsigned subscriber); /* a subscriber's socket is readable */
};

struct drive {
    struct peer *peer;
    const struct drive_calls *calls;
    void *data; /* the generator's */
    int epoll;
    bool unacknowledged; /* the protocol has no acknowledgements: a message is through when it is delivered */
    bool filling;        /* the window, until it is full */
    uint64_t ahead;    /* of the slowest subscriber, at most; DRIVE_AHEAD unless changed after drive_init() */
    uint64_t pause_ns; /* before each look at what came in, see above; 0 unless changed after drive_init() */
    uint64_t sent, acknowledged;
    uint64_t *sent_at;    /* of the messages in flight, by number modulo window */
    unsigned subscribers; /* attached */
    uint64_t *delivered;  /* to each of them */
    uint64_t least;       /* nobody has less; may be out of date */
    uint64_t now;         /* when what is being handled was found to be there */
};

/* The window becomes `window` unless one was asked for. Keeps references to peer and calls. */
void drive_init(struct drive *drive, struct peer *peer, const struct drive_calls *calls, unsigned window);
void drive_deinit(struct drive *drive);

void drive_watch_publisher(struct drive *drive, int fd);
void drive_watch_subscriber(struct drive *drive, unsigned subscriber, int fd);

/* Publishes what the plan says; returns when all of it is acknowledged and delivered to who is attached. */
void drive_publish(struct drive *drive);

/* Returns when all that was sent is delivered to who is attached. */
void drive_receive(struct drive *drive);

/* To be called for every acknowledgement (they come in the order of publications) and every delivery. The payload is
 * read in live modes, and then at least BENCH_STAMP_BYTES long. */
void drive_acknowledged(struct drive *drive);
void drive_delivered(struct drive *drive, unsigned subscriber, const char *payload);

/* Writes all of it to a blocking socket. */
void drive_write(int fd, const char *data, size_t size);

#endif
