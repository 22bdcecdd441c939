/* The exit code of every status. */
#include "exits.h"

#include <criterion/criterion.h>

Test(exits, every_status_has_a_code_that_is_listed)
{
    static const enum ps_status statuses[] = {
#define SYMBOL(symbol, number, name, retryable, text) PS_##symbol,
        PS_STATUS_MAP(SYMBOL)
#undef SYMBOL
    };

    for (unsigned i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        /* A row of the table does not depend on what the broker calls retryable; a missing one would. */
        cr_assert_eq(exit_of(statuses[i], true), exit_of(statuses[i], false), "%s",
                     ps_status_name(statuses[i]));
        enum exit_code code;
        bool listed = false;
        for (unsigned j = 0; exit_meaning(j, &code) != NULL; j++)
            listed = listed || code == exit_of(statuses[i], false);
        cr_assert(listed, "%s", ps_status_name(statuses[i]));
    }
}

Test(exits, the_codes_that_scripts_rely_on)
{
    cr_assert_eq(exit_of(PS_OK, false), 0);
    cr_assert_eq(exit_of(PS_BAD_TOPIC, false), 2);
    cr_assert_eq(exit_of(PS_CONNECT_FAILED, true), 3);
    cr_assert_eq(exit_of(PS_ROLE_REFUSED, false), 4);
    cr_assert_eq(exit_of(PS_OUT_OF_RANGE, false), 5);
    cr_assert_eq(exit_of(PS_MESSAGE_TOO_LARGE, false), 6);
    cr_assert_eq(exit_of(PS_DISK_FULL, true), 6);
    cr_assert_eq(exit_of(PS_VERSION_MISMATCH, false), 7);
    cr_assert_eq(exit_of(PS_UNKNOWN, false), 8);
    cr_assert_eq(exit_of(PS_DAMAGED, false), 9);
    cr_assert_eq(exit_of(PS_REPLACED, false), 10);
}

Test(exits, a_number_nobody_knows_goes_by_retryable)
{
    cr_assert_eq(exit_of((enum ps_status)1234, true), EXIT_LIMIT);
    cr_assert_eq(exit_of((enum ps_status)1234, false), EXIT_OTHER);
}
