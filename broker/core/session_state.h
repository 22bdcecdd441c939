/* One session as the parts of the core see it. Private to the core. */
#ifndef PSBROKER_SESSION_STATE_H
#define PSBROKER_SESSION_STATE_H

#include "list.h"
#include "map.h"
#include "quota.h"
#include "reply.h"
#include "session.h"

struct attachment;
struct broker;
struct cursor;

enum session_state {
    SESSION_GREETING, /* waits for Hello */
    SESSION_OPEN,
    SESSION_DRAINING, /* told Goodbye: acknowledgements only */
    SESSION_CLOSING   /* told to close: nothing in, nothing out */
};

/* Why a socket is not read. */
enum session_pause {
    PAUSE_WINDOW = 1,  /* its uncommitted publications fill its window */
    PAUSE_TOTAL = 2,   /* those of all connections fill the broker's budget */
    PAUSE_OUTPUT = 4,  /* it does not take its answers */
    PAUSE_REQUESTS = 8 /* too many of its requests are under way */
};

enum { SESSION_SLICES = 4, SESSION_MAX_REQUESTS = 1024 };

/* Something that makes answers as long as there is room. `step` makes one frame's worth; it unlinks the producer
 * (list_remove) when it has no more to say for now. */
struct producer {
    struct list in_session;
    void (*step)(struct producer *producer);
    void (*gone)(struct producer *producer); /* the session is; the producer was unlinked */
};

struct session {
    struct broker *broker;
    struct session_config config;
    enum session_state state;
    uint64_t number;         /* source of its writes, never 0 */
    struct list in_sessions; /* broker.sessions */
    struct list in_pumps;    /* broker.pumps */
    struct list in_publishers;
    struct list attachments;
    struct list ready; /* attachments with credit and something to send */
    struct list producers;
    struct list slots_wanted; /* cursors that wait for a read of history */
    struct list slices;       /* reads under way */
    struct list replies;
    struct map by_number; /* attachments */
    uint32_t attachment_count;
    uint32_t requests; /* replies outstanding */
    uint32_t slots;    /* reads under way and slices held */
    struct cursor *held[SESSION_SLICES];
    uint64_t last_subscription;
    uint64_t opened_ns, heard_ns;
    bool pinged;
    uint64_t taken;   /* bytes that the peer's system had confirmed when it was last asked */
    uint64_t charged; /* to broker.output: what is queued for it, and its slices in full */
    bool took;        /* bytes, since the last session_rest() */
    bool producers_turn;
    unsigned paused; /* enum session_pause */
    struct quota window;
    uint32_t frame_limit; /* delivery frames, bytes */
    size_t id_size;
    uint8_t *id; /* NULL: none */
};

/* The move function of enum session_state. */
void session_move(struct session *session, enum session_state state);

/* Sends unless the session is closing; closes it when memory runs out. */
void session_send(struct session *session, const struct server_frame *frame);
/* Answers a request with an error; one without a request id is not answered. */
void session_error(struct session *session, struct optional_u64 request_id,
                   const struct protocol_error *error);
void session_error_status(struct session *session, struct optional_u64 request_id, enum ps_status status);
void session_done(struct session *session, struct optional_u64 request_id);
/* Whether a request of which there may be one at a time, and which is always answered, may begin. Else it was refused
 * with the limit's name or, without a request id, is passed over. */
bool session_admits_one(struct session *session, struct optional_u64 request_id, const char *limit,
                        bool is_taken);
/* Tells the reason and closes. */
void session_end(struct session *session, struct optional_u64 request_id, enum ps_status status);
void session_end_error(struct session *session, const struct protocol_error *error);
/* Closes without a word. */
void session_close(struct session *session);

void session_pause(struct session *session, enum session_pause reason);
void session_resume(struct session *session, enum session_pause reason);

/* Will be pumped in the next flush. */
void session_wants_pump(struct session *session);
/* Sends answers and deliveries while there is room and the flush has time; what is left wants another pump. */
void session_pump(struct session *session);
bool session_has_room(struct session *session);
/* Bytes queued for its socket; brings what is charged for them up to date. */
size_t session_queued(struct session *session);
/* How many slices of history it may have now. */
uint32_t session_slices(const struct session *session);

/* Keep-alive: pings, closes, and returns when to look again. */
uint64_t session_keep_alive(struct session *session, uint64_t now_ns);

#endif
