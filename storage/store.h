/* The durable log behind the broker: the interface that every store body implements.
 *
 * A store keeps messages of topics, each topic a log with offsets 0, 1, 2, …, all topics together in one
 * commit order. A place in that order is a `seq`; a *mark* is the seq that the next message will get. The
 * store assigns offsets, seqs and times at append and returns them. There is no order across topics other
 * than seq, a call may take a network round trip, and nothing here is particular to SQLite.
 *
 * Threads: a store belongs to one writer thread, each store_reader to one reader thread. Before the writer
 * thread starts and after it ended, the thread that opened the store may use it. Nothing is shared but what
 * a body guards itself.
 *
 * Durability contract: when store_commit() returns PS_OK, every operation whose own status is PS_OK is on
 * stable storage, and no reader ever saw it before that moment. */
#ifndef PSBROKER_STORE_H
#define PSBROKER_STORE_H

#include "message.h"
#include "protocol.h"

/* ---------------------------------------------------------------------------------------------- writing */

enum store_op_kind {
    STORE_APPEND,       /* messages to one topic */
    STORE_ATTACH,       /* store a durable subscription, or take it over */
    STORE_OFFSETS,      /* committed offsets */
    STORE_SEEK,         /* move a durable subscription */
    STORE_FORGET,       /* remove a durable subscription */
    STORE_DELETE_TOPIC, /* logical deletion */
    STORE_BACKUP        /* begin or end a copy of everything */
};

/* Outcomes: PS_OK, PS_DISK_FULL, PS_STORAGE_BUSY, PS_NO_MEMORY, PS_LIMIT_EXCEEDED (topics), PS_INTERNAL.
 * A message can be refused alone: its own status says so (PS_MESSAGE_TOO_LARGE: larger than the store can hold,
 * PS_BAD_HEADER: a header it cannot hold, PS_NO_MEMORY, PS_INTERNAL), and `status` of the operation is then PS_OK if
 * at least one was accepted, else that of the first. The accepted ones, in their order, have consecutive offsets and
 * seqs. */
struct store_append {
    struct span topic;        /* valid name; the topic is created if need be */
    struct message *messages; /* offset, published_at and status are written by the store */
    uint32_t count;
    /* results */
    uint32_t accepted;
    uint64_t topic_id;
    uint64_t first_offset;
    uint64_t first_seq;
    bool topic_created; /* or made again after a deletion: its created_seq is then first_seq */
};

/* Outcomes: PS_OK; PS_NO_SUCH_SUBSCRIPTION (existing_only); PS_OUT_OF_RANGE (it would be created with an
 * offset behind the head of its topic: first and head say the valid range); PS_STORAGE_BUSY,
 * PS_LIMIT_EXCEEDED (subscriptions), where it would be created. Raises the generation. */
struct store_attach {
    struct span id, filter;
    struct start_rule start; /* never START_RESUME; stored when the subscription is created, with the mark */
    bool existing_only;
    /* results */
    bool created;
    uint64_t subscription_id; /* never 0 */
    uint64_t generation;
    uint64_t mark;
    struct start_rule stored; /* the rule in force */
    uint64_t first, head;
};

/* An offset below the stored one is ignored: committed offsets never move back by themselves. */
struct store_offset {
    uint64_t subscription_id, topic_id, next_offset;
};
struct store_offsets {
    const struct store_offset *items;
    size_t count;
};

/* Replaces the start rule, takes a new mark, forgets committed offsets, raises the generation.
 * Outcomes: PS_OK, PS_NO_SUCH_SUBSCRIPTION, PS_OUT_OF_RANGE, PS_NO_SUCH_TOPIC. */
struct store_seek {
    struct span id, filter;
    struct start_rule to; /* START_NEW, START_BEGINNING, START_OFFSET (exact filters) */
    /* results */
    uint64_t subscription_id, generation, mark;
    uint64_t first, head;
};

