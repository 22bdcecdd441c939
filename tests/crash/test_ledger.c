/* The checker of the crash tests sees each kind of damage, and names it: a checker that finds nothing proves
 * nothing. */
#include "ledger.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 5 /* messages in the topic that each case looks at */ };

static struct ledger *ledger;
static uint64_t numbers[KEPT];
static unsigned topic;

/* Some messages of one publisher to one topic, acknowledged. */
static void begin(void)
{
    struct ledger_plan plan = {.seed = 7, .publishers = 2, .topics = 3, .cursors = 1};
    unsigned got = 0;

    ledger = ledger_new(&plan);
    while (got < KEPT) {
        uint64_t number = ledger_send(ledger, 0);

        if (got == 0)
            topic = ledger_topic_of(ledger, number);
        if (ledger_topic_of(ledger, number) == topic)
            numbers[got++] = number;
        else
            ledger_refused(ledger, number);
    }
}

static void acknowledge_all(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        ledger_acknowledged(ledger, numbers[i], i);
}

static void end(void)
{
    ledger_free(ledger);
}

TestSuite(ledger, .init = begin, .fini = end);

static void show(struct ledger_view *view, uint64_t offset, uint64_t number)
{
    struct ledger_message message = ledger_message_of(ledger, number);

    ledger_view_show(view, topic, offset, &message);
}

/* A whole view in which message `at` is replaced by another one, or left out with 0. */
static void replay(unsigned at, uint64_t instead)
{
    struct ledger_view *view = ledger_view_new(ledger, "replay", LEDGER_WHOLE);

    for (unsigned i = 0; i < KEPT; i++) {
        uint64_t number = i == at ? instead : numbers[i];

        if (number != 0)
            show(view, i, number);
    }
    ledger_view_end(view);
}

static void expect_named(const char *words)
{
    const char *first = ledger_violation(ledger, 0);

    cr_assert_not_null(first, "nothing was found");
    cr_assert_not_null(strstr(first, words), "'%s' is not in '%s'", words, first);
}

static void expect_nothing(void)
{
    const char *first = ledger_violation(ledger, 0);

    cr_assert_null(first, "%s", first);
    cr_assert_eq(ledger_totals_of(ledger).violations, 0);
}

Test(ledger, a_whole_log_has_no_violations)
{
    struct ledger_view *live = ledger_view_new(ledger, "live", LEDGER_PART);
    show(live, 0, numbers[0]); /* seen before it is acknowledged */
    acknowledge_all();
    show(live, 1, numbers[1]);
    ledger_view_end(live);
    replay(KEPT, 0);
    expect_nothing();
}

Test(ledger, a_lost_message_at_the_end)
{
    acknowledge_all();
    replay(KEPT - 1, 0);
    expect_named("was shown up to 4, it had reached 5");
}

Test(ledger, a_topic_that_is_gone)
{
    acknowledge_all();
    ledger_view_end(ledger_view_new(ledger, "replay", LEDGER_WHOLE));
    expect_named("it had reached 5");
}

Test(ledger, a_hole)
{
    acknowledge_all();
    replay(2, 0);
    expect_named("offset 3 where 2 was due");
}

Test(ledger, a_log_that_no_longer_begins_where_it_did)
{
    acknowledge_all();
    replay(0, 0);
    expect_named("begins at 1, not at 0");
}

Test(ledger, an_offset_given_twice)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
    show(view, 0, numbers[0]);
    show(view, 0, numbers[0]);
    ledger_view_end(view);
    expect_named("offset 0 where 1 was due");
}

Test(ledger, a_message_at_an_offset_of_another)
{
    acknowledge_all();
    replay(2, numbers[3]);
    expect_named("where");
}

Test(ledger, two_acknowledgements_of_one_offset)
{
    ledger_acknowledged(ledger, numbers[0], 0);
    ledger_acknowledged(ledger, numbers[1], 0);
    expect_named("acknowledgement: ");
}

