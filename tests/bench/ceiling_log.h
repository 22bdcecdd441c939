/* Our layout, written by SQLite with nothing around it: what the ratio to the ceiling is measured against.
 *
 * It writes what the store has to write: rows of `messages` by one INSERT … SELECT from a virtual table for each
 * commit, grouped by topic; `topics`, `topic_runs` and `epochs` as each epoch fills up; the floors in `settings`. The
 * tables are made by the migrations; pragmas and checkpoints are the store's; the broker opens the file.
 *
 * It does nothing else: no network, no threads (and SQLite without its mutexes), no queue, no protobuf, no text or
 * names to look at, a checksum that is a number and not computed, no savepoints, no look at the disk or for foreign
 * writers, an epoch's runs in one piece, and every payload the same bytes. As in the store, SQLite numbers the rows
 * itself, and columns that are NULL or the same in the whole commit are not asked of the virtual table. It writes
 * through SQLite's own VFS, or through the store's (storage/sqlite/vfs.h).
 *
 * A failure ends the program with a message. One log at a time; one thread. */
#ifndef PSBROKER_CEILING_LOG_H
#define PSBROKER_CEILING_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ceiling_config {
    const char *directory;
    uint64_t size, topics; /* bytes of a payload; messages go to topics at random */
    uint64_t batch;        /* most messages in a commit */
    uint64_t page_bytes, checkpoint_bytes;
    bool store_vfs; /* else SQLite's own */
};

void ceiling_open(const struct ceiling_config *config);
/* Commits so many messages, at most a batch, and returns when they are synced. */
void ceiling_commit(size_t count);
uint64_t ceiling_checkpoints(void);
void ceiling_close(void);

#endif
