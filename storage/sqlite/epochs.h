/* The writer's side of the index: runs of committed messages that no listed epoch covers yet, and their way
 * into `topic_runs` and `epochs`. Writer thread. */
#ifndef PSBROKER_EPOCHS_H
#define PSBROKER_EPOCHS_H

#include "database.h"
#include "rows.h"

enum {
    RUN_MAX = 1024,
    BUSY_TOPICS = 64 /* of an epoch, whose runs are found by topic */
};

/* A closed interval of seq whose runs are in memory. */
struct epoch {
    struct epoch *next;
    uint64_t first_seq, last_seq; /* of its rows; rows == 0: none yet */
    uint64_t rows, bytes;
    uint64_t quiet_runs; /* known once sorted */
    bool closed, sorted;
    size_t count, capacity;
    struct run_row runs[]; /* in commit order; by (topic, offset) once sorted */
};

struct epochs {
    struct epoch *oldest, *open; /* a queue; `open` is its last */
    struct epoch *spare;         /* made before a commit, so that nothing can fail behind it */
    size_t closed;               /* of them, not listed yet */
    uint64_t next_number;        /* of the oldest, when it is written */
    uint64_t indexed_through;    /* last seq of the last listed epoch */
    size_t flushed, staged;      /* runs of the oldest that are stored */
    bool staged_last;
    uint64_t max_rows, max_bytes;
};

enum ps_status epochs_init(struct epochs *epochs, uint64_t max_rows, uint64_t max_bytes);
void epochs_deinit(struct epochs *epochs); /* takes the zero state */

/* Makes room for `rows` more messages in `runs` runs. PS_OK or PS_NO_MEMORY. */
enum ps_status epochs_reserve(struct epochs *epochs, size_t rows, size_t runs);

/* Adds a committed run for which room was reserved. Seqs must follow on each other. */
void epochs_add(struct epochs *epochs, const struct store_run *run, uint64_t topic_id);

/* Counts bytes towards the limit of the open epoch, and closes it when it is full. */
void epochs_add_bytes(struct epochs *epochs, uint64_t bytes);

/* Closes the open epoch if there is anything in it. PS_OK or PS_NO_MEMORY. */
enum ps_status epochs_close_open(struct epochs *epochs);

static inline bool epochs_due(const struct epochs *epochs)
{
    return epochs->closed > 0;
}

/* Inside a transaction: stores at most `budget` runs of the oldest closed epoch, and lists it with the last. */
enum ps_status epochs_flush(struct epochs *epochs, struct database *db, struct row_source *source,
                            size_t budget, int64_t now);

/* What epochs_flush() staged has been committed, or rolled back. */
void epochs_promote(struct epochs *epochs);
void epochs_discard(struct epochs *epochs);

#endif
