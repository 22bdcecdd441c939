/* The socket of a connection.
 *
 * The addresses of a name are tried in order, each with a handle that is closed before the next is made.
 * Output has two buffers: one is being written, the other is being filled. Everything that can fail ends in
 * fail(): it tells the owner once and closes the handle; the memory goes when neither the handle nor the
 * resolver uses it any more. Errors inside of a call of the owner are told from an idle handle's callback. */
#include "transport.h"

#include "frame.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum transport_state { TRANSPORT_CONNECTING, TRANSPORT_OPEN, TRANSPORT_FINISHING, TRANSPORT_CLOSING };

struct transport {
    uv_loop_t *loop;
    const struct transport_events *events;
    void *owner;
    enum transport_state state;
    bool stopped;   /* the owner wants to hear of nothing but `gone` */
    bool resolving; /* the resolver holds `resolve` */
    bool handle_open;
    bool shutting;
    bool writing;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    uv_idle_t later; /* tells of a failure that happened inside of a call */
    bool later_open;
    enum ps_status late_status;
    const char *late_text;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct addrinfo *addresses, *next;
    struct sockaddr_storage number; /* a host given as a number needs no resolver */
    struct buffer_pool buffers;
    struct frame_reader reader;
    struct bytes filling, flying;
    char text[160];
};

static void try_next(struct transport *transport, int error);

/* Our only place where codes of libuv become ours: the text keeps what it was. */
static const char *describe(struct transport *transport, const char *what, int error)
{
    snprintf(transport->text, sizeof transport->text, "%s: %s", what, uv_strerror(error));
    return transport->text;
}

static bool nobody_listens(int error)
{
    return error == UV_ECONNREFUSED || error == UV_ENOENT || error == UV_EAGAIN;
}

static void move(struct transport *transport, enum transport_state state)
{
    static const unsigned successors[] = {
        [TRANSPORT_CONNECTING] = 1U << TRANSPORT_OPEN | 1U << TRANSPORT_CLOSING,
        [TRANSPORT_OPEN] = 1U << TRANSPORT_FINISHING | 1U << TRANSPORT_CLOSING,
        [TRANSPORT_FINISHING] = 1U << TRANSPORT_CLOSING,
        [TRANSPORT_CLOSING] = 0,
    };

    assert((successors[transport->state] >> state & 1) != 0);
    transport->state = state;
}

/* ---------------------------------------------------------------------------------------------- the end */

static void free_when_unused(struct transport *transport)
{
    if (transport->handle_open || transport->later_open || transport->resolving)
        return;
    transport->events->gone(transport->owner);
    uv_freeaddrinfo(transport->addresses);
    frame_reader_deinit(&transport->reader);
    buffer_pool_deinit(&transport->buffers);
    bytes_deinit(&transport->filling);
    bytes_deinit(&transport->flying);
    free(transport);
}

static void handle_closed_cb(uv_handle_t *handle)
{
    struct transport *transport = handle->data;

    transport->handle_open = false;
    if (transport->state == TRANSPORT_CLOSING)
        free_when_unused(transport);
    else
        try_next(transport, 0);
}

static void later_closed_cb(uv_handle_t *handle)
{
    struct transport *transport = handle->data;

    transport->later_open = false;
    free_when_unused(transport);
}

static void close_all(struct transport *transport)
{
    move(transport, TRANSPORT_CLOSING);
    if (transport->resolving)
        uv_cancel((uv_req_t *)&transport->resolve);
    if (transport->handle_open && !uv_is_closing(&transport->handle))
        uv_close(&transport->handle, handle_closed_cb);
    uv_close((uv_handle_t *)&transport->later, later_closed_cb);
}

static void fail(struct transport *transport, enum ps_status status, bool refused, const char *text)
{
    if (transport->state == TRANSPORT_CLOSING)
        return;
    close_all(transport);
    if (!transport->stopped)
        transport->events->lost(transport->owner, status, refused, text);
}

static void later_cb(uv_idle_t *later)
{
    struct transport *transport = later->data;

    uv_idle_stop(later);
    fail(transport, transport->late_status, false, transport->late_text);
}

static void fail_later(struct transport *transport, enum ps_status status, const char *text)
{
    if (transport->state == TRANSPORT_CLOSING || uv_is_active((uv_handle_t *)&transport->later))
        return;
    transport->late_status = status;
    transport->late_text = text;
    uv_idle_start(&transport->later, later_cb);
}

