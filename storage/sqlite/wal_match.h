/* Whether the WAL beside the database continues this very file. Each WAL carries a random number in its first commit,
 * and the number of the one before, which a checkpoint had brought into the file by then: an older copy of the file, or
 * another log's, has neither. SQLite itself would put the WAL's pages over any file. Writer thread. */
#ifndef PSBROKER_WAL_MATCH_H
#define PSBROKER_WAL_MATCH_H

#include "status.h"

#include <stdbool.h>
#include <stdint.h>

struct database;
struct sqlite_store;

struct wal_match {
    uint64_t current; /* the number in the last commit; 0: none yet */
    uint64_t staged;  /* the one in this transaction; 0: no new one */
    bool due;         /* a checkpoint was completed: the next commit begins a WAL */
};

/* What psbroker.db says of itself, alone or through its WAL. */
struct wal_facts {
    bool known;
    uint64_t wal_id, before;
    int64_t schema_version; /* SQLite counts changes of the schema, and each VACUUM */
};

/* The sentence about a WAL that belongs to another file. */
#define WAL_IS_ANOTHERS                                                                                      \
    "psbroker.db-wal does not continue psbroker.db, which is an older copy, a backup or another log's: put " \
    "back the psbroker.db that was there, or, to go on from this one, move psbroker.db-wal away and see 'A " \
    "log that ends early' in storage/README.md on --accept-loss"

/* Whether `path` has a WAL with something in it. */
bool wal_is_beside(const char *path);

/* The file without its WAL; nothing else of this process may have it open. Not known where it cannot be read: a kill
 * or a power cut in a checkpoint leaves pages that do not fit together until the WAL is put over them. */
void wal_match_read_file(const char *path, struct wal_facts *facts);

/* As `db` sees it, which must be able to read the tables. */
void wal_match_read(struct database *db, struct wal_facts *facts);

/* False only with proof. */
bool wal_match_fits(const struct wal_facts *file, const struct wal_facts *both);

/* While starting, in the first transaction: the number that is there, or a first one. PS_OK; what SQLite met. */
enum ps_status wal_match_begin(struct sqlite_store *store);

/* In each transaction: a new number, where it begins a WAL. PS_OK; what SQLite met. */
enum ps_status wal_match_stamp(struct sqlite_store *store);

/* What wal_match_stamp() wrote was committed. */
void wal_match_promote(struct sqlite_store *store);

#endif
