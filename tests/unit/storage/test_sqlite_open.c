/* What the store opens, and what it refuses with a sentence. */
#include "leaks.h"
#include "migrate.h"
#include "sqlite_case.h"
#include "statements.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void expect_refusal(struct sqlite_case *place, enum ps_status wanted, const char *words)
{
    enum ps_status status = sqlite_case_try_open(place);

    cr_assert_eq(status, wanted, "%s: %s", ps_status_name(status), place->error);
    cr_assert_not_null(strstr(place->error, words), "%s", place->error);
    sqlite_case_deinit(place);
    ASSERT_NO_LEAKS();
}

static void made_once(struct sqlite_case *place)
{
    sqlite_case_init(place);
    sqlite_case_open(place);
    sqlite_case_publish(place, "A", 3);
    sqlite_case_close(place);
}

Test(sqlite_open, a_file_of_another_kind_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    FILE *file = fopen(place.file, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database at all\n", file);
    fclose(file);

    expect_refusal(&place, PS_FOREIGN_FILE, "not an SQLite database");
}

Test(sqlite_open, a_database_of_another_program_is_refused_and_left_alone)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    sqlite_case_outside(&place, "CREATE TABLE theirs (a)");
    int64_t pages = sqlite_case_number(&place, "SELECT count(*) FROM sqlite_schema");

    cr_assert_eq(sqlite_case_try_open(&place), PS_FOREIGN_FILE);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM sqlite_schema"), pages);
    expect_refusal(&place, PS_FOREIGN_FILE, "another program");
}

Test(sqlite_open, a_newer_schema_is_refused)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "PRAGMA user_version = 99");

    expect_refusal(&place, PS_NEWER_SCHEMA, "schema 99");
}

Test(sqlite_open, a_database_with_nothing_but_sqlite_s_own_tables_is_another_program_s)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    sqlite_case_outside(&place,
                        "CREATE TABLE theirs (a INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE theirs");
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM sqlite_schema"), 1);

    expect_refusal(&place, PS_FOREIGN_FILE, "another program");
}

Test(sqlite_open, a_trigger_on_our_tables_is_refused_even_with_a_users_name)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "CREATE TRIGGER user_t AFTER INSERT ON messages BEGIN SELECT 1; END");

    expect_refusal(&place, PS_FOREIGN_FILE, "trigger user_t");
}

Test(sqlite_open, a_foreign_object_is_refused)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "CREATE INDEX mine ON messages (publisher)");

    expect_refusal(&place, PS_FOREIGN_FILE, "mine");
}

Test(sqlite_open, a_view_of_ours_that_was_replaced_is_refused)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "DROP VIEW history; CREATE VIEW history AS SELECT 1");

    expect_refusal(&place, PS_FOREIGN_FILE, "history");
}

Test(sqlite_open, a_table_of_ours_that_is_missing_is_refused)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "DROP TABLE committed_offsets");

    expect_refusal(&place, PS_FOREIGN_FILE, "missing");
}

Test(sqlite_open, a_schema_older_than_its_number_says_is_refused_as_damaged)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "PRAGMA user_version = 0");

    expect_refusal(&place, PS_DAMAGED, "restore it from a backup");
}

Test(sqlite_open, objects_of_users_are_welcome)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "CREATE TABLE user_notes (a); CREATE INDEX user_i ON messages (publisher);"
                                "CREATE VIEW user_v AS SELECT * FROM history;"
                                "CREATE TRIGGER user_t AFTER INSERT ON user_notes BEGIN SELECT 1; END");

    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 1);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM user_v"), 4);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_open, a_directory_that_is_not_there_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    rmdir(place.directory);

    expect_refusal(&place, PS_ACCESS_DENIED, "rights of the directory");
}

