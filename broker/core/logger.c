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

/* Time and level; returns how many bytes. */
static size_t put_stamp(char *place, size_t size, enum log_level level)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(place, size, "time=%Y-%m-%dT%H:%M:%S", &parts);
    int more =
        snprintf(place + used, size - used, ".%06ldZ level=%s ", now.tv_nsec / 1000, level_name(level));
    return used + (size_t)more;
}

void logger_line(const struct logger *logger, enum log_level level, const char *text)
{
    if (logger->sink == NULL || level > logger->level)
        return;
    char line[LINE_MAX_BYTES];
    size_t used = put_stamp(line, sizeof line, level);
    if ((size_t)snprintf(line + used, sizeof line - used, "%s", text) >= sizeof line - used)
        memcpy(line + sizeof line - 4, "…", 4);
    logger->sink(logger->ctx, level, line);
}

void logger_event(const struct logger *logger, enum log_level level, const char *event, const char *format,
                  ...)
{
    if (logger->sink == NULL || level > logger->level)
        return;
    char text[LINE_MAX_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text, "event=%s", event);
    if (format != NULL && used + 1 < sizeof text) {
        va_list arguments;
        text[used++] = ' ';
        va_start(arguments, format);
        vsnprintf(text + used, sizeof text - used, format, arguments);
        va_end(arguments);
    }
    logger_line(logger, level, text);
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

const char *logger_quote(char *place, size_t size, struct span value)
{
    static const char ellipsis[] = "…";
    bool bare = all_bare(value.data, value.size);
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
    for (; i < value.size && used + 4 <= size - spare; i++) {
        if (bare)
            place[used++] = (char)value.data[i];
        else
            used += put_quoted(place + used, value.data[i]);
    }
    if (i < value.size) {
        memcpy(place + used, ellipsis, sizeof ellipsis - 1);
        used += sizeof ellipsis - 1;
    }
    if (!bare)
        place[used++] = '"';
    place[used] = '\0';
    return place;
}
