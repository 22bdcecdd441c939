/* Durable subscriptions: attaching, start rules, committed offsets, seeking, forgetting, listing. */
#include "caller.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct start_rule rule(enum start_kind kind, uint64_t value)
{
    return (struct start_rule){.kind = kind, .value = value};
}

/* ---------------------------------------------------------------------------------------------- attaching */

STORE_TEST(attaching_stores_the_rule_and_the_mark)
{
    caller_publish_many(caller, "A", 5);
    struct store_op op = attach_op("s", "A", START_LAST, 2);

    cr_assert_eq(caller_do(caller, &op), PS_OK);

    cr_assert(op.attach.created);
    cr_assert_gt(op.attach.subscription_id, (uint64_t)0);
    cr_assert_gt(op.attach.generation, (uint64_t)0);
    cr_assert_eq(op.attach.mark, caller->state.mark);
    cr_assert_eq(op.attach.stored.kind, START_LAST);
    cr_assert_eq(op.attach.stored.value, (uint64_t)2);
}

STORE_TEST(a_take_over_keeps_the_rule_and_raises_the_generation)
{
    struct store_op first = attach_op("s", "a/#", START_BEGINNING, 0);
    cr_assert_eq(caller_do(caller, &first), PS_OK);
    caller_publish(caller, "a/b", "x");
    struct store_op second = attach_op("s", "a/#", START_NEW, 0);

    cr_assert_eq(caller_do(caller, &second), PS_OK);

    cr_assert_not(second.attach.created);
    cr_assert_eq(second.attach.subscription_id, first.attach.subscription_id);
    cr_assert_eq(second.attach.generation, first.attach.generation + 1);
    cr_assert_eq(second.attach.mark, first.attach.mark);
    cr_assert_eq(second.attach.stored.kind, START_BEGINNING);
}

STORE_TEST(subscriptions_differ_by_id_and_by_filter)
{
    struct store_op ops[4] = {attach_op("s", "A", START_NEW, 0), attach_op("s", "B", START_NEW, 0),
                              attach_op("t", "A", START_NEW, 0), attach_op("s", "A", START_NEW, 0)};

    caller_commit(caller, ops, 4);

    cr_assert_neq(ops[0].attach.subscription_id, ops[1].attach.subscription_id);
    cr_assert_neq(ops[0].attach.subscription_id, ops[2].attach.subscription_id);
    cr_assert_neq(ops[1].attach.subscription_id, ops[2].attach.subscription_id);
    cr_assert_eq(ops[3].attach.subscription_id, ops[0].attach.subscription_id);
    cr_assert_not(ops[3].attach.created);
}

STORE_TEST(attaching_only_what_exists_creates_nothing)
{
    struct store_op missing = attach_op("s", "A", START_NEW, 0);
    missing.attach.existing_only = true;
    struct store_op made = attach_op("s", "A", START_NEW, 0);
    struct store_op there = missing;

    cr_assert_eq(caller_do(caller, &missing), PS_NO_SUCH_SUBSCRIPTION);
    cr_assert_eq(caller_do(caller, &made), PS_OK);
    cr_assert(made.attach.created);
    cr_assert_eq(caller_do(caller, &there), PS_OK);
    cr_assert_eq(there.attach.subscription_id, made.attach.subscription_id);
}

/* In one commit or in several, and behind a new start. */
static void limit_of_stored(const struct body *body)
{
    struct caller caller;
    caller_open(&caller, body, (struct store_limits){.max_durable = 2});
    struct store_op ops[6] = {attach_op("s", "A", START_NEW, 0),
                              attach_op("s", "B", START_NEW, 0),
                              attach_op("s", "C", START_NEW, 0),
                              attach_op("s", "A", START_NEW, 0),
                              forget_op("s", "B"),
                              attach_op("s", "D", START_NEW, 0)};

    caller_commit(&caller, ops, 6);
    if (body->persistent)
        caller_reopen(&caller);

    cr_assert_eq(ops[1].status, PS_OK);
    cr_assert_eq(ops[2].status, PS_LIMIT_EXCEEDED);
    cr_assert_eq(ops[3].status, PS_OK, "what is there is attached to");
    cr_assert_eq(ops[5].status, PS_OK, "a forgotten one makes room");
    struct store_op one_more = attach_op("s", "E", START_NEW, 0), there = attach_op("s", "D", START_NEW, 0);
    cr_assert_eq(caller_do(&caller, &one_more), PS_LIMIT_EXCEEDED);
    cr_assert_eq(caller_do(&caller, &there), PS_OK);
    caller_close(&caller);
}

