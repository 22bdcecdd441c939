/* What the parts of the core share: the broker's own state and the few calls between them. Private to the core. */
#ifndef PSBROKER_BROKER_STATE_H
#define PSBROKER_BROKER_STATE_H

#include "broker.h"
#include "list.h"
#include "map.h"
#include "metrics.h"
#include "offsets.h"
#include "quota.h"
#include "router.h"
#include "tail.h"
#include "topics.h"

enum broker_phase {
    BROKER_RUNNING,
    BROKER_DRAINING, /* no new work; what is under way is finished */
    BROKER_DRAINED,
    BROKER_FAILING, /* the store failed; what is under way is answered */
    BROKER_FAILED
};

struct broker {
    struct broker_config config; /* defaults filled in; server_version is ours */
    struct broker_io io;
    enum broker_phase phase;
    enum ps_status failure;
    uint8_t log_id[LOG_ID_BYTES];
    struct store_state state; /* as of the last completed write */
    uint64_t mark;            /* as of the last flush: everything before it is visible to cursors */
    struct topics topics;
    struct router router;
    struct tail tail;
    struct map durables; /* (id, filter) → attached durable subscription */
    struct offsets offsets;
    struct metrics metrics;
    struct backup_job *backup;         /* NULL: none */
    struct verification_job *checking; /* NULL: none */
    struct quota publish;              /* uncommitted publications of all connections */
    struct quota output;               /* queued for sockets, as of each session's last look */
    struct quota subscriptions;        /* memory of all of them: their filters and their cursors */
    struct list publishers;            /* sessions with uncommitted publications */
    bool publishers_paused;
    struct list sessions;
    struct list pumps;       /* sessions that may have something to send */
    struct list burst;       /* topics with committed, not yet encoded messages */
    struct list finished;    /* publications whose last group was committed in this burst */
    struct list progressing; /* attachments that sent something since their last progress mark */
    uint64_t writes, reads;  /* under way */
    bool commit_seen;        /* a write completed since the last flush */
    bool load_failed;
    uint64_t next_session;
    uint64_t seed;
    uint64_t started_ns;
    uint64_t armed_ns;    /* UINT64_MAX: not */
    uint64_t progress_ns; /* when progress marks are due; UINT64_MAX: none */
    uint64_t keepalive_ns;
    uint64_t pump_until_ns; /* when sessions leave the rest to the next flush */
};

/* The move function of enum broker_phase. */
void broker_move(struct broker *broker, enum broker_phase phase);

/* Submits a write. Waiting committed offsets ride along in front of it. `done` of the write must begin with
 * broker_written(). */
void broker_write(struct broker *broker, struct log_write *write);
void broker_written(struct broker *broker, const struct log_write *write, const struct store_state *state);

/* The same for reads. */
void broker_read(struct broker *broker, struct log_read *read);
void broker_read_done(struct broker *broker);

/* broker_tick() is wanted no later than this. */
void broker_arm(struct broker *broker, uint64_t at_ns);
uint64_t broker_now(const struct broker *broker);

/* PS_OK, or why new work is refused now: PS_DRAINING, PS_STORAGE_FAILED. */
enum ps_status broker_accepts(const struct broker *broker);

/* Half of what a socket is handed at a time: one slice of history is sent while the other is read. */
uint64_t broker_slice_bytes(const struct broker *broker);

/* Topics are asked about by their facts as store.h wants them. Borrows the topic's name. */
struct store_topic broker_store_topic(const struct topic *topic);

#endif
