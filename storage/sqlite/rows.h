/* Rows in memory as virtual tables, so that a batch goes into SQLite by one INSERT … SELECT: message_batch
 * and run_batch. Writer's connection only. */
#ifndef PSBROKER_ROWS_H
#define PSBROKER_ROWS_H

#include "message.h"

#include <sqlite3.h>

struct store_op;
struct topic;

/* One message on its way into `messages`. */
struct message_row {
    struct message *message;
    struct topic *topic;
    struct store_op *op;
    uint64_t seq;
    char *headers; /* JSON, the row's; NULL: none */
    bool refused;  /* before it reached SQLite: its message says why */
};

/* Whether its message does not follow that of the row before in memory, where the processor fetches by itself: in the
 * order of topics rows point to memory at random. */
static inline bool row_is_apart(const struct message_row *row)
{
    return row->message != row[-1].message + 1;
}

/* One run on its way into `topic_runs`. */
struct run_row {
    uint64_t topic_id, first_offset, first_seq;
    uint32_t count;
    bool busy; /* its topic is one of the busiest in the epoch */
};

/* What the virtual tables show now; borrowed during each INSERT. */
struct row_source {
    const struct message_row *messages;
    size_t message_count;
    const struct run_row *runs;
    size_t run_count;
    uint64_t epoch; /* of the runs */
};

/* The source must outlive the connection. A SQLite result code. */
int rows_register(sqlite3 *db, struct row_source *source);

#endif
