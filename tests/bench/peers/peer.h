/* What the generators of the other brokers share, so that each does the work of `psctl bench` and says the same about
 * it: the plan from the command line, the clock and the pace, topics and payloads, and the result.
 *
 * The plan, its defaults and refusals, and the names in the result are psctl's own (cli/bench_plan.h,
 * cli/bench_result.h). One struct peer a process; what is said to change it is for one thread at a time. */
#ifndef PSBROKER_TESTS_PEER_H
#define PSBROKER_TESTS_PEER_H

#include "bench_plan.h"
#include "bench_result.h"

enum { PEER_HOST_BYTES = 256 };

struct peer {
    struct bench_options options; /* as given: tells a wish from a default of the plan */
    struct bench_plan plan;
    char host[PEER_HOST_BYTES];
    uint16_t port;
    bool core;     /* --core: what the broker can do without storing anything */
    unsigned qos;  /* --qos: MQTT's quality of service */
    char *payload; /* plan.size bytes of text, the same every time */
    uint64_t dice;

    uint64_t began, ended; /* of what is measured; the generator sets `ended` */
    double cpu_began;
    struct bench_result result; /* the generator counts messages, deliveries, refused and unknown */
    struct histogram latency;   /* nanoseconds */
};

/* Reads the command line; `port` is the default. Ends the process with 2 when it is wrong, with 0 for --help.
 * `about`, one sentence, opens the help. */
void peer_init(struct peer *peer, int argc, char **argv, const char *about, uint16_t port);
void peer_deinit(struct peer *peer);

/* Ends the process with 1 and one line on stderr. What was registered with atexit() still runs. */
_Noreturn void peer_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Nanoseconds on the monotonic clock. */
uint64_t peer_now(void);

/* Here the measurement begins. Changes the peer. */
void peer_begin(struct peer *peer);

/* What a generator does in the order that the mode asks for; each is given `data`. */
struct peer_steps {
    void (*open)(void *data);    /* connects the subscribers */
    void (*attach)(void *data);  /* lets them be delivered to */
    void (*publish)(void *data); /* returns when all is acknowledged, and in live modes delivered */
    void (*receive)(void *data); /* returns when all that was published is delivered */
};

/* Takes the steps and measures from where the mode begins to count: a replay is published before, and live subscribers
 * are attached before. Sets `ended`. */
void peer_measure(struct peer *peer, const struct peer_steps *steps, void *data);

/* With a rate, message n (from 0) is due n / rate after the beginning, whatever became of those before it. */
uint64_t peer_due_at(const struct peer *peer, uint64_t message);

/* How many messages are due until `now`; without a rate all. Never more than are to be sent: 0 more than `sent` when
 * the plan's messages or its time are over. */
uint64_t peer_due_by(const struct peer *peer, uint64_t sent, uint64_t now);

/* The topic of the next message, from 0, at random, the same sequence every time. Changes the peer. */
unsigned peer_choose_topic(struct peer *peer);

/* The time in the first BENCH_STAMP_BYTES of a payload: every payload of the live modes has them. */
void peer_stamp(char *payload, uint64_t time);
uint64_t peer_stamped(const char *payload);

/* Counts one delivery and its latency: from the time in its payload until `now`. Changes the peer. */
void peer_delivered(struct peer *peer, const char *payload, uint64_t now);

/* One JSON object on stdout: the members of psctl's, and `client_cpu_s`, the seconds of processor time that this
 * process has used since peer_begin(). To be called when the last one is in and `ended` is set. Returns the exit
 * code: 1, with a line on stderr, when something was refused or its outcome is unknown. */
int peer_show(struct peer *peer);

#endif
