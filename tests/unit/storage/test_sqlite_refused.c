/* Files that do not belong together, or to one log alone: refused by name, and left as they were. */
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Work that leaves the mark where it is. */
static void subscribe_two(struct sqlite_case *at)
{
    sqlite_case_subscribe(at, "one");
    sqlite_case_subscribe(at, "two");
}

static void publish_much(struct sqlite_case *at)
{
    for (int i = 0; i < 40; i++)
        sqlite_case_publish(at, i % 2 == 0 ? "A" : "B", 200);
}

static void subscribe_to_the_end_of_the_wal(struct sqlite_case *at)
{
    for (int i = 0; i < 60; i++)
        sqlite_case_subscribe(at, (char[]){(char)('0' + i), '\0'});
}

static void worked(struct sqlite_case *place, void (*work)(struct sqlite_case *at))
{
    sqlite_case_open(place);
    work(place);
    sqlite_case_close(place);
}

/* In the log's directory. */
static void run(const struct sqlite_case *place, const char *commands)
{
    char line[400];

    snprintf(line, sizeof line, "cd %s && %s", place->directory, commands);
    cr_assert_eq(system(line), 0, "%s", line);
}

static void expect_refused_as_it_is(struct sqlite_case *place, enum ps_status status, const char *words)
{
    run(place, "mkdir kept && cp psbroker.db* kept");
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(sqlite_case_try_open(place), status, "%s", place->error);
        cr_assert_not_null(strstr(place->error, words), "%s", place->error);
        run(place, "cmp psbroker.db kept/psbroker.db");
        run(place, "test ! -e kept/psbroker.db-wal || cmp psbroker.db-wal kept/psbroker.db-wal");
    }
    run(place, "rm -r kept");
}

static void expect_refused(struct sqlite_case *place, enum ps_status status, const char *words)
{
    expect_refused_as_it_is(place, status, words);
    place->config.accept_changes = true;
    expect_refused_as_it_is(place, status, words);
    place->config.accept_changes = false;
}

/* The last page of the file is not what its checksum says; with --accept-changes it would be sealed. */
static void damage_last_page(const struct sqlite_case *place)
{
    run(place, "printf X | dd of=psbroker.db bs=1 conv=notrunc status=none "
               "seek=$(($(stat -c %s psbroker.db) - 100))");
}

/* ------------------------------------------------------------------------------------- a WAL of another file */

Test(sqlite_refused, an_older_file_under_a_wal_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    run(&place, "cp psbroker.db older");
    worked(&place, subscribe_two);
    sqlite_case_killed_in(&place, publish_much);
    run(&place, "cp psbroker.db newer");
    run(&place, "cp older psbroker.db");
    damage_last_page(&place);

    expect_refused(&place, PS_DAMAGED, "psbroker.db-wal does not continue psbroker.db");
    run(&place, "cp newer psbroker.db");
    sqlite_case_open(&place);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_refused, a_file_from_before_a_checkpoint_of_the_same_run_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    run(&place, "cp psbroker.db older");
    place.config.checkpoint_bytes = 1024 * 1024;
    sqlite_case_killed_in(&place, subscribe_to_the_end_of_the_wal);
    run(&place, "cp older psbroker.db");

    expect_refused(&place, PS_DAMAGED, "psbroker.db-wal does not continue psbroker.db");
    sqlite_case_deinit(&place);
}

Test(sqlite_refused, an_older_wal_beside_a_file_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    sqlite_case_killed_in(&place, subscribe_two);
    run(&place, "cp psbroker.db-wal older");
    worked(&place, subscribe_two);
    worked(&place, subscribe_two);
    run(&place, "cp older psbroker.db-wal");

    expect_refused(&place, PS_DAMAGED, "psbroker.db-wal does not continue psbroker.db");
    sqlite_case_deinit(&place);
}

