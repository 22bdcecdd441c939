/* The views `history` and `topic_stats` against a model, seen from a second connection: after every commit
 * while an epoch's index is written in slices, and after a kill at each of those places. */
#include "leaks.h"
#include "store_sqlite.h"
#include "tmpdir.h"
#include "view_plan.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    MOST_COMMITS = 500,
    MOST_OFFSETS = MOST_COMMITS * PLAN_EACH + MOST_COMMITS / PLAN_BULK_EVERY * PLAN_BULK,
    /* So many commits nearly fill an epoch. */
    FILLING = 24
};

struct place {
    char directory[64];
    char file[96];
};

static void make_place(struct place *place)
{
    cr_assert(tmpdir_make(place->directory));
    snprintf(place->file, sizeof place->file, "%s/psbroker.db", place->directory);
}

static struct store *open_store(const struct place *place, struct store_state *state)
{
    struct store *store = NULL;
    struct store_opened opened;
    char error[256] = "";
    struct store_sqlite_config config = {.directory = place->directory,
                                         .epoch_rows = PLAN_EPOCH_ROWS,
                                         .slice_runs = PLAN_SLICE_RUNS,
                                         .idle_slice_runs = PLAN_IDLE_SLICE_RUNS};
    enum ps_status status = store_sqlite_open(&config, &store, &opened, error, sizeof error);
    cr_assert_eq(status, PS_OK, "%s", error);
    *state = opened.state;
    return store;
}

static sqlite3 *connect_outside(const struct place *place)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open_v2(place->file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    return statement;
}

static uint64_t number_of(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = prepare(db, sql);
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW, "%s", sqlite3_errmsg(db));
    uint64_t value = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

/* ----------------------------------------------------------------------------------------- view and model */

static void check_row(sqlite3_stmt *row, uint64_t commits, bool (*seen)[MOST_OFFSETS])
{
    uint64_t first, next, offset = (uint64_t)sqlite3_column_int64(row, 1),
                          run = (uint64_t)sqlite3_column_int64(row, 3);
    char name[PLAN_TEXT_BYTES], payload[PLAN_TEXT_BYTES];
    unsigned topic = 0;
    sscanf((const char *)sqlite3_column_text(row, 0), "t/%u", &topic);
    plan_topic_name(name, topic);
    cr_assert_str_eq((const char *)sqlite3_column_text(row, 0), name);
    cr_assert(plan_range(topic, commits, &first, &next), "%s is not there", name);
    cr_assert(offset >= first && offset < next, "%s %llu after %llu commits", name,
              (unsigned long long)offset, (unsigned long long)commits);
    cr_assert_not(seen[topic][offset], "%s %llu twice", name, (unsigned long long)offset);
    seen[topic][offset] = true;
    plan_payload(payload, topic, offset);
    cr_assert_str_eq((const char *)sqlite3_column_text(row, 2), payload);
    cr_assert(run <= offset && offset - run < 1024, "%s %llu in the run %llu", name,
              (unsigned long long)offset, (unsigned long long)run);
}

static void check_history(sqlite3 *db, uint64_t commits)
{
    bool(*seen)[MOST_OFFSETS] = calloc(PLAN_TOPICS, sizeof *seen);
    sqlite3_stmt *row = prepare(db, "SELECT topic, offset, payload, run FROM history");
    uint64_t rows = 0, expected = 0;
    int rc;
    while ((rc = sqlite3_step(row)) == SQLITE_ROW) {
        check_row(row, commits, seen);
        rows++;
    }
    cr_assert_eq(rc, SQLITE_DONE, "%s", sqlite3_errmsg(db));
    sqlite3_finalize(row);
    for (unsigned topic = 0; topic < PLAN_TOPICS; topic++) {
        uint64_t first, next;
        if (plan_range(topic, commits, &first, &next))
            expected += next - first;
    }
    cr_assert_eq(rows, expected, "%llu rows, not %llu, after %llu commits", (unsigned long long)rows,
                 (unsigned long long)expected, (unsigned long long)commits);
    free(seen);
}

static void check_stats(sqlite3 *db, uint64_t commits)
{
    sqlite3_stmt *row = prepare(db, "SELECT topic, first_offset, next_offset, messages FROM topic_stats");
    unsigned rows = 0, expected = 0;
    while (sqlite3_step(row) == SQLITE_ROW) {
        uint64_t first, next;
        unsigned topic = PLAN_TOPICS;
        sscanf((const char *)sqlite3_column_text(row, 0), "t/%u", &topic);
        cr_assert(plan_range(topic, commits, &first, &next));
        cr_assert_eq((uint64_t)sqlite3_column_int64(row, 1), first, "topic %u", topic);
        cr_assert_eq((uint64_t)sqlite3_column_int64(row, 2), next, "topic %u", topic);
        cr_assert_eq((uint64_t)sqlite3_column_int64(row, 3), next - first, "topic %u", topic);
        rows++;
    }
    sqlite3_finalize(row);
    for (unsigned topic = 0; topic < PLAN_TOPICS; topic++) {
        uint64_t first, next;
        expected += plan_range(topic, commits, &first, &next);
    }
    cr_assert_eq(rows, expected);
}