Test(ledger, what_a_subscriber_saw_changed)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
    show(view, 0, numbers[0]);
    ledger_view_end(view);
    replay(0, numbers[1]);
    expect_named("where");
}

Test(ledger, what_a_subscriber_saw_vanished)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
    show(view, 0, numbers[0]);
    ledger_view_end(view);
    ledger_view_end(ledger_view_new(ledger, "replay", LEDGER_WHOLE));
    expect_named("it had reached 1");
}

Test(ledger, a_message_that_is_there_twice)
{
    for (unsigned i = 0; i < KEPT - 1; i++)
        ledger_acknowledged(ledger, numbers[i], i);
    ledger_unknown(ledger, numbers[KEPT - 1]);
    replay(KEPT - 1, numbers[1]);
    expect_named("is there twice");
}

Test(ledger, an_unknown_one_may_be_there_once_or_not)
{
    for (unsigned i = 0; i < KEPT - 1; i++)
        ledger_acknowledged(ledger, numbers[i], i);
    ledger_unknown(ledger, numbers[KEPT - 1]);
    replay(KEPT - 1, 0);
    replay(KEPT, 0);
    expect_nothing();
    replay(KEPT - 1, 0);
    expect_named("it had reached 5");
}

Test(ledger, a_refused_one_that_is_there)
{
    for (unsigned i = 0; i < KEPT - 1; i++)
        ledger_acknowledged(ledger, numbers[i], i);
    ledger_refused(ledger, numbers[KEPT - 1]);
    replay(KEPT, 0);
    expect_named("was refused");
}

Test(ledger, a_refusal_of_what_was_shown)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
    show(view, 0, numbers[0]);
    ledger_view_end(view);
    ledger_refused(ledger, numbers[0]);
    expect_named("was refused, but it had been shown");
}

Test(ledger, an_answer_that_comes_twice)
{
    ledger_acknowledged(ledger, numbers[0], 0);
    ledger_unknown(ledger, numbers[0]);
    expect_named("was answered twice");
}

Test(ledger, any_changed_byte)
{
    struct ledger_message message = ledger_message_of(ledger, numbers[0]);
    uint64_t found = 0;

    for (size_t i = 0; i < message.payload_size; i++) {
        struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
        uint8_t *changed = malloc(message.payload_size);
        struct ledger_message forged = message;

        cr_assert_not_null(changed);
        memcpy(changed, ledger_message_of(ledger, numbers[0]).payload, message.payload_size);
        changed[i] ^= 1;
        forged.payload = changed;
        ledger_view_show(view, topic, 0, &forged);
        ledger_view_end(view);
        free(changed);
        cr_assert_gt(ledger_totals_of(ledger).violations, found, "byte %zu", i);
        found = ledger_totals_of(ledger).violations;
    }
}

Test(ledger, a_payload_that_is_cut_and_a_key_that_is_not_the_same)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
    struct ledger_message message = ledger_message_of(ledger, numbers[0]);

    message.payload_size--;
    ledger_view_show(view, topic, 0, &message);
    cr_assert_eq(ledger_totals_of(ledger).violations, 1);
    message = ledger_message_of(ledger, numbers[1]);
    message.key = message.key == NULL ? message.payload : NULL;
    message.key_size = 0;
    ledger_view_show(view, topic, 1, &message);
    cr_assert_eq(ledger_totals_of(ledger).violations, 2);
    ledger_view_end(view);
}

Test(ledger, a_message_that_nobody_sent_or_in_a_wrong_topic)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);
    struct ledger_message message = ledger_message_of(ledger, numbers[0]);

    ledger_view_show(view, (topic + 1) % 3, 0, &message);
    expect_named("was never published there");
    show(view, 0, numbers[KEPT - 1] + 1);
    cr_assert_eq(ledger_totals_of(ledger).violations, 2);
    ledger_view_end(view);
}

