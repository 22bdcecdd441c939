/* When to connect again: the first connect for a while, a lost connection for ever.
 *
 *   FIRST --connected--> SETTLED --lost--> AGAIN --connected--> SETTLED
 *     |                     |                |
 *     +---- given up -------+--> SPENT <-----+
 *
 * Pure: time and random numbers are passed in. Durations in milliseconds. */
#ifndef PSCLIENT_BACKOFF_H
#define PSCLIENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum backoff_state { BACKOFF_FIRST, BACKOFF_SETTLED, BACKOFF_AGAIN, BACKOFF_SPENT };

enum {
    BACKOFF_FIRST_STEP_MS = 25, /* between the attempts of a first connect */
    BACKOFF_LEAST_MS = 100,     /* between the attempts of a reconnect */
    BACKOFF_MOST_MS = 5000,
    BACKOFF_ASKED_MOST_MS = 60000 /* a broker cannot send us away for longer */
};

/* What went wrong, as far as trying again depends on it. */
enum backoff_cause {
    BACKOFF_REFUSED, /* nobody listens yet, or the broker asked to come back */
    BACKOFF_LOST,    /* the connection broke, or an attempt failed otherwise */
    BACKOFF_FATAL    /* trying again cannot help */
};

struct backoff {
    enum backoff_state state;
    bool reconnect;
    unsigned attempts;    /* since the last connection */
    uint64_t deadline_ms; /* of the first connect */
};

/* A first connect begins at `now_ms` and may take `timeout_ms`. */
void backoff_init(struct backoff *backoff, uint64_t now_ms, uint32_t timeout_ms, bool reconnect);

/* The broker has welcomed us. */
void backoff_connected(struct backoff *backoff);

/* How long to wait before the next attempt, or -1: give up. `random` is any number; the wait is at least
 * `asked_ms` where the broker asked for that. */
int64_t backoff_next(struct backoff *backoff, uint64_t now_ms, enum backoff_cause cause, uint32_t asked_ms,
                     uint32_t random);

#endif
