/* The log as the core sees it: requests go out, each completes exactly once, later, on the loop thread,
 * never from inside the call that asked. The threads behind it are log_writer and log_reader; tests put the
 * memory store behind it.
 *
 * A request is embedded in its owner and must stay put until it is done. Between the call and `done` it, and
 * all that it borrows, belongs to the other side: the owner neither reads nor writes it. Writes are committed
 * in the order of submission per `source`; different sources may be interleaved. Completions of writes come in
 * the order of commits, and those of one commit in the order in which its operations took effect. After a
 * commit that failed for good every later write completes too, with PS_STORAGE_FAILED. */
#ifndef PSBROKER_LOG_IO_H
#define PSBROKER_LOG_IO_H

#include "message.h"
#include "store.h"

/* ----------------------------------------------------------------------------------------------- writing */

struct log_write {
    struct store_op op; /* op.status and the results are set when done */
    uint64_t source;    /* number of the connection; 0: the broker itself */
    size_t bytes;       /* message bytes in it: bounds a commit */
    uint32_t messages;
    void (*done)(struct log_write *write, const struct store_state *state);
    struct log_write *next; /* the other side's */
};

/* ----------------------------------------------------------------------------------------------- reading */

enum log_read_kind { LOG_READ_SLICE, LOG_READ_RESOLVE, LOG_READ_LIST, LOG_READ_VERIFY, LOG_READ_BACKUP };

/* Whoever asks, a slice is no more. */
enum {
    LOG_SLICE_BYTES = 128 * 1024, /* encoded, one message may exceed it */
    LOG_SLICE_MESSAGES = 4096,
    LOG_SLICE_MICROSECONDS = 5000
};

/* A slice comes back as an encoded batch. The owner fills topic (name and recent runs stay valid until done),
 * from, to, max_messages, max_bytes and hint of `read`; batch is the owner's after done (NULL when nothing
 * was read). The batch may be smaller than asked for. */
struct log_slice {
    struct store_read read;
    struct batch *batch;
};

struct log_read {
    enum log_read_kind kind;
    enum ps_status status; /* set when done; as in store.h */
    union {
        struct log_slice slice;
        struct store_resolve resolve;
        struct store_list list;     /* `show` runs on a reader thread and touches only its own ctx */
        struct store_verify verify; /* `show` as in list */
        struct store_backup_read backup;
    };
    void (*done)(struct log_read *read);
    struct log_read *next; /* the other side's */
};

struct log_io {
    void (*write)(void *ctx, struct log_write *write);
    void (*read)(void *ctx, struct log_read *read);
    void *ctx;
};

#endif
