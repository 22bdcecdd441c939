/* Design
 *
 * Received bytes go straight into the frame reader's buffers; what a burst brought is given to the session
 * frame by frame. The session's answers gather in the `filling` outbox and leave at the end of the turn with
 * one vectored write. Only when the kernel is full, the rest becomes one pending write from the `flying`
 * box, and nothing more is given to the kernel until that is done.
 *
 *   OPEN ----------- session closes, refusal ------> ENDING    nothing is received any more; the session is
 *     |                                                |       freed at the end of the turn
 *     | peer gone, error                               | all sent, FIN
 *     |                                                v
 *     |                                            LINGERING   waits for the peer's FIN, so that a reset
 *     |                                                |       does not take away what it has not read yet
 *     +------------------+---- too long, error --------+
 *                        v
 *                     CLOSING -> freed in the close callback (libuv calls those of pending requests first)
 *
 * Failure modes: a peer that sends part of a frame and no more is refused after its time;
 * one that sends part of a large one waits until those before it have come or were refused;
 * one that does not read is bounded by the session's view of queued(); one that is dead while the
 * connection ends, by the deadline of the state. A paused connection has no running clock. A buffer full of small
 * requests with much work or large answers behind each is left alone as soon as the session pauses, and after
 * BURST_NS in favour of the others; what it still holds is its backlog, and nothing is read behind that. */
#include "connection.h"

#include "address.h"
#include "broker.h"
#include "codec.h"
#include "connection_state.h"
#include "quota.h"
#include "uv_status.h"

#include <assert.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
    BUFFERS_PER_WRITE = 256,
    BURST_NS = 2 * 1000 * 1000,
    UNSENT_MAX = 256 * 1024,
    PIECE_BYTES = 256 * 1024 /* of a frame that arrives: each has the time for assembly */
};

static const bool allowed[CONNECTION_STATES][CONNECTION_STATES] = {
    [CONNECTION_OPEN] = {[CONNECTION_ENDING] = true, [CONNECTION_CLOSING] = true},
    [CONNECTION_ENDING] = {[CONNECTION_LINGERING] = true, [CONNECTION_CLOSING] = true},
    [CONNECTION_LINGERING] = {[CONNECTION_CLOSING] = true},
};

static void move(struct connection *connection, enum connection_state state)
{
    assert(allowed[connection->state][state]);
    connection->state = state;
}

static void mark_dirty(struct connection *connection)
{
    connections_mark_dirty(connection->owner, connection);
    turn_want(connection->owner->turn);
}

static void set_deadline(struct connection *connection, uint32_t ms)
{
    connection->deadline_ms = uv_now(connection->owner->loop) + ms;
}

/* -------------------------------------------------------------------------------------------- closing */

static void set_charge(struct connection *connection, uint64_t bytes)
{
    struct quota *output = broker_output(connection->owner->broker);

    quota_release(output, connection->charged);
    quota_charge(output, bytes);
    connection->charged = bytes;
}

static void closed_cb(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct connections *owner = connection->owner;

    set_charge(connection, 0);
    connections_remove(owner, connection);
    frame_reader_deinit(&connection->reader);
    outbox_deinit(&connection->filling);
    outbox_deinit(&connection->flying);
    free(connection);
    if (owner->closed != NULL)
        owner->closed(owner->ctx);
}

/* Not from inside a call of the session. */
static void close_now(struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSING)
        return;
    move(connection, CONNECTION_CLOSING);
    connections_greeted(connection->owner, connection);
    connections_arrive(connection->owner, connection, 0);
    session_free(connection->session);
    connection->session = NULL;
    uv_close(&connection->handle, closed_cb);
    turn_want(connection->owner->turn);
}

void connection_end(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN)
        return;
    move(connection, CONNECTION_ENDING);
    connections_greeted(connection->owner, connection);
    connections_arrive(connection->owner, connection, 0);
    set_deadline(connection, connection->owner->deadlines.send_ms);
    mark_dirty(connection);
}

static void shutdown_cb(uv_shutdown_t *request, int status)
{
    struct connection *connection = request->data;

    if (status != 0)
        close_now(connection);
}

static void place_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *place);
static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *place);

static void linger(struct connection *connection)
{
    struct connections *owner = connection->owner;

    if (connection->peer_ended || owner->lingering >= CONNECTIONS_LINGERING) {
        close_now(connection);
        return;
    }
    move(connection, CONNECTION_LINGERING);
    connection->lingering = true;
    owner->lingering++;
    set_deadline(connection, connection->owner->deadlines.linger_ms);
    connection->shutdown.data = connection;
    if (uv_shutdown(&connection->shutdown, &connection->stream, shutdown_cb) != 0)
        close_now(connection);
    else
        uv_read_start(&connection->stream, place_cb, read_cb); /* it may have been paused */
}

