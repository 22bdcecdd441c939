/* What a check finds in a log to which something was done: each finding in its words, and no other. */
#include "check.h"
#include "leaks.h"
#include "record.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Rounds of five messages to each of three topics, three rounds an epoch; then one topic alone, over two epochs.
 *
 *   topic_id        seqs                           offsets
 *   1 A, 2 b, 3 c   15 a round: 1-5, 6-10, 11-15   5 a round
 *   4 solo          181-230                        0-49
 *   5 one           231                            0 */
enum { ROUNDS = 12, EPOCH_ROWS = 45, SOLO = 50, MOST = 500 };

/* What makes the rows behind the fourth epoch ones that no epoch holds yet. */
#define TAIL                                                                                                 \
    "DELETE FROM epochs WHERE epoch > 4; DELETE FROM topic_runs WHERE epoch > 4;"                            \
    "UPDATE settings SET value = 181 WHERE name = 'next_seq';"
/* As the sweeper leaves a deleted topic. */
#define SWEPT                                                                                                \
    "DELETE FROM messages WHERE topic_id = 3; DELETE FROM topic_runs WHERE topic_id = 3;"                    \
    "UPDATE topics SET deleted_at = 1, first_offset = next_offset, swept_offset = next_offset"               \
    " WHERE topic_id = 3"
#define RUN " WHERE epoch = 2 AND topic_id = 1 AND first_offset = 20"

