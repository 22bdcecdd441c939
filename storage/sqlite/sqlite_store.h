/* The inside of the SQLite body: what the writer thread owns, and the few words its parts share. */
#ifndef PSBROKER_SQLITE_STORE_H
#define PSBROKER_SQLITE_STORE_H

#include "append.h"
#include "backup.h"
#include "checkpoint.h"
#include "database.h"
#include "epochs.h"
#include "files.h"
#include "gate.h"
#include "library.h"
#include "lock_wait.h"
#include "loss.h"
#include "room.h"
#include "rows.h"
#include "store.h"
#include "store_sqlite.h"
#include "sweeper.h"
#include "topics.h"
#include "wal_match.h"

struct sqlite_store {
    struct store base;                 /* first */
    struct store_sqlite_config config; /* defaults filled in; directory is ours */
    char *path;
    char *head_path;
    int head_file; /* -1: none */
    bool head_is_stale;
    struct loss loss;
    struct file_names names;
    struct database db;
    struct gate gate;
    struct library_listener listener;
    struct lock_wait opening; /* while the start waits for a lock */
    struct row_source source;
    struct topics topics;
    struct appender appender;
    struct epochs epochs;
    struct checkpoint checkpoint;
    struct wal_match wal_match;
    struct wal_facts file_alone; /* while starting: what it says without the WAL beside it */
    struct sweeper sweeper;
    struct room room;
    struct backup backup;
    uint8_t log_id[LOG_ID_BYTES];
    uint64_t start_count;
    uint64_t next_seq, staged_next_seq;
    uint64_t subscriptions, staged_subscriptions; /* how many are stored */
    int64_t last_published;                       /* microseconds; what is committed */
    int64_t now;                                  /* the time of this commit */
    uint64_t clamped_logged_at;
    int64_t data_version; /* of our last commit */
    /* Without memory SQLite may have dropped its cache, which changes the version as well. */
    bool is_version_lost;
    enum ps_status admitted; /* PS_OK, or why not everything is taken by this commit */
    enum ps_status failure;  /* PS_OK while it works; then it takes no further commit */
    uint64_t disk_sampled_at;
    uint64_t free_disk_bytes, database_bytes;
};

/* One logfmt line to the configured sink. */
void store_log(const struct sqlite_store *store, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Monotonic milliseconds and microseconds. */
uint64_t monotonic_ms(void);
uint64_t monotonic_us(void);

/* How much room there is on disk, asked for at most every 100 ms, and always near the floor. */
void store_sample_disk(struct sqlite_store *store);

void store_get_state(struct sqlite_store *store, struct store_state *state);

#endif
