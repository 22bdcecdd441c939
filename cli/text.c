/* Taking moves `begin`; the room in front is won back when the text is empty or must grow, so that a stream
 * which is appended at one end and taken at the other moves each byte at most once per doubling. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void out_of_memory(void)
{
    fputs("psctl: out of memory\n", stderr);
    exit(1);
}

void *must_alloc(size_t size)
{
    void *memory = calloc(1, size != 0 ? size : 1);

    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *must_resize(void *memory, size_t size)
{
    void *moved = realloc(memory, size != 0 ? size : 1);

    if (moved == NULL)
        out_of_memory();
    return moved;
}

void text_deinit(struct text *text)
{
    if (text == NULL)
        return;
    free(text->data);
    *text = (struct text){0};
}

void text_grow(struct text *text, size_t more)
{
    size_t size = text_size(text);

    if (text->begin >= size && text->room - size >= more) {
        memcpy(text->data, text->data + text->begin, size);
    } else {
        size_t room = text->room < 256 ? 256 : text->room;
        while (room - size < more) {
            if (room > SIZE_MAX / 2)
                out_of_memory();
            room *= 2;
        }
        char *data = must_alloc(room);
        if (size != 0)
            memcpy(data, text->data + text->begin, size);
        free(text->data);
        text->data = data;
        text->room = room;
    }
    text->begin = 0;
    text->end = size;
}

void text_put(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_u64(struct text *text, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    text_add(text, digits + at, sizeof digits - at);
}

void text_format(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    int size;

    va_start(arguments, format);
    va_copy(again, arguments);
    size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size > 0) {
        text_reserve(text, (size_t)size + 1);
        vsnprintf(text->data + text->end, (size_t)size + 1, format, again);
        text->end += (size_t)size;
    }
    va_end(again);
}

void text_take(struct text *text, size_t size)
{
    text->begin += size;
    if (text->begin == text->end)
        text->begin = text->end = 0;
}

const char *text_string(struct text *text)
{
    text_reserve(text, 1);
    text->data[text->end] = '\0';
    return text->data + text->begin;
}
