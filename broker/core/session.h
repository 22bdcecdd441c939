/* One connection's protocol: decoded frames in, effects out. No libuv, no SQLite, no protobuf-c.
 *
 * The connection (F4) owns the socket, decodes frames and calls session_receive(); the session answers
 * through struct session_io. Loop thread only. */
#ifndef PSBROKER_SESSION_H
#define PSBROKER_SESSION_H

#include "arena.h"
#include "frame.h"
#include "protocol.h"
#include "rate.h"

struct broker;
struct session;

/* What a listener lets its connections do. */
enum session_role { SESSION_ANY, SESSION_PUBLISH, SESSION_SUBSCRIBE };

/* The effects. None of them may call back into the session; `close` is carried out later. */
struct session_io {
    /* Encodes and queues a frame; borrows it until return. False: out of memory, the connection closes. */
    bool (*send)(void *ctx, const struct server_frame *frame);
    /* Queues a delivery: a header made from (subscription, topic) and entries [begin, end) of the batch.
     * Takes one reference of `batch` and gives it back when the bytes have left or the connection is gone. */
    bool (*deliver)(void *ctx, uint64_t subscription, struct span topic, struct batch *batch, uint32_t begin,
                    uint32_t end);
    /* Bytes queued and not yet taken by the kernel, with all of each pinned batch charged. */
    size_t (*queued)(void *ctx);
    /* Bytes that the peer's system has confirmed so far; *left: those sent or queued that it has not. */
    uint64_t (*taken)(void *ctx, uint64_t *left);
    /* Stops and resumes reading the socket (backpressure). Idempotent. */
    void (*pause)(void *ctx, bool paused);
    /* Sends what is queued, then closes; nothing is received any more. */
    void (*close)(void *ctx);
    void *ctx;
};

struct session_config {
    struct session_io io;
    enum session_role role;
    struct rate *topic_rate; /* how fast it may make topics; outlives it; NULL: as fast as it can */
    char peer[64];           /* for log lines: "127.0.0.1:40312", "unix" */
};

/* Ours to free with session_free(). NULL when out of memory. */
struct session *session_new(struct broker *broker, const struct session_config *config);

/* The connection is gone: detaches subscriptions; publications under way go on and their answers are
 * dropped. No effect is called from here or later. Takes NULL. */
void session_free(struct session *session);

/* Bodies up to this many bytes are accepted now: small before Hello. */
size_t session_frame_cap(const struct session *session);

/* One decoded frame. `owner` is the buffer that its spans point into; the session takes references as it
 * needs. `*arena` holds the frame's arrays; the session takes it by setting *arena to NULL, else the caller
 * may reset it for the next frame. A refusal that ends the connection goes through io.close(). */
void session_receive(struct session *session, struct client_frame *frame, struct buffer *owner,
                     struct arena **arena);

/* A frame could not be framed or decoded (PS_MALFORMED, PS_FRAME_TOO_LARGE, PS_LIMIT_EXCEEDED, PS_NO_MEMORY):
 * the client is told, the connection closes. */
void session_refuse(struct session *session, enum ps_status status);

/* A frame that was begun did not come whole in time. */
void session_refuse_late(struct session *session, uint32_t frame_timeout_ms);

/* The connection is one too many: the client is told the limit and that it may come again, it closes. */
void session_refuse_limit(struct session *session, const char *limit, uint64_t value);

/* Whether Hello came and was accepted. */
bool session_greeted(const struct session *session);

/* Bytes arrived (any): feeds the keep-alive clock. */
void session_heard(struct session *session);

/* A few times a second: what was read ahead for a peer that takes nothing is let go of. */
void session_rest(struct session *session);

/* The kernel took bytes: there may be room to deliver more, with the next flush. */
void session_writable(struct session *session);

#endif