Test(ledger, a_topic_that_nobody_published_to)
{
    unsigned found;

    cr_assert(ledger_topic_find(ledger, "w/1", 3, &found) && found == 1);
    cr_assert(ledger_topic_find(ledger, "scrap/2", 7, &found) && found == 2);
    expect_nothing();
    cr_assert_not(ledger_topic_find(ledger, "w/3", 3, &found));
    cr_assert_not(ledger_topic_find(ledger, "w/01", 4, &found));
    cr_assert_not(ledger_topic_find(ledger, "", 0, &found));
    cr_assert_eq(ledger_totals_of(ledger).violations, 3);
}

Test(ledger, one_publisher_out_of_order)
{
    for (unsigned i = 0; i < KEPT; i++)
        ledger_unknown(ledger, numbers[i]);
    replay(1, numbers[0]);
    expect_named("twice");
    cr_assert_not_null(strstr(ledger_violation(ledger, 1), "overtook"));
}

Test(ledger, committed_offsets_that_went_back_or_ahead)
{
    ledger_commit_asked(ledger, 0, topic, 4);
    ledger_commit_confirmed(ledger, 0, topic, 3);
    ledger_committed(ledger, 0, topic, 3);
    ledger_committed(ledger, 0, topic, 4);
    expect_nothing();
    ledger_committed(ledger, 0, topic, 3); /* the broker itself said 4 */
    expect_named("stands at 3, 4 was confirmed");
    ledger_committed(ledger, 0, topic, 5);
    cr_assert_eq(ledger_totals_of(ledger).violations, 2);
}

/* ----------------------------------------------------------------------------------------------- deletions */

static void publish_scraps(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        ledger_acknowledged(ledger, ledger_send(ledger, 1), i);
}

static void start_scraps(uint64_t first, uint64_t head)
{
    struct ledger_view *view = ledger_view_new(ledger, "replay", LEDGER_WHOLE);

    ledger_view_start(view, 2, first, first, head);
    ledger_view_abandon(view);
}

Test(ledger, a_deletion_takes_all_in_front_of_it_and_no_more)
{
    publish_scraps(0, 3);
    ledger_delete(ledger);
    ledger_deleted(ledger, LEDGER_DELETED);
    publish_scraps(3, 5);
    start_scraps(3, 5);
    expect_nothing();
    start_scraps(4, 5);
    expect_named("begins at 4, not at 3");
    start_scraps(0, 5);
    cr_assert_eq(ledger_totals_of(ledger).violations, 2);
}

Test(ledger, an_unknown_deletion_is_one_or_the_other_for_good)
{
    publish_scraps(0, 3);
    ledger_delete(ledger);
    ledger_deleted(ledger, LEDGER_MAYBE_DELETED);
    start_scraps(0, 3);
    expect_nothing();
    start_scraps(3, 3);
    expect_named("begins at 3, not at 0");
}

Test(ledger, a_refused_deletion_deletes_nothing)
{
    publish_scraps(0, 3);
    ledger_delete(ledger);
    ledger_deleted(ledger, LEDGER_KEPT);
    start_scraps(3, 3);
    expect_named("begins at 3, not at 0");
}

Test(ledger, a_head_that_went_back)
{
    publish_scraps(0, 3);
    start_scraps(0, 2);
    expect_named("ends at 2, it had reached 3");
}

Test(ledger, a_gap_where_nothing_was_deleted)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);

    publish_scraps(0, 3);
    ledger_view_gap(view, 2, 2);
    ledger_view_end(view);
    expect_named("nothing was deleted there");
}

/* ----------------------------------------------------------------------------------------------- copies */

/* A reading of the first `count` messages. */
static struct ledger_view *copy_of(enum ledger_reading reading, unsigned count)
{
    struct ledger_view *view = ledger_view_new(ledger, "copy", reading);

    ledger_view_start(view, topic, 0, 0, count);
    for (unsigned i = 0; i < count; i++)
        show(view, i, numbers[i]);
    return view;
}