void transport_stop(struct transport *transport)
{
    if (transport == NULL)
        return;
    transport->stopped = true;
    if (transport->state != TRANSPORT_CLOSING)
        close_all(transport);
}

/* -------------------------------------------------------------------------------------------- receiving */

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct transport *transport = handle->data;
    uint8_t *place;
    size_t room;

    (void)suggested;
    *buf = uv_buf_init(NULL, 0);
    if (frame_reader_space(&transport->reader, &place, &room) == PS_OK)
        *buf = uv_buf_init((char *)place, (unsigned)(room < INT32_MAX ? room : INT32_MAX));
}

static void hand_out_frames(struct transport *transport)
{
    while (transport->state != TRANSPORT_CLOSING) {
        struct buffer *owner;
        struct span body;
        enum ps_status status = frame_reader_next(&transport->reader, &body, &owner);

        if (status != PS_OK) {
            fail(transport, status, false, ps_status_text(status));
            return;
        }
        if (!span_present(body) || !transport->events->frame(transport->owner, body))
            return;
    }
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct transport *transport = stream->data;

    (void)buf;
    if (size == UV_EOF)
        fail(transport, PS_CONNECTION_LOST, false, "the broker closed the connection");
    else if (size == UV_ENOBUFS)
        fail(transport, PS_NO_MEMORY, false, ps_status_text(PS_NO_MEMORY));
    else if (size < 0)
        fail(transport, PS_CONNECTION_LOST, false, describe(transport, "receiving failed", (int)size));
    if (size <= 0)
        return;
    frame_reader_received(&transport->reader, (size_t)size);
    transport->events->received(transport->owner);
    hand_out_frames(transport);
}

void transport_set_cap(struct transport *transport, size_t cap)
{
    frame_reader_set_cap(&transport->reader, cap);
}

/* ------------------------------------------------------------------------------------------- connecting */

static void connect_cb(uv_connect_t *connect, int status)
{
    struct transport *transport = connect->data;

    if (transport->state == TRANSPORT_CLOSING)
        return;
    if (status == 0)
        status = uv_read_start(&transport->stream, alloc_cb, read_cb);
    if (status != 0) {
        try_next(transport, status);
        return;
    }
    move(transport, TRANSPORT_OPEN);
    transport->events->open(transport->owner);
}

static int connect_tcp(struct transport *transport, const struct sockaddr *address)
{
    int error = uv_tcp_init(transport->loop, &transport->tcp);

    if (error != 0)
        return error;
    transport->handle.data = transport;
    transport->handle_open = true;
    uv_tcp_nodelay(&transport->tcp, 1);
    return uv_tcp_connect(&transport->connect, &transport->tcp, address, connect_cb);
}

/* Goes on with the next address; `error` is why the one before failed, 0 for none. A handle that was used is
 * closed first and its callback comes back here. */
static void try_next(struct transport *transport, int error)
{
    if (error != 0 && transport->next == NULL) {
        fail(transport, PS_CONNECT_FAILED, nobody_listens(error),
             describe(transport, "cannot connect", error));
        return;
    }
    if (transport->handle_open) {
        uv_close(&transport->handle, handle_closed_cb);
        return;
    }
    while (transport->next != NULL) {
        const struct sockaddr *address = transport->next->ai_addr;

        transport->next = transport->next->ai_next;
        error = connect_tcp(transport, address);
        if (error == 0)
            return;
        if (transport->handle_open)
            break;
    }
    try_next(transport, error != 0 ? error : UV_EADDRNOTAVAIL);
}

static void resolved_cb(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
    struct transport *transport = resolve->data;

    transport->resolving = false;
    transport->addresses = addresses;
    if (transport->state == TRANSPORT_CLOSING) {
        free_when_unused(transport);
        return;
    }
    if (status != 0) {
        fail(transport, PS_CONNECT_FAILED, false, describe(transport, "cannot find the host", status));
        return;
    }
    transport->next = addresses;
    try_next(transport, 0);
}

static int resolve(struct transport *transport, const char *host, int port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char service[16];
    int error;

    snprintf(service, sizeof service, "%d", port);
    error = uv_getaddrinfo(transport->loop, &transport->resolve, resolved_cb, host, service, &hints);
    transport->resolving = error == 0;
    return error;
}

