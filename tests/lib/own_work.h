/* A sweep over failing allocations spares what the test does inside of the code under test: it is told where that
 * begins and ends. NULL: nobody asks. */
#ifndef PSBROKER_TESTS_OWN_WORK_H
#define PSBROKER_TESTS_OWN_WORK_H

#include <stdbool.h>
#include <stddef.h>

extern void (*own_work)(bool begins);

static inline void own_work_begin(void)
{
    if (own_work != NULL)
        own_work(true);
}

static inline void own_work_end(void)
{
    if (own_work != NULL)
        own_work(false);
}

#endif
