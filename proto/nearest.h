/* The name that a mistyped word most likely meant. Pure. */
#ifndef PSBROKER_NEAREST_H
#define PSBROKER_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *word;
    const char *name; /* NULL: nothing is near enough */
    size_t distance;
};

/* Begins a search; offer every candidate, then read `name`. Borrows the strings. */
struct nearest nearest_to(const char *word);
void nearest_offer(struct nearest *nearest, const char *name);

#endif
