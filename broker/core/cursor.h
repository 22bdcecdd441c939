/* A cursor: one subscription's place in one topic. */
#ifndef PSBROKER_CURSOR_H
#define PSBROKER_CURSOR_H

#include "list.h"
#include "map.h"
#include "message.h"
#include "topics.h"

struct attachment;
struct slice;

enum cursor_state {
    CURSOR_RESOLVING, /* its start is being read from the store */
    CURSOR_WAITING,   /* everything was given; wants the next message */
    CURSOR_READY,     /* has something to give, in memory or not */
    CURSOR_QUEUED,    /* wants a read of history, all slots are taken */
    CURSOR_READING,   /* a slice of history is under way */
    CURSOR_ENDED      /* reached its requested end */
};

struct cursor {
    struct map_node by_topic;  /* in attachment.cursors */
    struct list in_attachment; /* attachment.all */
    struct list in_topic;      /* topic.waiting or topic.busy */
    struct list in_queue;      /* attachment.resolving, .ready, .gone or session.slots_wanted, by state */
    struct list in_dirty;      /* offsets.dirty */
    struct attachment *attachment;
    struct topic *topic; /* referenced */
    uint64_t offset;     /* the next one to give; everything below was given or skipped with a Gap */
    uint64_t end;        /* give nothing from here on; UINT64_MAX: no end */
    uint64_t committed;  /* durable: the authoritative committed offset */
    uint64_t damaged_at; /* UINT64_MAX: not */
    uint64_t hint;       /* of the last read */
    struct batch *slice; /* history read but not given yet */
    uint64_t slice_next; /* where history goes on behind it */
    struct list reads;   /* of history, in the order of their offsets: under way or come early */
    uint64_t stride;     /* messages that a slice probably holds; 0: not known yet */
    enum cursor_state state;
    uint8_t empty_reads; /* in a row */
    bool acked;          /* committed was moved by this attachment */
};

/* A cursor in an attachment, in state CURSOR_RESOLVING. NULL: subscription_refusal() says why. */
struct cursor *cursor_new(struct attachment *attachment, struct topic *topic);
/* With its attachment, or when its topic is gone. What was acknowledged through it must have been submitted. */
void cursor_free(struct cursor *cursor);

/* The move function: asserts the table of successors and keeps all lists. */
void cursor_move(struct cursor *cursor, enum cursor_state state);

/* Its start is known. */
void cursor_begin(struct cursor *cursor, uint64_t offset);

/* WAITING, READY or ENDED, by where it stands. One that waits for a deleted topic is among its attachment's `gone`,
 * which attachment_schedule() frees, unless the filter names that topic alone. */
void cursor_settle(struct cursor *cursor);

/* Tells the subscriber when kept offsets begin behind the cursor, and moves it there. */
void cursor_skip_gap(struct cursor *cursor, uint64_t first_kept);

void cursor_drop_slice(struct cursor *cursor);

#endif
