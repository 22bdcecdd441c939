/* Splits a stream of bytes into lines without copying them out. Pure.
 *
 * A line ends with the delimiter, which is not part of it; every other byte is, `\r` too. A blank line is an
 * empty one. The last line needs no delimiter; nothing behind the last delimiter is no line. */
#ifndef PSCTL_LINES_H
#define PSCTL_LINES_H

#include "text.h"

struct lines {
    struct text text;
    size_t searched; /* bytes of the text known to hold no delimiter */
    size_t max;      /* a longer line is refused */
    uint64_t number; /* of the line last given, from 1 */
    char delimiter;
    bool ended; /* no more input will come */
};

enum lines_result {
    LINES_NEXT,     /* a line was given */
    LINES_MORE,     /* more input is needed */
    LINES_TOO_LONG, /* line `number` is longer than max; lines_next() is not called again */
    LINES_END       /* that was all */
};

void lines_init(struct lines *lines, char delimiter, size_t max);
void lines_deinit(struct lines *lines);

/* Where to put input, and how much fits: at least 1 byte. lines_added() says how much was put there. */
char *lines_room(struct lines *lines, size_t *size);
void lines_added(struct lines *lines, size_t size);
void lines_ended(struct lines *lines);

/* `line` is borrowed until the next call of lines_room(). */
enum lines_result lines_next(struct lines *lines, struct psc_bytes *line);

/* Whole lines that were read and not given yet, the last one without a delimiter included. */
uint64_t lines_left(const struct lines *lines);

#endif