/* Outcomes: PS_OK, PS_NO_SUCH_SUBSCRIPTION. */
struct store_forget {
    struct span id, filter;
    /* results */
    uint64_t subscription_id;
};

/* Everything kept in the topic is gone for readers from this commit on; its id, name and next offset stay.
 * Outcomes: PS_OK, PS_NO_SUCH_TOPIC. */
struct store_delete_topic {
    struct span topic;
    /* results */
    uint64_t topic_id;
    uint64_t first_offset; /* = next offset */
};

/* A consistent copy of everything is made in steps between commits, by commits themselves and by store_work();
 * store_state.backup tells how far it is. It stays until it is ended, the store is closed, or a new start.
 * Outcomes: PS_OK (also: nothing to end); PS_DISK_FULL (no room for a copy above the floor); PS_LIMIT_EXCEEDED (there
 * is one); PS_UNSUPPORTED. */
struct store_backup {
    bool end;
};

enum store_backup_phase {
    STORE_BACKUP_NONE,
    STORE_BACKUP_COPYING,
    STORE_BACKUP_READY, /* store_read_backup() gives its bytes */
    STORE_BACKUP_FAILED /* to be ended; also behind READY */
};

struct store_backup_state {
    enum store_backup_phase phase;
    enum ps_status status;  /* why it failed */
    uint64_t copied, total; /* bytes; once ready: the size of the copy */
    uint64_t mark;          /* once ready: it holds everything before this place */
};

struct store_op {
    enum store_op_kind kind;
    enum ps_status status; /* set by store_commit() */
    union {
        struct store_append append;
        struct store_attach attach;
        struct store_offsets offsets;
        struct store_seek seek;
        struct store_forget forget;
        struct store_delete_topic delete_topic;
        struct store_backup backup;
    };
};

/* What a commit tells about the whole store. */
struct store_state {
    uint64_t mark;            /* seq that the next message will get */
    uint64_t indexed_through; /* runs up to this seq are found without store_topic.recent; 0: none */
    uint64_t wal_bytes, database_bytes, free_disk_bytes;
    uint64_t checkpoints; /* completed since the start */
    bool falling_behind;  /* the index is two epochs behind: publishing should slow down */
    struct store_backup_state backup;
};

/* ---------------------------------------------------------------------------------------------- reading */

/* Consecutive messages of one topic that are consecutive in commit order too. */
struct store_run {
    uint64_t first_offset, first_seq;
    uint64_t count;
};

/* A topic as the caller knows it. `recent` are its runs behind store_state.indexed_through, in order: the
 * caller keeps the results of appends until they are indexed and lends them to each read. */
struct store_topic {
    uint64_t topic_id;
    struct span name;
    uint64_t first_offset, next_offset;
    uint64_t created_seq; /* seq of its first message since it was (last) created */
    uint64_t last_seq;    /* seq of its last message; 0: none */
    const struct store_run *recent;
    size_t recent_count;
};

/* Receives one message of history; spans are borrowed until it returns. False ends the read behind this
 * message. */
typedef bool store_message_fn(void *ctx, const struct message *message);

/* A bounded step through one topic. Reads offsets [from, to) and stops after max_messages, max_bytes (of
 * payload + key + headers, one message may exceed it) or about max_microseconds. Checksums are verified
 * before a message is shown.
 * Outcomes: PS_OK (next_offset says where to go on; == to when done); PS_DAMAGED (messages before
 * `damaged_offset` were shown, that one does not match its checksum or is missing); PS_NO_MEMORY;
 * PS_STORAGE_FAILED. Offsets below first_kept are not there any more: the read begins at first_kept. Offsets
 * at and behind topic.next_offset may not be there yet: the read ends with PS_OK before the first of those. */
struct store_read {
    struct store_topic topic; /* borrowed until the call returns */
    uint64_t from, to;
    uint32_t max_messages;
    size_t max_bytes;
    uint64_t max_microseconds;
    uint64_t hint; /* 0, or what the last read of the same topic left here: saves searching */
    store_message_fn *show;
    void *ctx;
    /* results */
    uint64_t next_offset;
    uint64_t first_kept; /* from the same snapshot as the messages */
    uint64_t damaged_offset;
};

