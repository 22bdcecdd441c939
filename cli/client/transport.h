/* One connection to a broker as a stream of frames: connecting, receiving, a buffered output.
 *
 *   CONNECTING --> OPEN --> FINISHING --> CLOSING --> (gone)
 *        |           |                       ^
 *        +-----------+-----------------------+
 *
 * Loop thread only. Events are never raised from inside a call of the owner; `lost` comes at most once, is
 * not raised after transport_stop(), and `gone` is always the last one: the transport frees itself behind it. */
#ifndef PSCLIENT_TRANSPORT_H
#define PSCLIENT_TRANSPORT_H

#include "codec.h"
#include "span.h"
#include "status.h"

#include <stdbool.h>
#include <uv.h>

enum {
    TRANSPORT_READY_BYTES = 256 * 1024 /* output that is worth a write of its own */
};

struct transport;

struct transport_address {
    const char *host;      /* a name or a number; borrowed until transport_start() returns */
    const char *unix_path; /* when not NULL, instead of host and port */
    int port;
};

struct transport_events {
    void (*open)(void *owner);
    /* One frame body, borrowed until it returns. False: read no further, the owner has called
     * transport_stop(). */
    bool (*frame)(void *owner, struct span body);
    void (*received)(void *owner); /* bytes came */
    void (*written)(void *owner);  /* a write that had to wait is done: there is room again */
    /* The connection is of no use any more and closes. PS_CONNECT_FAILED: it never opened; `refused` tells
     * that nobody listened. PS_OK: all was written after transport_finish(). Otherwise PS_CONNECTION_LOST, or
     * what was wrong with the bytes received. `text` is a sentence. */
    void (*lost)(void *owner, enum ps_status status, bool refused, const char *text);
    void (*gone)(void *owner);
};

/* Begins to connect. PS_OK or PS_NO_MEMORY. `events` is borrowed until `gone`. */
enum ps_status transport_start(uv_loop_t *loop, const struct transport_address *address,
                               const struct transport_events *events, void *owner,
                               struct transport **transport);

/* From now on bodies up to `cap` bytes are accepted. */
void transport_set_cap(struct transport *transport, size_t cap);

/* Where frames are appended. They travel with the next transport_flush(). */
struct bytes *transport_out(struct transport *transport);

/* Whether more output should wait until `written`. */
bool transport_full(const struct transport *transport);

/* Hands over what was appended, unless a write is under way: then it follows that one. What the kernel takes at
 * once is written when it returns; `written` comes for the rest. */
void transport_flush(struct transport *transport);

/* Writes all output, then closes: `lost` with PS_OK. */
void transport_finish(struct transport *transport);

/* Closes at once; only `gone` follows. Takes NULL. */
void transport_stop(struct transport *transport);

#endif