Test(memory, subscriptions_beyond_the_limit_are_refused)
{
    limit_of_stored(&memory_body);
}

Test(sqlite, subscriptions_beyond_the_limit_are_refused)
{
    limit_of_stored(&sqlite_body);
}

STORE_TEST(an_offset_behind_the_head_is_refused_with_the_range)
{
    caller_publish_many(caller, "A", 5);
    struct store_op beyond = attach_op("s", "A", START_OFFSET, 6);
    struct store_op at_head = attach_op("s", "A", START_OFFSET, 5);
    struct store_op unknown = attach_op("s", "B", START_OFFSET, 1);
    struct store_op unknown_zero = attach_op("s", "B", START_OFFSET, 0);
    struct store_op existing = attach_op("s", "A", START_OFFSET, 600);

    cr_assert_eq(caller_do(caller, &beyond), PS_OUT_OF_RANGE);
    cr_assert_eq(beyond.attach.first, (uint64_t)0);
    cr_assert_eq(beyond.attach.head, (uint64_t)5);
    cr_assert_eq(caller_do(caller, &at_head), PS_OK);
    cr_assert(at_head.attach.created, "the refusal left nothing behind");
    cr_assert_eq(caller_do(caller, &unknown), PS_OUT_OF_RANGE);
    cr_assert_eq(unknown.attach.head, (uint64_t)0);
    cr_assert_eq(caller_do(caller, &unknown_zero), PS_OK);
    cr_assert_eq(caller_do(caller, &existing), PS_OK, "the rule only counts for a new one");
    cr_assert_eq(existing.attach.stored.value, (uint64_t)5);
}

STORE_TEST(a_mark_between_two_appends_of_one_commit_lies_between_them)
{
    struct message before = {.payload = span_of("before")}, after = {.payload = span_of("after")};
    struct store_op ops[3] = {append_op("A", &before, 1), attach_op("s", "A", START_NEW, 0),
                              append_op("A", &after, 1)};

    caller_commit(caller, ops, 3);

    cr_assert_gt(ops[1].attach.mark, ops[0].append.first_seq);
    cr_assert_leq(ops[1].attach.mark, ops[2].append.first_seq);
    cr_assert_eq(caller_resolve(caller, ops[1].attach.subscription_id, rule(START_NEW, 0), ops[1].attach.mark,
                                "A", NULL),
                 (uint64_t)1);
}

/* -------------------------------------------------------------------------------------------- start rules */

struct expected_start {
    struct start_rule rule;
    uint64_t old, young; /* in a topic older than the mark, and in one created behind it */
};

/* 10 messages before the mark and 5 behind it; the young topic has 3. */
static const struct expected_start expected_starts[] = {
    {{.kind = START_NEW}, 10, 0},
    {{.kind = START_BEGINNING}, 0, 0},
    {{.kind = START_OFFSET, .value = 0}, 0, 0},
    {{.kind = START_OFFSET, .value = 7}, 7, 7},
    {{.kind = START_OFFSET, .value = 12}, 12, 12},
    {{.kind = START_OFFSET, .value = 400}, 400, 400},
    {{.kind = START_LAST, .value = 0}, 10, 0},
    {{.kind = START_LAST, .value = 1}, 9, 0},
    {{.kind = START_LAST, .value = 10}, 0, 0},
    {{.kind = START_LAST, .value = 11}, 0, 0},
    {{.kind = START_LAST, .value = UINT64_MAX}, 0, 0},
};

