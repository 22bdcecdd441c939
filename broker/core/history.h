/* Reads of history for cursors that lie behind the tail: bounded slices, a few per session. */
#ifndef PSBROKER_HISTORY_H
#define PSBROKER_HISTORY_H

#include "cursor.h"
#include "log_io.h"

enum { SLICE_RUNS = 512 };

struct attachment;
struct session;

struct slice {
    struct log_read read;
    struct list in_session;
    struct list in_cursor;
    struct session *session; /* NULL: gone */
    struct cursor *cursor;   /* NULL: gone */
    struct broker *broker;
    struct topic *topic; /* referenced */
    bool early;          /* was read whole before its cursor came to it */
    struct store_run runs[];
};

/* Starts a read for a READY cursor, or queues it when the session's slots are taken. */
void history_want(struct cursor *cursor);
/* Lets go of the cursor's reads: of what came early now, of those under way when they are done. */
void history_forget(struct cursor *cursor);
/* What came early for a subscription that has no credit for it, or (NULL) for a session that takes nothing. */
void history_drop_early(struct session *session, const struct attachment *a);
/* Gives free slots to the cursors that wait for one. May end attachments. */
void history_next(struct session *session);

#endif