static void publish_and_copy(struct sqlite_case *at)
{
    char sql[200];
    sqlite3 *db;

    publish_much(at);
    snprintf(sql, sizeof sql, "VACUUM INTO '%s/copy'", at->directory);
    if (sqlite3_open(at->file, &db) != SQLITE_OK || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        _exit(1);
}

Test(sqlite_refused, a_copy_with_other_pages_under_a_wal_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    sqlite_case_killed_in(&place, publish_and_copy);
    run(&place, "cp copy psbroker.db");

    expect_refused(&place, PS_DAMAGED, "psbroker.db-wal does not continue psbroker.db");
    sqlite_case_deinit(&place);
}

/* Each of them leaves a WAL whose file has all, part or nothing of it. */
Test(sqlite_refused, what_kills_and_checkpoints_leave_is_accepted)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 256 * 1024;
    for (int i = 0; i < 6; i++) {
        sqlite_case_killed_in(&place, i % 2 == 0 ? publish_much : subscribe_two);
        sqlite_case_killed_in(&place, subscribe_two);
        worked(&place, i % 2 == 0 ? subscribe_two : publish_much);
    }
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------- a refusal writes nothing */

/* As a page that was lost, in a WAL that was not copied yet. */
static void break_a_topic(const char *path)
{
    int status = -1;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        sqlite3 *db;
        if (sqlite3_open(path, &db) != SQLITE_OK ||
            sqlite3_exec(db, "UPDATE topics SET next_offset = 1000000 WHERE name = 'A'", NULL, NULL, NULL) !=
                SQLITE_OK)
            _exit(1);
        raise(SIGKILL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
}

Test(sqlite_refused, contradictions_are_met_before_anything_is_written)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    sqlite_case_killed_in(&place, subscribe_two);
    break_a_topic(place.file);
    expect_refused(&place, PS_DAMAGED, "topic A");
    damage_last_page(&place);
    place.config.accept_changes = true;
    expect_refused_as_it_is(&place, PS_DAMAGED, "topic A");
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_refused, a_file_cut_short_under_its_wal_is_damage)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    sqlite_case_killed_in(&place, subscribe_two);
    struct stat file;
    cr_assert_eq(stat(place.file, &file), 0);
    cr_assert_gt(file.st_size, 30 * 16384);

    for (off_t pages = file.st_size / 16384 - 1; pages > 0; pages -= 9) {
        cr_assert_eq(truncate(place.file, pages * 16384), 0);
        enum ps_status status = sqlite_case_try_open(&place);
        cr_assert_eq(status, PS_DAMAGED, "%ld pages: %s %s", (long)pages, ps_status_name(status),
                     place.error);
    }
    sqlite_case_deinit(&place);
}

/* ------------------------------------------------------------------------------------------------ other names */

Test(sqlite_refused, a_file_with_a_second_name_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    run(&place, "ln psbroker.db second");

    expect_refused(&place, PS_FOREIGN_FILE, "has a second name, a hard link");
    run(&place, "rm second");
    sqlite_case_open(&place);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_refused, a_symbolic_link_is_refused_and_what_it_names_left_alone)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    run(&place, "mv psbroker.db moved");
    run(&place, "ln -s moved psbroker.db");

    expect_refused(&place, PS_FOREIGN_FILE, "is a symbolic link");
    sqlite_case_deinit(&place);
}

Test(sqlite_refused, a_head_that_is_no_plain_file_is_not_touched)
{
    static const char *const makes[] = {"rm psbroker.head; mkfifo psbroker.head",
                                        "rm psbroker.head; ln -s psbroker.db psbroker.head",
                                        "rm psbroker.head; touch other; ln other psbroker.head"};
    struct sqlite_case place;
    sqlite_case_init(&place);
    worked(&place, publish_much);
    alarm(20); /* the open of a FIFO waits for its other end */
    for (size_t i = 0; i < sizeof makes / sizeof makes[0]; i++) {
        run(&place, makes[i]);
        place.logged[0] = '\0';
        sqlite_case_open(&place);
        cr_assert_not_null(strstr(place.logged, "event=head_not_written"), "%s", place.logged);
        sqlite_case_publish(&place, "A", 1);
        sqlite_case_close(&place);
    }
    alarm(0);
    sqlite_case_deinit(&place);
}
