/* What a broker said about a log, held against itself: every acknowledgement and every message shown is a claim about
 * what stands at an offset, and no two claims may differ, over any number of crashes.
 *
 * A message is a number: its topic, payload and key follow from it and the seed, so that each byte can be compared
 * though none is kept. Checked are
 *     acknowledged   it stands at the offset it was acknowledged with, once, with equal bytes
 *     refused        (or never sent) it stands nowhere
 *     unknown        it stands at most once
 *     shown          what any reader saw is what every later one sees; offsets have no hole; one publisher's messages
 *                    to a topic keep their order
 *     committed      an offset never falls below what was confirmed, nor is ahead of what was asked for
 *     copied         a copy has the same at the same offsets, from the beginning up to one moment, offsets not beyond
 *                    it
 * Not thread-safe. Memory that runs out ends the program. */
#ifndef PSBROKER_TESTS_LEDGER_H
#define PSBROKER_TESTS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LEDGER_PUBLISHERS = 64,
    LEDGER_PAYLOAD_BYTES = 200000, /* most */
    LEDGER_TEXTS = 20              /* violations that are kept as text; all are counted */
};

struct ledger_plan {
    uint64_t seed;
    unsigned publishers; /* 1 … LEDGER_PUBLISHERS */
    unsigned topics;     /* at least 2 */
    unsigned cursors;    /* durable subscriptions */
};

/* Bytes of a message, in static memory until the next call. `key` NULL: absent. */
struct ledger_message {
    const uint8_t *payload, *key;
    size_t payload_size, key_size;
};

struct ledger_totals {
    uint64_t sent, acknowledged, refused, unknown, violations;
};

struct ledger;

struct ledger *ledger_new(const struct ledger_plan *plan);
void ledger_free(struct ledger *ledger);

const struct ledger_plan *ledger_plan_of(const struct ledger *ledger);
struct ledger_totals ledger_totals_of(const struct ledger *ledger);
/* Violation number `index` as a sentence, NULL behind the last that was kept. */
const char *ledger_violation(const struct ledger *ledger, size_t index);
/* Counts one found elsewhere. */
void ledger_complain(struct ledger *ledger, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -------------------------------------------------------------------------------------------- publications */

/* The next message of a publisher, counted as sent; its outcome is open. The last publisher writes to the last topic,
 * which nobody else writes to and which alone may be deleted. */
uint64_t ledger_send(struct ledger *ledger, unsigned publisher);
/* Takes the last one of its publisher back, as nobody was told of it. */
void ledger_unsend(struct ledger *ledger, uint64_t number);
struct ledger_message ledger_message_of(const struct ledger *ledger, uint64_t number);
unsigned ledger_topic_of(const struct ledger *ledger, uint64_t number);
unsigned ledger_publisher_of(uint64_t number);

/* Topics by number; the last one does not begin as the others do (`w/`). Lives as long as the ledger. */
const char *ledger_topic_name(const struct ledger *ledger, unsigned topic);
/* False: none of ours, which is a violation. */
bool ledger_topic_find(struct ledger *ledger, const void *name, size_t size, unsigned *topic);

void ledger_acknowledged(struct ledger *ledger, uint64_t number, uint64_t offset);
void ledger_refused(struct ledger *ledger, uint64_t number);
void ledger_unknown(struct ledger *ledger, uint64_t number);

/* The last topic is being deleted, when nothing is on its way to it; what became of that. */
enum ledger_deletion { LEDGER_DELETED, LEDGER_KEPT, LEDGER_MAYBE_DELETED };
void ledger_delete(struct ledger *ledger);
void ledger_deleted(struct ledger *ledger, enum ledger_deletion outcome);

/* ------------------------------------------------------------------------------------------------- reading */

/* One reader's way through a log. */
enum ledger_reading {
    LEDGER_PART,
    LEDGER_WHOLE, /* from the log's beginning to its end */
    LEDGER_COPY,  /* all of a copy of the log: as it was at some moment, not before ledger_remember() */
    LEDGER_REST   /* all that is left of a copy that was cut: as it was at any moment */
};
struct ledger_view;
struct ledger_view *ledger_view_new(struct ledger *ledger, const char *name, enum ledger_reading reading);
/* The topic goes on at `offset`; `first` and `head` as the broker said. Without it, at what is shown first. */
void ledger_view_start(struct ledger_view *view, unsigned topic, uint64_t offset, uint64_t first,
                       uint64_t head);
void ledger_view_show(struct ledger_view *view, unsigned topic, uint64_t offset,
                      const struct ledger_message *message);
/* Offsets below `to` are gone. */
void ledger_view_gap(struct ledger_view *view, unsigned topic, uint64_t to);
/* A reader that was away is told where the topic goes on: where it stopped, before that, or behind a deletion. */
void ledger_view_resume(struct ledger_view *view, unsigned topic, uint64_t offset);
/* One that reads all must have shown all that there has to be. Frees it. */
void ledger_view_end(struct ledger_view *view);
/* Frees one that was cut short. NULL is taken. */
void ledger_view_abandon(struct ledger_view *view);

/* ------------------------------------------------------------------------------------- durable subscriptions */

void ledger_commit_asked(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset);
void ledger_commit_confirmed(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset);
/* Where the broker says that it stands; a topic it does not name stands at 0. */
void ledger_committed(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset);
/* The same of a copy, once all of it was shown to `view`. */
void ledger_copy_committed(struct ledger_view *view, unsigned cursor, unsigned topic, uint64_t next_offset);

/* Publishers publish over new connections, while what a lost one still had under way, its outcomes unknown, may come
 * behind that. */
void ledger_reconnects(struct ledger *ledger);

/* A copy that is made from now on has all that was claimed and confirmed so far. */
void ledger_remember(struct ledger *ledger);

#endif
