/* Standard output that never blocks the loop.
 *
 * What is appended to `text` is written at the end of the loop's turn, or when much has gathered. A byte counts
 * as written when write(2) has taken it. The file's own flags are never changed, because other programs may
 * share it: a pipe or terminal is opened a second time, everything else is asked before each write. Loop
 * thread only. */
#ifndef PSCTL_WRITER_H
#define PSCTL_WRITER_H

#include "text.h"

enum writer_state { WRITER_OPEN, WRITER_BROKEN, WRITER_FAILED };

struct writer {
    struct text text;        /* append here, then call writer_appended() */
    uint64_t written;        /* bytes taken by write(2) since the start */
    enum writer_state state; /* BROKEN: nobody reads any more (EPIPE); FAILED: `error` says why */
    int error;               /* errno */

    /* More was written, or the state changed. Called from the loop, not from writer_appended(). */
    void (*progress)(struct writer *writer, void *data);
    void *data;

    int fd;        /* the one written to */
    bool opened;   /* fd is ours to close */
    int kind;      /* see writer.c */
    int ready_fd;  /* an epoll set with fd in it; -1: the file cannot be waited for */
    bool waiting;  /* for the file to take more */
    bool watching; /* for the reader to go away */
    bool moved;    /* progress() is due */
    uv_prepare_t prepare;
    uv_poll_t poll;
};

/* Yours to deinit. `fd` stays open and is not owned. PS_OK or PS_IO_ERROR. */
enum ps_status writer_init(struct writer *writer, uv_loop_t *loop, int fd,
                           void (*progress)(struct writer *writer, void *data), void *data);

/* Closes handles (the loop must run once more) and frees the text. No progress() any more. */
void writer_deinit(struct writer *writer);

/* Bytes were appended to the text, possibly none: writes at once when much has gathered, else before the loop
 * waits; progress() comes in any case. */
void writer_appended(struct writer *writer);

/* From now on a reader that goes away is noticed at once, not only by the next write: the state becomes
 * WRITER_BROKEN. Nothing happens for regular files. */
void writer_watch(struct writer *writer);

/* Writes what the file takes now without waiting; no progress() from inside. */
void writer_flush(struct writer *writer);

/* Bytes appended since the start: a position that `written` will reach. */
static inline uint64_t writer_end(const struct writer *writer)
{
    return writer->written + text_size(&writer->text);
}

static inline bool writer_idle(const struct writer *writer)
{
    return text_size(&writer->text) == 0 || writer->state != WRITER_OPEN;
}

#endif
