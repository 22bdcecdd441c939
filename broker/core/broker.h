/* The whole broker without I/O: topics, subscriptions, the tail, sessions, on top of a log_io and a clock.
 * Loop thread only. */
#ifndef PSBROKER_BROKER_H
#define PSBROKER_BROKER_H

#include "clock.h"
#include "log_io.h"
#include "logger.h"
#include "protocol.h"

struct broker;

struct broker_config {
    struct limits limits;    /* zero members get their default, here and below: defaults.h */
    uint64_t publish_window; /* uncommitted bytes per connection */
    uint64_t publish_total;  /* uncommitted bytes of all connections together */
    uint64_t send_total;     /* bytes queued for the sockets of all connections */
    uint64_t tail_bytes;     /* memory of the tail */
    uint64_t cursor_bytes;   /* memory of all subscriptions and their cursors */
    uint32_t ping_interval_ms;
    uint32_t delivery_bytes; /* handed to one socket at a time; 0: 256 KiB */
    uint32_t max_topics;
    uint32_t max_durable;      /* stored subscriptions */
    uint64_t disk_floor;       /* the store's, for its refusals; 0: none */
    uint32_t hello_frame;      /* largest body before Hello; 0: 4096 */
    uint32_t hello_timeout_ms; /* for Hello to come */
    const char *server_version;
};

/* What only the floors above can know, for `info`. */
struct broker_probe {
    uint32_t connections;
    uint64_t queued_bytes; /* in sockets' queues */
    uint64_t oldest_reader_ms;
    uint64_t memory_bytes;
};

struct broker_io {
    struct log_io log;
    struct clock clock;
    struct logger logger;
    /* broker_tick() is wanted at this clock time (replaces an earlier wish). */
    void (*arm)(void *ctx, uint64_t at_ns);
    void (*probe)(void *ctx, struct broker_probe *probe);
    /* Draining is over: nothing is under way in the log, every answer was queued, every connection was told to
     * close. Called once, from broker_flush() or broker_tick(). */
    void (*drained)(void *ctx);
    /* The store failed (PS_UNKNOWN, PS_STORAGE_FAILED, PS_FOREIGN_WRITER): the process must stop. Every write
     * under way has completed and its client was told. Called once, from broker_flush() or broker_tick(). */
    void (*failed)(void *ctx, enum ps_status status);
    void *ctx;
};

/* Ours to free with broker_free(), after every session was freed and every log request done.
 * NULL when out of memory. */
struct broker *broker_new(const struct broker_config *config, const struct broker_io *io,
                          const struct store_opened *opened);
void broker_free(struct broker *broker); /* takes NULL */

/* One call per stored topic, before the first session: the `show` of store_load(), ctx = the broker.
 * broker_loaded() is to follow the last; false: memory ran out. */
void broker_load_topic(void *ctx, const struct store_topic *topic);
bool broker_loaded(struct broker *broker);

/* Work that is better done once per burst: committed messages become batches of the tail, waiting cursors wake,
 * answers and deliveries go out. To be called after all completions of one commit, after completions of reads,
 * and after a burst of received frames; completions of one commit are never split by a flush. It takes about a
 * millisecond for answers and deliveries. True: there are more, so flush again without waiting, after others had
 * their turn. */
bool broker_flush(struct broker *broker);

/* False: uncommitted publications of all connections fill their budget; after a flush it may be otherwise. */
bool broker_takes_more(const struct broker *broker);

/* The store's state changed by its own work, not by a write. In order with completions of writes. */
void broker_store_worked(struct broker *broker, const struct store_state *state);

/* Time passed: pings, time-outs, committed offsets that waited 100 ms, progress marks. To be followed by a flush. */
void broker_tick(struct broker *broker);

/* The budget of what is queued for all sockets. A session charges what its connection holds; what is left behind when
 * the session is freed first, the connection charges itself. */
struct quota *broker_output(struct broker *broker);

/* Refuse new publications with PS_DRAINING, answer those under way, commit offsets, send Goodbye to all;
 * then io.drained(). */
void broker_drain(struct broker *broker);

#endif
