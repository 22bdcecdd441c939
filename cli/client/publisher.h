/* Publications on their way: the window, the frames, the answers.
 *
 *   put --> stage (open) --> stages (sealed) --> frame sent, tickets in a ring --> answered
 *
 * A frame may be answered in pieces, pieces and frames in any order; callbacks come in the order of sending, so an
 * answer waits in its ticket until it is at the ring's front. What is not answered is charged to the window, so
 * memory is bounded by it and by PUBLISHER_MOST_PENDING. No libuv; callbacks run from publisher_answer(),
 * publisher_refused(), publisher_limit() and publisher_lost() only. */
#ifndef PSCLIENT_PUBLISHER_H
#define PSCLIENT_PUBLISHER_H

#include "convert.h"
#include "stage.h"

enum {
    PUBLISHER_WINDOW_BEFORE_WELCOME = 1024 * 1024,
    PUBLISHER_MOST_PENDING = 256 * 1024,
    PUBLISHER_FREE_STAGES = 2
};

/* One frame that was sent. */
struct sent_frame {
    uint64_t id;
    uint64_t first; /* ticket number of its first message */
    uint32_t count, unanswered;
};

struct publisher {
    struct limits limits;
    uint64_t window, charged; /* bytes */
    size_t pending;           /* queued or sent, not answered */
    bool refused;             /* a publication did not fit: the caller waits for room */
    struct stage *first_sealed, **sealed_end;
    struct stage *open;
    struct stage *free_stages;
    unsigned free_count;
    struct ticket *tickets; /* ring of those that were sent, by ticket number modulo ticket_room */
    size_t ticket_room;     /* a power of two */
    uint64_t ticket_begin, ticket_end;
    struct sent_frame *frames; /* ring, in the order of ids */
    size_t frame_room;
    uint64_t frame_begin, frame_end;
    /* While a stage is made into frames: its messages in the order of topics, and their places in the stage. */
    struct message *messages;
    size_t message_room;
    uint32_t *order;
    size_t order_room;
    struct publish_group *groups;
    size_t group_room;
};

void publisher_init(struct publisher *publisher);
void publisher_deinit(struct publisher *publisher);

/* The outcomes of psc_publish(). */
enum ps_status publisher_put(struct publisher *publisher, struct psc_bytes topic,
                             const struct psc_message *message, const struct ticket *ticket);

/* What the broker announced. Refuses what is queued and too large by the new limits. */
void publisher_limit(struct publisher *publisher, const struct limits *limits, uint64_t window);

/* Whether something is queued, and whether it is enough for a frame that should not wait. */
bool publisher_has_queued(const struct publisher *publisher);
bool publisher_ready(const struct publisher *publisher);

/* Appends frames for the oldest stage. *next_id is raised by the number of frames. PS_OK or PS_NO_MEMORY: what
 * was not appended stays queued. */
enum ps_status publisher_send(struct publisher *publisher, struct bytes *out, uint64_t *next_id);

/* Gives a Published, or the error of a whole frame, to the frame with this id. *known tells whether there is
 * one. PS_OK or PS_PROTOCOL_VIOLATION: runs outside of the frame, or about what is answered already. */
enum ps_status publisher_answer(struct publisher *publisher, uint64_t id, const struct published *published,
                                bool *known);
void publisher_refused(struct publisher *publisher, uint64_t id, const struct protocol_error *error,
                       bool *known);

/* The connection is gone: what was sent is unknown, what was queued fails with `unsent`. What callbacks queue
 * meanwhile stays. With `keep_queued` the queue stays as well. */
void publisher_lost(struct publisher *publisher, enum ps_status unsent, const char *text, bool keep_queued);

/* Whether a caller that was refused should be told now that there is room; forgets the refusal then. */
bool publisher_room_again(struct publisher *publisher);

#endif
