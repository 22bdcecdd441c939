/* Growing bytes with a front that can be taken: what output is rendered into and written from.
 *
 * A command-line tool that is out of memory cannot go on, so growing never fails: it ends the process with a
 * message and exit code 1. One thread. The zero state is valid and empty. */
#ifndef PSCTL_TEXT_H
#define PSCTL_TEXT_H

#include "psclient.h"

#include <string.h>

struct text {
    char *data;
    size_t begin; /* what lies before was taken */
    size_t end;   /* what lies behind is free */
    size_t room;  /* bytes allocated */
};

/* malloc() and realloc() that end the process with exit code 1 rather than return NULL. */
void *must_alloc(size_t size);
void *must_resize(void *memory, size_t size);

void text_deinit(struct text *text); /* takes NULL and the zero state */

/* Makes sure that `more` bytes fit behind `end`; may move the data. */
void text_grow(struct text *text, size_t more);

static inline size_t text_size(const struct text *text)
{
    return text->end - text->begin;
}

static inline void text_reserve(struct text *text, size_t more)
{
    if (text->room - text->end < more)
        text_grow(text, more);
}

static inline void text_char(struct text *text, char c)
{
    text_reserve(text, 1);
    text->data[text->end++] = c;
}

static inline void text_add(struct text *text, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    text_reserve(text, size);
    memcpy(text->data + text->end, bytes, size);
    text->end += size;
}

static inline void text_bytes(struct text *text, struct psc_bytes bytes)
{
    text_add(text, bytes.data, bytes.size);
}

void text_put(struct text *text, const char *string);
void text_u64(struct text *text, uint64_t value); /* decimal */
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first `size` bytes are done with. At most text_size(). */
void text_take(struct text *text, size_t size);

/* The text as a NUL-terminated string, borrowed until the text changes; the NUL is not part of it. */
const char *text_string(struct text *text);

static inline struct psc_bytes bytes_of(const char *string)
{
    return (struct psc_bytes){string, string == NULL ? 0 : strlen(string)};
}

#endif
