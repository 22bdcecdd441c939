/* A database that the first released schema left behind: it opens, everything is in it, and it goes on.
 * fixtures/make_schema_0001.sh says what was done to it. */
#include "leaks.h"
#include "migrate.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINES = 2500 };

static void copy_in(struct sqlite_case *place)
{
    char block[16384];
    FILE *from = fopen(FIXTURES "/schema_0001.db", "rb");
    FILE *to = fopen(place->file, "wb");
    size_t got;
    cr_assert(from != NULL && to != NULL);
    while ((got = fread(block, 1, sizeof block, from)) > 0)
        cr_assert_eq(fwrite(block, 1, got, to), got);
    fclose(from);
    cr_assert_eq(fclose(to), 0);
}

struct expected {
    const char *topic;
    uint64_t offset;
    struct message message;
};

#define BYTES(text)                                                                                          \
    {                                                                                                        \
        (const uint8_t *)(text), sizeof(text) - 1                                                            \
    }
static const struct header headers[] = {{BYTES("name"), BYTES("v\xc3\xa4rde")}, {BYTES("other"), BYTES("")}};
static const struct expected all[] = {
    {"A", 0, {.payload = BYTES("hello")}},
    {"A", 1, {.payload = BYTES("")}},
    {"A",
     2,
     {.payload = BYTES("{\"t\": 21.5}"),
      .key = BYTES("k1"),
      .publisher = BYTES("p1"),
      .headers = headers,
      .header_count = 2}},
    {"A", 3, {.payload = BYTES("a\0b\377")}},
    {"007", 0, {.payload = BYTES("text stays text")}},
    {"gone/once", 2, {.payload = BYTES("third")}},
};
enum { ALL = sizeof(all) / sizeof(all[0]) };

struct seen {
    struct sqlite_case *place;
    struct store_reader *reader;
    struct store_topic topic;
    struct store_topic topics[8]; /* names are not kept */
    uint64_t count;
};

static const struct expected *find(struct span topic, uint64_t offset)
{
    for (size_t i = 0; i < ALL; i++)
        if (span_equal(topic, span_of(all[i].topic)) && all[i].offset == offset)
            return &all[i];
    return NULL;
}

static bool check_message(void *ctx, const struct message *message)
{
    struct seen *seen = ctx;
    const struct expected *expected = find(seen->topic.name, message->offset);
    char line[32];
    seen->count++;
    if (span_equal(seen->topic.name, span_of("lines/all"))) {
        snprintf(line, sizeof line, "line %llu", (unsigned long long)message->offset);
        cr_assert(span_equal(message->payload, span_of(line)), "%s", line);
        return true;
    }
    cr_assert_not_null(expected);
    cr_assert(span_equal(message->payload, expected->message.payload));
    cr_assert(span_equal(message->key, expected->message.key));
    cr_assert(span_equal(message->publisher, expected->message.publisher));
    cr_assert_eq(message->header_count, expected->message.header_count);
    for (uint32_t i = 0; i < message->header_count; i++) {
        cr_assert(span_equal(message->headers[i].name, headers[i].name));
        cr_assert(span_equal(message->headers[i].value, headers[i].value));
    }
    return true;
}

static void read_topic(void *ctx, const struct store_topic *topic)
{
    struct seen *seen = ctx;
    struct store_read read = {.topic = *topic,
                              .to = topic->next_offset,
                              .max_messages = 10000,
                              .max_bytes = 10000000,
                              .max_microseconds = 10000000,
                              .show = check_message,
                              .ctx = seen};
    seen->topic = *topic;
    cr_assert_lt(topic->topic_id, 8u);
    seen->topics[topic->topic_id] = *topic;
    cr_assert_eq(store_read(seen->reader, &read), PS_OK);
    cr_assert_eq(read.next_offset, topic->next_offset);
}

/* Where a stored subscription goes on in a topic. */
static uint64_t position(const struct seen *seen, uint64_t subscription_id, enum start_kind kind,
                         uint64_t topic_id)
{
    struct store_position at = {.topic = seen->topics[topic_id]};
    struct store_resolve resolve = {.subscription_id = subscription_id,
                                    .start = {.kind = kind, .value = kind == START_LAST},
                                    .mark = 2510,
                                    .positions = &at,
                                    .count = 1};
    cr_assert_eq(store_resolve(seen->reader, &resolve), PS_OK);
    return at.offset;
}

