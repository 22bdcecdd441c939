/* The writer thread: everything that changes the log goes through its queue and comes back committed.
 *
 * While one commit is under way the next one gathers; there is no timer that waits for more. Functions are
 * for the loop thread; the store is used by the writer thread alone between start and `stopped`. */
#ifndef PSBROKER_LOG_WRITER_H
#define PSBROKER_LOG_WRITER_H

#include "log_io.h"

#include <uv.h>

struct log_writer;

struct log_writer_config {
    uv_loop_t *loop;
    struct store *store;
    struct store_state state; /* of the opened store */
    uint32_t max_messages;    /* in one commit; 0: COMMIT_MAX_MESSAGES */
    size_t max_bytes;         /* in one commit; 0: COMMIT_MAX_BYTES */
    /* All `done` of one commit were called. */
    void (*completed)(void *ctx);
    /* Background work changed the state of the store since the last commit: the index went on, the WAL is empty, dead
     * rows are gone. In order with completions. */
    void (*worked)(void *ctx, const struct store_state *state);
    /* The store takes no further commit: PS_UNKNOWN, PS_STORAGE_FAILED or PS_FOREIGN_WRITER. Behind the completions
     * of that commit, or the state of that background work, once. Writes that come later are completed with
     * PS_STORAGE_FAILED. */
    void (*failed)(void *ctx, enum ps_status status);
    void *ctx;
};

/* PS_OK, PS_NO_MEMORY, or another status of uv_status(). Stopped and freed by log_writer_stop(). */
enum ps_status log_writer_start(const struct log_writer_config *config, struct log_writer **writer);

/* log_io.write, with the writer as ctx. Hands over at once when much was gathered, else with the next
 * log_writer_submit(). */
void log_writer_write(void *writer, struct log_write *write);

/* The end of a burst: what was gathered goes to the thread, which is woken if it sleeps. */
void log_writer_submit(struct log_writer *writer);

/* Whether every write has completed. */
bool log_writer_idle(const struct log_writer *writer);

/* Commits what is queued, ends the thread, frees the writer, then calls `stopped`, once, later. A write that
 * comes when the thread has ended is completed with PS_DRAINING. */
void log_writer_stop(struct log_writer *writer, void (*stopped)(void *ctx), void *ctx);

#endif
