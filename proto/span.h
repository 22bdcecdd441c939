/* Borrowed bytes: a pointer and a length. The vocabulary every floor shares.
 *
 * A span never owns. Absent and empty differ everywhere: an absent span has `data == NULL`, an empty one
 * has `size == 0` and a `data` that may not be dereferenced but is not NULL. */
#ifndef PSBROKER_SPAN_H
#define PSBROKER_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    size_t size; /* bytes */
};

#define SPAN_ABSENT ((struct span){NULL, 0})

/* The bytes of a string literal or NUL-terminated text, without the NUL; NULL gives an absent span. */
static inline struct span span_of(const char *text)
{
    return text == NULL ? SPAN_ABSENT : (struct span){(const uint8_t *)text, strlen(text)};
}

static inline bool span_present(struct span s)
{
    return s.data != NULL;
}

/* Equal presence and equal bytes. */
static inline bool span_equal(struct span a, struct span b)
{
    return span_present(a) == span_present(b) && a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