static const struct {
    const char *sql;
    uint64_t seq; /* of a record that is given the checksum of what stands there now; 0: none */
    const char *found;
} cases[] = {
    {"SELECT 1", 0, ""},
    /* a record by itself */
    {"UPDATE messages SET payload = 'forged' WHERE seq = 18", 0,
     "A 7: does not match its checksum (seq 18)\n"},
    {"UPDATE messages SET payload = 7 WHERE seq = 18", 0, "A 7: does not match its checksum (seq 18)\n"},
    {"UPDATE messages SET payload = CAST(payload AS BLOB) WHERE seq = 18", 0, ""},
    {"UPDATE messages SET published_at = published_at - 1000000000 WHERE seq = 18", 18,
     "A 7: is older than the record before it (seq 18)\n"},
    {"UPDATE messages SET published_at = 1 WHERE seq = 1", 1, ""},
    {"DELETE FROM topics WHERE name = 'one'", 0,
     "the record with seq 231 is of topic_id 5, which does not exist\n"},
    /* beside the others of its topic */
    {"DELETE FROM messages WHERE seq IN (18, 19)", 0, "A 7: offsets 7 to 8 are missing\n"},
    {"DELETE FROM messages WHERE seq = 1", 0, "A 0: offsets 0 to 0 are missing\n"},
    {"UPDATE messages SET offset = 6 WHERE seq = 33", 33,
     "A 6: stands twice, or in the wrong place\nA 6: is not found by the index (epoch 1)\n"
     "A 12: offsets 12 to 12 are missing\n"},
    {"DELETE FROM messages WHERE topic_id = 2 AND offset >= 57", 0,
     "b 57: offsets 57 to 59 are missing at its end\n"},
    {"UPDATE topics SET first_offset = 10 WHERE topic_id = 1;"
     "UPDATE messages SET payload = 'x' WHERE seq = 3",
     0, ""},
    {SWEPT, 0, ""},
    /* and the index */
    {"DELETE FROM topic_runs" RUN, 0,
     "A 20: is not found by the index (epoch 2)\nA 21: is not found by the index (epoch 2)\n"
     "A 22: is not found by the index (epoch 2)\nA 23: is not found by the index (epoch 2)\n"
     "A 24: is not found by the index (epoch 2)\n"},
    {"UPDATE topic_runs SET count = count - 1" RUN, 0, "A 24: is not found by the index (epoch 2)\n"},
    {"UPDATE topic_runs SET first_offset = 23, first_seq = first_seq + 4, count = 2" RUN, 0,
     "A 20: is not found by the index (epoch 2)\nA 21: is not found by the index (epoch 2)\n"
     "A 22: is not found by the index (epoch 2)\nA 23: is not found by the index (epoch 2)\n"
     "A 24: is not found by the index (epoch 2)\n"},
    {"UPDATE epochs SET first_seq = first_seq + 2 WHERE epoch = 2", 0,
     "A 15: lies between two epochs of the index\nA 16: lies between two epochs of the index\n"},
    {"DELETE FROM topic_runs WHERE epoch = 6 AND topic_id = 4;"
     "UPDATE topic_runs SET count = 50 WHERE epoch = 5",
     0,
     "solo 45: is not found by the index (epoch 6)\nsolo 46: is not found by the index (epoch 6)\n"
     "solo 47: is not found by the index (epoch 6)\nsolo 48: is not found by the index (epoch 6)\n"
     "solo 49: is not found by the index (epoch 6)\n"},
    /* behind the last epoch */
    {TAIL, 0, ""},
    {TAIL SWEPT, 0, ""},
    {TAIL "DELETE FROM messages WHERE seq = 200", 0,
     "records with seq 200 to 200 are missing\nsolo 19: offsets 19 to 19 are missing\n"},
    {TAIL "DELETE FROM messages WHERE seq = 181", 0,
     "records with seq 181 to 181 are missing\nsolo 0: offsets 0 to 0 are missing\n"},
    /* ends */
    {TAIL "UPDATE topics SET next_offset = 10 WHERE topic_id = 4", 0, ""},
    {TAIL "UPDATE topics SET next_offset = 50 WHERE topic_id = 1", 0,
     "A 50: next_offset 50 is behind its records\n"},
    {"UPDATE topics SET next_offset = 50 WHERE topic_id = 1", 0,
     "A 50: next_offset 50 is behind its records\n"},
    {"UPDATE topics SET first_offset = 100 WHERE topic_id = 1", 0,
     "A: first_offset 100 lies behind next_offset 60\n"},
    {"UPDATE topics SET name = 'a/#' WHERE topic_id = 5", 0,
     "a/# 0: does not match its checksum (seq 231)\nthe name of topic_id 5 is no topic name\n"},
    {"UPDATE topics SET next_offset = 2 WHERE topic_id = 5", 0,
     "one 1: offsets 1 to 1 are missing at its end\n"},
    {"UPDATE topics SET next_offset = 2, last_seq = 232 WHERE topic_id = 5", 0,
     ""}, /* newer than the check */
    /* committed offsets */
    {"UPDATE committed_offsets SET next_offset = 60", 0, ""},
    {"UPDATE committed_offsets SET next_offset = 61", 0,
     "A 61: is committed for the subscriber s, though the topic ends before offset 60\n"},
    {"UPDATE committed_offsets SET topic_id = 99", 0,
     "there is a committed offset for topic_id 99, which does not exist\n"},
    {"DELETE FROM subscriptions", 0, "A 10: is committed for subscription_id 1, which does not exist\n"},
    {TAIL "UPDATE topics SET next_offset = 10 WHERE topic_id = 4;"
          "UPDATE committed_offsets SET topic_id = 4, next_offset = 50",
     0, ""},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static void publish(struct sqlite_case *place, const char *topic, uint64_t first, uint32_t count)
{
    struct message messages[MOST] = {0};
    char payloads[MOST][24];
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of(topic), .messages = messages, .count = count}};

    for (uint32_t i = 0; i < count; i++) {
        snprintf(payloads[i], sizeof payloads[i], "%llu", (unsigned long long)first + i);
        messages[i].payload = span_of(payloads[i]);
    }
    cr_assert_leq(count, MOST);
    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.append.first_offset, first);
    cr_assert_eq(op.append.accepted, count);
}

static void subscribe(struct sqlite_case *place, const char *id, const char *topic_filter, uint64_t topic_id,
                      uint64_t next_offset)
{
    struct store_op attach = {
        .kind = STORE_ATTACH,
        .attach = {.id = span_of(id), .filter = span_of(topic_filter), .start = {.kind = START_NEW}}};
    struct store_offset item = {.topic_id = topic_id, .next_offset = next_offset};
    struct store_op commit = {.kind = STORE_OFFSETS, .offsets = {&item, 1}};

    cr_assert_eq(sqlite_case_commit(place, &attach), PS_OK);
    item.subscription_id = attach.attach.subscription_id;
    cr_assert_eq(sqlite_case_commit(place, &commit), PS_OK);
}

static void fill(struct sqlite_case *place)
{
    sqlite_case_init(place);
    place->config.epoch_rows = EPOCH_ROWS;
    sqlite_case_open(place);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        publish(place, "A", round * 5, 5);
        publish(place, "b", round * 5, 5);
        publish(place, "c", round * 5, 5);
    }
    for (uint64_t offset = 0; offset < SOLO; offset += 5)
        publish(place, "solo", offset, 5);
    publish(place, "one", 0, 1);
    subscribe(place, "s", "A", 1, 10);
    sqlite_case_close(place);
}

