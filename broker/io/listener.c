/* Out of room (which its owner keeps below the limit of file descriptors; or enough of them for one turn) a listener
 * does not call uv_accept(): libuv then stops watching the socket until it is called, so waiting costs nothing and
 * newcomers queue in the kernel. Should descriptors run out all the same, libuv itself closes the newcomer with a
 * descriptor it keeps in reserve. Without memory for a connection the newcomer waits too, and is tried again in
 * time. */
#include "listener.h"

#include "connection.h"
#include "uv_status.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 512, RETRY_MS = 200 };

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    uv_timer_t retry; /* there was no memory for a connection */
    struct listener_config config;
    struct address address;
    bool waiting; /* a peer is not accepted yet */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

static void retry_cb(uv_timer_t *timer)
{
    listener_resume(timer->data);
}

static void accept_one(struct listener *listener)
{
    enum ps_status status = connection_accept(listener->config.connections, &listener->stream,
                                              listener->address.role, &listener->waiting);

    if (listener->waiting)
        uv_timer_start(&listener->retry, retry_cb, RETRY_MS, 0);
    if (status != PS_OK)
        logger_event(&listener->config.logger,
                     status == PS_CONNECTION_LOST ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "accept_failed",
                     "reason=%s", ps_status_name(status));
}

static bool has_room(const struct listener *listener)
{
    const struct connections *connections = listener->config.connections;

    return connections->count < listener->config.room && connections->accepted < CONNECTIONS_PER_TURN;
}

static void connection_cb(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    uint32_t count = listener->config.connections->count;

    if (status != 0) {
        logger_event(&listener->config.logger, LOG_LEVEL_WARNING, "accept_failed", "reason=%s code=%d",
                     uv_err_name(status), status);
        return;
    }
    if (has_room(listener)) {
        accept_one(listener);
        return;
    }
    listener->waiting = true;
    if (count < listener->config.room) {
        turn_want(listener->config.connections->turn);
        return;
    }
    logger_event(&listener->config.logger, LOG_LEVEL_WARNING, "accept_paused", "connections=%u limit=%u",
                 count, listener->config.room);
}

void listener_resume(struct listener *listener)
{
    if (!listener->waiting || listener->stopped != NULL || !has_room(listener))
        return;
    listener->waiting = false;
    accept_one(listener);
}

/* PS_OK when nothing is at the path any more. */
static enum ps_status clear_path(const struct address *address, char *error, size_t size)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct stat info;
    int peer, code;

    if (lstat(address->path, &info) != 0)
        return PS_OK; /* bind() will say what is wrong, if anything */
    if (!S_ISSOCK(info.st_mode)) {
        snprintf(error, size,
                 "cannot listen on unix:%s: a file that is no socket is there; choose another path",
                 address->path);
        return PS_IN_USE;
    }
    strcpy(name.sun_path, address->path);
    peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (peer < 0) {
        snprintf(error, size, "cannot listen on unix:%s: %s", address->path, strerror(errno));
        return PS_IO_ERROR;
    }
    code = connect(peer, (struct sockaddr *)&name, sizeof name) == 0 ? 0 : errno;
    close(peer);
    if (code != ECONNREFUSED) {
        snprintf(error, size, "cannot listen on unix:%s: %s", address->path,
                 code == 0 || code == EAGAIN ? "another process listens there; choose another with --listen"
                                             : strerror(code));
        return PS_IN_USE;
    }
    unlink(address->path);
    return PS_OK;
}

static int bind_unix(struct listener *listener)
{
    mode_t mask = umask(0177);
    int code = uv_pipe_bind(&listener->pipe, listener->address.path);

    umask(mask);
    return code;
}

/* libuv calls a directory that is not there a refusal. */
static bool directory_is_missing(const char *path)
{
    char directory[ADDRESS_TEXT_BYTES];
    char *slash;

    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    if (slash == NULL || slash == directory)
        return false;
    *slash = '\0';
    return access(directory, F_OK) != 0 && errno == ENOENT;
}

static void explain(const struct address *address, int code, char *error, size_t size)
{
    char name[ADDRESS_TEXT_BYTES];
    const char *reason = uv_strerror(code), *advice = "";

    if (address->kind == ADDRESS_UNIX && code == UV_EACCES && directory_is_missing(address->path)) {
        reason = "its directory is not there";
        advice = "; make it, or choose another path with --listen";
    } else if (code == UV_EADDRINUSE || code == UV_EACCES) {
        advice = "; choose another with --listen";
    }
    snprintf(error, size, "cannot listen on %s: %s%s", address_format(address, name, sizeof name), reason,
             advice);
}

static int bind_tcp(struct listener *listener)
{
    return uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&listener->address.socket, 0);
}

static int learn_port(struct listener *listener)
{
    int length = sizeof listener->address.socket;

    if (listener->address.kind != ADDRESS_TCP)
        return 0;
    return uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&listener->address.socket, &length);
}

static void retry_closed_cb(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    void (*stopped)(void *) = listener->stopped;
    void *ctx = listener->stopped_ctx;

    free(listener);
    if (stopped != NULL)
        stopped(ctx);
}

static void closed_cb(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    uv_close((uv_handle_t *)&listener->retry, retry_closed_cb);
}

enum ps_status listener_start(const struct listener_config *config, const struct address *address,
                              struct listener **result, char *error, size_t error_size)
{
    bool tcp = address->kind == ADDRESS_TCP;
    struct listener *listener;
    int code;

    if (!tcp) {
        enum ps_status status = clear_path(address, error, error_size);
        if (status != PS_OK)
            return status;
    }
    listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        snprintf(error, error_size, "out of memory");
        return PS_NO_MEMORY;
    }
    listener->config = *config;
    listener->address = *address;
    code = tcp ? uv_tcp_init(config->loop, &listener->tcp) : uv_pipe_init(config->loop, &listener->pipe, 0);
    if (code != 0) {
        free(listener);
        snprintf(error, error_size, "cannot make a socket: %s", uv_strerror(code));
        return uv_status(code);
    }
    listener->handle.data = listener;
    uv_timer_init(config->loop, &listener->retry);
    listener->retry.data = listener;
    code = tcp ? bind_tcp(listener) : bind_unix(listener);
    if (code == 0)
        code = uv_listen(&listener->stream, BACKLOG, connection_cb);
    if (code == 0)
        code = learn_port(listener);
    if (code != 0) {
        explain(address, code, error, error_size);
        uv_close(&listener->handle, closed_cb);
        return uv_status(code);
    }
    *result = listener;
    return PS_OK;
}

const struct address *listener_address(const struct listener *listener)
{
    return &listener->address;
}

void listener_stop(struct listener *listener, void (*stopped)(void *ctx), void *ctx)
{
    assert(listener->stopped == NULL);
    listener->stopped = stopped;
    listener->stopped_ctx = ctx;
    uv_close(&listener->handle, closed_cb);
}
