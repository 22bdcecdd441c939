/* Router, topic table, runs, hash table and log lines, each by itself. */
#include "dice.h"
#include "leaks.h"
#include "logger.h"
#include "router.h"
#include "runs.h"
#include "tail.h"
#include "topic.h"
#include "topics.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILTERS = 400, NAMES = 400 };

struct routed {
    struct router_entry entry;
    char filter[32];
    bool matched, registered;
};

static void make_name(struct dice *dice, char place[32], bool wildcards)
{
    static const char *const levels[] = {"", "a", "b", "$s", "ab", "+", "#"};
    size_t used = 0;
    for (size_t depth = 1 + dice_below(dice, 4); depth > 0; depth--) {
        const char *level = levels[dice_below(dice, wildcards ? 7 : 5)];
        used += (size_t)snprintf(place + used, 32 - used, "%s%s", level, depth > 1 ? "/" : "");
    }
}

static void mark_matched(void *ctx, struct router_entry *entry)
{
    struct routed *routed = LIST_OBJECT(entry, struct routed, entry);
    cr_assert_not(routed->matched, "%s twice", routed->filter);
    routed->matched = true;
    (void)ctx;
}

static void check_all_names(const struct router *router, struct routed *all, struct dice *dice)
{
    for (unsigned n = 0; n < NAMES; n++) {
        char name[32];
        make_name(dice, name, false);
        if (topic_validate(span_of(name)) != PS_OK)
            continue;
        for (unsigned i = 0; i < FILTERS; i++)
            all[i].matched = false;
        router_match(router, span_of(name), mark_matched, NULL);
        for (unsigned i = 0; i < FILTERS; i++)
            cr_assert_eq(all[i].matched,
                         all[i].registered && filter_match(span_of(all[i].filter), span_of(name)),
                         "filter '%s', name '%s'", all[i].filter, name);
    }
}

Test(router, finds_exactly_the_filters_that_match)
{
    struct dice dice = dice_of(7);
    struct quota memory = {0};
    struct router router;
    struct routed *all = calloc(FILTERS, sizeof *all);
    cr_assert(router_init(&router, 99, &memory));
    for (unsigned i = 0; i < FILTERS; i++) {
        do
            make_name(&dice, all[i].filter, true);
        while (filter_validate(span_of(all[i].filter)) != PS_OK);
        cr_assert(router_add(&router, span_of(all[i].filter), &all[i].entry));
        all[i].registered = true;
    }
    check_all_names(&router, all, &dice);

    for (unsigned i = 0; i < FILTERS; i++) {
        if (dice_below(&dice, 2) == 0) {
            router_remove(&router, &all[i].entry);
            all[i].registered = false;
        }
    }
    check_all_names(&router, all, &dice);

    for (unsigned i = 0; i < FILTERS; i++)
        router_remove(&router, &all[i].entry);
    cr_assert_eq(router.nodes.count, 0u);
    cr_assert_eq(memory.used, 0u);
    router_deinit(&router);
    free(all);
    ASSERT_NO_LEAKS();
}

Test(router, visits_few_nodes_among_a_hundred_thousand_filters)
{
    enum { MANY = 100000 };
    struct quota memory = {0};
    struct router router;
    struct routed *all = calloc(MANY, sizeof *all);
    cr_assert(router_init(&router, 1, &memory));
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(all[i].filter, sizeof all[i].filter, i % 2 ? "dev/%u/+" : "dev/%u/x", i);
        cr_assert(router_add(&router, span_of(all[i].filter), &all[i].entry));
    }
    unsigned matched = 0;
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "dev/%u/x", i);
        router_match(&router, span_of(name), mark_matched, NULL);
        matched += all[i].matched;
    }
    cr_assert_eq(matched, (unsigned)MANY);
    for (unsigned i = 0; i < MANY; i++)
        router_remove(&router, &all[i].entry);
    router_deinit(&router);
    free(all);
    ASSERT_NO_LEAKS();
}

Test(topics, are_listed_in_byte_order_whatever_comes_and_goes)
{
    struct dice dice = dice_of(3);
    struct topics topics;
    topics_init(&topics, 5);
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%zu/%zu", dice_below(&dice, 20), dice_below(&dice, 20));
        struct topic *topic = topics_obtain(&topics, span_of(name));
        cr_assert_not_null(topic);
        if (dice_below(&dice, 3) == 0)
            topic_unlist(topic);
        else
            topic_list(topic);
        topic_unref(topic);
        cr_assert_eq(topics.unlisted, 0u);
    }
    topics_sort(&topics);
    for (uint32_t i = 1; i < topics.count; i++)
        cr_assert_lt(span_compare(topic_name(topics.sorted[i - 1]), topic_name(topics.sorted[i])), 0);

    uint32_t begin, end;
    topics_range(&topics, span_of("t1/+"), &begin, &end);
    for (uint32_t i = 0; i < topics.count; i++) {
        if (filter_match(span_of("t1/+"), topic_name(topics.sorted[i])))
            cr_assert(i >= begin && i < end);
    }
    cr_assert_lt(end - begin, topics.count);
    topics_deinit(&topics);
    ASSERT_NO_LEAKS();
}

/* Listed topics t00000, t00001, …, in an order of their own. */
static void list_many(struct topics *topics, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%05u", i * 7919 % count);
        struct topic *topic = topics_obtain(topics, span_of(name));
        topic_list(topic);
        topic_unref(topic);
    }
}

Test(topics, new_ones_find_their_places_together)
{
    enum { MANY = 3000 };
    struct topics topics;
    topics_init(&topics, 5);
    list_many(&topics, MANY);
    cr_assert_geq(topics.in_order, 2000u, "they do not pile up");
    topics_sort(&topics);
    cr_assert_eq(topics.count, (unsigned)MANY);
    for (uint32_t i = 1; i < topics.count; i++)
        cr_assert_lt(span_compare(topic_name(topics.sorted[i - 1]), topic_name(topics.sorted[i])), 0);
    topics_deinit(&topics);
    ASSERT_NO_LEAKS();
}

