#include "log_sink.h"

#include "line_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The value of the line's `event=`; the whole line if it has none. */
static int event_of(const char *line, const char **event)
{
    const char *found = strstr(line, "event=");

    *event = found != NULL ? found + 6 : line;
    return (int)strcspn(*event, " ");
}

static uint64_t hash_of(const char *text, int size)
{
    uint64_t hash = 14695981039346656037u;

    for (int i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)text[i]) * 1099511628211u;
    return hash != 0 ? hash : 1;
}

/* The event's place; an old one gives way when all are taken. */
static struct log_sink_event *find(struct log_sink *sink, uint64_t hash)
{
    struct log_sink_event *oldest = &sink->events[0];

    for (int i = 0; i < LOG_SINK_EVENTS; i++) {
        struct log_sink_event *event = &sink->events[(hash + (uint64_t)i) % LOG_SINK_EVENTS];
        if (event->hash == hash)
            return event;
        if (event->hash == 0 || event->period < oldest->period)
            oldest = event;
        if (event->hash == 0)
            break;
    }
    *oldest = (struct log_sink_event){.hash = hash};
    return oldest;
}

/* A logger_sink_fn. */
static void put(void *ctx, enum log_level level, const char *line)
{
    const struct log_sink *sink = ctx;

    (void)level; /* stands in the line */
    line_writer_put(sink->writer, line);
}

/* How many lines of the event were held back in an earlier period. */
static void note_held_back(struct log_sink *sink, const char *name, int size, uint32_t lines)
{
    const struct logger unbounded = {.sink = put, .ctx = sink, .level = LOG_LEVEL_WARNING};

    logger_event(&unbounded, LOG_LEVEL_WARNING, "held_back", "of=%.*s lines=%" PRIu32, size < 64 ? size : 64,
                 name, lines);
}

int log_sink_init(struct log_sink *sink, int fd)
{
    *sink = (struct log_sink){0};
    int status = uv_mutex_init(&sink->mutex);
    if (status != 0)
        return status;
    status = line_writer_new(fd, &sink->writer);
    if (status != 0)
        uv_mutex_destroy(&sink->mutex);
    return status;
}

void log_sink_deinit(struct log_sink *sink)
{
    line_writer_free(sink->writer);
    uv_mutex_destroy(&sink->mutex);
}

void log_sink_write(void *ctx, enum log_level level, const char *line)
{
    struct log_sink *sink = ctx;
    uint64_t period = uv_hrtime() / 1000000000u / LOG_SINK_PERIOD_S;
    const char *name;
    int size = event_of(line, &name);
    struct log_sink_event *event;

    uv_mutex_lock(&sink->mutex);
    event = find(sink, hash_of(name, size));
    if (event->period != period) {
        if (event->held_back > 0)
            note_held_back(sink, name, size, event->held_back);
        event->period = period;
        event->lines = event->held_back = 0;
    }
    if (event->lines < LOG_SINK_BURST) {
        event->lines++;
        put(sink, level, line);
    } else {
        event->held_back++;
    }
    uv_mutex_unlock(&sink->mutex);
}
