/* What a run of a sweep comes to, appended to the file PSBROKER_TALLY of the environment, as Criterion keeps what is
 * printed. */
#ifndef PSBROKER_TESTS_TALLY_H
#define PSBROKER_TESTS_TALLY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline void tell_injected(uint64_t faults, uint64_t messages)
{
    const char *path = getenv("PSBROKER_TALLY");
    FILE *file = path != NULL ? fopen(path, "a") : NULL;
    if (file == NULL)
        return;
    fprintf(file, "injected %llu faults, checked %llu acknowledged messages\n", (unsigned long long)faults,
            (unsigned long long)messages);
    fclose(file);
}

#endif
