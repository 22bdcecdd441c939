/* How far each feed (one subscription of this process) has come in each topic, and what was printed: so that a
 * message is printed once though feeds overlap or are moved back, and acknowledgements name what was written.
 * Pure.
 *
 * A cursor is (feed, topic). Cursors live until positions_deinit(). */
#ifndef PSCTL_POSITIONS_H
#define PSCTL_POSITIONS_H

#include "text.h"

struct topic_entry;

struct cursor {
    unsigned feed;
    struct topic_entry *topic;
    struct cursor *next_of_topic;
    struct cursor *next; /* all cursors, newest first */
    uint64_t position;   /* the next offset that can come */
    struct printed {
        uint64_t from, to; /* [from, to) */
    } * printed;           /* what came here, the latest range last */
    unsigned printed_count;
    uint64_t written; /* everything below was written; 0: nothing was */
    uint64_t told;    /* the broker was told so far */
    uint64_t target;  /* a head to be reached; 0: none */
    uint64_t named;   /* told in the resumes-th; 0: never */
    bool retired;     /* its feed is over: its prints no longer count as duplicates */
};

struct positions {
    struct topic_entry **slots;
    size_t slot_count, topic_count;
    struct cursor *cursors;
    struct cursor *last; /* the one found last: messages come in runs */
    size_t targets;      /* cursors with a target not reached yet */
    uint64_t resumes;    /* feeds that were attached again so far */
};

void positions_deinit(struct positions *positions); /* takes the zero state */

/* The cursor of (feed, topic), made with `position` when new. Borrows the topic. */
struct cursor *positions_find(struct positions *positions, unsigned feed, struct psc_bytes topic,
                              uint64_t position);

struct psc_bytes cursor_topic(const struct cursor *cursor);

/* A message came on the cursor: moves it, and says whether it was printed before, by this feed or another. */
bool positions_came(struct positions *positions, struct cursor *cursor, uint64_t offset);

/* Offsets [from, to) will not come. */
void positions_skip(struct positions *positions, struct cursor *cursor, uint64_t from, uint64_t to);

/* `targets` counts the cursor until its position reaches `head`; 0 takes the target back. */
void positions_aim(struct positions *positions, struct cursor *cursor, uint64_t head);

/* The feed was attached again and its topics told, each with positions_resumed(): what stands below `offset` will not
 * come any more, and a topic that is not told is gone. Between these two calls no other feed's topics are told. */
void positions_resumed(struct positions *positions, struct cursor *cursor, uint64_t offset);
void positions_resume_end(struct positions *positions, unsigned feed);

/* The feed is over: nothing of it is aimed at any more, what it printed still counts. */
void positions_give_up(struct positions *positions, unsigned feed);

/* The same, and nothing of it counts as printed either. */
void positions_retire(struct positions *positions, unsigned feed);

#endif
