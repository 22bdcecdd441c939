/* The end of a loop iteration: work that is done once for everything that one round of events brought.
 *
 * Whoever leaves such work calls turn_want(). `end` then runs before the loop waits again, at the latest
 * right after the events at hand. Loop thread only. */
#ifndef PSBROKER_TURN_H
#define PSBROKER_TURN_H

#include <stdbool.h>
#include <uv.h>

struct turn {
    uv_prepare_t prepare; /* behind timers and late write callbacks */
    uv_check_t check;     /* behind sockets and completions */
    uv_idle_t idle;       /* while `end` left something: the loop does not wait */
    bool wanted;
    unsigned open; /* handles not closed yet */
    /* True: there is more, call again without waiting, but let other events in first. */
    bool (*end)(void *ctx);
    void (*stopped)(void *ctx);
    void *ctx;
};

/* The turn must stay put until `stopped`. */
void turn_start(struct turn *turn, uv_loop_t *loop, bool (*end)(void *ctx), void *ctx);

/* `stopped` is called later, once; `end` is not called any more. */
void turn_stop(struct turn *turn, void (*stopped)(void *ctx));

static inline void turn_want(struct turn *turn)
{
    turn->wanted = true;
}

#endif
