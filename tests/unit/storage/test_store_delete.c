/* Deleting a topic, making it again, and opening a store again. */
#include "caller.h"

#include <criterion/criterion.h>

STORE_TEST(a_deleted_topic_is_gone_at_once)
{
    caller_publish_many(caller, "A", 10);
    caller_publish_many(caller, "B", 2);
    struct store_topic lent = caller_lend(caller, "A");
    struct store_op op = delete_op("A");
    struct shown shown = {0};

    cr_assert_eq(caller_do(caller, &op), PS_OK);

    cr_assert_eq(op.delete_topic.topic_id, lent.topic_id);
    cr_assert_eq(op.delete_topic.first_offset, (uint64_t)10);
    struct store_read read = caller_read_of(caller, "A", 0, 10, &shown);
    read.topic.first_offset = 0; /* as one who does not know it yet */
    cr_assert_eq(store_read(caller->reader, &read), PS_OK);
    cr_assert_eq(read.first_kept, (uint64_t)10);
    cr_assert_eq(shown.count, (size_t)0);
    caller_read(caller, "B", 0, 2, &shown);
    cr_assert_eq(shown.count, (size_t)2);
    shown_clear(&shown);
    struct store_op again = delete_op("A");
    cr_assert_eq(caller_do(caller, &again), PS_NO_SUCH_TOPIC);
}

STORE_TEST(a_topic_made_again_goes_on_counting_under_its_id)
{
    caller_publish_many(caller, "A", 10);
    uint64_t id = caller_find(caller, "A")->id;
    struct store_op delete_topic = delete_op("A");
    cr_assert_eq(caller_do(caller, &delete_topic), PS_OK);
    struct message message = {.payload = span_of("again")};
    struct store_op op = append_op("A", &message, 1);

    cr_assert_eq(caller_do(caller, &op), PS_OK);

    cr_assert_eq(op.append.topic_id, id);
    cr_assert_eq(op.append.first_offset, (uint64_t)10);
    cr_assert(op.append.topic_created);
    struct shown shown = {0};
    caller_read(caller, "A", 10, 11, &shown);
    assert_same_message(&shown.messages[0], &message);
    shown_clear(&shown);
}

STORE_TEST(a_topic_is_deleted_and_made_again_within_one_commit)
{
    caller_publish_many(caller, "A", 10);
    struct message lost = {.payload = span_of("lost")}, kept = {.payload = span_of("kept")};
    struct store_op ops[3] = {append_op("A", &lost, 1), delete_op("A"), append_op("A", &kept, 1)};

    caller_commit(caller, ops, 3);

    cr_assert_eq(ops[0].append.first_offset, (uint64_t)10);
    cr_assert_not(ops[0].append.topic_created);
    cr_assert_eq(ops[1].status, PS_OK);
    cr_assert_eq(ops[1].delete_topic.first_offset, (uint64_t)11);
    cr_assert_eq(ops[2].append.first_offset, (uint64_t)11);
    cr_assert(ops[2].append.topic_created);
    struct shown shown = {0};
    struct store_read read = caller_read_of(caller, "A", 0, 12, &shown);
    cr_assert_eq(store_read(caller->reader, &read), PS_OK);
    cr_assert_eq(read.first_kept, (uint64_t)11);
    cr_assert_eq(shown.count, (size_t)1);
    assert_same_message(&shown.messages[0], &kept);
    shown_clear(&shown);
}

STORE_TEST(sweeping_removes_nothing_that_is_kept)
{
    for (int i = 0; i < 20; i++) {
        caller_publish_many(caller, "gone", 40);
        caller_publish_many(caller, "kept", 3);
    }
    struct store_op op = delete_op("gone");
    cr_assert_eq(caller_do(caller, &op), PS_OK);
    caller_publish_many(caller, "gone", 5);
    caller_publish_many(caller, "filling", (uint32_t)caller->body->epoch);

    for (int i = 0; i < 50; i++) {
        caller_work(caller);
        caller_publish(caller, "kept", "more");
    }

    struct shown shown = {0};
    caller_read(caller, "kept", 0, 110, &shown);
    cr_assert_eq(shown.count, (size_t)110);
    shown_clear(&shown);
    caller_read(caller, "gone", 800, 805, &shown);
    cr_assert_eq(shown.count, (size_t)5);
    shown_clear(&shown);
}

