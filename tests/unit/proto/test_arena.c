#include "arena.h"

#include "dice.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <string.h>

Test(arena, places_are_aligned_and_do_not_overlap)
{
    struct arena *arena = arena_new(1 << 22);
    struct dice dice = dice_of(1);
    enum { COUNT = 500 };
    uint8_t *places[COUNT];
    size_t sizes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = dice_below(&dice, i % 50 == 0 ? 60000 : 300);
        places[i] = arena_alloc(arena, sizes[i]);
        cr_assert_not_null(places[i]);
        cr_assert_eq((uintptr_t)places[i] % alignof(max_align_t), 0);
        memset(places[i], (int)(i % 251), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < sizes[i]; j++)
            cr_assert_eq(places[i][j], i % 251);
    }
    arena_free(arena);
    ASSERT_NO_LEAKS();
}

Test(arena, nothing_is_given_beyond_the_budget)
{
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        struct arena *arena = arena_new(200000);
        size_t given = 0;
        while (arena_alloc(arena, size) != NULL)
            given += size;
        cr_assert(arena_exhausted(arena));
        cr_assert_leq(given, 200000u);
        cr_assert_leq(arena_size(arena), 200000u);
        cr_assert_gt(given, size >= 16 && size < 30000 ? 100000u : 0u, "size %zu gave %zu", size, given);
        arena_free(arena);
    }
    ASSERT_NO_LEAKS();
}

Test(arena, a_budget_below_the_first_block_holds)
{
    struct arena *arena = arena_new(100);
    cr_assert_not_null(arena_alloc(arena, 64));
    cr_assert_null(arena_alloc(arena, 64));
    cr_assert(arena_exhausted(arena));
    arena_free(arena);
}

Test(arena, sizes_near_the_end_of_the_address_space_are_refused)
{
    struct arena *arena = arena_new(SIZE_MAX);
    cr_assert_null(arena_alloc(arena, SIZE_MAX));
    cr_assert_null(arena_alloc(arena, SIZE_MAX - 16));
    cr_assert_not_null(arena_alloc(arena, 1));
    arena_free(arena);
}

Test(arena, a_reset_gives_everything_back)
{
    struct arena *arena = arena_new(50000);
    while (arena_alloc(arena, 1000) != NULL)
        continue;
    arena_reset(arena, 1 << 20);
    cr_assert_not(arena_exhausted(arena));
    cr_assert_lt(arena_size(arena), 8192u);
    cr_assert_not_null(arena_alloc(arena, 500000));
    arena_free(arena);
    ASSERT_NO_LEAKS();
}

Test(arena, nothing_is_freed_without_an_arena)
{
    arena_free(NULL);
}
