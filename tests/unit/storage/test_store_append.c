/* Appending: offsets and seqs, what a message may hold, several topics in one commit, refusals. */
#include "caller.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

STORE_TEST(a_new_store_is_empty)
{
    uint8_t zero[LOG_ID_BYTES] = {0};

    cr_assert_eq(caller->topic_count, (size_t)0);
    cr_assert_gt(caller->opened.state.mark, (uint64_t)0);
    cr_assert_eq(caller->opened.start_count, (uint64_t)1);
    cr_assert_neq(memcmp(caller->opened.log_id, zero, sizeof zero), 0);
    cr_assert_eq(caller->opened.state.indexed_through, caller->opened.state.mark - 1);
}

STORE_TEST(offsets_and_seqs_count_up)
{
    uint64_t mark = caller->state.mark;
    struct message three[3] = {
        {.payload = span_of("x")}, {.payload = span_of("y")}, {.payload = span_of("z")}};
    struct store_op first = append_op("A", three, 3);
    struct message one = {.payload = span_of("w")};
    struct store_op second = append_op("A", &one, 1);

    cr_assert_eq(caller_do(caller, &first), PS_OK);
    cr_assert_eq(caller_do(caller, &second), PS_OK);

    cr_assert(first.append.topic_created);
    cr_assert_not(second.append.topic_created);
    cr_assert_eq(first.append.first_offset, (uint64_t)0);
    cr_assert_eq(first.append.first_seq, mark);
    cr_assert_eq(first.append.accepted, 3u);
    cr_assert_eq(second.append.first_offset, (uint64_t)3);
    cr_assert_eq(second.append.first_seq, mark + 3);
    cr_assert_eq(second.append.topic_id, first.append.topic_id);
    cr_assert_eq(caller->state.mark, mark + 4);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(three[i].offset, i);
        cr_assert_eq(three[i].status, PS_OK);
        cr_assert_eq(three[i].published_at, three[0].published_at, "one time for a commit");
    }
    cr_assert_gt(three[0].published_at, INT64_C(1600000000000000));
    cr_assert_geq(one.published_at, three[0].published_at);
}

STORE_TEST(several_topics_in_one_commit_share_one_order)
{
    uint64_t mark = caller->state.mark;
    struct message messages[6];
    for (int i = 0; i < 6; i++)
        messages[i] = (struct message){.payload = span_of("p")};
    struct store_op ops[3] = {append_op("A", messages, 2), append_op("B", messages + 2, 3),
                              append_op("A", messages + 5, 1)};

    caller_commit(caller, ops, 3);

    cr_assert_eq(ops[0].append.first_offset, (uint64_t)0);
    cr_assert_eq(ops[1].append.first_offset, (uint64_t)0);
    cr_assert_eq(ops[2].append.first_offset, (uint64_t)2);
    cr_assert(ops[0].append.topic_created);
    cr_assert_not(ops[2].append.topic_created);
    cr_assert_gt(ops[2].append.first_seq, ops[0].append.first_seq);
    bool taken[6] = {false};
    for (int i = 0; i < 3; i++) {
        for (uint64_t j = 0; j < ops[i].append.accepted; j++) {
            uint64_t place = ops[i].append.first_seq + j - mark;
            cr_assert_lt(place, (uint64_t)6);
            cr_assert_not(taken[place], "seq %llu twice", (unsigned long long)(mark + place));
            taken[place] = true;
        }
    }
    cr_assert_eq(caller->state.mark, mark + 6);
    struct shown shown = {0};
    caller_read(caller, "A", 0, 3, &shown);
    cr_assert_eq(shown.count, (size_t)3);
    shown_clear(&shown);
}

STORE_TEST(topic_names_are_bytes)
{
    const char *names[] = {"007", "7",         "1e3", "1000", "a",  "A",
                           "ä",   "a\xcc\x88", "/",   "//",   "a/", "'; drop--"};
    enum { COUNT = sizeof names / sizeof names[0] };

    for (size_t i = 0; i < COUNT; i++)
        cr_assert_eq(caller_publish(caller, names[i], names[i]), (uint64_t)0, "%s", names[i]);

    for (size_t i = 0; i < COUNT; i++) {
        struct shown shown = {0};
        caller_read(caller, names[i], 0, 1, &shown);
        cr_assert(span_equal(shown.messages[0].payload, span_of(names[i])), "%s", names[i]);
        shown_clear(&shown);
    }
}

