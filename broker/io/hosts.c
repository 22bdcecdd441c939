/* An address that left is remembered until its rate rests, else it would only have to connect anew. */
#include "hosts.h"

#include "address.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void hosts_init(struct hosts *hosts, uint64_t seed)
{
    hosts->seed = seed;
    list_init(&hosts->idle);
}

static void forget(struct hosts *hosts, struct host *host)
{
    assert(host->connections == 0);
    list_remove(&host->in_idle);
    map_remove(&hosts->map, &host->by_key);
    free(host);
}

static struct host *first_idle(const struct hosts *hosts)
{
    return list_empty(&hosts->idle) ? NULL : LIST_OBJECT(hosts->idle.next, struct host, in_idle);
}

void hosts_deinit(struct hosts *hosts)
{
    for (struct host *host; (host = first_idle(hosts)) != NULL;)
        forget(hosts, host);
    assert(hosts->map.count == 0);
    map_deinit(&hosts->map);
}

/* 4, the address; 6, the first half of the address; 0 for a Unix socket. */
static void make_key(const struct sockaddr_storage *peer, uint8_t key[HOST_KEY_BYTES])
{
    memset(key, 0, HOST_KEY_BYTES);
    if (peer == NULL)
        return;
    if (peer->ss_family == AF_INET) {
        key[0] = 4;
        memcpy(key + 1, &((const struct sockaddr_in *)peer)->sin_addr, 4);
        return;
    }
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)peer)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
    key[0] = mapped ? 4 : 6;
    memcpy(key + 1, v6->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
}

static struct host *find(const struct hosts *hosts, const uint8_t *key, uint64_t hash)
{
    struct map_node *node = map_find(&hosts->map, hash);
    for (; node != NULL; node = map_next(node)) {
        struct host *host = LIST_OBJECT(node, struct host, by_key);
        if (memcmp(host->key, key, HOST_KEY_BYTES) == 0)
            return host;
    }
    return NULL;
}

static struct host *host_new(struct hosts *hosts, const uint8_t *key, uint64_t hash)
{
    struct host *host = calloc(1, sizeof *host);
    if (host == NULL || !map_prepare(&hosts->map)) {
        free(host);
        return NULL;
    }
    memcpy(host->key, key, HOST_KEY_BYTES);
    host->topics.per_second = hosts->topic_rate;
    list_init(&host->in_idle);
    (void)map_insert(&hosts->map, &host->by_key, hash);
    return host;
}

enum ps_status hosts_enter(struct hosts *hosts, const struct sockaddr_storage *peer, uint64_t now_ns,
                           struct host **result)
{
    uint8_t key[HOST_KEY_BYTES];
    for (struct host *idle; (idle = first_idle(hosts)) != NULL && rate_rests(&idle->topics, now_ns);)
        forget(hosts, idle);
    if (!hosts->local && (peer == NULL || address_is_loopback(peer))) {
        *result = NULL;
        return PS_OK;
    }
    make_key(peer, key);
    uint64_t hash = hash_bytes((struct span){key, sizeof key}, hosts->seed);
    struct host *host = find(hosts, key, hash);
    if (host == NULL && (host = host_new(hosts, key, hash)) == NULL)
        return PS_NO_MEMORY;
    if (host->connections >= hosts->max_connections)
        return PS_LIMIT_EXCEEDED;
    list_remove(&host->in_idle);
    host->connections++;
    *result = host;
    return PS_OK;
}

void hosts_leave(struct hosts *hosts, struct host *host, uint64_t now_ns)
{
    if (host == NULL || --host->connections > 0)
        return;
    if (rate_rests(&host->topics, now_ns))
        forget(hosts, host);
    else
        list_append(&hosts->idle, &host->in_idle);
}
