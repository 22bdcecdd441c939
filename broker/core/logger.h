/* Structured log lines: logfmt with time, level and event first. Loop thread, except that the sink given to
 * the store may be called on any thread. Never a payload. */
#ifndef PSBROKER_LOGGER_H
#define PSBROKER_LOGGER_H

#include "span.h"

/* Room for a quoted name of a topic or id, as long as it has no more than a few escapes. */
enum { LOGGER_NAME_BYTES = 320 };

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* Writes one line (no newline in it) somewhere. Must be safe on any thread. */
typedef void logger_sink_fn(void *ctx, enum log_level level, const char *line);

struct logger {
    logger_sink_fn *sink; /* NULL: silent */
    void *ctx;
    enum log_level level; /* lines above it are dropped */
};

/* One event: `logger_event(l, LOG_LEVEL_INFO, "listening", "address=%s port=%d", a, p)`. Values that may
 * hold blanks or come from peers are quoted by the caller with logger_quote(). Any thread. */
__attribute__((format(printf, 4, 5))) void logger_event(const struct logger *logger, enum log_level level,
                                                        const char *event, const char *format, ...);

/* The same for text that has its `event=…` already: the store's. Any thread. */
void logger_line(const struct logger *logger, enum log_level level, const char *text);

/* Writes a logfmt value for any bytes into `place` (always NUL-terminated, cut with … when too long): bare when
 * it has only letters, digits and -_./:+@#, else in double quotes with \xNN for control and non-ASCII bytes.
 * Returns `place`. */
const char *logger_quote(char *place, size_t size, struct span value);

#endif
