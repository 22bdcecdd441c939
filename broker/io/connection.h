/* One client's socket: bytes to frames for its session, frames and shared batches back to bytes. Loop thread
 * only. It frees itself when it is closed. */
#ifndef PSBROKER_CONNECTION_H
#define PSBROKER_CONNECTION_H

#include "connections.h"
#include "session.h"

/* Accepts from a listening stream of kind UV_TCP or UV_NAMED_PIPE. PS_OK; PS_CONNECTION_LOST: the peer
 * is gone already; PS_NO_MEMORY or another status of uv_status(): it was refused. `waits`, written with every
 * outcome: it was not even taken off the listening stream, which libuv does not watch any more until somebody is
 * accepted: try again. */
enum ps_status connection_accept(struct connections *connections, uv_stream_t *listener,
                                 enum session_role role, bool *waits);

#endif
