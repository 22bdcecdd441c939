/* `psbroker.head` beside the database: where the log stood when its last commit returned. It is written behind each
 * commit, without a sync of its own, so it may lag but never leads, and what it knows more than the database was lost:
 * SQLite ends at the first frame of the WAL that is not sound, and says nothing. Writer thread. */
#ifndef PSBROKER_HEAD_H
#define PSBROKER_HEAD_H

#include "protocol.h"

#include <sqlite3.h>

struct head_facts {
    uint8_t log_id[LOG_ID_BYTES];
    uint64_t start_count;
    uint64_t mark;       /* the seq that the next message gets */
    uint64_t wal_salt;   /* which WAL the commit stands in */
    uint64_t wal_frames; /* of it up to the commit */
};

enum head_state {
    HEAD_FOUND,
    HEAD_MISSING,
    HEAD_DAMAGED /* or of a newer version, or unreadable */
};

/* What a head says about the log beside it. */
enum head_verdict {
    HEAD_FITS, /* or lags */
    HEAD_OF_ANOTHER_LOG,
    HEAD_LEADS,       /* messages are missing, from the log's mark to the head's */
    HEAD_LEADS_IN_WAL /* the WAL ends early, though no message is missing */
};
enum head_verdict head_compare(const struct head_facts *head, const struct head_facts *log);

/* `facts` is written with HEAD_FOUND only. */
enum head_state head_read(const char *path, struct head_facts *facts);

/* A descriptor for head_write(), the file made with mode 0600 if need be; -1 with errno. */
int head_open(const char *path);

/* One write of the whole. False with errno. */
bool head_write(int file, const struct head_facts *facts);

/* Where the WAL ends that this connection saw last, from SQLite's index of it. A transaction must be open, or the last
 * one have been the connection's own commit. False: there is no WAL. */
bool head_wal_position(sqlite3 *db, struct head_facts *facts);

#endif