/* --------------------------------------------------------------------------------------------- sending */

static void written_cb(uv_write_t *request, int status)
{
    struct connection *connection = request->data;

    connection->writing = false;
    if (status != 0) {
        close_now(connection);
        return;
    }
    outbox_sent(&connection->flying, connection->write_size);
    mark_dirty(connection);
    if (connection->session != NULL)
        session_writable(connection->session);
}

/* The kernel is full: libuv sends these when it can. */
static void write_later(struct connection *connection, const uv_buf_t *buffers, unsigned count)
{
    connection->write_size = 0;
    for (unsigned i = 0; i < count; i++)
        connection->write_size += buffers[i].len;
    connection->write.data = connection;
    if (uv_write(&connection->write, &connection->stream, buffers, count, written_cb) != 0) {
        close_now(connection);
        return;
    }
    connection->given += connection->write_size;
    connection->writing = true;
}

static void flush(struct connection *connection, bool *took)
{
    uv_buf_t buffers[BUFFERS_PER_WRITE];

    while (!connection->writing && connection->state != CONNECTION_CLOSING) {
        if (outbox_empty(&connection->flying)) {
            struct outbox empty = connection->flying;
            connection->flying = connection->filling;
            connection->filling = empty;
        }
        unsigned count = outbox_buffers(&connection->flying, buffers, BUFFERS_PER_WRITE);
        if (count == 0)
            break;
        int sent = uv_try_write(&connection->stream, buffers, count);
        if (sent >= 0) {
            outbox_sent(&connection->flying, (size_t)sent);
            connection->given += (size_t)sent;
            *took = true;
        } else if (sent == UV_EAGAIN) {
            write_later(connection, buffers, count);
        } else {
            close_now(connection);
        }
    }
}

static void take_up_backlog(struct connection *connection);

bool connection_end_of_turn(struct connection *connection)
{
    bool took = false;

    take_up_backlog(connection);
    if (connection->state == CONNECTION_ENDING && connection->session != NULL) {
        session_free(connection->session);
        connection->session = NULL;
    }
    if (connection->state == CONNECTION_OPEN || connection->state == CONNECTION_ENDING)
        flush(connection, &took);
    if (connection->session == NULL)
        set_charge(connection, connection_queued(connection));
    if (connection->state == CONNECTION_ENDING && !connection->writing)
        linger(connection);
    if (!took || connection->state != CONNECTION_OPEN)
        return false;
    session_writable(connection->session);
    return true;
}

/* ------------------------------------------------------------------------------------ session's effects */

static bool effect_send(void *ctx, const struct server_frame *frame)
{
    struct connection *connection = ctx;

    if (outbox_frame(&connection->filling, frame) != PS_OK) {
        connection_end(connection);
        return false;
    }
    mark_dirty(connection);
    return true;
}

static bool effect_deliver(void *ctx, uint64_t subscription, struct span topic, struct batch *batch,
                           uint32_t begin, uint32_t end)
{
    struct connection *connection = ctx;

    if (outbox_delivery(&connection->filling, subscription, topic, batch, begin, end) != PS_OK) {
        connection_end(connection);
        return false;
    }
    mark_dirty(connection);
    return true;
}

static size_t effect_queued(void *ctx)
{
    return connection_queued(ctx);
}

static uint64_t effect_taken(void *ctx, uint64_t *left)
{
    struct connection *connection = ctx;
    size_t waiting = uv_stream_get_write_queue_size(&connection->stream);
    int unconfirmed = 0;
    uv_os_fd_t fd;

    if (uv_fileno(&connection->handle, &fd) == 0 && ioctl(fd, SIOCOUTQ, &unconfirmed) == 0)
        waiting += (size_t)unconfirmed;
    *left = waiting + connection_queued(connection);
    return waiting < connection->given ? connection->given - waiting : 0;
}

static void read_on(struct connection *connection);

static void effect_pause(void *ctx, bool paused)
{
    struct connection *connection = ctx;

    if (connection->paused == paused || connection->state != CONNECTION_OPEN)
        return;
    connection->paused = paused;
    if (paused)
        uv_read_stop(&connection->stream);
    else if (connection->backlog)
        mark_dirty(connection);
    else
        read_on(connection);
}

static void effect_close(void *ctx)
{
    connection_end(ctx);
}

/* ------------------------------------------------------------------------------------------- receiving */