Test(sqlite_open, a_file_cut_short_is_refused_as_damaged)
{
    struct sqlite_case place;
    made_once(&place);
    cr_assert_eq(truncate(place.file, 16384 * 3), 0);

    enum ps_status status = sqlite_case_try_open(&place);
    cr_assert_eq(status, PS_DAMAGED, "%s: %s", ps_status_name(status), place.error);
    sqlite_case_deinit(&place);
}

Test(sqlite_open, a_row_of_the_tail_that_is_missing_is_named)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place,
                        "DELETE FROM epochs; DELETE FROM topic_runs; DELETE FROM messages WHERE seq = 2");

    expect_refusal(&place, PS_DAMAGED, "seq 2");
}

Test(sqlite_open, a_topic_that_cannot_be_one_is_named)
{
    static const char *const damages[] = {
        "UPDATE topics SET name = ''",
        "UPDATE topics SET name = printf('%0300d', 1)",
        "UPDATE topics SET name = 'a' || char(10)",
        "UPDATE topics SET created_seq = 0",
        "UPDATE topics SET first_offset = -1",
        "UPDATE topics SET first_offset = 1000",
        "UPDATE topics SET next_offset = -1",
        "UPDATE topics SET last_seq = -1",
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct sqlite_case place;
        made_once(&place);
        sqlite_case_outside(&place, damages[i]);

        expect_refusal(&place, PS_DAMAGED, "topic_id 1");
    }
}

Test(sqlite_open, records_missing_at_the_end_are_named)
{
    struct sqlite_case place;
    made_once(&place);
    sqlite_case_outside(&place, "UPDATE settings SET value = value + 5 WHERE name = 'next_seq'");

    expect_refusal(&place, PS_DAMAGED, "from seq 4 to 8 are missing");
}

Test(sqlite_open, the_log_keeps_its_id_and_counts_its_starts)
{
    struct sqlite_case place;
    uint8_t id[LOG_ID_BYTES];
    made_once(&place);
    memcpy(id, place.opened.log_id, sizeof(id));
    uint64_t starts = place.opened.start_count;

    sqlite_case_open(&place);
    cr_assert_arr_eq(place.opened.log_id, id, sizeof(id));
    cr_assert_eq(place.opened.start_count, starts + 1);
    sqlite_case_deinit(&place);
}

static void show_nothing(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    sqlite3_result_int(context, 0);
}

/* Rows are shown in the order in which an index or the table has them. */
Test(sqlite_open, no_query_sorts)
{
#define SQL_OF(symbol, sql) sql,
    static const char *const statements[] = {STATEMENT_MAP(SQL_OF)};
#undef SQL_OF
    struct sqlite_case place;
    unsigned queries = 0;
    sqlite3 *db;
    sqlite_case_start(&place);
    cr_assert_eq(sqlite3_open(place.file, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_create_function(db, "show_row", 9, SQLITE_UTF8, NULL, show_nothing, NULL, NULL),
                 SQLITE_OK);
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        char sql[1200];
        sqlite3_stmt *plan;
        if (strncmp(statements[i], "SELECT", 6) != 0)
            continue;
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", statements[i]);
        cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &plan, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(plan, 3);
            cr_assert_null(strstr(step, "TEMP B-TREE"), "%s: %s", statements[i], step);
        }
        sqlite3_finalize(plan);
        queries++;
    }
    cr_assert_gt(queries, 20u);
    sqlite3_close(db);
    sqlite_case_deinit(&place);
}

Test(sqlite_open, a_migrated_database_says_whose_it_is)
{
    struct sqlite_case place;
    made_once(&place);

    cr_assert_eq(sqlite_case_number(&place, "PRAGMA application_id"), 0x70736272);
    cr_assert_eq(sqlite_case_number(&place, "PRAGMA user_version"), migration_count);
    cr_assert_eq(sqlite_case_number(&place, "PRAGMA page_size"), 16384);
    cr_assert_eq(sqlite_case_number(&place, "PRAGMA auto_vacuum"), 2); /* incremental */
    sqlite_case_deinit(&place);
}
