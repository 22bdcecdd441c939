/* Committed offsets on their way to the store, coalesced per (subscription, topic).
 *
 * They ride along with any other write, start a commit of their own 100 ms after the first one waited, or at
 * once when someone waits for the answer; then at most one such write is under way. */
#ifndef PSBROKER_OFFSETS_H
#define PSBROKER_OFFSETS_H

#include "list.h"
#include "store.h"

struct attachment;
struct broker;
struct cursor;
struct session;

/* Somebody who wants to know when what was acknowledged is committed. `done` is called once: PS_OK, or why the
 * write was refused. */
struct offsets_waiter {
    struct list link;
    void (*done)(struct offsets_waiter *waiter, enum ps_status status);
};

struct offsets {
    struct list dirty;   /* cursors */
    struct list waiters; /* they wait for what is dirty now */
    struct list writes;  /* under way, oldest first */
    uint64_t due_ns;     /* UINT64_MAX: nothing waits */
    bool urgent;         /* write again when the one under way is done */
};

void offsets_init(struct offsets *offsets);

/* The cursor's committed offset was moved. */
void offsets_touch(struct broker *broker, struct cursor *cursor);
/* Drops what waits of this cursor. */
void offsets_forget(struct cursor *cursor);

/* Answers Done when everything acknowledged so far is committed; at once when nothing is under way. */
void offsets_answer(struct broker *broker, struct session *session, struct optional_u64 request_id);

/* Waits until everything acknowledged so far is committed or refused. Not to be called while offsets_idle(). */
void offsets_wait(struct broker *broker, struct offsets_waiter *waiter);

/* Submits all that waits, whatever is under way: before a write that must come later in the same source. False: out
 * of memory, it is tried again in 100 ms. */
bool offsets_submit(struct broker *broker);
/* In front of another write: submits unless one is under way. */
void offsets_ride(struct broker *broker);
/* Submits as soon as none is under way. */
void offsets_hurry(struct broker *broker);
/* The 100 ms are over, maybe. */
void offsets_tick(struct broker *broker, uint64_t now_ns);

static inline bool offsets_idle(const struct offsets *offsets)
{
    return list_empty(&offsets->dirty) && list_empty(&offsets->writes);
}

/* Adds a reply that waits to a list of a seeking attachment; false: out of memory. */
bool offsets_hold_waiter(struct list *list, struct session *session, struct optional_u64 request_id);
/* The attachment's seek failed: its waiters go on with the others. */
void offsets_release_waiters(struct broker *broker, struct list *list);
void offsets_refuse_waiters(struct list *list, enum ps_status status);

#endif
