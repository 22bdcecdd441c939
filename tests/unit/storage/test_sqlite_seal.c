/* Checksums of pages: what another program changed, copies that have none, a row beside a damaged one. That every bit
 * is covered is shown by tests/crash/test_bit_flip.c. */
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void made_once(struct sqlite_case *place)
{
    sqlite_case_init(place);
    sqlite_case_open(place);
    sqlite_case_publish(place, "A", 3);
    sqlite_case_close(place);
}

/* As the sqlite3 tool does it, without our VFS. */
static void change(const struct sqlite_case *place, const char *sql)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(place->file, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void flip(const struct sqlite_case *place, off_t at, uint8_t bits)
{
    int file = open(place->file, O_RDWR);
    uint8_t byte;
    cr_assert_eq(pread(file, &byte, 1, at), 1);
    byte = (uint8_t)(byte ^ bits);
    cr_assert_eq(pwrite(file, &byte, 1, at), 1);
    close(file);
}

/* Where those bytes stand in the file. */
static off_t find(const struct sqlite_case *place, const char *text)
{
    static char bytes[1 << 20];
    FILE *file = fopen(place->file, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    const char *found = memmem(bytes, size, text, strlen(text));
    fclose(file);
    cr_assert_not_null(found);
    return found - bytes;
}

Test(sqlite_seal, a_change_by_another_program_is_refused_until_it_is_accepted)
{
    struct sqlite_case place;
    made_once(&place);
    change(&place, "UPDATE topics SET name = 'B'");

    cr_assert_eq(sqlite_case_try_open(&place), PS_DAMAGED);
    cr_assert_not_null(strstr(place.error, "--accept-changes"), "%s", place.error);
    place.config.accept_changes = true;
    sqlite_case_open(&place);
    sqlite_case_close(&place);
    cr_assert_not_null(strstr(place.logged, "event=changes_accepted"), "%s", place.logged);
    place.config.accept_changes = false;
    sqlite_case_open(&place);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

static void vacuum_into(const struct sqlite_case *place, const char *copy)
{
    char sql[200];
    snprintf(sql, sizeof sql, "VACUUM INTO '%s'", copy);
    change(place, sql);
}

/* As .backup of the sqlite3 tool. */
static void back_up(const struct sqlite_case *place, const char *copy)
{
    sqlite3 *from, *to;
    cr_assert_eq(sqlite3_open_v2(place->file, &from, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_open(copy, &to), SQLITE_OK);
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    cr_assert_not_null(backup);
    cr_assert_eq(sqlite3_backup_step(backup, -1), SQLITE_DONE);
    cr_assert_eq(sqlite3_backup_finish(backup), SQLITE_OK);
    sqlite3_close(to);
    sqlite3_close(from);
}

static void open_copy(void (*make)(const struct sqlite_case *place, const char *copy))
{
    struct sqlite_case place;
    char copy[200];
    made_once(&place);
    snprintf(copy, sizeof copy, "%s.copy", place.file);
    make(&place, copy);
    cr_assert_eq(rename(copy, place.file), 0);

    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 3);
    sqlite_case_deinit(&place);
}

Test(sqlite_seal, a_copy_that_another_program_made_opens)
{
    open_copy(vacuum_into);
    open_copy(back_up);
}

Test(sqlite_seal, a_flipped_header_does_not_turn_it_off)
{
    for (int bit = 0; bit < 8; bit++) {
        struct sqlite_case place;
        made_once(&place);
        flip(&place, 20, (uint8_t)(1 << bit));
        cr_assert_eq(sqlite_case_try_open(&place), PS_DAMAGED, "bit %d", bit);
        sqlite_case_deinit(&place);
    }
}

Test(sqlite_seal, pages_in_each_others_place_are_refused)
{
    struct sqlite_case place;
    static uint8_t pages[2][16384];
    made_once(&place);
    int file = open(place.file, O_RDWR);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pread(file, pages[i], sizeof *pages, (5 + i) * 16384), (ssize_t)sizeof *pages);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pwrite(file, pages[i], sizeof *pages, (6 - i) * 16384), (ssize_t)sizeof *pages);
    close(file);

    cr_assert_eq(sqlite_case_try_open(&place), PS_DAMAGED);
    cr_assert_not_null(strstr(place.error, "does not match its checksum"), "%s", place.error);
    sqlite_case_deinit(&place);
}

static void publish_more(struct sqlite_case *place)
{
    sqlite_case_publish(place, "A", 3);
}

/* Pages that were sealed once, read, changed, and taken from the WAL by a program that knows no seals. */
Test(sqlite_seal, what_another_program_takes_from_the_wal_is_sound)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_killed_in(&place, publish_more);
    change(&place, "PRAGMA wal_checkpoint(TRUNCATE)");

    sqlite_case_open(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history"), 6);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------- beside a damaged row */

static void keep_topic(void *ctx, const struct store_topic *topic)
{
    struct store_read *read = ctx;
    read->topic = *topic;
}

static bool count(void *ctx, const struct message *message)
{
    unsigned *seen = ctx;
    *seen |= 1u << message->offset;
    return true;
}

Test(sqlite_seal, rows_beside_a_damaged_one_are_given)
{
    static const char *const payloads[] = {"the first", "the second", "the third"};
    struct sqlite_case place;
    struct message messages[3] = {0};
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of("A"), .messages = messages, .count = 3}};
    struct store_reader *reader;
    unsigned seen = 0;
    struct store_read read = {.to = 3,
                              .max_messages = 10,
                              .max_bytes = 1000,
                              .max_microseconds = 1000000,
                              .show = count,
                              .ctx = &seen};
    for (int i = 0; i < 3; i++)
        messages[i].payload = span_of(payloads[i]);
    sqlite_case_init(&place);
    sqlite_case_open(&place);
    cr_assert_eq(sqlite_case_commit(&place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
    sqlite_case_close(&place);
    sqlite_case_open(&place);
    store_load(place.store, keep_topic, &read);
    read.topic.name = span_of("A");
    read.topic.recent_count = 0;
    flip(&place, find(&place, "the second"), 1);
    cr_assert_eq(store_reader_new(place.store, &reader), PS_OK);

    cr_assert_eq(store_read(reader, &read), PS_DAMAGED);
    cr_assert_eq(read.damaged_offset, 1u);
    read.from = 2;
    cr_assert_eq(store_read(reader, &read), PS_OK);
    cr_assert_eq(seen, 5u);
    store_reader_free(reader);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* --------------------------------------------------------------------------- damage that only background work meets */

/* A bit in the page where that table or index begins. */
static void flip_root(const struct sqlite_case *place, const char *name)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", name);
    flip(place, (sqlite_case_number(place, sql) - 1) * 16384 + 8000, 1);
}

Test(sqlite_seal, a_page_that_the_index_will_write_refuses_the_start)
{
    static const char *const names[] = {"busy_runs", "topic_runs", "epochs", "epochs_by_last_seq",
                                        "epochs_with_quiet_runs"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sqlite_case place;
        made_once(&place);
        flip_root(&place, names[i]);
        cr_assert_eq(sqlite_case_try_open(&place), PS_DAMAGED, "%s", names[i]);
        cr_assert_not_null(strstr(place.error, "does not match its checksum"), "%s", place.error);
        place.config.accept_changes = true;
        sqlite_case_open(&place);
        sqlite_case_deinit(&place);
    }
}

static void publish_long(struct sqlite_case *place, const char *topic, unsigned count)
{
    static char payload[4000];
    for (unsigned i = 0; i < count; i++) {
        memset(payload, 'x', sizeof payload);
        snprintf(payload, sizeof payload, "%s %u", topic, i);
        struct message message = {.payload = {(const uint8_t *)payload, sizeof payload}};
        struct store_op op = {.kind = STORE_APPEND,
                              .append = {.topic = span_of(topic), .messages = &message, .count = 1}};
        cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
        cr_assert_eq(op.status, PS_OK);
    }
}

static void delete_topic(struct sqlite_case *place, const char *topic)
{
    struct store_op op = {.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of(topic)}};
    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
}

/* `rides`: the sweeper works within commits of publications. */
static void sweep_over_damage(bool rides)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    sqlite_case_open(&place);
    publish_long(&place, "damaged", 40);
    publish_long(&place, "sound", 40);
    sqlite_case_publish(&place, "A", 10);
    sqlite_case_close(&place);
    flip(&place, find(&place, "damaged 20"), 1);

    for (int start = 0; start < 2; start++) {
        sqlite_case_open(&place);
        if (start == 0) {
            delete_topic(&place, "damaged");
            delete_topic(&place, "sound");
        }
        if (rides)
            sqlite_case_publish(&place, "A", 10);
        sqlite_case_work(&place);
        sqlite_case_publish(&place, "A", 10);
        cr_assert_not_null(strstr(place.logged, "event=sweep_given_up topic_id=1 "), "%s", place.logged);
        cr_assert_null(strstr(place.logged, "topic_id=2 "), "%s", place.logged);
        place.logged[0] = '\0';
        sqlite_case_close(&place);
    }
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages WHERE topic_id = 2"), 0);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history WHERE topic = 'A'"),
                 rides ? 50 : 30);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* Deleted and swept, with a page behind it that is to move to the front and is damaged. */
