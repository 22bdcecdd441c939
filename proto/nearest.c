/* A name that begins with the word goes before every other. Else the steps count that turn one into the other: a
 * letter replaced, removed, inserted, or two neighbours swapped. A name that needs more than about a quarter of the
 * word's letters is no help to anyone. */
#include "nearest.h"

#include <stdbool.h>
#include <string.h>

enum { LONGEST = 64, SHORTEST_BEGINNING = 2 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, const char *b)
{
    static const size_t far = LONGEST + 1;
    size_t steps[LONGEST + 1][LONGEST + 1], a_size = strlen(a), b_size = strlen(b);

    if (a_size > LONGEST || b_size > LONGEST)
        return far;
    for (size_t i = 0; i <= a_size; i++) {
        for (size_t j = 0; j <= b_size; j++) {
            if (i == 0 || j == 0) {
                steps[i][j] = i + j;
                continue;
            }
            steps[i][j] = least(steps[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
                                least(steps[i - 1][j], steps[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                steps[i][j] = least(steps[i][j], steps[i - 2][j - 2] + 1);
        }
    }
    return steps[a_size][b_size];
}

struct nearest nearest_to(const char *word)
{
    return (struct nearest){word, NULL, (strlen(word) + 2) / 4 + 1};
}

void nearest_offer(struct nearest *nearest, const char *name)
{
    size_t length = strlen(nearest->word);
    bool begins = length >= SHORTEST_BEGINNING && strncmp(nearest->word, name, length) == 0;
    size_t d = begins ? 0 : distance(nearest->word, name);

    if (d < nearest->distance) {
        nearest->distance = d;
        nearest->name = name;
    }
}