Test(ledger, a_copy_has_what_is_remembered_and_may_have_more)
{
    ledger_acknowledged(ledger, numbers[0], 0);
    ledger_acknowledged(ledger, numbers[1], 1);
    ledger_remember(ledger);
    for (unsigned i = 2; i < KEPT; i++)
        ledger_acknowledged(ledger, numbers[i], i);
    ledger_view_end(copy_of(LEDGER_COPY, KEPT));
    ledger_view_end(copy_of(LEDGER_COPY, 2));
    ledger_view_end(copy_of(LEDGER_REST, 0));
    expect_nothing();
    ledger_view_abandon(copy_of(LEDGER_COPY, 1));
    expect_named("ends at 1, it had reached 2");
}

Test(ledger, a_copy_without_a_topic)
{
    acknowledge_all();
    ledger_remember(ledger);
    ledger_view_end(ledger_view_new(ledger, "copy", LEDGER_COPY));
    expect_named("was shown up to 0, there has to be 5");
}

Test(ledger, a_copy_that_begins_later)
{
    struct ledger_view *view = ledger_view_new(ledger, "copy", LEDGER_REST);

    acknowledge_all();
    ledger_view_start(view, topic, 1, 1, KEPT);
    ledger_view_abandon(view);
    expect_named("begins at 1, not at 0");
}

Test(ledger, a_copy_that_is_not_shown_to_its_end)
{
    struct ledger_view *view = ledger_view_new(ledger, "copy", LEDGER_REST);

    acknowledge_all();
    ledger_view_start(view, topic, 0, 0, 2);
    show(view, 0, numbers[0]);
    ledger_view_end(view);
    expect_named("was shown up to 1, there has to be 2");
}

Test(ledger, offsets_in_a_copy_are_neither_older_nor_beyond_it)
{
    struct ledger_view *view;

    acknowledge_all();
    ledger_commit_asked(ledger, 0, topic, 2);
    ledger_commit_confirmed(ledger, 0, topic, 2);
    ledger_remember(ledger);
    ledger_commit_asked(ledger, 0, topic, KEPT);
    view = copy_of(LEDGER_COPY, KEPT);
    ledger_copy_committed(view, 0, topic, 3);
    expect_nothing();
    ledger_copy_committed(view, 0, topic, 1);
    expect_named("stands at 1, 2 was confirmed");
    ledger_view_abandon(view);
    view = copy_of(LEDGER_REST, 3);
    ledger_copy_committed(view, 0, topic, 0);
    cr_assert_eq(ledger_totals_of(ledger).violations, 1);
    ledger_copy_committed(view, 0, topic, 4);
    cr_assert_eq(ledger_totals_of(ledger).violations, 2);
    ledger_view_abandon(view);
}

/* ------------------------------------------------------------------------------------------- connections */

Test(ledger, what_a_lost_connection_had_under_way_may_come_later_only_if_it_is_unknown)
{
    struct ledger_view *view = ledger_view_new(ledger, "replay", LEDGER_WHOLE);

    ledger_reconnects(ledger);
    ledger_unknown(ledger, numbers[0]);
    show(view, 0, numbers[1]);
    show(view, 1, numbers[0]);
    expect_nothing();
    show(view, 2, numbers[3]);
    show(view, 3, numbers[2]);
    expect_named("overtook");
    ledger_view_abandon(view);
}

Test(ledger, a_reader_that_was_away_goes_on_where_it_stopped_or_behind_a_deletion)
{
    struct ledger_view *view = ledger_view_new(ledger, "live", LEDGER_PART);

    ledger_view_start(view, 2, 0, 0, 0);
    publish_scraps(0, 3);
    ledger_delete(ledger);
    ledger_deleted(ledger, LEDGER_DELETED);
    ledger_view_resume(view, 2, 3);
    expect_nothing();
    publish_scraps(3, 5);
    ledger_view_resume(view, 2, 4);
    expect_named("nothing was deleted there");
    ledger_view_abandon(view);
}
