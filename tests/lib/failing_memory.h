/* Makes the Nth allocation of the code under test fail. Link with failing_memory.c and
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc. */
#ifndef PSBROKER_TESTS_FAILING_MEMORY_H
#define PSBROKER_TESTS_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* The allocation after `count` good ones fails, once. */
void memory_fails_after(size_t count);
/* No more failures; whether one happened since memory_fails_after(). */
bool memory_failed(void);

#endif
