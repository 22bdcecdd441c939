/* Reads of history for cursors that lie behind the tail: bounded slices, a few per session. */
#ifndef PSBROKER_HISTORY_H
#define PSBROKER_HISTORY_H

#include "cursor.h"
#include "log_io.h"

enum { SLICE_RUNS = 512, SLICE_MAX_MESSAGES = 8192, SLICE_MICROSECONDS = 5000 };

struct session;

struct slice {
    struct log_read read;
    struct list in_session;
    struct session *session; /* NULL: gone */
    struct cursor *cursor;   /* NULL: gone */
    struct broker *broker;
    struct topic *topic; /* referenced */
    struct store_run runs[];
};

/* Starts a read for a READY cursor, or queues it when the session's slots are taken. */
void history_want(struct cursor *cursor);
/* Gives free slots to the cursors that wait for one. May end attachments. */
void history_next(struct session *session);

#endif
