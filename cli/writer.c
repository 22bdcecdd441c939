/* Why not uv_pipe_t or uv_tty_t: they set O_NONBLOCK on the open file, which the shell that started us and the
 * next program in a script share. uv_poll_t does the same to its descriptor, so it is given an epoll set that
 * holds the output instead of the output itself.
 *
 *   kind       how it is written
 *   PLAIN      regular files and devices that cannot be waited for: write(2) does not wait there
 *   OWN        pipe or terminal, opened again through /proc/self/fd with O_NONBLOCK of its own
 *   SOCKET     send(2) with MSG_DONTWAIT
 *   SHARED     could not be opened again: poll(2), then a piece so small that it cannot wait */
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLAIN, OWN, SOCKET, SHARED };
enum {
    EAGER_BYTES = 64 * 1024, /* write without waiting for the end of the turn */
    PIECE_BYTES = 1024 * 1024,
    SHARED_PIPE_BYTES = 4096, /* a pipe that polls as writable takes this much (PIPE_BUF) */
    SHARED_TTY_BYTES = 128
};

static void open_again(struct writer *writer)
{
    char path[40];
    struct stat status;

    writer->kind = PLAIN;
    if (fstat(writer->fd, &status) != 0)
        return;
    if (S_ISSOCK(status.st_mode)) {
        writer->kind = SOCKET;
        return;
    }
    if (!S_ISFIFO(status.st_mode) && !isatty(writer->fd))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", writer->fd);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    writer->kind = fd >= 0 ? OWN : SHARED;
    if (fd >= 0) {
        writer->fd = fd;
        writer->opened = true;
    }
}

static ssize_t write_some(struct writer *writer, const char *bytes, size_t size)
{
    struct pollfd ask = {.fd = writer->fd, .events = POLLOUT};
    size_t most;

    if (size > PIECE_BYTES)
        size = PIECE_BYTES;
    switch (writer->kind) {
    case SOCKET:
        return send(writer->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SHARED:
        most = isatty(writer->fd) ? SHARED_TTY_BYTES : SHARED_PIPE_BYTES;
        if (poll(&ask, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        return write(writer->fd, bytes, size < most ? size : most);
    default:
        return write(writer->fd, bytes, size);
    }
}

static void ready_cb(uv_poll_t *poll, int status, int events);

/* Errors and hang-ups make the set ready whatever events are asked for. Only the wait for room keeps the loop
 * going. */
static void set_events(struct writer *writer)
{
    struct epoll_event event = {.events = writer->waiting ? EPOLLOUT : 0};

    epoll_ctl(writer->ready_fd, EPOLL_CTL_MOD, writer->fd, &event);
    if (writer->waiting)
        uv_ref((uv_handle_t *)&writer->poll);
    else
        uv_unref((uv_handle_t *)&writer->poll);
    if (writer->waiting || writer->watching)
        uv_poll_start(&writer->poll, UV_READABLE, ready_cb);
    else
        uv_poll_stop(&writer->poll);
}

static void wait_for_room(struct writer *writer, bool wait)
{
    if (writer->waiting == wait)
        return;
    writer->waiting = wait;
    set_events(writer);
}

static void give_up(struct writer *writer, int error)
{
    writer->error = error;
    writer->state = error == EPIPE ? WRITER_BROKEN : WRITER_FAILED;
    writer->moved = true;
    if (writer->watching) {
        writer->watching = false;
        set_events(writer);
    }
}

void writer_flush(struct writer *writer)
{
    while (writer->state == WRITER_OPEN && text_size(&writer->text) != 0) {
        ssize_t size = write_some(writer, writer->text.data + writer->text.begin, text_size(&writer->text));
        if (size > 0) {
            text_take(&writer->text, (size_t)size);
            writer->written += (uint64_t)size;
            writer->moved = true;
        } else if (size < 0 && errno == EAGAIN && writer->ready_fd >= 0) {
            wait_for_room(writer, true);
            return;
        } else if (size < 0 && errno == EINTR) {
            continue;
        } else {
            give_up(writer, size < 0 ? errno : EIO);
        }
    }
    wait_for_room(writer, false);
}

static void tell(struct writer *writer)
{
    if (!writer->moved)
        return;
    writer->moved = false;
    writer->progress(writer, writer->data);
}

static void ready_cb(uv_poll_t *poll, int status, int events)
{
    struct writer *writer = poll->data;

    (void)status;
    (void)events;
    if (writer->waiting)
        writer_flush(writer);
    else if (writer->state == WRITER_OPEN)
        give_up(writer, EPIPE);
    tell(writer);
}

static void prepare_cb(uv_prepare_t *prepare)
{
    struct writer *writer = prepare->data;

    /* progress() may append more, which must be on its way before the loop waits. */
    do {
        if (!writer->waiting)
            writer_flush(writer);
        tell(writer);
    } while (!writer->waiting && !writer_idle(writer));
}

void writer_appended(struct writer *writer)
{
    /* Nothing to write, but the caller waits for what lies before to be written: it is. */
    if (writer_idle(writer))
        writer->moved = true;
    if (text_size(&writer->text) >= EAGER_BYTES && !writer->waiting)
        writer_flush(writer);
}

static void make_ready_set(struct writer *writer, uv_loop_t *loop)
{
    struct epoll_event event = {0};

    writer->ready_fd = -1;
    if (writer->kind == PLAIN)
        return;
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0)
        return;
    if (epoll_ctl(set, EPOLL_CTL_ADD, writer->fd, &event) != 0 ||
        uv_poll_init(loop, &writer->poll, set) != 0) {
        close(set);
        return;
    }
    writer->ready_fd = set;
    writer->poll.data = writer;
}

enum ps_status writer_init(struct writer *writer, uv_loop_t *loop, int fd,
                           void (*progress)(struct writer *writer, void *data), void *data)
{
    *writer = (struct writer){.fd = fd, .progress = progress, .data = data};
    open_again(writer);
    make_ready_set(writer, loop);
    if (writer->kind != PLAIN && writer->ready_fd < 0) {
        if (writer->opened)
            close(writer->fd);
        return PS_IO_ERROR;
    }
    uv_prepare_init(loop, &writer->prepare);
    writer->prepare.data = writer;
    uv_prepare_start(&writer->prepare, prepare_cb);
    uv_unref((uv_handle_t *)&writer->prepare);
    return PS_OK;
}

void writer_watch(struct writer *writer)
{
    if (writer->ready_fd < 0 || writer->state != WRITER_OPEN)
        return;
    writer->watching = true;
    set_events(writer);
}

static void poll_closed_cb(uv_handle_t *handle)
{
    struct writer *writer = handle->data;

    close(writer->ready_fd);
    writer->ready_fd = -1;
}

void writer_deinit(struct writer *writer)
{
    uv_close((uv_handle_t *)&writer->prepare, NULL);
    if (writer->ready_fd >= 0)
        uv_close((uv_handle_t *)&writer->poll, poll_closed_cb);
    if (writer->opened)
        close(writer->fd);
    text_deinit(&writer->text);
}