static void assert_starts(struct caller *caller, uint64_t mark)
{
    for (size_t i = 0; i < sizeof expected_starts / sizeof expected_starts[0]; i++) {
        const struct expected_start *expected = &expected_starts[i];
        bool committed = true;
        uint64_t old = caller_resolve(caller, 0, expected->rule, mark, "old", &committed);
        uint64_t young = caller_resolve(caller, 0, expected->rule, mark, "young", NULL);
        cr_assert_not(committed);
        cr_assert_eq(old, expected->old, "row %zu: old topic at %llu", i, (unsigned long long)old);
        cr_assert_eq(young, expected->young, "row %zu: young topic at %llu", i, (unsigned long long)young);
    }
    uint64_t resumed = caller_resolve(caller, 0, rule(START_RESUME, mark), mark, "old", NULL);
    cr_assert_eq(resumed, (uint64_t)10);
    resumed = caller_resolve(caller, 0, rule(START_RESUME, mark), mark, "young", NULL);
    cr_assert_eq(resumed, (uint64_t)0);
}

STORE_TEST(start_rules_are_resolved_against_the_mark)
{
    caller_publish_many(caller, "old", 4);
    caller_publish_many(caller, "other", 4);
    caller_publish_many(caller, "old", 6);
    uint64_t mark = caller->state.mark;
    caller_publish_many(caller, "other", 1);
    caller_publish_many(caller, "young", 3);
    caller_publish_many(caller, "old", 5);

    assert_starts(caller, mark);
    caller_publish_many(caller, "filling", (uint32_t)caller->body->epoch);
    caller_work(caller);
    caller_publish_many(caller, "old", 1);
    cr_assert_gt(caller->state.indexed_through, mark + 10, "now they are indexed");
    assert_starts(caller, mark);
}

STORE_TEST(a_mark_inside_a_run_splits_it)
{
    uint64_t mark = caller->state.mark;
    caller_publish_many(caller, "A", 100);

    for (uint64_t at = 1; at < 100; at += 9) {
        uint64_t new = caller_resolve(caller, 0, rule(START_NEW, 0), mark + at, "A", NULL);
        uint64_t last = caller_resolve(caller, 0, rule(START_LAST, 5), mark + at, "A", NULL);
        cr_assert_eq(new, at);
        cr_assert_eq(last, at > 5 ? at - 5 : 0);
    }
}

STORE_TEST(a_mark_at_the_end_starts_at_the_head)
{
    caller_publish_many(caller, "A", 5);

    uint64_t new = caller_resolve(caller, 0, rule(START_NEW, 0), caller->state.mark, "A", NULL);

    cr_assert_eq(new, (uint64_t)5);
}

STORE_TEST(a_topic_made_again_behind_the_mark_starts_at_its_beginning)
{
    caller_publish_many(caller, "A", 5);
    uint64_t mark = caller->state.mark;
    struct store_op delete_topic = delete_op("A");
    cr_assert_eq(caller_do(caller, &delete_topic), PS_OK);
    caller_publish_many(caller, "A", 3);

    cr_assert_eq(caller_resolve(caller, 0, rule(START_NEW, 0), mark, "A", NULL), (uint64_t)5);
    cr_assert_eq(caller_resolve(caller, 0, rule(START_LAST, 2), mark, "A", NULL), (uint64_t)5);
    cr_assert_eq(caller_resolve(caller, 0, rule(START_BEGINNING, 0), mark, "A", NULL), (uint64_t)5);
    cr_assert_eq(caller_resolve(caller, 0, rule(START_NEW, 0), caller->state.mark, "A", NULL), (uint64_t)8);
    cr_assert_eq(caller_resolve(caller, 0, rule(START_LAST, 2), caller->state.mark, "A", NULL), (uint64_t)6);
    cr_assert_eq(caller_resolve(caller, 0, rule(START_LAST, 9), caller->state.mark, "A", NULL), (uint64_t)5);
}

STORE_TEST(many_topics_are_resolved_at_once)
{
    enum { TOPICS = 200 };
    struct store_position positions[TOPICS];
    char names[TOPICS][12];
    uint64_t mark = 0;
    for (int i = 0; i < TOPICS; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        caller_publish_many(caller, names[i], 1 + (uint32_t)i % 4);
        if (i == TOPICS / 2 - 1)
            mark = caller->state.mark;
    }
    for (int i = 0; i < TOPICS; i++)
        positions[i] = (struct store_position){.topic = caller_lend(caller, names[i])};
    struct store_resolve resolve = {
        .start = rule(START_NEW, 0), .mark = mark, .positions = positions, .count = TOPICS};

    cr_assert_eq(store_resolve(caller->reader, &resolve), PS_OK);

    for (int i = 0; i < TOPICS; i++)
        cr_assert_eq(positions[i].offset, i < TOPICS / 2 ? 1 + (uint64_t)i % 4 : 0, "topic %d", i);
}

