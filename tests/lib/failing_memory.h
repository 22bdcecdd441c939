/* Makes the Nth allocation of the code under test fail. Link with failing_memory.c and
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc. Allocations of all threads count. */
#ifndef PSBROKER_TESTS_FAILING_MEMORY_H
#define PSBROKER_TESTS_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* The allocation after `count` good ones fails, once. */
void memory_fails_after(size_t count);
/* That one and all that follow. */
void memory_fails_from(size_t count);
/* For allocators that the linker does not see: counts one allocation, and says whether it has to fail. */
bool memory_is_to_fail(void);
/* Lets the allocations of this thread in between alone. */
void memory_pause(void);
void memory_resume(void);
/* No more failures; whether one happened since it was armed. */
bool memory_failed(void);

#endif