static int connect_host(struct transport *transport, const char *host, int port)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&transport->number) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&transport->number) == 0)
        return connect_tcp(transport, (const struct sockaddr *)&transport->number);
    return resolve(transport, host, port);
}

static int connect_unix(struct transport *transport, const char *path)
{
    int error = uv_pipe_init(transport->loop, &transport->pipe, 0);

    if (error != 0)
        return error;
    transport->handle.data = transport;
    transport->handle_open = true;
    uv_pipe_connect(&transport->connect, &transport->pipe, path, connect_cb);
    return 0;
}

enum ps_status transport_start(uv_loop_t *loop, const struct transport_address *address,
                               const struct transport_events *events, void *owner,
                               struct transport **transport)
{
    struct transport *made = calloc(1, sizeof *made);
    int error;

    if (made == NULL)
        return PS_NO_MEMORY;
    made->loop = loop;
    made->events = events;
    made->owner = owner;
    made->resolve.data = made;
    made->connect.data = made;
    made->write.data = made;
    made->shutdown.data = made;
    frame_reader_init(&made->reader, FRAME_OVERHEAD_BYTES, &made->buffers);
    uv_idle_init(loop, &made->later);
    made->later.data = made;
    made->later_open = true;
    error = address->unix_path != NULL ? connect_unix(made, address->unix_path)
                                       : connect_host(made, address->host, address->port);
    if (error != 0)
        fail_later(made, PS_CONNECT_FAILED, describe(made, "cannot connect", error));
    *transport = made;
    return PS_OK;
}

/* -------------------------------------------------------------------------------------------- sending */

static void shutdown_cb(uv_shutdown_t *shutdown, int status)
{
    struct transport *transport = shutdown->data;

    (void)status;
    fail(transport, PS_OK, false, "");
}

static void shut_when_written(struct transport *transport)
{
    if (transport->writing || transport->shutting)
        return;
    transport->shutting = true;
    if (uv_shutdown(&transport->shutdown, &transport->stream, shutdown_cb) != 0)
        fail_later(transport, PS_OK, "");
}

static void write_cb(uv_write_t *write, int status)
{
    struct transport *transport = write->data;

    transport->writing = false;
    transport->flying.size = 0;
    if (transport->state == TRANSPORT_CLOSING)
        return;
    if (status != 0) {
        fail(transport, PS_CONNECTION_LOST, false, describe(transport, "sending failed", status));
        return;
    }
    transport_flush(transport);
    if (transport->state == TRANSPORT_OPEN)
        transport->events->written(transport->owner);
}

/* What the kernel takes at once costs no callback. False: the rest is under way, or it failed. */
static bool write_out(struct transport *transport)
{
    struct bytes spare = transport->flying;
    uv_buf_t buf = uv_buf_init((char *)transport->filling.data, (unsigned)transport->filling.size);
    int sent = uv_try_write(&transport->stream, &buf, 1);

    if (sent >= 0 && (size_t)sent == transport->filling.size) {
        transport->filling.size = 0;
        return true;
    }
    transport->flying = transport->filling;
    transport->filling = spare;
    if (sent > 0)
        buf = uv_buf_init(buf.base + sent, (unsigned)(buf.len - (size_t)sent));
    if (sent >= 0 || sent == UV_EAGAIN)
        sent = uv_write(&transport->write, &transport->stream, &buf, 1, write_cb);
    transport->writing = sent == 0;
    if (sent != 0) {
        transport->flying.size = 0;
        fail_later(transport, PS_CONNECTION_LOST, describe(transport, "sending failed", sent));
    }
    return false;
}

void transport_flush(struct transport *transport)
{
    if (transport->writing || transport->shutting || transport->state == TRANSPORT_CONNECTING ||
        transport->state == TRANSPORT_CLOSING)
        return;
    if (transport->filling.size > 0 && !write_out(transport))
        return;
    if (transport->state == TRANSPORT_FINISHING)
        shut_when_written(transport);
}

struct bytes *transport_out(struct transport *transport)
{
    return &transport->filling;
}

bool transport_full(const struct transport *transport)
{
    return transport->filling.size >= TRANSPORT_READY_BYTES;
}

void transport_finish(struct transport *transport)
{
    if (transport->state != TRANSPORT_OPEN)
        return;
    move(transport, TRANSPORT_FINISHING);
    transport_flush(transport);
}