/* -------------------------------------------------------------------------------------- committed offsets */

static uint64_t attach(struct caller *caller, const char *id, const char *filter)
{
    struct store_op op = attach_op(id, filter, START_BEGINNING, 0);
    cr_assert_eq(caller_do(caller, &op), PS_OK);
    return op.attach.subscription_id;
}

static void commit_offset(struct caller *caller, uint64_t subscription, const char *topic, uint64_t offset)
{
    struct store_offset item = {subscription, caller_find(caller, topic)->id, offset};
    struct store_op op = offsets_op(&item, 1);
    cr_assert_eq(caller_do(caller, &op), PS_OK);
}

STORE_TEST(a_committed_offset_wins_over_the_rule)
{
    caller_publish_many(caller, "A", 10);
    caller_publish_many(caller, "B", 10);
    uint64_t subscription = attach(caller, "s", "#");
    uint64_t other = attach(caller, "t", "#");
    bool committed;

    commit_offset(caller, subscription, "A", 4);

    cr_assert_eq(caller_resolve(caller, subscription, rule(START_BEGINNING, 0), 1, "A", &committed),
                 (uint64_t)4);
    cr_assert(committed);
    cr_assert_eq(caller_resolve(caller, subscription, rule(START_BEGINNING, 0), 1, "B", &committed),
                 (uint64_t)0);
    cr_assert_not(committed);
    cr_assert_eq(caller_resolve(caller, other, rule(START_BEGINNING, 0), 1, "A", &committed), (uint64_t)0);
    cr_assert_not(committed);
}

STORE_TEST(committed_offsets_never_move_back)
{
    caller_publish_many(caller, "A", 10);
    uint64_t subscription = attach(caller, "s", "A");
    uint64_t topic = caller_find(caller, "A")->id;
    struct store_offset items[3] = {
        {subscription, topic, 6}, {subscription, topic, 7}, {subscription, topic, 2}};
    struct store_op op = offsets_op(items, 3);

    cr_assert_eq(caller_do(caller, &op), PS_OK);
    cr_assert_eq(caller_resolve(caller, subscription, rule(START_NEW, 0), 1, "A", NULL), (uint64_t)7);
    commit_offset(caller, subscription, "A", 5);
    commit_offset(caller, subscription, "A", 0);

    cr_assert_eq(caller_resolve(caller, subscription, rule(START_NEW, 0), 1, "A", NULL), (uint64_t)7);
}

STORE_TEST(a_take_over_keeps_committed_offsets)
{
    caller_publish_many(caller, "A", 10);
    uint64_t subscription = attach(caller, "s", "A");
    commit_offset(caller, subscription, "A", 5);

    cr_assert_eq(attach(caller, "s", "A"), subscription);

    cr_assert_eq(caller_resolve(caller, subscription, rule(START_NEW, 0), 1, "A", NULL), (uint64_t)5);
}

STORE_TEST(offsets_of_a_forgotten_subscription_are_ignored)
{
    caller_publish_many(caller, "A", 10);
    uint64_t subscription = attach(caller, "s", "A");
    struct store_op forget = forget_op("s", "A");
    cr_assert_eq(caller_do(caller, &forget), PS_OK);
    cr_assert_eq(forget.forget.subscription_id, subscription);

    commit_offset(caller, subscription, "A", 5);
    uint64_t again = attach(caller, "s", "A");

    cr_assert_neq(again, subscription, "ids are not used again");
    cr_assert_eq(caller_resolve(caller, again, rule(START_BEGINNING, 0), 1, "A", NULL), (uint64_t)0);
    struct store_op twice[2] = {forget_op("s", "A"), forget_op("s", "A")};
    caller_commit(caller, twice, 2);
    cr_assert_eq(twice[0].status, PS_OK);
    cr_assert_eq(twice[1].status, PS_NO_SUCH_SUBSCRIPTION);
}