static void place_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *place)
{
    struct connection *connection = handle->data;
    struct connections *owner = connection->owner;
    uint8_t *data;
    size_t room;

    (void)suggested;
    if (connection->state != CONNECTION_OPEN)
        *place = uv_buf_init((char *)owner->discarded, sizeof owner->discarded);
    else if (frame_reader_space(&connection->reader, &data, &room) == PS_OK)
        *place = uv_buf_init((char *)data, (unsigned)room);
    else
        *place = uv_buf_init(NULL, 0); /* comes back as UV_ENOBUFS */
}

/* PS_OK, or why the connection must end. */
static enum ps_status receive_frame(struct connection *connection, struct span body, struct buffer *owner)
{
    struct connections *connections = connection->owner;
    size_t budget = codec_arena_budget(body.size);
    struct client_frame frame;
    enum ps_status status;

    if (connections->arena != NULL)
        arena_reset(connections->arena, budget);
    else if ((connections->arena = arena_new(budget)) == NULL)
        return PS_NO_MEMORY;
    status = codec_decode_client(body, connections->arena, &frame);
    if (status != PS_OK)
        return status;
    session_receive(connection->session, &frame, owner, &connections->arena);
    frame_reader_set_cap(&connection->reader, session_frame_cap(connection->session));
    if (session_greeted(connection->session))
        connections_greeted(connections, connection);
    return PS_OK;
}

/* Leaves the frames that are complete for later. */
static void leave_backlog(struct connection *connection)
{
    connection->backlog = true;
    uv_read_stop(&connection->stream);
    if (!connection->paused)
        mark_dirty(connection);
}

/* What does not fit into a block is only read on when there is memory for it among all. False: it waits. */
static bool may_arrive(struct connection *connection)
{
    size_t frame = frame_reader_frame(&connection->reader);

    if (connection->backlog || connection->paused || frame <= FRAME_BUFFER_BYTES)
        frame = 0; /* nothing more of it comes for now */
    if (connections_arrive(connection->owner, connection, frame))
        return true;
    connection->deadline_ms = 0;
    return false;
}

/* The frames that are complete, until the session pauses or the others have waited long enough. */
static void receive_burst(struct connection *connection)
{
    const uint64_t begin = uv_hrtime();
    bool any = false;

    connection->backlog = false;
    while (connection->state == CONNECTION_OPEN) {
        if (connection->paused || (any && uv_hrtime() - begin > BURST_NS)) {
            leave_backlog(connection);
            break;
        }
        struct span body;
        struct buffer *owner;
        enum ps_status status = frame_reader_next(&connection->reader, &body, &owner);
        if (status == PS_OK && body.data == NULL)
            break;
        if (status == PS_OK)
            status = receive_frame(connection, body, owner);
        if (status != PS_OK) {
            session_refuse(connection->session, status);
            connection_end(connection);
        }
        any = true;
    }
    if (connection->state != CONNECTION_OPEN)
        return;
    size_t pending = frame_reader_pending(&connection->reader);
    size_t pieces = pending / PIECE_BYTES;
    if (pending == 0)
        connection->deadline_ms = 0;
    else if (any || connection->deadline_ms == 0 || pieces > connection->pieces)
        set_deadline(connection, connection->owner->deadlines.assembly_ms);
    connection->pieces = pieces;
    if (!may_arrive(connection))
        uv_read_stop(&connection->stream);
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *place)
{
    struct connection *connection = stream->data;

    (void)place;
    if (connection->state == CONNECTION_OPEN && size == UV_ENOBUFS) {
        session_refuse(connection->session, PS_NO_MEMORY);
        connection_end(connection);
        return;
    }
    if (size == UV_EOF && connection->state == CONNECTION_ENDING) {
        connection->peer_ended = true; /* it may still read what is queued */
        return;
    }
    if (size < 0) {
        close_now(connection);
        return;
    }
    if (size == 0 || connection->state != CONNECTION_OPEN)
        return;
    frame_reader_received(&connection->reader, (size_t)size);
    session_heard(connection->session);
    receive_burst(connection);
    turn_want(connection->owner->turn);
}

static void read_on(struct connection *connection)
{
    if (!may_arrive(connection))
        return;
    if (frame_reader_pending(&connection->reader) > 0)
        set_deadline(connection, connection->owner->deadlines.assembly_ms);
    int code = uv_read_start(&connection->stream, place_cb, read_cb);
    if (code != 0 && code != UV_EALREADY)
        connection_end(connection);
}

static void take_up_backlog(struct connection *connection)
{
    if (!connection->backlog || connection->paused || connection->state != CONNECTION_OPEN)
        return;
    session_heard(connection->session);
    receive_burst(connection);
    if (connection->state == CONNECTION_OPEN && !connection->backlog && !connection->paused)
        read_on(connection);
}

