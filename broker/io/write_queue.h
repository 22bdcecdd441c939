/* What waits for a commit: one queue for each source, and a fair cut of them for the next commit.
 *
 * Sources share a fixed number of lanes, so nothing is allocated and nothing can fail: two sources in one
 * lane keep their orders and are only less fair to each other. Belongs to the writer thread. */
#ifndef PSBROKER_WRITE_QUEUE_H
#define PSBROKER_WRITE_QUEUE_H

#include "log_io.h"

#include <stdbool.h>

enum { WRITE_QUEUE_LANES = 1024, COMMIT_MAX_MESSAGES = 20000, COMMIT_MAX_BYTES = 8 * 1024 * 1024 };

struct write_lane {
    struct log_write *first, *last;
    struct write_lane *next; /* in the round of lanes with something in them */
};

struct write_queue {
    struct write_lane lanes[WRITE_QUEUE_LANES];
    struct write_lane *round, *round_last;
};

void write_queue_init(struct write_queue *queue);
bool write_queue_empty(const struct write_queue *queue);

/* Behind everything of the same source. */
void write_queue_push(struct write_queue *queue, struct log_write *write);

/* Cuts off one commit: from each lane in turn its oldest write, until the next would exceed `max_messages`
 * (a write without messages counts as one) or `max_bytes`. The first is always taken, however large. Sets
 * ops[0..*count) and returns the writes in the same order, linked; NULL when nothing waits. `ops` has room
 * for max_messages + 1. */
struct log_write *write_queue_cut(struct write_queue *queue, uint32_t max_messages, size_t max_bytes,
                                  struct store_op **ops, size_t *count);

#endif
