/* One listening socket, TCP or Unix. Loop thread only. */
#ifndef PSBROKER_LISTENER_H
#define PSBROKER_LISTENER_H

#include "address.h"
#include "connections.h"
#include "logger.h"

struct listener;

struct listener_config {
    uv_loop_t *loop;
    struct connections *connections;
    uint32_t room; /* accepting pauses at this `count` of connections */
    struct logger logger;
};

/* Binds and listens. A Unix socket is made for its owner alone; a stale file of a dead broker is replaced.
 * On failure `error` says what is wrong. PS_OK; PS_IN_USE (the port, or a live broker at the path, or a file
 * that is no socket); PS_ACCESS_DENIED; PS_NO_MEMORY or another status of uv_status(). Connections come
 * later, from the loop. Stopped and freed by listener_stop(). */
enum ps_status listener_start(const struct listener_config *config, const struct address *address,
                              struct listener **listener, char *error, size_t error_size);

/* Where it really listens: the port 0 was asked with is replaced. Borrowed until stop. */
const struct address *listener_address(const struct listener *listener);

/* A connection is gone, or a turn ended: accepts the peer that was kept waiting, if there is one. */
void listener_resume(struct listener *listener);

/* `stopped` is called with `ctx` later, once, when the listener is freed. */
void listener_stop(struct listener *listener, void (*stopped)(void *ctx), void *ctx);

#endif