Test(topics, a_search_goes_in_steps_and_finds_each_once_whatever_goes_between_them)
{
    enum { MANY = 3000 };
    struct topics topics;
    struct topics_place place = {0};
    struct topic *found[10];
    unsigned steps = 0, matches = 0;
    bool last = false;
    topics_init(&topics, 5);
    list_many(&topics, MANY);
    for (; !last; steps++)
        cr_assert_eq(topics_search(&topics, span_of("+/none"), &place, found, 10, &last), 0u);
    cr_assert_geq(steps, 5u, "one that matches nothing does not look at all at once");

    place.size = 0;
    for (last = false; !last;) {
        uint32_t count = topics_search(&topics, span_of("+"), &place, found, 10, &last);
        cr_assert_leq(count, 10u);
        for (uint32_t i = 0; i < count; i++) {
            char name[32];
            snprintf(name, sizeof name, "t%05u", matches++);
            cr_assert(span_equal(topic_name(found[i]), span_of(name)));
            topic_unlist(found[i]);
            topic_unref(found[i]);
        }
    }
    cr_assert_eq(matches, (unsigned)MANY);
    topics_deinit(&topics);
    ASSERT_NO_LEAKS();
}

static struct batch *batch_of(uint64_t first, unsigned count)
{
    struct batch *batch = batch_new(count, 64);
    for (unsigned i = 0; i < count; i++) {
        struct message message = {.offset = first + i, .payload = span_of("x")};
        cr_assert_eq(batch_append(batch, &message), PS_OK);
    }
    return batch;
}

Test(tail, holds_the_newest_batches_without_a_hole)
{
    struct topics topics;
    struct tail tail;
    topics_init(&topics, 5);
    struct topic *topic = topics_obtain(&topics, span_of("A"));
    tail_init(&tail, 1000000);
    cr_assert(tail_append(&tail, topic, batch_of(0, 3)));
    cr_assert(tail_append(&tail, topic, batch_of(3, 3)));
    cr_assert_eq(tail_start(topic), 0u);
    cr_assert_eq(tail_find(topic, 4)->first, 3u);
    cr_assert_null(tail_find(topic, 6));

    cr_assert(tail_append(&tail, topic, batch_of(8, 2)));
    cr_assert_eq(tail_start(topic), 8u);
    cr_assert_null(tail_find(topic, 4));
    tail.memory.limit = 1;
    cr_assert(tail_append(&tail, topic, batch_of(10, 2)));
    cr_assert_eq(tail_start(topic), 10u);

    tail_deinit(&tail);
    cr_assert_eq(tail.memory.used, 0u);
    topic_unref(topic);
    topics_deinit(&topics);
    ASSERT_NO_LEAKS();
}

Test(runs, a_window_holds_what_a_read_needs)
{
    struct runs runs = {0};
    struct store_run copies[2];
    cr_assert(runs_reserve(&runs, 8));
    runs_append(&runs, 10, 100, 5);
    runs_append(&runs, 15, 105, 5); /* goes on in both orders */
    runs_append(&runs, 20, 200, 5);
    runs_append(&runs, 25, 300, 5);
    cr_assert_eq(runs.count, 3u);
    uint64_t to = 30;

    cr_assert_eq(runs_window(&runs, 12, &to, copies, 2), 2u);
    cr_assert_eq(to, 25u);
    cr_assert_eq(copies[0].first_offset, 10u);
    to = 22;
    cr_assert_eq(runs_window(&runs, 21, &to, copies, 2), 1u);
    cr_assert_eq(to, 22u);
    cr_assert_eq(runs_at_seq(&runs, 150)->first_seq, 200u);
    cr_assert_null(runs_at_seq(&runs, 305));
    runs_trim(&runs, 203);
    cr_assert_eq(runs_first(&runs)->first_offset, 24u);
    cr_assert_eq(runs_first(&runs)->count, 1u);
    runs_deinit(&runs);
    ASSERT_NO_LEAKS();
}

static void keep_line(void *ctx, enum log_level level, const char *line)
{
    (void)level;
    snprintf(ctx, 2048, "%s", line);
}

Test(logger, lines_are_logfmt_and_bounded)
{
    char line[2048] = "", value[32], longer[2000];
    struct logger logger = {keep_line, line, LOG_LEVEL_INFO};
    memset(longer, 'x', sizeof longer);

    logger_event(&logger, LOG_LEVEL_DEBUG, "dropped", NULL);
    cr_assert_str_eq(line, "");
    logger_event(&logger, LOG_LEVEL_INFO, "listening", "port=%d", 7420);
    cr_assert_not_null(strstr(line, " level=info event=listening port=7420"));
    cr_assert_eq(strncmp(line, "time=", 5), 0);
    logger_event(&logger, LOG_LEVEL_INFO, "long", "x=%.*s", (int)sizeof longer, longer);
    cr_assert_lt(strlen(line), 1024u);
    cr_assert_str_eq(line + strlen(line) - 3, "…");

    cr_assert_str_eq(logger_quote(value, sizeof value, span_of("a/b")), "a/b");
    cr_assert_str_eq(logger_quote(value, sizeof value, span_of("a b\n\"")), "\"a b\\x0A\\\"\"");
    cr_assert_str_eq(logger_quote(value, sizeof value, span_of("")), "\"\"");
    cr_assert_lt(strlen(logger_quote(value, sizeof value, (struct span){(uint8_t *)longer, sizeof longer})),
                 sizeof value);
    ASSERT_NO_LEAKS();
}
