/* Publications that wait to be sent: their bytes, grouped by topic, up to about one frame.
 *
 * The bytes of messages live in one block that never moves, so messages are complete wire structs from the
 * start. A publication costs no allocation of its own. No libuv, no callbacks. */
#ifndef PSCLIENT_STAGE_H
#define PSCLIENT_STAGE_H

#include "codec.h"
#include "psclient.h"

enum {
    STAGE_BLOCK_BYTES = 256 * 1024,
    STAGE_NONE = UINT32_MAX /* the end of a chain of messages */
};

/* Whom a publication is answered to, and what it charges to the window. */
struct ticket {
    psc_published_fn *published;
    void *data;
    uint64_t offset; /* this and the next two: of an answer that waits for those before it */
    enum ps_status status;
    bool retryable;
    bool answered;
    uint32_t bytes;
};

struct stage_group {
    struct span topic;
    uint32_t first, last; /* chain of its messages */
    uint32_t count;
};

struct stage {
    struct stage *next; /* in its holder's list */
    uint8_t *block;
    size_t used, room; /* bytes of the block */
    struct message *messages;
    struct ticket *tickets; /* beside the messages */
    uint32_t *chain;        /* next message of the same topic */
    uint32_t count, capacity;
    struct stage_group *groups;
    uint32_t group_count, group_capacity;
    uint32_t *slots; /* groups by topic: index + 1, 0 for none; twice group_capacity of them */
    uint32_t recent; /* group used last */
};

/* Ours to free with stage_free(); NULL when out of memory. */
struct stage *stage_new(size_t block_bytes);
void stage_free(struct stage *stage); /* takes NULL */
/* Forgets its messages, keeps its memory. */
void stage_reset(struct stage *stage);

/* Bytes of a block that a message takes at most, a topic that is new to the stage included. */
size_t stage_bytes(struct span topic, const struct psc_message *message);
bool stage_fits(const struct stage *stage, size_t bytes);

/* Whether a message to this topic was put here last: then its name needs no validation. */
bool stage_recent(const struct stage *stage, struct span topic);

/* Copies a message that fits. PS_OK or PS_NO_MEMORY, then the stage is as before. */
enum ps_status stage_put(struct stage *stage, struct span topic, const struct psc_message *message,
                         const struct ticket *ticket);

/* Bytes of a frame that a message takes at most. */
size_t stage_frame_bytes(const struct message *message);

#endif
