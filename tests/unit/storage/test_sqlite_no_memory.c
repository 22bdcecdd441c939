/* Background work beside publishing while memory is short. */
#include "failing_memory.h"
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>

enum { EPOCH_ROWS = 40 };

/* What it takes to sort an epoch is not there: the index goes on, and no publication is refused for it. */
Test(sqlite_no_memory, an_epoch_is_sorted_without_memory)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    place.config.epoch_rows = EPOCH_ROWS;
    sqlite_case_open(&place);
    for (int i = 0; i < EPOCH_ROWS; i++)
        sqlite_case_publish(&place, i % 2 == 0 ? "B" : "A", 1);

    memory_fails_after(0);
    sqlite_case_step(&place);
    cr_assert(memory_failed());
    cr_assert_eq(place.state.indexed_through, (uint64_t)EPOCH_ROWS);
    sqlite_case_close(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history WHERE topic = 'A' AND run >= 0"),
                 EPOCH_ROWS / 2);
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 1);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
