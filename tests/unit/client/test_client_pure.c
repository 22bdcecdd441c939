/* The parts without sockets: when to connect again, whether the peer is there. */
#include "backoff.h"
#include "keepalive.h"
#include "leaks.h"

#include <criterion/criterion.h>

Test(backoff, a_first_connect_is_tried_until_its_deadline)
{
    struct backoff backoff;

    backoff_init(&backoff, 1000, 2000, true);
    cr_assert_eq(backoff_next(&backoff, 1000, BACKOFF_REFUSED, 0, 7), BACKOFF_FIRST_STEP_MS);
    cr_assert_eq(backoff_next(&backoff, 1000, BACKOFF_REFUSED, 500, 7), 500, "the broker asked for it");
    cr_assert_eq(backoff_next(&backoff, 2990, BACKOFF_REFUSED, 0, 7), 10);
    cr_assert_eq(backoff_next(&backoff, 3000, BACKOFF_REFUSED, 0, 7), -1);
    cr_assert_eq(backoff.state, BACKOFF_SPENT);
    cr_assert_eq(backoff_next(&backoff, 1000, BACKOFF_REFUSED, 0, 7), -1);
}

Test(backoff, only_a_refused_first_connect_is_tried_again)
{
    struct backoff backoff;

    backoff_init(&backoff, 0, 2000, true);
    cr_assert_eq(backoff_next(&backoff, 0, BACKOFF_LOST, 0, 0), -1);
}

Test(backoff, reconnects_are_spread_between_a_tenth_and_five_seconds)
{
    struct backoff backoff;
    int64_t most = 0;

    backoff_init(&backoff, 0, 2000, true);
    backoff_connected(&backoff);
    for (uint32_t i = 0; i < 10000; i++) {
        int64_t wait = backoff_next(&backoff, i, BACKOFF_LOST, 0, i * 2654435761U);

        cr_assert_geq(wait, BACKOFF_LEAST_MS);
        cr_assert_leq(wait, BACKOFF_MOST_MS);
        most = wait > most ? wait : most;
    }
    cr_assert_gt(most, BACKOFF_MOST_MS * 9 / 10);
}

Test(backoff, the_ceiling_starts_low_again_after_a_connection)
{
    struct backoff backoff;

    backoff_init(&backoff, 0, 2000, true);
    backoff_connected(&backoff);
    for (int i = 0; i < 10; i++)
        backoff_next(&backoff, 0, BACKOFF_LOST, 0, UINT32_MAX);
    backoff_connected(&backoff);
    cr_assert_leq(backoff_next(&backoff, 0, BACKOFF_REFUSED, 0, UINT32_MAX), 2 * BACKOFF_LEAST_MS);
}

Test(backoff, a_broker_may_ask_for_a_longer_wait_but_not_for_ever)
{
    struct backoff backoff;

    backoff_init(&backoff, 0, 2000, true);
    backoff_connected(&backoff);
    cr_assert_eq(backoff_next(&backoff, 0, BACKOFF_LOST, 7000, 0), 7000);
    cr_assert_eq(backoff_next(&backoff, 0, BACKOFF_LOST, UINT32_MAX, 0), BACKOFF_ASKED_MOST_MS);
}

Test(backoff, without_reconnect_a_lost_connection_is_final)
{
    struct backoff backoff;

    backoff_init(&backoff, 0, 2000, false);
    backoff_connected(&backoff);
    cr_assert_eq(backoff_next(&backoff, 0, BACKOFF_LOST, 0, 0), -1);
}

Test(keepalive, one_silent_interval_asks_and_two_give_up)
{
    struct keepalive keepalive = {.received = true, .sent = true};

    cr_assert_eq(keepalive_tick(&keepalive), KEEPALIVE_NOTHING);
    cr_assert_eq(keepalive_tick(&keepalive), KEEPALIVE_PING);
    keepalive.sent = true;
    cr_assert_eq(keepalive_tick(&keepalive), KEEPALIVE_DEAD);
}

Test(keepalive, an_answer_counts_as_a_sign_of_life)
{
    struct keepalive keepalive = {0};

    for (int i = 0; i < 5; i++) {
        cr_assert_eq(keepalive_tick(&keepalive), KEEPALIVE_PING);
        keepalive.received = true;
    }
}

Test(keepalive, a_side_that_only_listens_speaks_up)
{
    struct keepalive keepalive = {.received = true};

    cr_assert_eq(keepalive_tick(&keepalive), KEEPALIVE_PING);
    keepalive.received = true;
    keepalive.sent = true;
    cr_assert_eq(keepalive_tick(&keepalive), KEEPALIVE_NOTHING);
}