static bool check_subscription(void *ctx, const struct store_subscription *subscription)
{
    static const struct {
        const char *id, *filter;
        uint64_t number;
        enum start_kind start;
    } stored[] = {
        {"s1", "A", 1, START_BEGINNING}, {"s2", "+", 3, START_LAST}, {"s2", "lines/#", 2, START_BEGINNING}};
    unsigned *count = ctx;
    cr_assert_lt(*count, 3u);
    cr_assert(span_equal(subscription->id, span_of(stored[*count].id)));
    cr_assert(span_equal(subscription->filter, span_of(stored[*count].filter)));
    cr_assert_eq(subscription->subscription_id, stored[*count].number);
    cr_assert_eq(subscription->start.kind, stored[*count].start);
    cr_assert_eq(subscription->mark, 2510);
    cr_assert_eq(subscription->generation, 1);
    ++*count;
    return true;
}

static void check_subscriptions(struct seen *seen)
{
    unsigned count = 0;
    struct store_list list = {.limit = 100, .show = check_subscription, .ctx = &count};
    cr_assert_eq(store_list(seen->reader, &list), PS_OK);
    cr_assert_eq(count, 3);
    cr_assert_eq(position(seen, 1, START_BEGINNING, 1), 2, "s1 in A");
    cr_assert_eq(position(seen, 2, START_BEGINNING, 3), 1000, "s2 in lines/all");
    cr_assert_eq(position(seen, 3, START_LAST, 1), 4, "s2 in A");
    cr_assert_eq(position(seen, 3, START_LAST, 2), 1, "s2 in 007");
}

static void check_everything(struct sqlite_case *place)
{
    struct seen seen = {.place = place};
    cr_assert_eq(store_reader_new(place->store, &seen.reader), PS_OK);
    store_load(place->store, read_topic, &seen);
    cr_assert_eq(seen.count, LINES + ALL);
    check_subscriptions(&seen);
    store_reader_free(seen.reader);
    cr_assert_eq(sqlite_case_number(place, "SELECT count(*) FROM history"), LINES + ALL);
    cr_assert_eq(sqlite_case_number(place, "SELECT count(*) FROM topic_stats"), 4);
    cr_assert_eq(sqlite_case_number(place, "PRAGMA user_version"), migration_count);
}

static uint64_t publish(struct sqlite_case *place, const char *topic)
{
    struct message message = {.payload = span_of("new")};
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of(topic), .messages = &message, .count = 1}};
    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
    return message.offset;
}

Test(sqlite_fixture, the_first_schema_opens_with_everything_and_goes_on)
{
    static const uint8_t log_id[LOG_ID_BYTES] = {0xca, 0xc8, 0xc5, 0x9b, 0xec, 0xca, 0x16, 0x53,
                                                 0x67, 0x96, 0xbb, 0xbc, 0xc5, 0xc1, 0x8c, 0xb2};
    struct sqlite_case place;
    sqlite_case_init(&place);
    copy_in(&place);

    sqlite_case_open(&place);
    cr_assert_arr_eq(place.opened.log_id, log_id, LOG_ID_BYTES);
    cr_assert_eq(place.opened.start_count, 2);
    cr_assert_eq(place.opened.state.mark, 2510);
    check_everything(&place);

    sqlite_case_work(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages"), LINES + ALL,
                 "deleted rows are swept");
    cr_assert_eq(publish(&place, "A"), 4);
    cr_assert_eq(publish(&place, "gone/for/good"), 1);
    cr_assert_eq(publish(&place, "gone/once"), 3);
    cr_assert_eq(publish(&place, "new"), 0);
    sqlite_case_close(&place);
    sqlite_case_open(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history"), LINES + ALL + 4);
    cr_assert_eq(sqlite_case_number(&place, "SELECT topic_id FROM topics WHERE name = 'new'"), 6);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
