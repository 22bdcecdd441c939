/* Whether the database is all that was committed: it is compared with `psbroker.head` beside it at each start, before
 * anything is written, and the head is kept up to date from then on. storage/README.md has the reasons. */
#ifndef PSBROKER_LOSS_H
#define PSBROKER_LOSS_H

#include "head.h"
#include "status.h"

struct database;
struct sqlite_store;

/* What of the log is missing, and was accepted. */
struct loss {
    bool found;
    uint64_t from, to; /* seqs that were given out, `to` exclusive; none: only other changes are missing */
};

/* What the database says of itself, in a transaction; `has_wal`: it is read through one. PS_OK; what SQLite met. */
enum ps_status loss_look(struct database *db, bool has_wal, struct head_facts *here);

/* The sentence about a head that leads. */
void loss_say(char *what, size_t size, enum head_verdict verdict, const struct head_facts *head,
              const struct head_facts *here);

/* Before the database is opened: a head or a WAL without a log. PS_OK; PS_DAMAGED with a sentence. */
enum ps_status loss_check_file(struct sqlite_store *store, char *error, size_t error_size);

/* When it was identified as ours and nothing was written. PS_OK, also with a loss that is to be accepted; PS_DAMAGED
 * with a sentence; what SQLite met. */
enum ps_status loss_check(struct sqlite_store *store, char *error, size_t error_size);

/* Whether a loss was accepted that no lost seq shows, only the length of the WAL: the first commit goes over that
 * place, so it has to bring the new log_id, lest a kill behind it leaves nothing that tells. */
bool loss_is_unmarked(const struct sqlite_store *store);

/* Behind recovery, when a loss was accepted: the log goes on behind the lost seqs, under a new log_id, in one commit.
 * PS_OK or what SQLite met. */
enum ps_status loss_accept(struct sqlite_store *store);

/* Opens the head and brings it up to date. Without it the store works: a warning. */
void loss_watch(struct sqlite_store *store);

/* Behind a commit. */
void loss_note(struct sqlite_store *store);

#endif
