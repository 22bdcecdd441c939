/* Input is read into one text in large pieces. Only the unfinished line at the end of a piece is moved, and
 * no byte is searched twice. The text grows until a line of `max` bytes and its delimiter fit, never further. */
#include "lines.h"

enum { PIECE_BYTES = 256 * 1024 };

void lines_init(struct lines *lines, char delimiter, size_t max)
{
    *lines = (struct lines){.delimiter = delimiter, .max = max};
}

void lines_deinit(struct lines *lines)
{
    text_deinit(&lines->text);
}

char *lines_room(struct lines *lines, size_t *size)
{
    text_reserve(&lines->text, PIECE_BYTES);
    *size = PIECE_BYTES;
    return lines->text.data + lines->text.end;
}

void lines_added(struct lines *lines, size_t size)
{
    lines->text.end += size;
}

void lines_ended(struct lines *lines)
{
    lines->ended = true;
}

static enum lines_result give(struct lines *lines, struct psc_bytes *line, size_t size, size_t taken)
{
    lines->number++;
    if (size > lines->max)
        return LINES_TOO_LONG;
    *line = (struct psc_bytes){lines->text.data + lines->text.begin, size};
    text_take(&lines->text, taken);
    lines->searched = 0;
    return LINES_NEXT;
}

enum lines_result lines_next(struct lines *lines, struct psc_bytes *line)
{
    size_t size = text_size(&lines->text);
    const char *begin = lines->text.data + lines->text.begin;
    const char *end = NULL;

    if (size > lines->searched)
        end = memchr(begin + lines->searched, lines->delimiter, size - lines->searched);
    if (end != NULL)
        return give(lines, line, (size_t)(end - begin), (size_t)(end - begin) + 1);
    lines->searched = size;
    if (size > lines->max)
        return give(lines, line, size, size);
    if (!lines->ended)
        return LINES_MORE;
    return size != 0 ? give(lines, line, size, size) : LINES_END;
}

uint64_t lines_left(const struct lines *lines)
{
    uint64_t count = 0;
    const char *at = lines->text.data + lines->text.begin;
    const char *end = lines->text.data + lines->text.end;

    while (at < end) {
        const char *stop = memchr(at, lines->delimiter, (size_t)(end - at));
        if (stop == NULL && !lines->ended)
            break;
        count++;
        if (stop == NULL)
            break;
        at = stop + 1;
    }
    return count;
}
