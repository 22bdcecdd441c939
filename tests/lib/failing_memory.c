#include "failing_memory.h"

#include <stdlib.h>

static bool armed, failed;
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
    failed = false;
}

bool memory_failed(void)
{
    armed = false;
    return failed;
}

static bool fails(void)
{
    if (!armed || failed)
        return false;
    failed = left == 0;
    left -= !failed;
    return failed;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *place, size_t size)
{
    return fails() ? NULL : __real_realloc(place, size);
}
