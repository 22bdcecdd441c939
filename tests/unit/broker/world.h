/* A whole broker in one process: the memory store behind a log whose completions the test decides about, a clock
 * that the test turns, and clients that speak real frames and keep what they are sent. */
#ifndef PSBROKER_TESTS_WORLD_H
#define PSBROKER_TESTS_WORLD_H

#include "broker.h"
#include "codec.h"
#include "dice.h"
#include "session.h"

enum { WORLD_CLIENTS = 16, WORLD_QUEUE = 4096 };

struct received {
    struct received *next;
    struct arena *arena;
    struct server_frame frame;
    size_t size;
    uint8_t bytes[];
};

struct client {
    struct world *world;
    struct session *session; /* NULL: not connected */
    struct received *first, **end, *current;
    bool closed, paused, slow; /* slow: what is queued stays until client_take() */
    size_t queued;
    uint64_t sent;
    uint64_t next_request;
    unsigned pauses;
};

struct world {
    struct store *store;
    struct store_reader *reader;
    struct broker *broker;
    struct broker_config config;
    struct store_opened opened;
    struct store_state state;
    uint64_t now_ns, armed_ns;
    uint64_t look_ns; /* passes each time the broker looks at the clock */
    struct log_write *writes[WORLD_QUEUE];
    size_t write_count;
    struct log_read *reads[WORLD_QUEUE];
    bool read_ran[WORLD_QUEUE];
    size_t read_count;
    unsigned slices; /* of history, read so far */
    unsigned drained;
    unsigned failed;
    enum ps_status failure;
    enum ps_status next_commit; /* PS_OK: as the store says */
    enum ps_status next_op;     /* refuses every operation of the next commit */
    uint64_t damaged_offset;    /* slices end before it with PS_DAMAGED; UINT64_MAX: none */
    struct client clients[WORLD_CLIENTS];
};

struct world *world_new(const struct broker_config *config);
/* On another store, which it takes. */
struct world *world_new_on(const struct broker_config *config, struct store *store,
                           const struct store_opened *opened);
/* The broker goes, with the store it had, and comes again on that one, which it takes. */
void world_move(struct world *world, struct store *store, const struct store_opened *opened);
/* Disconnects all, completes what is under way, checks that nothing is left charged, frees. */
void world_free(struct world *world);
/* The broker goes without a word and comes again on the same store. */
void world_restart(struct world *world);

/* Commits the oldest `count` writes in one commit and completes them; then a flush. */
void world_commit(struct world *world, size_t count);
/* Runs and completes one read; `complete` false: the store is asked now, the answer comes later. */
void world_run_read(struct world *world, size_t index);
void world_complete_read(struct world *world, size_t index);
/* Until nothing is under way. */
void world_settle(struct world *world);
/* Turns the clock and ticks when the broker wanted it. */
void world_pass(struct world *world, uint64_t ms);

struct client *world_connect(struct world *world, unsigned index, enum session_role role, const char *id);
/* A session without Hello. */
struct client *world_accept(struct world *world, unsigned index, enum session_role role);
void client_disconnect(struct client *client);
/* Encodes, decodes, receives, flushes. */
void client_send(struct client *client, const struct client_frame *frame);
/* With a fresh request id, which is returned. */
uint64_t client_request(struct client *client, struct client_frame *frame);
/* The oldest frame not looked at, NULL: none. Valid until the next call. */
const struct server_frame *client_next(struct client *client);
/* The next frame must be of this kind. */
const struct server_frame *client_expect(struct client *client, enum server_frame_kind kind);
const struct server_frame *client_expect_error(struct client *client, enum ps_status status);
void client_expect_nothing(struct client *client);
/* The next one of this kind; others are skipped. */
const struct server_frame *client_find(struct client *client, enum server_frame_kind kind);
/* The kernel took everything. */
void client_take(struct client *client);

/* Shorthands; each settles the world. */
uint64_t publish(struct client *client, const char *topic, const char *payload);
void publish_many(struct client *client, const char *topic, unsigned count);
struct client_frame subscribe_frame(const char *filter, const char *durable_id);
struct client_frame ack_frame(uint64_t subscription, const char *topic, uint64_t next);
uint64_t subscribe(struct client *client, const char *filter, const char *durable_id, enum start_kind start,
                   uint64_t value);
void acknowledge(struct client *client, uint64_t subscription, const char *topic, uint64_t next);
/* Takes deliveries until there are no more frames; they must be offsets [from, to) of the topic in order. */
void expect_offsets(struct client *client, const char *topic, uint64_t from, uint64_t to);

#endif
