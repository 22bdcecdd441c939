/* Levenshtein's distance. A name farther away than half the word (and one more) is no help to anyone. */
#include "nearest.h"

#include <string.h>

enum { LONGEST = 64 };

static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST + 1], length = strlen(b);

    if (length > LONGEST || strlen(a) > LONGEST)
        return LONGEST + 1;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[length];
}

struct nearest nearest_to(const char *word)
{
    return (struct nearest){word, NULL, strlen(word) / 2 + 2};
}

void nearest_offer(struct nearest *nearest, const char *name)
{
    size_t d = distance(nearest->word, name);

    if (d < nearest->distance) {
        nearest->distance = d;
        nearest->name = name;
    }
}