/* ------------------------------------------------------------------------------------------------ seeking */

STORE_TEST(a_seek_moves_back_and_forward)
{
    caller_publish_many(caller, "A", 10);
    struct store_op attached = attach_op("s", "A", START_NEW, 0);
    cr_assert_eq(caller_do(caller, &attached), PS_OK);
    uint64_t subscription = attached.attach.subscription_id;
    commit_offset(caller, subscription, "A", 8);
    caller_publish_many(caller, "A", 2);
    struct store_op back = seek_op("s", "A", START_OFFSET, 3);
    bool committed = true;

    cr_assert_eq(caller_do(caller, &back), PS_OK);

    cr_assert_eq(back.seek.subscription_id, subscription);
    cr_assert_eq(back.seek.generation, attached.attach.generation + 1);
    cr_assert_eq(back.seek.mark, caller->state.mark);
    cr_assert_eq(caller_resolve(caller, subscription, rule(START_OFFSET, 3), back.seek.mark, "A", &committed),
                 (uint64_t)3);
    cr_assert_not(committed);
    struct store_op again = attach_op("s", "A", START_NEW, 0);
    cr_assert_eq(caller_do(caller, &again), PS_OK);
    cr_assert_eq(again.attach.stored.kind, START_OFFSET);
    cr_assert_eq(again.attach.stored.value, (uint64_t)3);
    cr_assert_eq(again.attach.mark, back.seek.mark);
    cr_assert_eq(again.attach.generation, back.seek.generation + 1);
    commit_offset(caller, subscription, "A", 4);
    cr_assert_eq(caller_resolve(caller, subscription, rule(START_NEW, 0), 1, "A", NULL), (uint64_t)4);
}

STORE_TEST(a_seek_to_what_is_not_there_is_refused_and_changes_nothing)
{
    caller_publish_many(caller, "A", 10);
    uint64_t subscription = attach(caller, "s", "A");
    attach(caller, "s", "B");
    commit_offset(caller, subscription, "A", 8);
    struct store_op beyond = seek_op("s", "A", START_OFFSET, 11);
    struct store_op no_topic = seek_op("s", "B", START_OFFSET, 0);
    struct store_op nobody = seek_op("x", "A", START_NEW, 0);

    cr_assert_eq(caller_do(caller, &beyond), PS_OUT_OF_RANGE);
    cr_assert_eq(beyond.seek.first, (uint64_t)0);
    cr_assert_eq(beyond.seek.head, (uint64_t)10);
    cr_assert_eq(caller_do(caller, &no_topic), PS_NO_SUCH_TOPIC);
    cr_assert_eq(caller_do(caller, &nobody), PS_NO_SUCH_SUBSCRIPTION);

    struct store_op again = attach_op("s", "A", START_NEW, 0);
    cr_assert_eq(caller_do(caller, &again), PS_OK);
    cr_assert_eq(again.attach.generation, (uint64_t)2);
    cr_assert_eq(again.attach.stored.kind, START_BEGINNING);
    cr_assert_eq(caller_resolve(caller, subscription, rule(START_NEW, 0), 1, "A", NULL), (uint64_t)8);
}

STORE_TEST(a_seek_to_an_end_works_for_any_filter)
{
    caller_publish_many(caller, "a/1", 3);
    uint64_t subscription = attach(caller, "s", "a/#");
    struct store_op to_end = seek_op("s", "a/#", START_NEW, 0);

    cr_assert_eq(caller_do(caller, &to_end), PS_OK);
    cr_assert_eq(caller_resolve(caller, subscription, rule(START_NEW, 0), to_end.seek.mark, "a/1", NULL),
                 (uint64_t)3);
    struct store_op to_beginning = seek_op("s", "a/#", START_BEGINNING, 0);
    cr_assert_eq(caller_do(caller, &to_beginning), PS_OK);

    cr_assert_eq(to_beginning.seek.generation, to_end.seek.generation + 1);
}

/* ------------------------------------------------------------------------------------------------ listing */

struct listed {
    char names[64][64]; /* "id filter" */
    struct store_subscription last;
    size_t count;
    size_t stop_after;
};