/* ----------------------------------------------------------------------------- what comes back unchanged */

#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        (const uint8_t *)(literal), sizeof(literal) - 1                                                      \
    }

static const struct header odd_headers[] = {
    {BYTES("plain"), BYTES("value")},
    {BYTES("z before a"), BYTES("")},
    {BYTES("a"), BYTES("quote \" backslash \\ slash / newline \n tab \t bell \a del \x7f")},
    {BYTES("\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82"),
     BYTES("\xc3\xa4\xe2\x82\xac\xf0\x9f\x99\x82 \xe2\x80\xa8")},
    {BYTES("{\"a\":1}"), BYTES("[null]")}};

static const struct message odd_messages[] = {
    {.payload = BYTES("")},
    {.payload = BYTES("text")},
    {.payload = BYTES("12")},
    {.payload = BYTES("1.50"), .key = BYTES("007")},
    {.payload = BYTES("\0")},
    {.payload = BYTES("a\0b"), .key = BYTES("a\0b")},
    {.payload = BYTES("a\0")},
    {.payload = BYTES("\xff\xfe\x80"), .key = BYTES("\xff\xfe\x80")},
    {.payload = BYTES("\xed\xa0\x80"), .key = BYTES("\xed\xa0\x80")},
    {.payload = BYTES("\xc0\x80"), .key = BYTES("\xf4\x90\x80\x80")},
    {.payload = BYTES("\xef\xbb\xbf with a mark"), .key = BYTES("\xc3\xa4")},
    {.payload = BYTES("absent key")},
    {.payload = BYTES("empty key"), .key = BYTES("")},
    {.payload = BYTES("publisher"), .publisher = BYTES("p1")},
    {.payload = BYTES("all"),
     .publisher = BYTES("p\xc3\xa4"),
     .key = BYTES("k"),
     .headers = odd_headers,
     .header_count = 5},
    {.payload = BYTES("one header"), .headers = odd_headers + 1, .header_count = 1},
};
enum { ODD_MESSAGES = sizeof odd_messages / sizeof odd_messages[0] };

STORE_TEST(every_message_comes_back_byte_for_byte)
{
    struct message messages[ODD_MESSAGES];
    memcpy(messages, odd_messages, sizeof messages);
    struct store_op op = append_op("odd", messages, ODD_MESSAGES);

    cr_assert_eq(caller_do(caller, &op), PS_OK);

    cr_assert_eq(op.append.accepted, (uint32_t)ODD_MESSAGES);
    struct shown shown = {0};
    caller_read(caller, "odd", 0, ODD_MESSAGES, &shown);
    cr_assert_eq(shown.count, (size_t)ODD_MESSAGES);
    for (uint32_t i = 0; i < ODD_MESSAGES; i++)
        assert_same_message(&shown.messages[i], &messages[i]);
    shown_clear(&shown);
}

STORE_TEST(large_messages_come_back_byte_for_byte)
{
    enum { COUNT = 5 };
    static const size_t sizes[COUNT] = {16 * 1024 - 1, 16 * 1024, 70000, 1, 1024 * 1024};
    struct message messages[COUNT] = {0};
    uint8_t *bytes = malloc(sizes[COUNT - 1]);
    for (size_t i = 0; i < sizes[COUNT - 1]; i++)
        bytes[i] = (uint8_t)(i * 131 >> 3);
    for (int i = 0; i < COUNT; i++)
        messages[i].payload = (struct span){bytes, sizes[i]};
    messages[3].key = (struct span){bytes, 100000};
    struct store_op op = append_op("large", messages, COUNT);

    cr_assert_eq(caller_do(caller, &op), PS_OK);

    struct shown shown = {0};
    caller_read(caller, "large", 0, COUNT, &shown);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_same_message(&shown.messages[i], &messages[i]);
    shown_clear(&shown);
    free(bytes);
}

