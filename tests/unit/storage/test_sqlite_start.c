/* What a start meets: locks of others, directories that cannot be written, an unclean end, SQLite's own settings. */
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `work` on an open store in a process of its own, which then ends without closing anything. */
static void killed_after(struct sqlite_case *place, void (*work)(struct sqlite_case *place))
{
    int status = -1;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        if (sqlite_case_try_open(place) == PS_OK)
            work(place);
        _exit(place->store == NULL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ------------------------------------------------------------------------------------------------ SQLite's own */

static void publish_ten(struct sqlite_case *place)
{
    for (int i = 0; i < 10; i++)
        sqlite_case_publish(place, "A", 1);
}

Test(sqlite_start, what_sqlite_logs_reaches_our_log)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    killed_after(&place, publish_ten);

    sqlite_case_open(&place);
    cr_assert_not_null(strstr(place.logged, "6 event=sqlite code=283 text=\"recovered "), "%s", place.logged);
    cr_assert_null(strstr(place.logged, "event=sqlite_in_use"), "%s", place.logged);
    /* Each open store hears it; one that was closed does not. */
    struct sqlite_case other;
    sqlite_case_init(&other);
    sqlite_case_open(&other);
    place.logged[0] = other.logged[0] = '\0';
    sqlite3_log(SQLITE_WARNING, "a \"quoted\"\nline");
    cr_assert_str_eq(place.logged, "4 event=sqlite code=28 text=\"a 'quoted' line\"\n");
    cr_assert_str_eq(other.logged, place.logged);
    sqlite_case_close(&other);
    other.logged[0] = '\0';
    sqlite3_log(SQLITE_WARNING, "again");
    cr_assert_str_empty(other.logged);
    sqlite_case_deinit(&other);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_start, memory_statistics_are_off)
{
    struct sqlite_case place;
    sqlite_case_start(&place);

    cr_assert_eq(sqlite3_memory_used(), 0);
    sqlite_case_deinit(&place);
}

Test(sqlite_start, settings_that_come_too_late_are_said)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    cr_assert_eq(sqlite3_initialize(), SQLITE_OK);

    sqlite_case_open(&place);
    cr_assert_not_null(strstr(place.logged, "6 event=sqlite_in_use"), "%s", place.logged);
    sqlite_case_deinit(&place);
}

/* ---------------------------------------------------------------------------------------------------- locks */

struct holder {
    const char *sql, *file;
    int to_parent[2];
};

/* In a process of its own, as locks of one process do not hinder each other alike. */
static pid_t hold_lock(struct holder *holder)
{
    char byte = 0;
    cr_assert_eq(pipe(holder->to_parent), 0);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db;
        if (sqlite3_open(holder->file, &db) != SQLITE_OK ||
            sqlite3_exec(db, holder->sql, NULL, NULL, NULL) != SQLITE_OK ||
            write(holder->to_parent[1], "x", 1) != 1)
            _exit(1);
        usleep(1500 * 1000);
        _exit(0);
    }
    cr_assert_eq(read(holder->to_parent[0], &byte, 1), 1);
    return child;
}

static void start_beside(const char *sql)
{
    struct sqlite_case place;
    struct holder holder = {.sql = sql, .file = place.file};
    int status;
    sqlite_case_init(&place);
    killed_after(&place, publish_ten);
    pid_t child = hold_lock(&holder);

    sqlite_case_open(&place);
    cr_assert_not_null(strstr(place.logged, "event=database_locked"), "%s", place.logged);
    cr_assert_not_null(strstr(place.logged, "starting waits"), "%s", place.logged);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history"), 10);
    close(holder.to_parent[0]);
    close(holder.to_parent[1]);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_start, an_outside_writer_is_waited_for_and_said)
{
    start_beside("BEGIN IMMEDIATE");
}

/* Met by the first look into the file, long before the first transaction. */
Test(sqlite_start, a_file_held_exclusively_is_waited_for_and_said)
{
    start_beside(
        "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE settings SET value = value WHERE name = "
        "'start_count'; ROLLBACK");
}

/* ---------------------------------------------------------------------------------------------- directories */

static void expect_no_access(struct sqlite_case *place)
{
    enum ps_status status = sqlite_case_try_open(place);

    cr_assert_eq(status, PS_ACCESS_DENIED, "%s: %s", ps_status_name(status), place->error);
    cr_assert_not_null(strstr(place->error, "psbroker.db"), "%s", place->error);
    cr_assert_not_null(strstr(place->error, "check the rights"), "%s", place->error);
}