/* Where a subscription stands in each of some topics: its committed offset if one is stored, else what its
 * start rule says, resolved against its mark. A topic created at or after the mark starts at its beginning;
 * START_OFFSET names its offset in any topic. The offset may lie below what is still kept: the caller sees
 * the gap. */
struct store_position {
    struct store_topic topic;
    /* results */
    uint64_t offset;
    bool committed;
};
struct store_resolve {
    uint64_t subscription_id; /* 0: a temporary subscription, only the rule counts */
    struct start_rule start;  /* START_RESUME means START_NEW at the mark `start.value` */
    uint64_t mark;
    struct store_position *positions;
    size_t count;
};

struct store_subscription {
    uint64_t subscription_id;
    struct span id, filter;
    struct start_rule start;
    uint64_t mark, generation;
};
/* Spans are borrowed until it returns. False ends the listing. */
typedef bool store_subscription_fn(void *ctx, const struct store_subscription *subscription);

/* Stored subscriptions in byte order of (id, filter). */
struct store_list {
    struct span id;                     /* absent: of all ids */
    struct span after_id, after_filter; /* absent: from the first */
    uint32_t limit;
    store_subscription_fn *show;
    void *ctx;
};

/* What a check of the log found wrong. */
struct store_problem {
    struct span topic; /* absent: of no one topic */
    struct optional_u64 offset;
    struct span text; /* a sentence */
};
/* Spans are borrowed until it returns. False ends the step soon. */
typedef bool store_problem_fn(void *ctx, const struct store_problem *problem);

/* What a check knows between its steps. */
struct store_scrub;

/* A bounded step of a check of everything that was in the log when it began: checksums, times, gaplessness, the index,
 * heads, committed offsets. Steps may go to different readers, one at a time. The log goes on meanwhile: what is
 * deleted between two steps is not missed. Memory: some 100 bytes a topic.
 * Outcomes: PS_OK, also with problems; PS_NO_MEMORY; PS_STORAGE_FAILED (nothing more can be read). */
struct store_verify {
    struct store_scrub *scrub; /* NULL before the first step; store_verify_end() frees it, whenever */
    void (*free_scrub)(struct store_scrub *scrub);
    uint64_t max_microseconds; /* about */
    store_problem_fn *show;
    void *ctx;
    /* results */
    uint64_t checked, total; /* places in commit order; some have no record any more */
    uint64_t records;        /* looked at so far */
    bool done;
};

/* A piece of a backup that is ready. PS_OK; PS_OUT_OF_RANGE (there is none); PS_IO_ERROR. */
struct store_backup_read {
    uint64_t offset;
    size_t size;
    uint8_t *to;
    /* results */
    size_t got; /* less than `size` only at the end */
};

/* ------------------------------------------------------------------------------------------------ bodies */

typedef void store_topic_fn(void *ctx, const struct store_topic *topic);

#define STORE_MAX_TOPICS 100000
#define STORE_MAX_DURABLE 1000000

/* How much there may be. 0: the number above. */
struct store_limits {
    uint64_t max_topics;
    uint64_t max_durable; /* stored subscriptions */
};

struct store_opened {
    uint8_t log_id[LOG_ID_BYTES];
    uint64_t start_count;
    struct store_state state;
};

struct store;
struct store_reader;

