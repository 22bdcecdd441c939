#include "leaks.h"
#include "write_queue.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct log_write make(uint64_t source, uint32_t messages, size_t bytes)
{
    return (struct log_write){.source = source, .messages = messages, .bytes = bytes};
}

static struct store_op *ops[COMMIT_MAX_MESSAGES + 1];

Test(io_write_queue, sources_take_turns_when_more_waits_than_fits)
{
    struct write_queue *queue = malloc(sizeof *queue);
    struct log_write flood[10], lone = make(2, 1, 10);
    size_t count;

    write_queue_init(queue);
    for (int i = 0; i < 10; i++) {
        flood[i] = make(1, 100, 1000);
        write_queue_push(queue, &flood[i]);
    }
    write_queue_push(queue, &lone);
    struct log_write *first = write_queue_cut(queue, 250, 1 << 20, ops, &count);
    cr_assert_eq(count, 3);
    cr_assert_eq(first, &flood[0]);
    cr_assert_eq(first->next, &lone, "the other source has its turn in the first commit");
    cr_assert_eq(first->next->next, &flood[1]);
    cr_assert_eq(ops[1], &lone.op);
    free(queue);
    ASSERT_NO_LEAKS();
}

Test(io_write_queue, order_within_a_source_is_kept_through_many_commits)
{
    enum { WRITES = 3000, SOURCES = 7 };
    struct write_queue *queue = malloc(sizeof *queue);
    struct log_write *writes = calloc(WRITES, sizeof *writes);
    size_t seen[SOURCES] = {0}, count, total = 0;

    write_queue_init(queue);
    for (size_t i = 0; i < WRITES; i++) {
        writes[i] = make(i * i % SOURCES + 5000, (uint32_t)(i % 9), i % 700);
        write_queue_push(queue, &writes[i]);
    }
    while (!write_queue_empty(queue)) {
        struct log_write *write = write_queue_cut(queue, 40, 4000, ops, &count);
        for (size_t i = 0; i < count; i++, write = write->next) {
            size_t index = (size_t)(write - writes);
            size_t *last = &seen[write->source - 5000];
            cr_assert_geq(index + 1, *last + 1);
            *last = index + 1;
            total++;
        }
        cr_assert_null(write);
    }
    cr_assert_eq(total, (size_t)WRITES);
    free(writes);
    free(queue);
    ASSERT_NO_LEAKS();
}

Test(io_write_queue, a_commit_stays_within_messages_and_bytes_and_a_larger_write_goes_alone)
{
    struct write_queue *queue = malloc(sizeof *queue);
    struct log_write small = make(1, 1, 10), large = make(1, 1, 9000), after = make(1, 1, 10);
    size_t count;

    write_queue_init(queue);
    write_queue_push(queue, &small);
    write_queue_push(queue, &large);
    write_queue_push(queue, &after);
    cr_assert_eq(write_queue_cut(queue, 10, 8000, ops, &count), &small);
    cr_assert_eq(count, 1);
    cr_assert_eq(write_queue_cut(queue, 10, 8000, ops, &count), &large);
    cr_assert_eq(count, 1);
    cr_assert_eq(write_queue_cut(queue, 10, 8000, ops, &count), &after);
    cr_assert_eq(count, 1);
    cr_assert_null(write_queue_cut(queue, 10, 8000, ops, &count));
    cr_assert_eq(count, 0);
    free(queue);
    ASSERT_NO_LEAKS();
}

Test(io_write_queue, sources_that_share_a_lane_keep_their_order)
{
    struct write_queue *queue = malloc(sizeof *queue);
    struct log_write a = make(3, 1, 1), b = make(3 + WRITE_QUEUE_LANES, 1, 1), c = make(3, 1, 1);
    size_t count;

    write_queue_init(queue);
    write_queue_push(queue, &a);
    write_queue_push(queue, &b);
    write_queue_push(queue, &c);
    struct log_write *first = write_queue_cut(queue, 10, 100, ops, &count);
    cr_assert_eq(count, 3);
    cr_assert_eq(first, &a);
    cr_assert_eq(first->next->next, &c);
    free(queue);
    ASSERT_NO_LEAKS();
}
