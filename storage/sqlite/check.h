/* A check of a database file that no broker has open: everything that a running broker can check of itself, SQLite's
 * own check, the checksums of pages that are in no use, and psbroker.head. */
#ifndef PSBROKER_CHECK_H
#define PSBROKER_CHECK_H

#include "store.h"

struct store_check {
    const char *path; /* of the file, borrowed */
    store_problem_fn *show;
    /* What is being done, and how far it is; `total` 0: not known. May be NULL. */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
    void *ctx;
    /* results */
    uint64_t records, topics, mark;
    bool is_backup;     /* has no log_id: the first start gives it a new one */
    bool has_bad_pages; /* that do not match their checksum: no start without accept_changes */
};

/* Nothing is written but the file's -shm, and that only where a WAL with something in it lies beside it. The caller
 * makes sure that no broker works on the file. PS_OK, also with problems; PS_FOREIGN_FILE, PS_NEWER_SCHEMA: it is not
 * ours to judge; PS_ACCESS_DENIED, PS_NO_MEMORY, PS_IO_ERROR; `error` says what is wrong. */
enum ps_status store_sqlite_check(struct store_check *check, char *error, size_t error_size);

#endif
