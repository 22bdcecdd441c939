#include "failing_memory.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_bool armed, for_good, failed;
static atomic_size_t left;
static _Thread_local bool paused;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *place, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *place, size_t size);

static void arm(size_t count, bool all_that_follow)
{
    armed = false;
    left = count;
    for_good = all_that_follow;
    paused = failed = false;
    armed = true;
}

void memory_fails_after(size_t count)
{
    arm(count, false);
}

void memory_fails_from(size_t count)
{
    arm(count, true);
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
    if (!armed || paused)
        return false;
    size_t before = left;
    while (before > 0 && !atomic_compare_exchange_weak(&left, &before, before - 1))
        ;
    if (before > 0)
        return false;
    bool was = atomic_exchange(&failed, true);
    return for_good || !was;
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