static bool list_one(void *ctx, const struct store_subscription *subscription)
{
    struct listed *listed = ctx;
    snprintf(listed->names[listed->count], sizeof listed->names[0], "%.*s %.*s", (int)subscription->id.size,
             (const char *)subscription->id.data, (int)subscription->filter.size,
             (const char *)subscription->filter.data);
    listed->last = *subscription;
    listed->count++;
    return listed->stop_after == 0 || listed->count < listed->stop_after;
}

static struct listed list(struct caller *caller, struct store_list list)
{
    struct listed listed = {0};
    list.show = list_one;
    list.ctx = &listed;
    cr_assert_eq(store_list(caller->reader, &list), PS_OK);
    return listed;
}

static const char *const sorted[] = {"B a", "a #", "a A", "a B", "a a/+", "a ab", "ab A", "\xc3\xa4 A"};
enum { SORTED = sizeof sorted / sizeof sorted[0] };

static void attach_all(struct caller *caller)
{
    static const char *const pairs[SORTED][2] = {{"ab", "A"}, {"a", "ab"}, {"\xc3\xa4", "A"}, {"a", "B"},
                                                 {"B", "a"},  {"a", "#"},  {"a", "a/+"},      {"a", "A"}};
    for (size_t i = 0; i < SORTED; i++)
        attach(caller, pairs[i][0], pairs[i][1]);
}

STORE_TEST(subscriptions_are_listed_in_byte_order)
{
    attach_all(caller);

    struct listed listed = list(caller, (struct store_list){.limit = 100});

    cr_assert_eq(listed.count, (size_t)SORTED);
    for (size_t i = 0; i < SORTED; i++)
        cr_assert_str_eq(listed.names[i], sorted[i]);
}

STORE_TEST(a_listing_goes_on_where_it_stopped)
{
    attach_all(caller);

    for (uint32_t limit = 1; limit <= SORTED + 1; limit++) {
        char id[64], filter[64];
        struct store_list page = {.limit = limit};
        size_t count = 0;
        for (;;) {
            struct listed listed = list(caller, page);
            for (size_t i = 0; i < listed.count; i++)
                cr_assert_str_eq(listed.names[i], sorted[count + i], "limit %u", limit);
            count += listed.count;
            if (listed.count < limit)
                break;
            sscanf(listed.names[listed.count - 1], "%63s %63s", id, filter);
            page.after_id = span_of(id);
            page.after_filter = span_of(filter);
        }
        cr_assert_eq(count, (size_t)SORTED, "limit %u", limit);
    }
}

STORE_TEST(a_listing_can_be_of_one_id)
{
    attach_all(caller);

    struct listed of_a = list(caller, (struct store_list){.id = span_of("a"), .limit = 100});
    struct listed page = list(
        caller, (struct store_list){
                    .id = span_of("a"), .after_id = span_of("a"), .after_filter = span_of("A"), .limit = 2});
    struct listed nobody = list(caller, (struct store_list){.id = span_of("c"), .limit = 100});

    cr_assert_eq(of_a.count, (size_t)5);
    cr_assert_str_eq(of_a.names[0], "a #");
    cr_assert_eq(page.count, (size_t)2);
    cr_assert_str_eq(page.names[0], "a B");
    cr_assert_str_eq(page.names[1], "a a/+");
    cr_assert_eq(nobody.count, (size_t)0);
}

STORE_TEST(a_listing_shows_what_is_stored_and_can_be_ended)
{
    caller_publish_many(caller, "A", 3);
    struct store_op op = attach_op("s", "A", START_OFFSET, 2);
    cr_assert_eq(caller_do(caller, &op), PS_OK);
    attach(caller, "t", "A");
    struct listed listed = {.stop_after = 1};
    struct store_list request = {.limit = 100, .show = list_one, .ctx = &listed};

    cr_assert_eq(store_list(caller->reader, &request), PS_OK);

    cr_assert_eq(listed.count, (size_t)1);
    cr_assert_eq(listed.last.subscription_id, op.attach.subscription_id);
    cr_assert_eq(listed.last.start.kind, START_OFFSET);
    cr_assert_eq(listed.last.start.value, (uint64_t)2);
    cr_assert_eq(listed.last.mark, op.attach.mark);
    cr_assert_eq(listed.last.generation, op.attach.generation);
}