/* As it would be if the record had been published so. */
static void give_checksum(const struct sqlite_case *place, uint64_t seq)
{
    char sql[200];
    sqlite3 *db;
    sqlite3_stmt *row;

    snprintf(
        sql, sizeof sql,
        "SELECT t.name, m.offset, m.published_at, m.payload FROM messages m JOIN topics t USING (topic_id)"
        " WHERE seq = %llu",
        (unsigned long long)seq);
    cr_assert_eq(sqlite3_open_v2(place->file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW);
    struct message message = {.offset = (uint64_t)sqlite3_column_int64(row, 1),
                              .published_at = sqlite3_column_int64(row, 2),
                              .payload = span_of((const char *)sqlite3_column_text(row, 3))};
    uint64_t checksum =
        record_checksum(span_of((const char *)sqlite3_column_text(row, 0)), &message, SPAN_ABSENT);
    sqlite3_finalize(row);
    sqlite3_close(db);
    snprintf(sql, sizeof sql, "UPDATE messages SET checksum = %lld WHERE seq = %llu", (long long)checksum,
             (unsigned long long)seq);
    sqlite_case_outside(place, sql);
}

struct findings {
    char text[4096];
    size_t used;
    unsigned count, room; /* room: in a step, 0 without end */
};

static bool show(void *ctx, const struct store_problem *problem)
{
    struct findings *findings = ctx;
    static const char sqlite[] = "SQLite"; /* says it in words of its own, by version */
    char offset[24] = "";

    if (problem->text.size >= strlen(sqlite) && memcmp(problem->text.data, sqlite, strlen(sqlite)) == 0)
        return true;
    if (problem->offset.present)
        snprintf(offset, sizeof offset, " %llu", (unsigned long long)problem->offset.value);
    findings->used += (size_t)snprintf(
        findings->text + findings->used, sizeof findings->text - findings->used, "%.*s%s%s%.*s\n",
        (int)problem->topic.size, (const char *)problem->topic.data, offset,
        span_present(problem->topic) ? ": " : "", (int)problem->text.size, (const char *)problem->text.data);
    cr_assert_lt(findings->used, sizeof findings->text);
    findings->count++;
    return findings->room == 0 || findings->count % findings->room != 0;
}

static void check(const struct sqlite_case *place, struct findings *findings)
{
    struct store_check check = {.path = place->file, .show = show, .ctx = findings};
    char error[512];

    *findings = (struct findings){0};
    cr_assert_eq(store_sqlite_check(&check, error, sizeof error), PS_OK, "%s", error);
}

Test(sqlite_scrub, each_contradiction_is_found_and_nothing_else)
{
    for (int i = 0; i < CASES; i++) {
        struct sqlite_case place;
        struct findings findings;

        fill(&place);
        sqlite_case_outside(&place, cases[i].sql);
        if (cases[i].seq != 0)
            give_checksum(&place, cases[i].seq);
        check(&place, &findings);
        cr_expect_str_eq(findings.text, cases[i].found, "%s:\n%s", cases[i].sql, findings.text);
        sqlite_case_deinit(&place);
    }
    ASSERT_NO_LEAKS();
}

/* More topics than the first table of them has places for, and more rows than a step shows of each table. */
Test(sqlite_scrub, of_many_topics_each_is_looked_at)
{
    enum { TOPICS = 300 };
    struct sqlite_case place;
    struct findings findings;
    char name[16];

    sqlite_case_init(&place);
    sqlite_case_open(&place);
    for (uint64_t offset = 0; offset < 2; offset++) {
        for (int i = 0; i < TOPICS; i++) {
            snprintf(name, sizeof name, "t/%d", i);
            publish(&place, name, offset, 1);
        }
    }
    for (uint64_t topic_id = 1; topic_id <= TOPICS; topic_id++) {
        snprintf(name, sizeof name, "s%llu", (unsigned long long)topic_id);
        subscribe(&place, name, "t/*", topic_id, 1);
    }
    sqlite_case_close(&place);
    check(&place, &findings);
    cr_assert_str_eq(findings.text, "");

    sqlite_case_outside(&place, "UPDATE topics SET next_offset = 1 WHERE topic_id = 300;"
                                "UPDATE committed_offsets SET next_offset = 3 WHERE topic_id = 299");
    check(&place, &findings);
    cr_assert_str_eq(findings.text,
                     "t/299 1: next_offset 1 is behind its records\n"
                     "t/298 3: is committed for the subscriber s299, though the topic ends before"
                     " offset 2\n");
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------- while the log goes on */

static void step(struct store_reader *reader, struct store_verify *verify)
{
    cr_assert_eq(store_verify(reader, verify), PS_OK);
}

Test(sqlite_scrub, what_is_published_and_committed_meanwhile_is_no_finding)
{
    struct sqlite_case place;
    struct findings findings = {0};
    struct store_verify verify = {.show = show, .ctx = &findings};
    struct store_reader *reader;

    fill(&place);
    sqlite_case_open(&place);
    cr_assert_eq(store_reader_new(place.store, &reader), PS_OK);
    while (verify.checked < 231) {
        uint64_t before = verify.checked;

        step(reader, &verify);
        cr_assert_leq(verify.checked - before, 16); /* it may take no time */
    }
    publish(&place, "b", 60, EPOCH_ROWS); /* an epoch of its own, which raises topics.next_offset */
    sqlite_case_work(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT next_offset FROM topics WHERE name = 'b'"), 105);
    publish(&place, "A", 60, 5); /* behind the last epoch */
    subscribe(&place, "new", "A", 1, 65);
    while (!verify.done)
        step(reader, &verify);
    cr_expect_str_eq(findings.text, "");
    store_verify_end(&verify);
    store_reader_free(reader);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* While a check is under way a topic of which it has seen the beginning is deleted and swept, but for `left` rows. */
static void check_beside_the_sweeper(int64_t left)
{
    static const char rows[] = "SELECT count(*) FROM messages WHERE topic_id = 1";
    struct sqlite_case place;
    struct findings findings = {0};
    struct store_verify verify = {.show = show, .ctx = &findings};
    struct store_op delete = {.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of("A")}};
    struct store_reader *reader;

    fill(&place);
    place.config.sweep_rows = 10;
    sqlite_case_open(&place);
    cr_assert_eq(store_reader_new(place.store, &reader), PS_OK);
    while (verify.checked == 0)
        step(reader, &verify);
    cr_assert_eq(sqlite_case_commit(&place, &delete), PS_OK);
    while (sqlite_case_number(&place, rows) > left)
        sqlite_case_step(&place);
    cr_assert_eq(sqlite_case_number(&place, rows), left);
    while (!verify.done)
        step(reader, &verify);
    cr_expect_str_eq(findings.text, "", "%s", findings.text);
    store_verify_end(&verify);
    store_reader_free(reader);
    sqlite_case_deinit(&place);
}

Test(sqlite_scrub, a_topic_that_is_deleted_and_swept_meanwhile_is_no_finding)
{
    check_beside_the_sweeper(20);
    check_beside_the_sweeper(0);
    ASSERT_NO_LEAKS();
}

Test(sqlite_scrub, a_beginning_that_goes_meanwhile_is_not_missed)
{
    struct sqlite_case place;
    struct findings findings = {0};
    struct store_verify verify = {.show = show, .ctx = &findings};
    struct store_reader *reader;

    fill(&place);
    sqlite_case_open(&place);
    cr_assert_eq(store_reader_new(place.store, &reader), PS_OK);
    while (verify.checked == 0)
        step(reader, &verify);
    sqlite_case_outside(&place, "UPDATE topics SET first_offset = 30 WHERE topic_id = 1;"
                                "DELETE FROM messages WHERE topic_id = 1 AND offset < 30");
    while (!verify.done)
        step(reader, &verify);
    cr_expect_str_eq(findings.text, "", "%s", findings.text);
    store_verify_end(&verify);
    store_reader_free(reader);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_scrub, who_has_no_room_for_more_is_told_the_rest_later)
{
    struct sqlite_case place;
    struct findings findings = {.room = 3};
    struct store_verify verify = {.show = show, .ctx = &findings, .max_microseconds = 10 * 1000000};
    struct store_reader *reader;

    fill(&place);
    sqlite_case_outside(&place, "UPDATE messages SET payload = 'x' WHERE seq > 100 AND seq <= 110");
    sqlite_case_open(&place);
    cr_assert_eq(store_reader_new(place.store, &reader), PS_OK);
    for (unsigned told = 3; told < 10; told += 3) {
        cr_assert_eq(store_verify(reader, &verify), PS_OK);
        cr_assert_eq(findings.count, told);
    }
    cr_assert_eq(store_verify(reader, &verify), PS_OK);
    cr_assert(verify.done);
    cr_assert_eq(findings.count, 10);
    store_verify_end(&verify);
    store_reader_free(reader);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------ damaged pages */

/* Flips a bit within the page, at `place_in_page`, or fills it with what is no page at all (-1). */
static void damage(const struct sqlite_case *place, int64_t page, long place_in_page)
{
    FILE *file = fopen(place->file, "r+b");
    long at = (long)(page - 1) * 16384 + (place_in_page < 0 ? 0 : place_in_page);

    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    if (place_in_page >= 0)
        fputc(byte ^ 1, file);
    for (int i = 0; place_in_page < 0 && i < 16384; i++)
        fputc(0xa5, file);
    fclose(file);
}

Test(sqlite_scrub, behind_a_damaged_page_the_check_goes_on)
{
    static const char first[] = "page %lld does not match its checksum\n"
                                "a page behind seq 418 is damaged: it does not match its checksum\n"
                                "A 423: does not match its checksum (seq 424)\n";
    static const char both[] = "page %lld does not match its checksum\n"
                               "page %lld does not match its checksum\n"
                               "a page behind seq 418 is damaged: it does not match its checksum\n"
                               "A 423: does not match its checksum (seq 424)\n"
                               "a page behind seq 3624 is damaged: it does not match its checksum\n"
                               "records with seq 3625 to 4072 cannot be read: the file is damaged there\n"
                               "A 3624: offsets 3624 to 4071 are missing\n";
    static const char leaf[] = "SELECT pageno FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf'"
                               " ORDER BY path LIMIT 1 OFFSET ";
    struct sqlite_case place;
    struct findings findings;
    char expected[1024], sql[200];

    sqlite_case_init(&place);
    sqlite_case_open(&place);
    for (uint64_t offset = 0; offset < 6000; offset += 500)
        publish(&place, "A", offset, 500);
    sqlite_case_close(&place);
    snprintf(sql, sizeof sql, "%s 1", leaf);
    long long flipped = sqlite_case_number(&place, sql);
    snprintf(sql, sizeof sql, "%s 9", leaf);
    long long noise = sqlite_case_number(&place, sql);
    damage(&place, flipped, 16384 - 200);
    snprintf(expected, sizeof expected, first, flipped);
    check(&place, &findings);
    cr_expect_str_eq(findings.text, expected, "%s", findings.text);
    damage(&place, noise, -1);
    snprintf(expected, sizeof expected, both, flipped, noise);
    check(&place, &findings);
    cr_expect_str_eq(findings.text, expected, "%s", findings.text);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* What is in them is checked all the same, where it can be read. */
Test(sqlite_scrub, damaged_small_tables_are_named)
{
    static const struct {
        const char *table;
        long at;
        const char *found;
    } damaged[] = {
        {"topics", 4096,
         "a page behind seq 0 is damaged: it does not match its checksum\n"
         "the table of topics is damaged: a page does not match its checksum\n"
         "the table of committed offsets is damaged: a page does not match its checksum\n"
         "A 61: is committed for the subscriber s, though the topic ends before offset 60\n"},
        {"topics", -1,
         "a page behind seq 0 is damaged: it does not match its checksum\n"
         "records with seq 1 to 64 cannot be read: the file is damaged there\n"
         "records with seq 65 to 128 cannot be read: the file is damaged there\n"
         "records with seq 129 to 192 cannot be read: the file is damaged there\n"
         "records with seq 193 to 231 cannot be read: the file is damaged there\n"
         "the table of topics is damaged: a page does not match its checksum\n"
         "the table of topics cannot be read: database disk image is malformed\n"
         "the table of committed offsets is damaged: a page does not match its checksum\n"
         "the table of committed offsets cannot be read: database disk image is malformed\n"},
        {"committed_offsets", 4096,
         "the table of committed offsets is damaged: a page does not match its checksum\n"
         "A 61: is committed for the subscriber s, though the topic ends before offset 60\n"},
        {"committed_offsets", -1,
         "the table of committed offsets is damaged: a page does not match its checksum\n"
         "the table of committed offsets cannot be read: database disk image is malformed\n"},
    };

    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct sqlite_case place;
        struct findings findings;
        char expected[1024], sql[100];

        fill(&place);
        sqlite_case_outside(&place, "UPDATE committed_offsets SET next_offset = 61");
        snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_master WHERE name = '%s'", damaged[i].table);
        long long page = sqlite_case_number(&place, sql);
        damage(&place, page, damaged[i].at);
        snprintf(expected, sizeof expected, "page %lld does not match its checksum\n%s", page,
                 damaged[i].found);
        check(&place, &findings);
        cr_expect_str_eq(findings.text, expected, "%s", findings.text);
        sqlite_case_deinit(&place);
    }
    ASSERT_NO_LEAKS();
}
