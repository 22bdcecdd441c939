/* Printed once, acknowledged as written, and the ends that are waited for. */
#include "leaks.h"
#include "positions.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct psc_bytes topic(const char *name)
{
    return (struct psc_bytes){name, strlen(name)};
}

Test(positions, overlapping_feeds_print_a_message_once)
{
    struct positions positions = {0};
    struct cursor *first = positions_find(&positions, 0, topic("a"), 0);
    struct cursor *second = positions_find(&positions, 1, topic("a"), 0);

    /* The second feed began earlier: what came before the first feed's start is not a duplicate. */
    cr_assert_not(positions_came(&positions, first, 5));
    cr_assert_not(positions_came(&positions, first, 6));
    cr_assert_not(positions_came(&positions, second, 4));
    cr_assert(positions_came(&positions, second, 5));
    cr_assert(positions_came(&positions, second, 6));
    cr_assert_not(positions_came(&positions, second, 7));
    cr_assert(positions_came(&positions, first, 7));
    positions_deinit(&positions);
    ASSERT_NO_LEAKS();
}

Test(positions, topics_are_apart)
{
    struct positions positions = {0};

    cr_assert_not(positions_came(&positions, positions_find(&positions, 0, topic("a"), 0), 0));
    cr_assert_not(positions_came(&positions, positions_find(&positions, 1, topic("b"), 0), 0));
    positions_deinit(&positions);
}

Test(positions, a_feed_that_is_moved_prints_nothing_twice_and_skips_nothing)
{
    struct positions positions = {0};
    struct cursor *cursor = positions_find(&positions, 0, topic("a"), 0);
    static const struct {
        uint64_t from, to;
        bool before;
    } moves[] = {{5, 10, false},  {20, 25, false}, {0, 5, false},   {5, 10, true},
                 {10, 20, false}, {20, 25, true},  {25, 30, false}, {0, 30, true}};

    for (unsigned i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        for (uint64_t offset = moves[i].from; offset < moves[i].to; offset++)
            cr_assert_eq(positions_came(&positions, cursor, offset), moves[i].before, "move %u, offset %u", i,
                         (unsigned)offset);
    }
    positions_deinit(&positions);
}

Test(positions, what_a_retired_feed_printed_may_come_again)
{
    struct positions positions = {0};

    positions_came(&positions, positions_find(&positions, 0, topic("a"), 0), 0);
    positions_retire(&positions, 0);
    cr_assert_not(positions_came(&positions, positions_find(&positions, 1, topic("a"), 0), 0));
    positions_deinit(&positions);
}

Test(positions, a_feed_that_is_given_up_is_not_waited_for_and_its_prints_count)
{
    struct positions positions = {0};
    struct cursor *given_up = positions_find(&positions, 0, topic("a"), 0);
    struct cursor *other = positions_find(&positions, 1, topic("a"), 0);

    positions_aim(&positions, given_up, 5);
    positions_aim(&positions, other, 5);
    positions_came(&positions, given_up, 0);
    positions_give_up(&positions, 0);
    cr_assert_eq(positions.targets, 1);
    cr_assert(positions_came(&positions, other, 0));
    positions_deinit(&positions);
}

Test(positions, ends_are_reached_by_messages_and_by_gaps)
{
    struct positions positions = {0};
    struct cursor *a = positions_find(&positions, 0, topic("a"), 3);
    struct cursor *b = positions_find(&positions, 0, topic("b"), 0);

    positions_aim(&positions, a, 3);
    cr_assert_eq(positions.targets, 0);
    positions_aim(&positions, a, 5);
    positions_aim(&positions, b, 2);
    positions_aim(&positions, b, 3);
    cr_assert_eq(positions.targets, 2);
    positions_came(&positions, a, 3);
    cr_assert_eq(positions.targets, 2);
    positions_came(&positions, a, 4);
    cr_assert_eq(positions.targets, 1);
    positions_skip(&positions, b, 0, 3);
    cr_assert_eq(positions.targets, 0);
    positions_deinit(&positions);
}

Test(positions, a_retired_feed_is_not_waited_for)
{
    struct positions positions = {0};

    positions_aim(&positions, positions_find(&positions, 0, topic("a"), 0), 5);
    positions_retire(&positions, 0);
    cr_assert_eq(positions.targets, 0);
    positions_deinit(&positions);
}

Test(positions, a_feed_that_is_attached_again_waits_for_what_can_still_come_only)
{
    struct positions positions = {0};
    struct cursor *gone = positions_find(&positions, 0, topic("gone"), 0);
    struct cursor *anew = positions_find(&positions, 0, topic("anew"), 0);
    struct cursor *kept = positions_find(&positions, 0, topic("kept"), 0);
    struct cursor *other = positions_find(&positions, 1, topic("gone"), 0);

    positions_aim(&positions, gone, 10);
    positions_aim(&positions, anew, 10);
    positions_aim(&positions, kept, 10);
    positions_aim(&positions, other, 10);
    positions_resumed(&positions, anew, 10);
    positions_resumed(&positions, kept, 4);
    positions_resume_end(&positions, 0);
    cr_assert_eq(gone->target, 0);
    cr_assert_eq(anew->target, 0);
    cr_assert_eq(kept->target, 10);
    cr_assert_eq(other->target, 10);
    cr_assert_eq(positions.targets, 2);

    positions_resume_end(&positions, 0);
    cr_assert_eq(positions.targets, 1);
    /* What will not come any more was not printed either. */
    cr_assert_not(positions_came(&positions, anew, 9));
    positions_deinit(&positions);
}

Test(positions, many_topics_are_found_again)
{
    struct positions positions = {0};
    struct cursor *cursors[1000];
    char name[16];

    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "topic/%u", i);
        cursors[i] = positions_find(&positions, i % 3, topic(name), i);
    }
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "topic/%u", i);
        cr_assert_eq(positions_find(&positions, i % 3, topic(name), 0), cursors[i]);
        cr_assert_eq(cursors[i]->position, i);
    }
    positions_deinit(&positions);
    ASSERT_NO_LEAKS();
}
