/* Writes lines to a descriptor that nobody may be reading: a full pipe, a terminal after Ctrl-S.
 *
 * Lines wait in a queue and a thread of the writer's own writes them. The descriptor itself stays as it is, because
 * O_NONBLOCK would count for everybody who shares it. */
#ifndef PSBROKER_LINE_WRITER_H
#define PSBROKER_LINE_WRITER_H

enum {
    LINE_WRITER_LINE_BYTES = 2048,       /* longer lines are cut */
    LINE_WRITER_QUEUE_BYTES = 64 * 1024, /* lines that wait for the descriptor */
    LINE_WRITER_STUCK_MS = 500
};

struct line_writer;

/* `fd` is borrowed until the free. 0, or a negative code of libuv. */
int line_writer_new(int fd, struct line_writer **result);

/* Ends when every queued line is written, or gives them up where the descriptor takes nothing for
 * LINE_WRITER_STUCK_MS. Takes NULL. */
void line_writer_free(struct line_writer *writer);

/* Queues a line (without newline). Any thread; never waits for the descriptor. Where the queue is full lines are
 * dropped and counted in an `event=log_lines_dropped` that stands in their place as soon as there is room again. */
void line_writer_put(struct line_writer *writer, const char *line);

#endif
