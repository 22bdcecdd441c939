/* Subscriptions that are printed: what comes goes to stdout, what stdout took is given back as credit and, for
 * durable subscriptions, acknowledged. Shared by sub and shell. Loop thread only. */
#ifndef PSCTL_RECEIVER_H
#define PSCTL_RECEIVER_H

#include "positions.h"
#include "run.h"

struct receiver;

/* One subscription. Lives until receiver_deinit(). */
struct feed {
    struct receiver *receiver;
    struct psc_subscription *handle; /* NULL: over */
    struct feed *next;
    char *filter;
    unsigned number; /* of its cursors; another one in another log */
    bool durable, attached, created;
    size_t topics;                              /* that matched when it was made */
    uint64_t behind;                            /* messages of theirs that will come first */
    uint64_t starts_at, head;                   /* where the first of them begins, and its next publication */
    uint64_t first_position;                    /* of a topic that was not there when it was made */
    uint64_t consumed_messages, consumed_bytes; /* written and not given back yet */
};

struct receiver_hooks {
    /* Stored and attached; `again` after a reconnect. */
    void (*attached)(struct feed *feed, bool again);
    /* Over, for the reason given; feed->handle is NULL. Also when it was refused from the start. At damage its
     * cursors still have their targets. */
    void (*over)(struct feed *feed, const struct psc_error *reason);
    /* A message was printed, as the printed-th. May call receiver_finish(). */
    void (*printed)(struct receiver *receiver);
    /* No cursor is aimed at a head any more. */
    void (*caught_up)(struct receiver *receiver);
    /* A message is about to be appended to the output. */
    void (*before)(struct receiver *receiver);
};

struct receiver_record;

struct receiver {
    struct run *run;
    const struct receiver_hooks *hooks; /* any may be NULL */
    void *data;
    struct feed *feeds;
    unsigned feed_count; /* ever made */
    unsigned live_count; /* not over */
    unsigned numbers;    /* given to feeds so far */
    struct positions positions;
    bool
        aim_at_start; /* aim each durable feed at the heads of the moment of subscribing; with keep_starts each */
    bool keep_starts; /* remember where each topic starts, for receiver_aim() */
    uint64_t printed;
    bool away; /* the connection is gone, and that was said */

    struct receiver_record *records; /* printed, not yet written: a ring */
    size_t record_room, record_first, record_count;

    enum receiver_state { RECEIVER_RECEIVING, RECEIVER_DRAINING, RECEIVER_SETTLING, RECEIVER_SETTLED } state;
    int code; /* of the command, once it is leaving */
    uv_timer_t settle_timer;
    size_t settle_waits; /* answers outstanding */
    bool unsettled;      /* an answer was no success */
};

/* Yours to deinit. The run's hook `written` has to call receiver_written(). */
void receiver_init(struct receiver *receiver, struct run *run, const struct receiver_hooks *hooks,
                   void *data);
/* In the run's hook `closing`: no callback any more. */
void receiver_close(struct receiver *receiver);
/* After the run. */
void receiver_deinit(struct receiver *receiver);

struct feed_options {
    struct psc_bytes filter;
    struct psc_bytes durable_id; /* absent: temporary */
    enum psc_start start;
    uint64_t value;
    bool until_end, existing_only;
};
/* PS_OK: `attached` or `over` will be called. Else what psc_subscribe() said. */
enum ps_status receiver_add(struct receiver *receiver, const struct feed_options *options,
                            struct feed **feed);

/* The live feed of that filter; NULL: none. */
struct feed *receiver_find(struct receiver *receiver, struct psc_bytes filter);

/* Unsubscribes: a durable one is forgotten. `done` as psc_unsubscribe(). */
void receiver_remove(struct feed *feed, psc_done_fn *done, void *data);

/* stdout took bytes. */
void receiver_written(struct receiver *receiver);

/* For the run's hooks `lost` and `connected`: says once that the connection is gone, and when it is back; fails the
 * run when it is given up. */
void receiver_lost(struct receiver *receiver, const struct psc_error *error, int64_t retry_in_ms);
void receiver_back(struct receiver *receiver);

/* For the hook `attached`, after a reconnect: says so if the subscription was not stored any more. */
void receiver_tell_anew(const struct feed *feed);

/* The feed shall come as far as the head of that topic; then, or when nothing is missing, see caught_up. */
void receiver_aim(struct feed *feed, struct psc_bytes topic, uint64_t head);

/* The way out, to run_end(). What comes from now on is neither printed nor acknowledged. Once stdout has taken
 * what was printed, that is acknowledged, and the answers are awaited for at most 2 s. `code` is the command's
 * exit code; EXIT_UNKNOWN takes its place when an answer does not come, and the code of a refusal when it is one. */
void receiver_finish(struct receiver *receiver, int code);

/* As receiver_finish(), without waiting for stdout: what it has not taken yet is not acknowledged. Also cuts short a
 * receiver_finish() that waits. */
void receiver_leave(struct receiver *receiver, int code);

static inline bool receiver_leaving(const struct receiver *receiver)
{
    return receiver->state != RECEIVER_RECEIVING || run_over(receiver->run);
}

#endif
