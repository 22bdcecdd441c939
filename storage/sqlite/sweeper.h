/* Removes the rows that a logical deletion left behind: in commit order, a bounded step at a time. Writer
 * thread. */
#ifndef PSBROKER_SWEEPER_H
#define PSBROKER_SWEEPER_H

#include "status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite_store;

/* A topic with rows below `below` that nobody sees; all of them have a seq up to `through`. */
struct dead_topic {
    uint64_t topic_id, below, through;
    bool in_pass;
};

/* A dead run of the epoch at hand. */
struct dead_run {
    uint64_t topic_id, first_offset, first_seq, count;
    bool whole; /* no row of it is alive */
};

struct sweeper {
    struct dead_topic *topics;
    size_t topic_count, topic_capacity;
    size_t committed_count; /* of them, noted by committed transactions */
    /* the pass over the listed epochs, from the oldest */
    bool passing, staged_end;
    uint64_t next_epoch, last_epoch, epoch;
    struct dead_run *runs; /* of `epoch`, in commit order */
    size_t run_count, run_at, run_capacity;
    uint64_t suspect;    /* the topic at hand; 0: all in the pass */
    uint64_t stepped_at; /* monotonic ms */
    uint64_t max_rows;   /* in one step */
};

void sweeper_deinit(struct sweeper *sweeper); /* takes the zero state */

/* A topic has dead rows. Inside a transaction or while recovering. PS_OK or PS_NO_MEMORY. */
enum ps_status sweeper_note(struct sweeper *sweeper, uint64_t topic_id, uint64_t below, uint64_t through);

/* Whether there is something that a step would remove. */
bool sweeper_due(const struct sqlite_store *store);

/* One bounded step, inside a transaction, the first in it: PS_DAMAGED leaves none. */
enum ps_status sweeper_step(struct sqlite_store *store);

/* A step met a damaged page, and its transaction is gone: the topic at fault keeps its rows until the next start. */
void sweeper_give_up(struct sqlite_store *store);

void sweeper_promote(struct sweeper *sweeper);
void sweeper_discard(struct sweeper *sweeper);

#endif