/* One topic and one range, as people ask for it. */
static void check_range(sqlite3 *db, unsigned topic, uint64_t commits)
{
    uint64_t first, next;
    char name[PLAN_TEXT_BYTES];
    if (!plan_range(topic, commits, &first, &next))
        return;
    sqlite3_stmt *row = prepare(db, "SELECT count(*), min(offset), max(offset) FROM history WHERE topic = ?1"
                                    " AND offset BETWEEN ?2 AND ?3 AND run BETWEEN ?2 - 1023 AND ?3");
    uint64_t from = first + (next - first) / 3, to = from + (next - first) / 3;
    plan_topic_name(name, topic);
    sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(row, 2, (sqlite3_int64)from);
    sqlite3_bind_int64(row, 3, (sqlite3_int64)to);
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW);
    cr_assert_eq((uint64_t)sqlite3_column_int64(row, 0), to - from + 1, "range of topic %u", topic);
    cr_assert_eq((uint64_t)sqlite3_column_int64(row, 1), from);
    cr_assert_eq((uint64_t)sqlite3_column_int64(row, 2), to);
    sqlite3_finalize(row);
}

static void check_views(sqlite3 *db, uint64_t commits)
{
    check_history(db, commits);
    check_stats(db, commits);
    check_range(db, PLAN_CUT_TOPIC, commits);
    check_range(db, (unsigned)(commits % PLAN_TOPICS), commits);
}

/* Whether runs are stored whose epoch is not listed yet: a flush is half done. */
static bool half_flushed(sqlite3 *db)
{
    return number_of(db, "SELECT EXISTS (SELECT 1 FROM topic_runs WHERE epoch >"
                         " (SELECT coalesce(max(epoch), 0) FROM epochs))") != 0;
}

/* ------------------------------------------------------------------------------------------------- cases */

Test(sqlite_views, views_equal_the_model_at_every_slice_of_an_index_flush)
{
    struct place place;
    struct store_state state;
    make_place(&place);
    struct store *store = open_store(&place, &state);
    sqlite3 *db = connect_outside(&place);
    unsigned half = 0;
    uint64_t commits = 0;

    for (; state.indexed_through == 0 && commits < MOST_COMMITS; commits++) {
        cr_assert_eq(plan_commit(store, commits, &state), PS_OK);
        check_views(db, commits + 1);
        half += half_flushed(db);
    }
    cr_assert_geq(half, 3u, "the flush took %u commits", half);
    cr_assert_geq(state.indexed_through, (uint64_t)PLAN_EPOCH_ROWS);
    for (bool more = true; more; check_views(db, commits))
        cr_assert_eq(store_work(store, &more, &state), PS_OK);
    check_views(db, commits);

    sqlite3_close(db);
    store_close(store);
    db = connect_outside(&place);
    check_views(db, commits);
    sqlite3_close(db);
    tmpdir_remove(place.directory);
    ASSERT_NO_LEAKS();
}

struct child {
    pid_t pid;
    FILE *lines; /* its standard output */
    int input;   /* its standard input */
};

static void start_child(struct child *child, const struct place *place, uint64_t first, uint64_t unwatched)
{
    int out[2], in[2];
    char first_text[24], unwatched_text[24];
    posix_spawn_file_actions_t actions;
    snprintf(first_text, sizeof first_text, "%llu", (unsigned long long)first);
    snprintf(unwatched_text, sizeof unwatched_text, "%llu", (unsigned long long)unwatched);
    char *argv[] = {(char *)STORE_CHILD, (char *)place->directory, first_text, unwatched_text, NULL};
    cr_assert(pipe(out) == 0 && pipe(in) == 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    for (int i = 0; i < 2; i++) {
        posix_spawn_file_actions_addclose(&actions, in[i]);
        posix_spawn_file_actions_addclose(&actions, out[i]);
    }
    cr_assert_eq(posix_spawn(&child->pid, STORE_CHILD, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(in[0]);
    child->lines = fdopen(out[0], "r");
    child->input = in[1];
}

/* Waits for the next commit; how many there are now. */
static uint64_t wait_commit(struct child *child)
{
    char line[32];
    cr_assert_not_null(fgets(line, sizeof line, child->lines), "the child ended");
    return strtoull(line, NULL, 10) + 1;
}

static void let_go_on(struct child *child)
{
    cr_assert_eq(write(child->input, "\n", 1), 1);
}

static void kill_child(struct child *child)
{
    int status;
    kill(child->pid, SIGKILL);
    cr_assert_eq(waitpid(child->pid, &status, 0), child->pid);
    fclose(child->lines);
    close(child->input);
}

/* Each round goes one commit further into the flush than the one before, and is killed there. */
Test(sqlite_views, views_equal_the_model_after_a_kill_at_every_slice_of_an_index_flush)
{
    struct place place;
    struct child child;
    unsigned half = 0;
    bool listed = false;
    make_place(&place);
    start_child(&child, &place, 0, FILLING - 1);
    uint64_t commits = wait_commit(&child);
    kill_child(&child);

    for (unsigned steps = 1; !listed; steps++) {
        cr_assert_lt(steps, 25u, "the flush does not end");
        start_child(&child, &place, commits, 0);
        for (unsigned i = 0; i < steps; i++) {
            if (i > 0)
                let_go_on(&child);
            commits = wait_commit(&child);
        }
        kill_child(&child);
        sqlite3 *db = connect_outside(&place);
        check_views(db, commits);
        half += half_flushed(db);
        listed = number_of(db, "SELECT count(*) FROM epochs") > 0;
        sqlite3_close(db);
    }

    cr_assert_geq(half, 3u, "%u kills fell into the flush", half);
    struct store_state state;
    struct store *store = open_store(&place, &state);
    cr_assert_eq(plan_commit(store, commits, &state), PS_OK);
    store_close(store);
    sqlite3 *db = connect_outside(&place);
    check_views(db, commits + 1);
    cr_assert_not(half_flushed(db));
    sqlite3_close(db);
    tmpdir_remove(place.directory);
    ASSERT_NO_LEAKS();
}