Test(sqlite_seal, a_damaged_page_ends_shrinking_and_nothing_else)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    sqlite_case_open(&place);
    publish_long(&place, "deleted", 60);
    publish_long(&place, "kept", 40);
    sqlite_case_publish(&place, "A", 10);
    sqlite_case_close(&place);
    sqlite_case_open(&place);
    delete_topic(&place, "deleted");
    sqlite_case_work(&place);
    sqlite_case_close(&place);
    for (int i = 10; i < 30; i++) {
        char payload[20];
        snprintf(payload, sizeof payload, "kept %d", i);
        flip(&place, find(&place, payload), 1);
    }

    place.config.disk_floor_bytes = UINT64_MAX;
    sqlite_case_open(&place);
    sqlite_case_work(&place);
    const char *told = strstr(place.logged, "event=shrink_given_up");
    cr_assert_not_null(told, "%s", place.logged);
    sqlite_case_work(&place);
    cr_assert_null(strstr(told + 1, "event=shrink_given_up"), "once: %s", place.logged);
    sqlite_case_close(&place);
    place.config.disk_floor_bytes = 0;
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 10);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_seal, a_damaged_page_ends_sweeping_its_topic_and_nothing_else)
{
    sweep_over_damage(false);
    sweep_over_damage(true);
}
