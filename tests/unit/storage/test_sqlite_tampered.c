/* Rows of our own tables that contradict each other, as a repair by hand or a lost page leaves them: the start is
 * refused with a name, or a read names the offset. No offset is ever given twice and nothing wrong is shown. */
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOPICS = 3, MESSAGES = 200, EPOCH_ROWS = 60 };
static const char *const names[TOPICS] = {"A", "b/c", "007"};

enum outcome {
    SOUND,  /* as if nothing had happened */
    NAMED,  /* it opens, and some offset is named as damaged */
    REFUSED /* with PS_DAMAGED */
};

static const struct {
    const char *sql;
    enum outcome outcome;
    const char *words; /* of the refusal */
} cases[] = {
    /* the newest epoch, which is compared at start */
    {"DELETE FROM topic_runs", REFUSED, "in no run of epoch 10"},
    {"DELETE FROM topic_runs WHERE epoch = 10", REFUSED, "seq 541 "},
    {"DELETE FROM topic_runs WHERE epoch = 10 AND topic_id = 2 AND first_offset = 185", REFUSED, "in no run"},
    {"UPDATE topic_runs SET count = count + 1 WHERE epoch = 10 AND first_offset = 190", REFUSED, "overlaps"},
    {"UPDATE topic_runs SET count = 2 WHERE epoch = 10 AND first_seq = 600", REFUSED, "lies outside"},
    {"UPDATE topic_runs SET count = 0 WHERE epoch = 10", REFUSED, "overlaps"},
    {"UPDATE topic_runs SET count = -1 WHERE epoch = 10", REFUSED, "overlaps"},
    {"UPDATE topic_runs SET count = 4611686018427387904 WHERE epoch = 10", REFUSED, "overlaps"},
    {"UPDATE topic_runs SET first_seq = 9223372036854775807 WHERE epoch = 10", REFUSED, "lies outside"},
    {"UPDATE topic_runs SET first_seq = first_seq + 3 WHERE epoch = 10", REFUSED, "topic A "},
    {"UPDATE topic_runs SET first_offset = first_offset + 100 WHERE epoch = 10", REFUSED, "topic A "},
    {"UPDATE topic_runs SET first_offset = first_offset + 100 WHERE epoch = 10 AND first_offset = 185",
     REFUSED, "is not what its runs say"},
    {"UPDATE topic_runs SET topic_id = 99 WHERE epoch = 10 AND topic_id = 3", REFUSED, "topic_id 99"},
    {"UPDATE epochs SET last_seq = last_seq + 1 WHERE epoch = 10", REFUSED, "seq 601"},
    {"UPDATE epochs SET last_seq = last_seq - 1 WHERE epoch = 10", REFUSED, "lies outside"},
    {"UPDATE epochs SET first_seq = first_seq - 1 WHERE epoch = 10", REFUSED, "epoch 10 "},
    {"UPDATE epochs SET last_seq = 9223372036854775807 WHERE epoch = 10", REFUSED, "epoch 10 "},
    {"UPDATE epochs SET epoch = 4000000000000 WHERE epoch = 10", REFUSED, "epoch 4000000000000 "},
    {"UPDATE epochs SET epoch = 300 WHERE epoch = 10", REFUSED, "in no run of epoch 300"},
    {"UPDATE epochs SET epoch = -5 WHERE epoch = 10", SOUND, NULL},
    /* what can be made again is */
    {"DELETE FROM epochs", SOUND, NULL},
    {"DELETE FROM epochs; DELETE FROM topic_runs", SOUND, NULL},
    {"DELETE FROM epochs WHERE epoch >= 9", SOUND, NULL},
    /* older epochs, which readers meet */
    {"DELETE FROM topic_runs WHERE epoch = 4", NAMED, NULL},
    {"DELETE FROM topic_runs WHERE epoch < 10", NAMED, NULL},
    {"UPDATE topic_runs SET busy = 0 WHERE epoch = 4", SOUND, NULL},
    {"UPDATE topic_runs SET count = 1024 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET count = 0 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET count = -1 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET count = 4611686018427387904 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET first_seq = first_seq + 1 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET first_seq = -9223372036854775807 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET first_offset = first_offset - 1 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE topic_runs SET topic_id = topic_id + 10 WHERE epoch = 4", NAMED, NULL},
    {"UPDATE epochs SET first_seq = 1, last_seq = 600 WHERE epoch = 4", SOUND, NULL},
    {"UPDATE epochs SET epoch = -4 WHERE epoch = 4", SOUND, NULL},
    /* rows */
    {"UPDATE messages SET offset = offset + 1 WHERE seq = 300", NAMED, NULL},
    {"UPDATE messages SET topic_id = 1 + topic_id % 3 WHERE seq = 300", NAMED, NULL},
    {"DELETE FROM messages WHERE seq = 300", NAMED, NULL},
    {"DELETE FROM messages WHERE seq = 1", REFUSED, "topic A "},
    {"DELETE FROM messages WHERE seq > 590", REFUSED, "not its offset"},
    {"UPDATE messages SET seq = 9223372036854775806 WHERE seq = 600", REFUSED, "seq 601"},
    /* rows behind the last epoch */
    {"DELETE FROM epochs WHERE epoch >= 9; UPDATE messages SET offset = offset + 1 WHERE seq = 520", REFUSED,
     "seq 520 "},
    {"DELETE FROM epochs WHERE epoch >= 9; UPDATE messages SET topic_id = 1 + topic_id % 3 WHERE seq = 520",
     REFUSED, "topic b/c "},
    {"DELETE FROM epochs WHERE epoch >= 9; DELETE FROM messages WHERE seq = 520", REFUSED, "seq 520 "},
    {"DELETE FROM epochs WHERE epoch >= 9; UPDATE messages SET offset = offset + 1000 WHERE topic_id = 1 AND "
     "seq > 480",
     REFUSED, "is missing, or is not its offset"},
    /* topics */
    {"UPDATE topics SET next_offset = next_offset + 1 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET next_offset = next_offset - 1 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET next_offset = 1000000 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET first_offset = 10 WHERE name = 'b/c'", REFUSED, "topic b/c "},
    {"UPDATE topics SET first_offset = next_offset WHERE name = 'b/c'", SOUND, NULL},
    {"UPDATE topics SET last_seq = last_seq + 1 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET last_seq = last_seq - 1 WHERE name = 'A'", REFUSED, "is not what its runs say"},
    {"UPDATE topics SET last_seq = 5000000 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET created_seq = created_seq + 3 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET created_seq = 5000000 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET last_seq = 0 WHERE name = 'A'", REFUSED, "contradict each other"},
    {"UPDATE topics SET first_offset = 5000000, next_offset = 5000000, last_seq = 600 WHERE name = 'A'",
     REFUSED, "ahead of the log"},
    {"UPDATE topics SET deleted_at = 1 WHERE name = 'A'", REFUSED, "contradict each other"},
    {"UPDATE topics SET swept_offset = 5 WHERE name = 'A'", REFUSED, "topic A "},
    {"UPDATE topics SET topic_id = 4000000000 WHERE name = 'A'", REFUSED, "topic_id 1 "},
    {"UPDATE topics SET topic_id = 40000000000 WHERE name = 'A'", REFUSED, "topic_id 40000000000 "},
    {"UPDATE topics SET topic_id = -1 WHERE name = 'A'", REFUSED, "topic_id 0 "},
    {"UPDATE topics SET name = 'B' WHERE name = 'A'", NAMED, NULL},
    {"UPDATE topics SET name = CAST(x'ff' AS TEXT) WHERE name = 'A'", REFUSED, "topic_id 1 "},
    {"DELETE FROM topics WHERE name = 'A'", REFUSED, "topic_id 1 "},
    /* floors */
    {"DELETE FROM settings WHERE name = 'next_seq'", REFUSED, "seq 600"},
    {"UPDATE settings SET value = 5000 WHERE name = 'next_seq'", REFUSED, "from seq 601 to 4999"},
    {"UPDATE settings SET value = 600 WHERE name = 'next_seq'", REFUSED, "seq 600"},
    /* whose log it is */
    {"UPDATE settings SET value = x'0102' WHERE name = 'log_id'", REFUSED, NULL},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static void payload_of(char text[40], const char *topic, uint64_t offset)
{
    snprintf(text, 40, "%s:%llu", topic, (unsigned long long)offset);
}

static void fill(struct sqlite_case *place)
{
    sqlite_case_init(place);
    place->config.epoch_rows = EPOCH_ROWS;
    sqlite_case_open(place);
    for (uint64_t offset = 0; offset < MESSAGES; offset++) {
        for (int i = 0; i < TOPICS; i++) {
            char text[40];
            payload_of(text, names[i], offset);
            struct message message = {.payload = span_of(text)};
            struct store_op op = {.kind = STORE_APPEND,
                                  .append = {.topic = span_of(names[i]), .messages = &message, .count = 1}};
            cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
            cr_assert_eq(op.status, PS_OK);
        }
    }
    sqlite_case_close(place);
}

struct reading {
    const char *sql;
    struct store_reader *reader;
    const struct store_topic *topic;
    uint64_t shown, damaged;
};

static bool check_message(void *ctx, const struct message *message)
{
    struct reading *reading = ctx;
    char name[8];
    char text[40];
    snprintf(name, sizeof name, "%.*s", (int)reading->topic->name.size,
             (const char *)reading->topic->name.data);
    payload_of(text, name, message->offset);
    cr_assert(span_equal(message->payload, span_of(text)), "%s: wrong bytes at %s", reading->sql, text);
    reading->shown++;
    return true;
}

static void read_topic(void *ctx, const struct store_topic *topic)
{
    struct reading *reading = ctx;
    struct store_read read = {.topic = *topic,
                              .to = topic->next_offset,
                              .max_messages = 1000,
                              .max_bytes = 1000000,
                              .max_microseconds = 10000000,
                              .show = check_message,
                              .ctx = reading};
    reading->topic = topic;
    while (read.from < read.to) {
        enum ps_status status = store_read(reading->reader, &read);
        cr_assert(status == PS_OK || status == PS_DAMAGED, "%s: %s", reading->sql, ps_status_name(status));
        reading->damaged += status == PS_DAMAGED;
        read.from = status == PS_DAMAGED ? read.damaged_offset + 1 : read.next_offset;
        read.hint = 0;
    }
}

/* Opens and reads everything; then every topic goes on behind its end. */
static enum outcome look(struct sqlite_case *place, const char *sql)
{
    struct reading reading = {.sql = sql};
    enum ps_status status = sqlite_case_try_open(place);
    if (status != PS_OK) {
        cr_assert_eq(status, PS_DAMAGED, "%s: %s: %s", sql, ps_status_name(status), place->error);
        return REFUSED;
    }
    cr_assert_eq(store_reader_new(place->store, &reading.reader), PS_OK);
    store_load(place->store, read_topic, &reading);
    store_reader_free(reading.reader);
    for (int i = 0; i < TOPICS; i++) {
        struct message message = {.payload = span_of("new")};
        struct store_op op = {.kind = STORE_APPEND,
                              .append = {.topic = span_of(names[i]), .messages = &message, .count = 1}};
        cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
        cr_assert(message.offset == MESSAGES || op.append.topic_created, "%s: offset %llu", sql,
                  (unsigned long long)message.offset);
        cr_assert_gt(op.append.first_seq, (uint64_t)TOPICS * MESSAGES);
    }
    sqlite_case_close(place);
    return reading.damaged > 0 ? NAMED : SOUND;
}

Test(sqlite_tampered, contradictions_are_named_and_nothing_is_given_twice)
{
    for (int i = 0; i < CASES; i++) {
        struct sqlite_case place;
        fill(&place);
        sqlite_case_outside(&place, cases[i].sql);

        enum outcome outcome = look(&place, cases[i].sql);
        cr_expect_eq(outcome, cases[i].outcome, "%s: %d, %s", cases[i].sql, outcome, place.error);
        if (outcome == REFUSED && cases[i].words != NULL)
            cr_expect_not_null(strstr(place.error, cases[i].words), "%s: %s", cases[i].sql, place.error);
        sqlite_case_deinit(&place);
    }
    ASSERT_NO_LEAKS();
}

/* A refusal leaves the file as it was, but for the count of starts. */
Test(sqlite_tampered, a_refused_start_removes_nothing)
{
    struct sqlite_case place;
    fill(&place);
    sqlite_case_outside(&place, "DELETE FROM epochs WHERE epoch = 10; DELETE FROM messages WHERE seq = 550");
    int64_t runs = sqlite_case_number(&place, "SELECT count(*) FROM topic_runs");

    cr_assert_eq(sqlite_case_try_open(&place), PS_DAMAGED);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM topic_runs"), runs);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* The statement is the one of storage/README.md. */
Test(sqlite_tampered, ends_of_a_topic_are_counted_again_by_hand)
{
    struct sqlite_case place;
    fill(&place);
    sqlite_case_outside(&place,
                        "UPDATE topics SET next_offset = 7, last_seq = 3, first_offset = 7 WHERE name = 'A'");
    cr_assert_eq(sqlite_case_try_open(&place), PS_DAMAGED);

    sqlite_case_outside(
        &place, "UPDATE topics SET next_offset = (SELECT max(offset) + 1 FROM messages m WHERE m.topic_id = "
                "topics.topic_id),"
                " last_seq = (SELECT max(seq) FROM messages m WHERE m.topic_id = topics.topic_id),"
                " created_seq = (SELECT min(seq) FROM messages m WHERE m.topic_id = topics.topic_id),"
                " first_offset = (SELECT min(offset) FROM messages m WHERE m.topic_id = topics.topic_id)"
                " WHERE name = 'A'");
    cr_assert_eq(look(&place, "counted again"), SOUND);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
