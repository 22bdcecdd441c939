#include "line_writer.h"

#include "logger.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* Freed by whoever leaves last: a thread that is stuck in a write cannot be waited for. */
struct line_writer {
    int fd;
    uv_thread_t thread;
    atomic_bool given_up; /* the descriptor is not ours any more */
    uv_mutex_t mutex;     /* over all below */
    uv_cond_t queued, progress;
    bool stopping, ended;
    uint64_t written; /* times that lines left the queue and were written */
    uint64_t dropped; /* lines since the queue was full */
    size_t used;
    char queue[LINE_WRITER_QUEUE_BYTES];
};

static void destroy(struct line_writer *writer)
{
    uv_cond_destroy(&writer->progress);
    uv_cond_destroy(&writer->queued);
    uv_mutex_destroy(&writer->mutex);
    free(writer);
}

/* ------------------------------------------------------------------------------------------------ queueing */

/* A logger_sink_fn; the mutex is held. While lines are being dropped all are, so that the count has its place. */
static void queue_line(void *ctx, enum log_level level, const char *line)
{
    struct line_writer *writer = ctx;
    size_t size = strnlen(line, LINE_WRITER_LINE_BYTES - 1);

    (void)level; /* stands in the line */
    if (writer->dropped > 0 || writer->used + size + 1 > sizeof writer->queue) {
        writer->dropped++;
        return;
    }
    memcpy(writer->queue + writer->used, line, size);
    writer->queue[writer->used + size] = '\n';
    writer->used += size + 1;
    uv_cond_signal(&writer->queued);
}

static void note_dropped(struct line_writer *writer)
{
    const struct logger queue = {.sink = queue_line, .ctx = writer, .level = LOG_LEVEL_WARNING};
    uint64_t count = writer->dropped;

    writer->dropped = 0;
    logger_event(&queue, LOG_LEVEL_WARNING, "log_lines_dropped", "count=%" PRIu64, count);
}

void line_writer_put(struct line_writer *writer, const char *line)
{
    uv_mutex_lock(&writer->mutex);
    queue_line(writer, LOG_LEVEL_INFO, line);
    uv_mutex_unlock(&writer->mutex);
}

/* ------------------------------------------------------------------------------------------------ writing */

/* Whole lines, as many as a pipe takes without mixing them with another program's. */
static size_t take_lines(struct line_writer *writer, char part[PIPE_BUF])
{
    size_t size = writer->used;

    if (size > PIPE_BUF)
        size = (size_t)((char *)memrchr(writer->queue, '\n', PIPE_BUF) + 1 - writer->queue);
    memcpy(part, writer->queue, size);
    writer->used -= size;
    memmove(writer->queue, writer->queue + size, writer->used);
    return size;
}

static void write_lines(struct line_writer *writer, const char *text, size_t size)
{
    while (size > 0 && !atomic_load(&writer->given_up)) {
        ssize_t count = write(writer->fd, text, size);
        if (count < 0 && errno == EAGAIN) /* whoever shares it made it so */
            poll(&(struct pollfd){.fd = writer->fd, .events = POLLOUT}, 1, LINE_WRITER_STUCK_MS);
        else if (count < 0 && errno != EINTR)
            return; /* nobody to tell */
        if (count > 0) {
            text += count;
            size -= (size_t)count;
        }
    }
}

static void thread_main(void *ctx)
{
    struct line_writer *writer = ctx;
    char part[PIPE_BUF];

    uv_mutex_lock(&writer->mutex);
    while ((writer->used > 0 || !writer->stopping) && !writer->given_up) {
        if (writer->used == 0) {
            uv_cond_wait(&writer->queued, &writer->mutex);
            continue;
        }
        size_t size = take_lines(writer, part);
        if (writer->dropped > 0)
            note_dropped(writer);
        uv_mutex_unlock(&writer->mutex);
        write_lines(writer, part, size);
        uv_mutex_lock(&writer->mutex);
        writer->written++;
        uv_cond_signal(&writer->progress);
    }
    writer->ended = true;
    bool last = writer->given_up;
    uv_cond_signal(&writer->progress);
    uv_mutex_unlock(&writer->mutex);
    if (last)
        destroy(writer);
}

/* ------------------------------------------------------------------------------------------------ life */

int line_writer_new(int fd, struct line_writer **result)
{
    struct line_writer *writer = calloc(1, sizeof *writer);
    int status = UV_ENOMEM;
    if (writer == NULL)
        return status;
    writer->fd = fd;
    status = uv_mutex_init(&writer->mutex);
    if (status != 0)
        goto no_mutex;
    status = uv_cond_init(&writer->queued);
    if (status != 0)
        goto no_queued;
    status = uv_cond_init(&writer->progress);
    if (status != 0)
        goto no_progress;
    status = uv_thread_create(&writer->thread, thread_main, writer);
    if (status != 0)
        goto no_thread;
    *result = writer;
    return 0;

no_thread:
    uv_cond_destroy(&writer->progress);
no_progress:
    uv_cond_destroy(&writer->queued);
no_queued:
    uv_mutex_destroy(&writer->mutex);
no_mutex:
    free(writer);
    return status;
}

void line_writer_free(struct line_writer *writer)
{
    if (writer == NULL)
        return;
    uv_mutex_lock(&writer->mutex);
    writer->stopping = true;
    uv_cond_signal(&writer->queued);
    for (bool stuck = false; !writer->ended && !stuck;) {
        uint64_t before = writer->written;
        int status = uv_cond_timedwait(&writer->progress, &writer->mutex, LINE_WRITER_STUCK_MS * 1000000ull);
        stuck = status != 0 && writer->written == before && !writer->ended;
    }
    bool ended = writer->ended;
    uv_thread_t thread = writer->thread;
    writer->given_up = !ended;
    uv_mutex_unlock(&writer->mutex);
    if (!ended) {
        pthread_detach(thread);
        return;
    }
    uv_thread_join(&thread);
    destroy(writer);
}