/* Root may write everywhere, so that it is somebody else who tries. */
static void become_nobody(struct sqlite_case *place)
{
    if (geteuid() != 0)
        return;
    cr_assert_eq(chown(place->directory, 65534, 65534), 0);
    if (access(place->file, F_OK) == 0)
        cr_assert_eq(chown(place->file, 65534, 65534), 0);
    cr_assert_eq(seteuid(65534), 0);
}

static void become_root_again(struct sqlite_case *place)
{
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(chmod(place->directory, 0700), 0);
}

Test(sqlite_start, a_read_only_directory_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    cr_assert_eq(chmod(place.directory, 0500), 0);
    become_nobody(&place);

    expect_no_access(&place);
    become_root_again(&place);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_start, a_log_in_a_read_only_directory_is_refused_and_left_alone)
{
    struct sqlite_case place;
    sqlite_case_start(&place);
    publish_ten(&place);
    sqlite_case_close(&place);
    cr_assert_eq(chmod(place.directory, 0500), 0);
    become_nobody(&place);

    expect_no_access(&place);
    become_root_again(&place);
    sqlite_case_open(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history"), 10);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_start, a_read_only_file_is_refused)
{
    struct sqlite_case place;
    sqlite_case_start(&place);
    sqlite_case_close(&place);
    cr_assert_eq(chmod(place.file, 0400), 0);
    become_nobody(&place);

    expect_no_access(&place);
    become_root_again(&place);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_start, a_file_in_place_of_the_directory_is_refused)
{
    struct sqlite_case place;
    char file[80];
    sqlite_case_init(&place);
    snprintf(file, sizeof file, "%s/plain", place.directory);
    close(open(file, O_WRONLY | O_CREAT, 0600));
    place.config.directory = file;

    expect_no_access(&place);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_start, a_directory_in_place_of_the_file_is_refused)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    cr_assert_eq(mkdir(place.file, 0700), 0);

    expect_no_access(&place);
    rmdir(place.file);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* -------------------------------------------------------------------------------------------- unclean ends */

static void publish_and_delete(struct sqlite_case *place)
{
    for (int i = 0; i < 60; i++) {
        sqlite_case_publish(place, "A", 3);
        sqlite_case_publish(place, "gone", 2);
    }
    struct store_op op = {.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of("gone")}};
    if (sqlite_case_commit(place, &op) != PS_OK || op.status != PS_OK)
        _exit(1);
    sqlite_case_publish(place, "later", 1);
}

/* A WAL cut anywhere: SQLite keeps the commits before the cut, and those are a whole log. Without psbroker.head nobody
 * could tell. */
Test(sqlite_start, a_wal_cut_short_leaves_whole_commits)
{
    struct sqlite_case place;
    char wal[128], copy[128], command[700];
    sqlite_case_init(&place);
    place.config.epoch_rows = 50;
    place.config.slice_runs = 4;
    killed_after(&place, publish_and_delete);
    snprintf(wal, sizeof wal, "%s-wal", place.file);
    snprintf(copy, sizeof copy, "%s/copy", place.directory);
    snprintf(command, sizeof command, "cp %s %s.db && cp %s %s.wal", place.file, copy, wal, copy);
    cr_assert_eq(system(command), 0);
    struct stat facts;
    cr_assert_eq(stat(wal, &facts), 0);

    for (int i = 0; i <= 24; i++) {
        snprintf(command, sizeof command, "cp %s.db %s && cp %s.wal %s && rm -f %s-shm %s/psbroker.head",
                 copy, place.file, copy, wal, place.file, place.directory);
        cr_assert_eq(system(command), 0);
        cr_assert_eq(truncate(wal, facts.st_size / 24 * i + (i % 3) * 8000), 0);
        sqlite_case_open(&place);
        int64_t rows = sqlite_case_number(&place, "SELECT count(*) FROM messages");
        cr_assert_eq(sqlite_case_number(&place, "SELECT coalesce(max(seq), 0) FROM messages"), rows);
        cr_assert_eq(sqlite_case_number(&place, "SELECT coalesce(max(offset) + 1, 0) = count(*) FROM history "
                                                "WHERE topic = 'A'"),
                     1);
        sqlite_case_publish(&place, "A", 1);
        cr_assert_eq(sqlite_case_number(&place, "SELECT max(seq) FROM messages"), rows + 1);
        sqlite_case_close(&place);
    }
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
