/* A broker as a library: store, core, threads and listeners, built in order and taken down in order.
 *
 * Everything runs on the caller's loop; no globals. All functions are for the thread that runs the loop. The
 * process must ignore SIGPIPE: libuv's writes to a peer that has left raise it. */
#ifndef PSBROKER_SERVER_H
#define PSBROKER_SERVER_H

#include "address.h"
#include "broker.h"
#include "connections.h"

#include <uv.h>

enum {
    SERVER_LISTENERS_MAX = 16,
    SERVER_SPARE_DESCRIPTORS = 48 /* not used for connections */
};

struct server_config {
    const char *directory;      /* made with mode 0700 if it is not there */
    struct store *store;        /* one that is open already, instead of a directory: taken with any outcome */
    struct store_opened opened; /* its */
    struct address listeners[SERVER_LISTENERS_MAX];
    unsigned listener_count;
    struct broker_config broker;
    bool accept_changes; /* as in store_sqlite.h */
    bool accept_loss;    /* as in store_sqlite.h */
    struct connection_deadlines deadlines;
    struct connection_limits limits;
    enum log_level log_level;
    int log_fd; /* log lines go here; -1: nowhere */
    /* The server is gone, and with it every handle and thread: PS_OK after server_stop(), else the failure of
     * the store that ended it. Once, from the loop. */
    void (*stopped)(void *ctx, enum ps_status status);
    void *ctx;
};

struct server;

/* Locks the directory, opens the store, starts the threads, listens. May take seconds (recovery). `config` is
 * borrowed until return, its texts until `stopped`. On failure everything is undone (the loop must run once
 * more for that), `stopped` is not called, `error` says what is wrong and what to do.
 * PS_OK; PS_IN_USE (the directory); those of store_sqlite_open(); PS_ACCESS_DENIED; PS_NO_MEMORY; PS_IO_ERROR
 * (an address among others). */
enum ps_status server_start(const struct server_config *config, uv_loop_t *loop, struct server **server,
                            char *error, size_t error_size);

/* How many listen, and where each really does. */
unsigned server_listeners(const struct server *server);
const struct address *server_address(const struct server *server, unsigned index);

/* Drains: no new connection, publications under way are answered, clients get Goodbye, what is queued is
 * sent (bounded), then all is taken down and `stopped` called. Idempotent. */
void server_stop(struct server *server);

#endif
