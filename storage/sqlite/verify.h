/* Whether what the writer is about to trust agrees with itself: rows of `topics`, the newest epoch, the rows they
 * point to. Wrong counters would not show wrong bytes, but would give offsets twice, or hide messages. Bounded: one
 * epoch's runs and the rows of a few hundred topics are read, whatever the size of the log. While recovering. */
#ifndef PSBROKER_VERIFY_H
#define PSBROKER_VERIFY_H

#include "roster.h"

#include <sqlite3.h>

struct sqlite_store;

/* Where the sentence goes that says what is damaged and what to do. */
struct finding {
    char *text;
    size_t size;
};

/* Writes the sentence; returns PS_DAMAGED. `topic` may be NULL. */
enum ps_status finding_set(const struct finding *finding, const struct topic *topic, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One row of LIST_TOPICS, by itself. PS_OK; PS_DAMAGED. */
enum ps_status verify_topic_row(sqlite3_stmt *row, const struct finding *finding);

/* The newest listed epoch, before the tail is read: its runs lie in it without overlap, no row in it is without a
 * run, and its topics were brought up to date with it. PS_OK; PS_DAMAGED; PS_NO_MEMORY; what SQLite met. */
enum ps_status verify_last_epoch(struct sqlite_store *store, const struct roster *roster,
                                 const struct finding *finding);

/* When the tail was read and the next seq is known: every topic lies in what was given out, and the rows that
 * the topics written to last point to are theirs. PS_OK; PS_DAMAGED; PS_NO_MEMORY; what SQLite met. */
enum ps_status verify_topics(struct sqlite_store *store, const struct roster *roster,
                             const struct finding *finding);

#endif
