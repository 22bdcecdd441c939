/* One piece a turn of the loop, so that the socket gets its turns while a large file is read. Waiting goes
 * through an epoll set, because uv_poll_t would set O_NONBLOCK on a terminal or pipe that others share; a read
 * after the set said readable does not wait. */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

static void read_piece(struct input *input)
{
    size_t room;
    char *at = lines_room(&input->lines, &room);
    ssize_t size = read(input->fd, at, room);

    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (size > 0) {
        lines_added(&input->lines, (size_t)size);
    } else {
        input->error = size < 0 ? errno : 0;
        input_pause(input);
        lines_ended(&input->lines);
    }
    input->arrived(input, input->data);
}

static void readable_cb(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    read_piece(poll->data);
}

static void idle_cb(uv_idle_t *idle)
{
    read_piece(idle->data);
}

static void watch(struct input *input, uv_loop_t *loop)
{
    struct epoll_event event = {.events = EPOLLIN};
    int set = epoll_create1(EPOLL_CLOEXEC);

    input->ready_fd = -1;
    if (set < 0)
        return;
    if (epoll_ctl(set, EPOLL_CTL_ADD, input->fd, &event) != 0 || uv_poll_init(loop, &input->poll, set) != 0) {
        close(set);
        return;
    }
    input->ready_fd = set;
    input->poll.data = input;
}

enum ps_status input_init(struct input *input, uv_loop_t *loop, const char *path, char delimiter, size_t max,
                          void (*arrived)(struct input *input, void *data), void *data)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;

    *input = (struct input){.arrived = arrived, .data = data, .fd = STDIN_FILENO};
    if (!standard) {
        input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (input->fd < 0)
            return PS_IO_ERROR;
        input->ours = true;
    }
    lines_init(&input->lines, delimiter, max);
    watch(input, loop);
    uv_idle_init(loop, &input->idle);
    input->idle.data = input;
    return PS_OK;
}

static void poll_closed_cb(uv_handle_t *handle)
{
    struct input *input = handle->data;

    close(input->ready_fd);
    input->ready_fd = -1;
}

void input_deinit(struct input *input)
{
    uv_close((uv_handle_t *)&input->idle, NULL);
    if (input->ready_fd >= 0)
        uv_close((uv_handle_t *)&input->poll, poll_closed_cb);
    if (input->ours)
        close(input->fd);
    lines_deinit(&input->lines);
}

void input_resume(struct input *input)
{
    if (input->lines.ended)
        return;
    if (input->ready_fd >= 0)
        uv_poll_start(&input->poll, UV_READABLE, readable_cb);
    else
        uv_idle_start(&input->idle, idle_cb);
}

void input_pause(struct input *input)
{
    if (input->ready_fd >= 0)
        uv_poll_stop(&input->poll);
    else
        uv_idle_stop(&input->idle);
}
