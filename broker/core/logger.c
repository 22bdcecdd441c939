/* A line is built whole on the stack and handed to the sink in one call, so that lines of several threads
 * never mix. One that is too long is cut and ends with an ellipsis. */
#include "logger.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 1024 };

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "info";
}

static size_t put_time(char *place, size_t size)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(place, size, "time=%Y-%m-%dT%H:%M:%S", &parts);
    int more = snprintf(place + used, size - used, ".%06ldZ", now.tv_nsec / 1000);
    return used + (size_t)more;
}

void logger_event(const struct logger *logger, enum log_level level, const char *event, const char *format,
                  ...)
{
    if (logger->sink == NULL || level > logger->level)
        return;
    char line[LINE_MAX_BYTES];
    size_t used = put_time(line, sizeof line);
    int head = snprintf(line + used, sizeof line - used, " level=%s event=%s%s", level_name(level), event,
                        format != NULL && format[0] != '\0' ? " " : "");
    used += (size_t)head;
    if (format != NULL && used < sizeof line) {
        va_list arguments;
        va_start(arguments, format);
        int tail = vsnprintf(line + used, sizeof line - used, format, arguments);
        va_end(arguments);
        used += tail > 0 ? (size_t)tail : 0;
    }
    if (used >= sizeof line)
        memcpy(line + sizeof line - 4, "…", 4);
    logger->sink(logger->ctx, level, line);
}

static bool is_bare(unsigned char c)
{
    return isalnum(c) || (c != '\0' && strchr("-_./:+@#", c) != NULL);
}

static bool all_bare(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!is_bare(bytes[i]))
            return false;
    }
    return size > 0;
}

/* Writes one byte as it stands inside quotes; returns the number of characters, at most 4. */
static size_t put_quoted(char *place, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    if (c == '"' || c == '\\') {
        place[0] = '\\';
        place[1] = (char)c;
        return 2;
    }
    if (c >= 0x20 && c < 0x7F) {
        place[0] = (char)c;
        return 1;
    }
    memcpy(place, "\\x", 2);
    place[2] = digits[c >> 4];
    place[3] = digits[c & 15];
    return 4;
}

const char *logger_quote(char *place, size_t size, const void *data, size_t data_size)
{
    static const char ellipsis[] = "…";
    const unsigned char *bytes = data;
    bool bare = all_bare(bytes, data_size);
    size_t spare = sizeof ellipsis + (bare ? 0 : 1); /* the NUL, the closing quote, a cut */
    if (size <= spare + 5) {
        if (size > 0)
            place[0] = '\0';
        return place;
    }
    size_t used = 0;
    if (!bare)
        place[used++] = '"';
    size_t i = 0;
    for (; i < data_size && used + 4 <= size - spare; i++) {
        if (bare)
            place[used++] = (char)bytes[i];
        else
            used += put_quoted(place + used, bytes[i]);
    }
    if (i < data_size) {
        memcpy(place + used, ellipsis, sizeof ellipsis - 1);
        used += sizeof ellipsis - 1;
    }
    if (!bare)
        place[used++] = '"';
    place[used] = '\0';
    return place;
}
