/* Where log lines go: a file descriptor, with repeats of one event held back.
 *
 * Any thread may write, and none waits for the descriptor: `line_writer` does. */
#ifndef PSBROKER_LOG_SINK_H
#define PSBROKER_LOG_SINK_H

#include "logger.h"

#include <uv.h>

enum {
    LOG_SINK_EVENTS = 64, /* different events that are told apart */
    LOG_SINK_BURST = 20,  /* lines of one event in one period */
    LOG_SINK_PERIOD_S = 10
};

struct line_writer;

struct log_sink {
    struct line_writer *writer;
    uv_mutex_t mutex;
    struct log_sink_event {
        uint64_t hash;   /* of the event's name; 0: free */
        uint64_t period; /* number of the period that the counts are of */
        uint32_t lines, held_back;
    } events[LOG_SINK_EVENTS];
};

/* `fd` is borrowed until deinit. 0, or a negative code of libuv. */
int log_sink_init(struct log_sink *sink, int fd);
/* As line_writer_free(). */
void log_sink_deinit(struct log_sink *sink);

/* A logger_sink_fn: queues the line. Of an event that repeats more than LOG_SINK_BURST times in a period the
 * rest is held back and counted in an `event=held_back` in front of its next line. */
void log_sink_write(void *sink, enum log_level level, const char *line);

#endif
