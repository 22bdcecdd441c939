/* The store in one SQLite file, `psbroker.db` in a directory of its own. storage/README.md has every table
 * and every rule. */
#ifndef PSBROKER_STORE_SQLITE_H
#define PSBROKER_STORE_SQLITE_H

#include "store.h"

/* Levels as in syslog: 3 error, 4 warning, 6 info, 7 debug. `text` is one line without a newline, in logfmt
 * (key=value …), borrowed until it returns. May be called on the writer thread and reader threads. SQLite's own log
 * comes here too (event=sqlite), from every connection in the process: it must not use SQLite itself. */
typedef void store_log_fn(void *ctx, int level, const char *text);

struct store_sqlite_config {
    const char *directory;     /* exists and is ours; the caller holds its lock */
    uint64_t disk_floor_bytes; /* publications are refused with less free space than this */
    uint64_t wal_hard_bytes;   /* and with a WAL above this (0: 1 GiB) */
    struct store_limits limits;
    bool accept_changes; /* take pages that do not match their checksum as they are, and seal them */
    bool accept_loss;    /* start although acknowledged messages are missing, under a new log_id */
    store_log_fn *log;   /* NULL: silent */
    void *log_ctx;
    /* 0 is the default in each; tests make them small */
    uint64_t epoch_rows;      /* 65,536: an epoch is closed with as many rows */
    uint64_t epoch_bytes;     /* 64 MiB: or with as many payload, key and header bytes */
    uint64_t slice_runs;      /* 256: runs that each commit adds to the index, besides two for each message */
    uint64_t idle_slice_runs; /* 4096: runs that a step of store_work() adds */
    uint64_t checkpoint_bytes; /* 8 MiB: of WAL that are worth a checkpoint */
    uint64_t sweep_rows;       /* 4096: dead rows that a step removes at most */
    uint64_t backup_pages;     /* as many as a moment allows: pages that a step of a backup copies */
};

/* Opens or creates, migrates, commits a row at FULL, tries to empty the WAL, recovers and compares the file with
 * itself (a bounded number of rows is read). An outside lock is waited for, and logged after a second. The first call
 * in a process makes SQLite's settings for all of it: no memory statistics, its log to ours. On failure `error` (of
 * `error_size` bytes) holds a sentence that says what is wrong and what to do.
 * PS_OK; PS_FOREIGN_FILE (not ours, or foreign objects under our names); PS_NEWER_SCHEMA; PS_DAMAGED (or shorter than
 * psbroker.head says); PS_ACCESS_DENIED; PS_DISK_FULL; PS_STORAGE_BUSY (held by an outside lock for 30 s);
 * PS_IO_ERROR; PS_NO_MEMORY. */
enum ps_status store_sqlite_open(const struct store_sqlite_config *config, struct store **store,
                                 struct store_opened *opened, char *error, size_t error_size);

#endif
