#include "backoff.h"

void backoff_init(struct backoff *backoff, uint64_t now_ms, uint32_t timeout_ms, bool reconnect)
{
    *backoff =
        (struct backoff){.state = BACKOFF_FIRST, .reconnect = reconnect, .deadline_ms = now_ms + timeout_ms};
}

void backoff_connected(struct backoff *backoff)
{
    backoff->state = BACKOFF_SETTLED;
    backoff->attempts = 0;
}

static int64_t give_up(struct backoff *backoff)
{
    backoff->state = BACKOFF_SPENT;
    return -1;
}

static int64_t next_first(struct backoff *backoff, uint64_t now_ms, enum backoff_cause cause,
                          uint32_t asked_ms)
{
    uint64_t left, wait = asked_ms > BACKOFF_FIRST_STEP_MS ? asked_ms : BACKOFF_FIRST_STEP_MS;

    if (cause != BACKOFF_REFUSED || now_ms >= backoff->deadline_ms)
        return give_up(backoff);
    left = backoff->deadline_ms - now_ms;
    backoff->attempts++;
    return (int64_t)(left < wait ? left : wait);
}

/* Between the least and a ceiling that doubles: many clients of one broker do not come back all at once. */
static int64_t next_again(struct backoff *backoff, uint32_t asked_ms, uint32_t random)
{
    uint32_t ceiling = BACKOFF_LEAST_MS * 2, wait;

    for (unsigned i = 0; i < backoff->attempts && ceiling < BACKOFF_MOST_MS; i++)
        ceiling *= 2;
    if (ceiling > BACKOFF_MOST_MS)
        ceiling = BACKOFF_MOST_MS;
    backoff->state = BACKOFF_AGAIN;
    backoff->attempts++;
    wait = BACKOFF_LEAST_MS + random % (ceiling - BACKOFF_LEAST_MS + 1);
    if (asked_ms > BACKOFF_ASKED_MOST_MS)
        asked_ms = BACKOFF_ASKED_MOST_MS;
    return wait > asked_ms ? wait : asked_ms;
}

int64_t backoff_next(struct backoff *backoff, uint64_t now_ms, enum backoff_cause cause, uint32_t asked_ms,
                     uint32_t random)
{
    switch (backoff->state) {
    case BACKOFF_FIRST:
        return next_first(backoff, now_ms, cause, asked_ms);
    case BACKOFF_SETTLED:
    case BACKOFF_AGAIN:
        if (!backoff->reconnect || cause == BACKOFF_FATAL)
            return give_up(backoff);
        return next_again(backoff, asked_ms, random);
    case BACKOFF_SPENT:
        break;
    }
    return -1;
}
