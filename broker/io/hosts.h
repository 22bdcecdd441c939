/* Who is connected, by address: how many connections each address has, and how fast it makes topics.
 *
 * An IPv6 address counts by its /64, which one machine has whole; all Unix sockets are one address. Loopback and
 * Unix sockets are only counted when asked for. Loop thread only. */
#ifndef PSBROKER_HOSTS_H
#define PSBROKER_HOSTS_H

#include "list.h"
#include "map.h"
#include "rate.h"
#include "status.h"

#include <sys/socket.h>

enum { HOST_KEY_BYTES = 9 };

struct host {
    struct map_node by_key;
    struct list in_idle; /* while it has no connection and its rate does not rest */
    uint32_t connections;
    struct rate topics;
    uint8_t key[HOST_KEY_BYTES];
};

struct hosts {
    uint32_t max_connections; /* of one address */
    uint32_t topic_rate;      /* new topics a second for one address */
    bool local;               /* loopback and Unix sockets too */
    uint64_t seed;
    struct map map;
    struct list idle;
};

/* Limits are set by then. */
void hosts_init(struct hosts *hosts, uint64_t seed);
void hosts_deinit(struct hosts *hosts); /* every connection has left */

/* A connection from `peer`, NULL for a Unix socket. PS_OK, with *host == NULL where no limit applies, else to be
 * given to hosts_leave(); PS_LIMIT_EXCEEDED (it has max_connections); PS_NO_MEMORY. */
enum ps_status hosts_enter(struct hosts *hosts, const struct sockaddr_storage *peer, uint64_t now_ns,
                           struct host **host);
void hosts_leave(struct hosts *hosts, struct host *host, uint64_t now_ns); /* takes NULL */

#endif
