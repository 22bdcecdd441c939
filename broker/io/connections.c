/* Every connection is in one list, and in another while something has to be done for it at the end of the turn. One
 * timer looks at all deadlines while there is a connection. */
#include "connections.h"

#include "arena.h"
#include "broker.h"
#include "connection_state.h"
#include "defaults.h"
#include "uv_status.h"

#include <assert.h>

enum { SWEEP_MS = 250 };

static void sweep_cb(uv_timer_t *timer)
{
    struct connections *connections = timer->data;
    uint64_t now = uv_now(connections->loop);

    for (struct connection *c = connections->all; c != NULL; c = c->next) {
        connection_rest(c);
        if (c->deadline_ms != 0 && now >= c->deadline_ms)
            connection_overdue(c);
    }
}

void connections_add(struct connections *connections, struct connection *connection)
{
    connection->next = connections->all;
    connection->link = &connections->all;
    if (connections->all != NULL)
        connections->all->link = &connection->next;
    connections->all = connection;
    if (connections->count++ == 0)
        uv_timer_start(&connections->timer, sweep_cb, SWEEP_MS, SWEEP_MS);
}

enum ps_status connections_admit(struct connections *connections, struct connection *connection,
                                 const struct sockaddr_storage *peer, struct refusal *refusal)
{
    const struct connection_limits *limits = &connections->limits;

    *refusal = (struct refusal){"max_connections", limits->total};
    if (connections->served >= limits->total)
        return PS_LIMIT_EXCEEDED;
    *refusal = (struct refusal){"max_per_address", limits->per_address};
    enum ps_status status = hosts_enter(&connections->hosts, peer, uv_hrtime(), &connection->host);
    if (status != PS_OK)
        return status;
    connection->served = true;
    connections->served++;
    return PS_OK;
}

void connections_greeted(struct connections *connections, struct connection *connection)
{
    if (list_empty(&connection->in_greeting))
        return;
    list_remove(&connection->in_greeting);
    connections->greeting_count--;
}

void connections_await_hello(struct connections *connections, struct connection *connection)
{
    uint32_t most = connections->limits.greeting;

    if (connections->greeting_count == most) {
        struct connection *oldest = LIST_OBJECT(connections->greeting.next, struct connection, in_greeting);
        session_refuse_limit(oldest->session, "max_greeting", most);
        connection_end(oldest);
    }
    list_append(&connections->greeting, &connection->in_greeting);
    connections->greeting_count++;
}

static bool may_begin(const struct connections *connections, size_t frame)
{
    const struct quota *arriving = &connections->arriving;

    return broker_takes_more(connections->broker) &&
           (arriving->used == 0 || arriving->used + frame <= arriving->limit);
}

/* In order, so that a large one is not overtaken for ever. */
static void serve_arrivals(struct connections *connections)
{
    struct list *waiters = &connections->arriving_waiters;

    while (!list_empty(waiters)) {
        struct connection *first = LIST_OBJECT(waiters->next, struct connection, in_arriving);
        size_t frame = frame_reader_frame(&first->reader);
        if (!may_begin(connections, frame))
            return;
        list_remove(&first->in_arriving);
        first->arriving = frame;
        quota_charge(&connections->arriving, frame);
        connection_go_on(first);
    }
}

bool connections_arrive(struct connections *connections, struct connection *connection, size_t frame)
{
    if (frame == connection->arriving && list_empty(&connection->in_arriving))
        return true;
    quota_release(&connections->arriving, connection->arriving);
    connection->arriving = 0;
    list_remove(&connection->in_arriving);
    if (frame > 0)
        list_append(&connections->arriving_waiters, &connection->in_arriving);
    serve_arrivals(connections);
    return list_empty(&connection->in_arriving);
}

static void unmark_dirty(struct connections *connections, struct connection *connection)
{
    struct connection **at = &connections->dirty;

    while (*at != connection)
        at = &(*at)->next_dirty;
    *at = connection->next_dirty;
    connection->dirty = false;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    if (connection->dirty)
        unmark_dirty(connections, connection);
    hosts_leave(&connections->hosts, connection->host, uv_hrtime());
    connections->served -= connection->served;
    connections->lingering -= connection->lingering;
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    if (--connections->count == 0)
        uv_timer_stop(&connections->timer);
}

void connections_mark_dirty(struct connections *connections, struct connection *connection)
{
    if (connection->dirty)
        return;
    connection->dirty = true;
    connection->next_dirty = connections->dirty;
    connections->dirty = connection;
}

bool connections_flush(struct connections *connections)
{
    struct connection *list = connections->dirty;
    bool more = false;

    connections->dirty = NULL;
    serve_arrivals(connections); /* commits may have made room */
    while (list != NULL) {
        struct connection *connection = list;
        list = connection->next_dirty;
        connection->dirty = false;
        more |= connection_end_of_turn(connection);
    }
    return more || connections->dirty != NULL;
}

static uint32_t or_else(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

enum ps_status connections_init(struct connections *connections, uv_loop_t *loop, struct broker *broker,
                                struct turn *turn, const struct connection_deadlines *deadlines,
                                const struct connection_limits *limits)
{
    int code;

    *connections = (struct connections){
        .loop = loop,
        .broker = broker,
        .turn = turn,
        .deadlines = {.assembly_ms = or_else(deadlines->assembly_ms, DEFAULT_FRAME_TIMEOUT_S * 1000),
                      .send_ms = or_else(deadlines->send_ms, 5 * 1000),
                      .linger_ms = or_else(deadlines->linger_ms, 1000)},
        .limits = {.total = or_else(limits->total, DEFAULT_MAX_CONNECTIONS),
                   .greeting = or_else(limits->greeting, DEFAULT_MAX_GREETING),
                   .per_address = or_else(limits->per_address, DEFAULT_MAX_PER_ADDRESS),
                   .topic_rate = or_else(limits->topic_rate, DEFAULT_TOPIC_RATE),
                   .local = limits->local},
    };
    list_init(&connections->greeting);
    list_init(&connections->arriving_waiters);
    connections->arriving.limit =
        limits->arriving != 0 ? limits->arriving : DEFAULT_RECEIVE_MIB * 1024 * 1024;
    connections->hosts = (struct hosts){.max_connections = connections->limits.per_address,
                                        .topic_rate = connections->limits.topic_rate,
                                        .local = limits->local};
    hosts_init(&connections->hosts, hash_number(uv_hrtime()));
    code = uv_timer_init(loop, &connections->timer);
    connections->timer.data = connections;
    return uv_status(code);
}

static void deinit_cb(uv_handle_t *handle)
{
    struct connections *connections = handle->data;

    arena_free(connections->arena);
    connections->arena = NULL;
    buffer_pool_deinit(&connections->buffers);
    hosts_deinit(&connections->hosts);
    connections->closed(connections->ctx);
}

void connections_deinit(struct connections *connections, void (*closed)(void *ctx), void *ctx)
{
    assert(connections->count == 0);
    connections->closed = closed;
    connections->ctx = ctx;
    uv_close((uv_handle_t *)&connections->timer, deinit_cb);
}

void connections_end(struct connections *connections)
{
    for (struct connection *c = connections->all; c != NULL; c = c->next)
        connection_end(c);
}

uint64_t connections_queued_bytes(const struct connections *connections)
{
    uint64_t bytes = 0;

    for (const struct connection *c = connections->all; c != NULL; c = c->next)
        bytes += connection_queued(c);
    return bytes;
}
