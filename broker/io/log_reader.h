/* The reader threads: steps through history, off the loop.
 *
 * Requests are taken in the order they came, by whichever thread is free, each in one bounded read of the
 * store. Functions are for the loop thread. */
#ifndef PSBROKER_LOG_READER_H
#define PSBROKER_LOG_READER_H

#include "log_io.h"

#include <uv.h>

enum { READER_THREADS = 2, READER_THREADS_MAX = 16 };

struct log_reader;

struct log_reader_config {
    uv_loop_t *loop;
    struct store *store;
    unsigned threads; /* 0: READER_THREADS */
    /* All `done` that came together were called. */
    void (*completed)(void *ctx);
    void *ctx;
};

/* PS_OK, PS_NO_MEMORY, a failure of store_reader_new() or another status of uv_status(). Stopped and freed
 * by log_reader_stop(). */
enum ps_status log_reader_start(const struct log_reader_config *config, struct log_reader **reader);

/* log_io.read, with the reader as ctx. */
void log_reader_read(void *reader, struct log_read *read);

/* Age of the oldest read of the store that is under way, in milliseconds; 0: none. */
uint64_t log_reader_oldest_ms(struct log_reader *reader);

/* Completes what is queued, ends the threads, frees the reader, then calls `stopped`, once, later. A read that
 * comes meanwhile is completed with PS_CANCELLED. */
void log_reader_stop(struct log_reader *reader, void (*stopped)(void *ctx), void *ctx);

#endif