struct store_vtable {
    enum ps_status (*commit)(struct store *store, struct store_op **ops, size_t count,
                             struct store_state *state);
    enum ps_status (*work)(struct store *store, bool *more, struct store_state *state);
    void (*load)(struct store *store, store_topic_fn *show, void *ctx);
    enum ps_status (*reader_new)(struct store *store, struct store_reader **reader);
    void (*reader_free)(struct store_reader *reader);
    enum ps_status (*read)(struct store_reader *reader, struct store_read *read);
    enum ps_status (*resolve)(struct store_reader *reader, struct store_resolve *resolve);
    enum ps_status (*list)(struct store_reader *reader, struct store_list *list);
    enum ps_status (*verify)(struct store_reader *reader, struct store_verify *verify);
    enum ps_status (*read_backup)(struct store_reader *reader, struct store_backup_read *read);
    enum ps_status (*close)(struct store *store);
};

/* First member of every body. */
struct store {
    const struct store_vtable *vtable;
};
struct store_reader {
    const struct store_vtable *vtable;
};

/* Everything in one atomic commit with one sync. Writer thread.
 * Operations take effect in their order; only appends with nothing between them that sees them (offsets and
 * forgetting do not) may be regrouped by topic. So a mark taken between two appends of one commit lies between
 * their seqs.
 * PS_OK: each operation carries its own outcome; a refused one left nothing behind.
 * PS_UNKNOWN: the commit's own write or sync failed; operations not refused carry PS_UNKNOWN; the store
 * takes no further commit and the process must stop. PS_FOREIGN_WRITER, PS_STORAGE_FAILED: nothing was done,
 * all operations carry it, the process must stop. `state` is written with every outcome. */
static inline enum ps_status store_commit(struct store *store, struct store_op **ops, size_t count,
                                          struct store_state *state)
{
    return store->vtable->commit(store, ops, count, state);
}

/* A bounded step of background work (checkpoint, index, sweeping) when there is nothing to commit. PS_OK, also when it
 * could not be done for now (no memory, no room); else as a commit that failed: PS_UNKNOWN, PS_FOREIGN_WRITER,
 * PS_STORAGE_FAILED, again with each further step, and the process must stop. `more`, whether there is more to do, and
 * `state` are written with every outcome. Writer thread. */
static inline enum ps_status store_work(struct store *store, bool *more, struct store_state *state)
{
    return store->vtable->work(store, more, state);
}

/* Shows every topic that is not deleted with its recent runs, once, before the writer thread starts. Spans
 * are borrowed until `show` returns. */
static inline void store_load(struct store *store, store_topic_fn *show, void *ctx)
{
    store->vtable->load(store, show, ctx);
}

/* Ours to free with store_reader_free() on the thread that uses it, before store_close(). Any thread. */
static inline enum ps_status store_reader_new(struct store *store, struct store_reader **reader)
{
    return store->vtable->reader_new(store, reader);
}

static inline void store_reader_free(struct store_reader *reader)
{
    if (reader != NULL)
        reader->vtable->reader_free(reader);
}

static inline enum ps_status store_read(struct store_reader *reader, struct store_read *read)
{
    return reader->vtable->read(reader, read);
}

static inline enum ps_status store_resolve(struct store_reader *reader, struct store_resolve *resolve)
{
    return reader->vtable->resolve(reader, resolve);
}

static inline enum ps_status store_list(struct store_reader *reader, struct store_list *list)
{
    return reader->vtable->list(reader, list);
}

static inline enum ps_status store_verify(struct store_reader *reader, struct store_verify *verify)
{
    return reader->vtable->verify(reader, verify);
}

/* Forgets a check, finished or not. Any thread. */
static inline void store_verify_end(struct store_verify *verify)
{
    if (verify->scrub != NULL)
        verify->free_scrub(verify->scrub);
    verify->scrub = NULL;
}

static inline enum ps_status store_read_backup(struct store_reader *reader, struct store_backup_read *read)
{
    return reader->vtable->read_backup(reader, read);
}

/* Ends cleanly: the index is completed, the WAL emptied. Frees the store, whatever the outcome. PS_OK, or why the store
 * failed, now or before: what was acknowledged is kept all the same, the rest is left to the next start. Takes NULL. */
static inline enum ps_status store_close(struct store *store)
{
    return store == NULL ? PS_OK : store->vtable->close(store);
}

#endif
