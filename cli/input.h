/* A file, pipe or terminal read piece by piece into lines, without blocking the loop and without changing the
 * file's own flags. Loop thread only. */
#ifndef PSCTL_INPUT_H
#define PSCTL_INPUT_H

#include "lines.h"

struct input {
    struct lines lines; /* consume from here in arrived(); lines.ended at the end of the input */
    int error;          /* errno of a failed read; the input has ended then */
    /* A piece was added, or the end was reached. Never from inside a call of this header. */
    void (*arrived)(struct input *input, void *data);
    void *data;

    int fd;
    bool ours;
    int ready_fd; /* an epoll set with fd in it; -1: read at once, fd is a file */
    uv_poll_t poll;
    uv_idle_t idle;
};

/* Opens `path`, or standard input for NULL and "-". PS_OK, or PS_IO_ERROR and errno. Begins paused. */
enum ps_status input_init(struct input *input, uv_loop_t *loop, const char *path, char delimiter, size_t max,
                          void (*arrived)(struct input *input, void *data), void *data);

/* Closes handles (the loop must run once more) and frees the lines. No arrived() any more. */
void input_deinit(struct input *input);

/* Reads on, or does not. Both may be repeated; at the end neither does anything. */
void input_resume(struct input *input);
void input_pause(struct input *input);

#endif