STORE_TEST(a_subscription_outlives_its_topic)
{
    caller_publish_many(caller, "A", 10);
    struct store_op attached = attach_op("s", "A", START_BEGINNING, 0);
    cr_assert_eq(caller_do(caller, &attached), PS_OK);
    struct store_offset item = {attached.attach.subscription_id, caller_find(caller, "A")->id, 4};
    struct store_op ops[2] = {offsets_op(&item, 1), delete_op("A")};
    caller_commit(caller, ops, 2);
    caller_publish(caller, "A", "again");
    struct store_op again = attach_op("s", "A", START_NEW, 0);

    cr_assert_eq(caller_do(caller, &again), PS_OK);

    cr_assert_not(again.attach.created);
    uint64_t start =
        caller_resolve(caller, item.subscription_id, again.attach.stored, again.attach.mark, "A", NULL);
    cr_assert_eq(start, (uint64_t)10);
}

/* ------------------------------------------------------------------------------------------------ opening */

PERSISTENT_TEST(everything_is_there_after_opening_again)
{
    caller_publish_many(caller, "A", 10);
    caller_publish_many(caller, "B", 3);
    struct store_op attached = attach_op("s", "A", START_LAST, 2);
    cr_assert_eq(caller_do(caller, &attached), PS_OK);
    struct store_offset item = {attached.attach.subscription_id, caller_find(caller, "A")->id, 9};
    struct store_op ops[2] = {offsets_op(&item, 1), delete_op("B")};
    caller_commit(caller, ops, 2);
    struct known_topic before = *caller_find(caller, "A");
    struct store_opened opened = caller->opened;
    uint64_t mark = caller->state.mark;

    caller_reopen(caller);

    struct known_topic *after = caller_find(caller, "A");
    cr_assert_not_null(after);
    cr_assert_null(caller_find(caller, "B"), "a deleted topic is not shown");
    cr_assert_eq(after->id, before.id);
    cr_assert_eq(after->first_offset, before.first_offset);
    cr_assert_eq(after->next_offset, before.next_offset);
    cr_assert_eq(after->created_seq, before.created_seq);
    cr_assert_eq(after->last_seq, before.last_seq);
    cr_assert_eq(caller->state.mark, mark);
    cr_assert_eq(memcmp(caller->opened.log_id, opened.log_id, LOG_ID_BYTES), 0);
    cr_assert_eq(caller->opened.start_count, opened.start_count + 1);
    struct store_op again = attach_op("s", "A", START_NEW, 0);
    cr_assert_eq(caller_do(caller, &again), PS_OK);
    cr_assert_eq(again.attach.subscription_id, attached.attach.subscription_id);
    cr_assert_eq(again.attach.generation, attached.attach.generation + 1);
    cr_assert_eq(again.attach.mark, attached.attach.mark);
    cr_assert_eq(again.attach.stored.kind, START_LAST);
    cr_assert_eq(
        caller_resolve(caller, item.subscription_id, again.attach.stored, again.attach.mark, "A", NULL),
        (uint64_t)9);
}

PERSISTENT_TEST(offsets_and_ids_go_on_after_opening_again)
{
    caller_publish_many(caller, "A", 10);
    uint64_t topic_id = caller_find(caller, "A")->id;
    struct store_op attached = attach_op("s", "A", START_NEW, 0);
    cr_assert_eq(caller_do(caller, &attached), PS_OK);
    struct store_op ops[2] = {forget_op("s", "A"), delete_op("A")};
    caller_commit(caller, ops, 2);
    caller_work(caller);
    uint64_t mark = caller->state.mark;

    caller_reopen(caller);
    caller_work(caller);
    caller_reopen(caller);

    cr_assert_eq(caller->state.mark, mark, "a seq is not used again, though no row is left");
    cr_assert_eq(caller_publish(caller, "A", "x"), (uint64_t)10);
    cr_assert_eq(caller_find(caller, "A")->id, topic_id);
    struct store_op again = attach_op("s", "A", START_NEW, 0);
    cr_assert_eq(caller_do(caller, &again), PS_OK);
    cr_assert_gt(again.attach.subscription_id, attached.attach.subscription_id);
}

PERSISTENT_TEST(time_does_not_go_back_after_opening_again)
{
    struct shown shown = {0};
    for (int i = 0; i < 5; i++) {
        caller_publish(caller, "A", "x");
        caller_reopen(caller);
    }

    caller_read(caller, "A", 0, 5, &shown);
    for (int i = 1; i < 5; i++)
        cr_assert_geq(shown.messages[i].published_at, shown.messages[i - 1].published_at);
    shown_clear(&shown);
}
