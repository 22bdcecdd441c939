/* One benchmark under way: its connections, its counters and its phases, for the files bench_*.c.
 *
 * Everything is on one loop thread. Publishers and subscribers have a connection each; the command's own connection
 * deletes the topics afterwards. Nothing is allocated for a message: a publication under way has a slot. */
#ifndef PSCTL_BENCH_H
#define PSCTL_BENCH_H

#include "bench_cleanup.h"
#include "bench_result.h"
#include "run.h"

enum { BENCH_CLOCK_CALLS = 16, BENCH_PREFIX_BYTES = 32, BENCH_TOPIC_BYTES = 48 };

enum bench_phase {
    BENCH_CONNECTING, /* every connection, and in live modes every subscription */
    BENCH_PUBLISHING,
    BENCH_DRAINING,  /* nothing is asked any more, answers and deliveries are awaited */
    BENCH_ATTACHING, /* replay: the readers connect */
    BENCH_READING,   /* replay: measured */
    BENCH_LEAVING,   /* connections are being closed */
    BENCH_DELETING,
    BENCH_OVER
};

struct bench;

struct bench_worker {
    struct bench *bench;
    struct psc_client *client; /* NULL: not there yet, or closed */
};

struct bench_publisher;
struct bench_slot {
    struct bench_publisher *publisher;
    struct bench_slot *next; /* while it is free */
    uint64_t from;           /* when it was published, or due */
};

struct bench_publisher {
    struct bench_worker worker; /* first */
    struct bench_slot *slots;   /* as many as the window */
    struct bench_slot *free;
};

struct bench_subscriber {
    struct bench_worker worker; /* first */
    uint64_t delivered;
    unsigned topic; /* the one it reads, when it reads one at a time */
};

struct bench {
    struct run *run; /* NULL before begin */
    const struct bench_plan *plan;
    enum bench_phase phase;
    struct bench_publisher *publishers;
    struct bench_subscriber *subscribers;
    unsigned open;  /* connections that are not closed */
    unsigned ready; /* of those that this phase waits for */
    unsigned turn;  /* the publisher that begins */
    bool cut_short; /* more could have been published, but for the others' sake */

    char prefix[BENCH_PREFIX_BYTES], filter[BENCH_TOPIC_BYTES]; /* the filter: of all topics */
    char (*names)[BENCH_TOPIC_BYTES];
    struct psc_bytes *topics;
    char *payload;
    uint64_t dice;

    uint64_t asked, acknowledged, refused, unknown, unsent;
    uint64_t deliveries;
    uint64_t least_delivered; /* by the slowest subscriber, when it was last looked up */
    uint64_t began, ended;    /* of what is measured; 0: not yet */
    struct histogram latency;

    uint64_t now; /* see bench_now() */
    unsigned now_calls;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t hurry;
    uv_timer_t ticker, deadline, patience;
    uv_poll_t pace;
    int pace_fd; /* -1: not paced */
    uint64_t pace_began;
    uint64_t last_progress, last_progress_at;

    struct bench_cleanup cleanup;
    bool stopping; /* ends early: an error or a signal */
    bool time_over;
    bool control_lost, signalled;
    int code;
};

/* Monotonic nanoseconds, looked up anew after every wait for events and every few calls: at most some microseconds
 * old, and a fraction of the cost of asking each time. */
static inline uint64_t bench_now(struct bench *bench)
{
    if (bench->now_calls == 0) {
        bench->now = uv_hrtime();
        bench->now_calls = BENCH_CLOCK_CALLS;
    }
    bench->now_calls--;
    return bench->now;
}

static inline uint64_t bench_answered(const struct bench *bench)
{
    return bench->acknowledged + bench->refused + bench->unknown + bench->unsent;
}

/* bench.c: memory, phases. */
enum ps_status bench_init(struct bench *bench, const struct bench_plan *plan); /* PS_OK or PS_NO_MEMORY */
void bench_deinit(struct bench *bench);
/* Opens the connection of a worker, as this phase needs it; failures end the benchmark. */
void bench_open(struct bench_worker *worker,
                void (*connected)(struct psc_client *, const struct psc_server *, void *), void *data);
/* Moves on if what the phase waits for has come. Called once per turn of the loop, and where it may end one. */
void bench_settle(struct bench *bench);
/* Asks nothing any more; ends when what is under way is answered. The first code counts. */
void bench_stop(struct bench *bench, int code);
/* Ends at once: reports, closes, deletes. Nothing when it ends already. */
void bench_fail(struct bench *bench, const struct psc_error *error);
void bench_leave(struct bench *bench, int code);
/* Closes its connections and does nothing any more: topics stay. */
void bench_abandon(struct bench *bench);

/* bench_publish.c */
void bench_open_publishers(struct bench *bench);
/* Publishes what the windows, the rate and the subscribers allow now. */
void bench_pump(struct bench *bench);

/* bench_subscribe.c */
void bench_open_subscribers(struct bench *bench);
/* Replay: all are connected, reading begins. */
void bench_read(struct bench *bench);
/* What the slowest subscriber was given. */
uint64_t bench_look_up_least(struct bench *bench);

#endif