void connection_go_on(struct connection *connection)
{
    if (!connection->paused)
        read_on(connection);
}

void connection_rest(struct connection *connection)
{
    if (!list_empty(&connection->in_arriving))
        session_heard(connection->session); /* nothing could be heard */
    if (connection->session != NULL)
        session_rest(connection->session);
    frame_reader_rest(&connection->reader);
    outbox_rest(&connection->filling);
    outbox_rest(&connection->flying);
}

void connection_overdue(struct connection *connection)
{
    if (connection->state == CONNECTION_OPEN && connection->paused)
        return;
    connection->deadline_ms = 0;
    if (connection->state == CONNECTION_OPEN) {
        session_refuse_late(connection->session, connection->owner->deadlines.assembly_ms);
        connection_end(connection);
    } else {
        close_now(connection);
    }
}

/* ------------------------------------------------------------------------------------------- accepting */

/* Where a TCP connection comes from; false: it is gone already. */
static bool get_peer(const struct connection *connection, struct sockaddr_storage *peer)
{
    int length = sizeof *peer;

    return uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)peer, &length) == 0;
}

static enum ps_status open_session(struct connection *connection, const struct sockaddr_storage *peer,
                                   enum session_role role)
{
    struct session_config config = {
        .io = {.send = effect_send,
               .deliver = effect_deliver,
               .queued = effect_queued,
               .taken = effect_taken,
               .pause = effect_pause,
               .close = effect_close,
               .ctx = connection},
        .role = role,
        .topic_rate = connection->host != NULL ? &connection->host->topics : NULL,
    };

    if (peer != NULL)
        address_format_socket(peer, config.peer, sizeof config.peer);
    else
        snprintf(config.peer, sizeof config.peer, "unix");
    connection->session = session_new(connection->owner->broker, &config);
    if (connection->session == NULL)
        return PS_NO_MEMORY;
    frame_reader_init(&connection->reader, session_frame_cap(connection->session),
                      &connection->owner->buffers);
    return PS_OK;
}

/* Left to itself the kernel holds megabytes for a peer that does not read; a thousand of those use up its memory
 * for TCP, and it takes the buffers from everybody. A peer that reads has all the window it can fill. */
static void bound_kernel_memory(struct connection *connection)
{
    int bytes = UNSENT_MAX;
    uv_os_fd_t fd;

    if (uv_fileno(&connection->handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

/* One that is too many has a session too, which tells it so. */
static enum ps_status welcome(struct connection *connection, const struct sockaddr_storage *peer,
                              enum session_role role)
{
    struct connections *owner = connection->owner;
    struct refusal refusal;
    enum ps_status admitted = connections_admit(owner, connection, peer, &refusal);
    enum ps_status status = open_session(connection, peer, role);

    if (status != PS_OK)
        return status;
    if (admitted == PS_OK) {
        connections_await_hello(owner, connection);
        read_on(connection);
    } else if (admitted == PS_LIMIT_EXCEEDED) {
        session_refuse_limit(connection->session, refusal.limit, refusal.value);
    } else {
        session_refuse(connection->session, admitted);
    }
    return PS_OK;
}

static enum ps_status take(struct connection *connection, uv_stream_t *listener, enum session_role role)
{
    struct sockaddr_storage peer;
    int code = uv_accept(listener, &connection->stream);

    if (code != 0)
        return uv_status(code);
    if (listener->type != UV_TCP)
        return welcome(connection, NULL, role);
    uv_tcp_nodelay(&connection->tcp, 1);
    bound_kernel_memory(connection);
    return get_peer(connection, &peer) ? welcome(connection, &peer, role) : PS_CONNECTION_LOST;
}

enum ps_status connection_accept(struct connections *owner, uv_stream_t *listener, enum session_role role,
                                 bool *waits)
{
    struct connection *connection = calloc(1, sizeof *connection);
    enum ps_status status;
    int code;

    *waits = true;
    if (connection == NULL)
        return PS_NO_MEMORY;
    connection->owner = owner;
    list_init(&connection->in_greeting);
    list_init(&connection->in_arriving);
    owner->accepted++;
    if (listener->type == UV_TCP)
        code = uv_tcp_init(owner->loop, &connection->tcp);
    else
        code = uv_pipe_init(owner->loop, &connection->pipe, 0);
    if (code != 0) {
        free(connection);
        return uv_status(code);
    }
    connection->handle.data = connection;
    connections_add(owner, connection);
    *waits = false;
    status = take(connection, listener, role);
    if (status != PS_OK)
        close_now(connection);
    return status;
}
