#include "failing_memory.h"

#include <stdlib.h>

static bool armed, for_good, paused, failed;
static size_t left;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *place, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *place, size_t size);

void memory_fails_after(size_t count)
{
    left = count;
    armed = true;
    for_good = paused = failed = false;
}

void memory_fails_from(size_t count)
{
    memory_fails_after(count);
    for_good = true;
}

void memory_pause(void)
{
    paused = true;
}

void memory_resume(void)
{
    paused = false;
}

bool memory_failed(void)
{
    armed = false;
    return failed;
}

bool memory_is_to_fail(void)
{
    if (!armed || paused || (failed && !for_good))
        return false;
    failed = left == 0;
    left -= !failed;
    return failed;
}

void *__wrap_malloc(size_t size)
{
    return memory_is_to_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_is_to_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *place, size_t size)
{
    return memory_is_to_fail() ? NULL : __real_realloc(place, size);
}