STORE_TEST(a_thousand_topics_in_one_commit)
{
    enum { TOPICS = 1000, EACH = 5 };
    struct store_op *ops = calloc(TOPICS * EACH, sizeof *ops);
    struct message *messages = calloc(TOPICS * EACH, sizeof *messages);
    char(*names)[16] = calloc(TOPICS, sizeof *names);
    for (int i = 0; i < TOPICS * EACH; i++) {
        snprintf(names[i % TOPICS], sizeof names[0], "t/%d", i % TOPICS);
        messages[i].payload = span_of(names[i % TOPICS]);
        ops[i] = append_op(names[i % TOPICS], &messages[i], 1);
    }

    caller_commit(caller, ops, TOPICS * EACH);

    for (int i = 0; i < TOPICS * EACH; i++) {
        cr_assert_eq(ops[i].status, PS_OK);
        cr_assert_eq(messages[i].offset, (uint64_t)(i / TOPICS));
    }
    for (int i = 0; i < TOPICS; i += 37) {
        struct shown shown = {0};
        caller_read(caller, names[i], 0, EACH, &shown);
        for (int j = 0; j < EACH; j++)
            cr_assert(span_equal(shown.messages[j].payload, span_of(names[i])));
        shown_clear(&shown);
    }
    free(ops);
    free(messages);
    free(names);
}

/* ---------------------------------------------------------------------------------------------- refusals */

static void topic_limit(const struct body *body)
{
    struct caller caller;
    caller_open(&caller, body, (struct store_limits){.max_topics = 2});
    caller_publish(&caller, "A", "1");
    caller_publish(&caller, "B", "1");
    uint64_t mark = caller.state.mark;
    struct message refused[2] = {{.payload = span_of("x")}, {.payload = span_of("y")}};
    struct message accepted = {.payload = span_of("2")};
    struct store_op ops[2] = {append_op("C", refused, 2), append_op("A", &accepted, 1)};

    caller_commit(&caller, ops, 2);

    cr_assert_eq(ops[0].status, PS_LIMIT_EXCEEDED);
    cr_assert_eq(refused[0].status, PS_LIMIT_EXCEEDED);
    cr_assert_eq(refused[1].status, PS_LIMIT_EXCEEDED);
    cr_assert_eq(ops[0].append.accepted, 0u);
    cr_assert_eq(ops[1].status, PS_OK);
    cr_assert_eq(ops[1].append.first_offset, (uint64_t)1);
    cr_assert_eq(ops[1].append.first_seq, mark);
    cr_assert_eq(caller.state.mark, mark + 1);
    if (body->persistent) {
        caller_reopen(&caller);
        cr_assert_null(caller_find(&caller, "C"));
        cr_assert_eq(caller.topic_count, (size_t)2);
    }
    caller_close(&caller);
}

Test(memory, topics_beyond_the_limit_are_refused_and_leave_nothing)
{
    topic_limit(&memory_body);
}

Test(sqlite, topics_beyond_the_limit_are_refused_and_leave_nothing)
{
    topic_limit(&sqlite_body);
}

STORE_TEST(a_refused_operation_does_not_touch_its_neighbours)
{
    caller_publish_many(caller, "A", 3);
    struct message message = {.payload = span_of("m")};
    struct store_op ops[6] = {attach_op("s", "A", START_OFFSET, 4),
                              append_op("A", &message, 1),
                              seek_op("s", "A", START_NEW, 0),
                              delete_op("B"),
                              forget_op("s", "A"),
                              attach_op("t", "A", START_OFFSET, 4)};

    caller_commit(caller, ops, 6);

    cr_assert_eq(ops[0].status, PS_OUT_OF_RANGE);
    cr_assert_eq(ops[0].attach.first, (uint64_t)0);
    cr_assert_eq(ops[0].attach.head, (uint64_t)3);
    cr_assert_eq(ops[1].status, PS_OK);
    cr_assert_eq(ops[1].append.first_offset, (uint64_t)3);
    cr_assert_eq(ops[2].status, PS_NO_SUCH_SUBSCRIPTION);
    cr_assert_eq(ops[3].status, PS_NO_SUCH_TOPIC);
    cr_assert_eq(ops[4].status, PS_NO_SUCH_SUBSCRIPTION);
    cr_assert_eq(ops[5].status, PS_OK, "the append before it counts");
    struct store_op again = attach_op("s", "A", START_NEW, 0);
    again.attach.existing_only = true;
    cr_assert_eq(caller_do(caller, &again), PS_NO_SUCH_SUBSCRIPTION);
}
