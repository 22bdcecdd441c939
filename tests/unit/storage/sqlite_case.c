#include "sqlite_case.h"
#include "tmpdir.h"
#include "vfs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void keep_log(void *ctx, int level, const char *text)
{
    struct sqlite_case *place = ctx;
    size_t used = strlen(place->logged);

    snprintf(place->logged + used, sizeof(place->logged) - used, "%d %s\n", level, text);
}

void sqlite_case_init(struct sqlite_case *place)
{
    *place = (struct sqlite_case){0};
    cr_assert(tmpdir_make(place->directory));
    snprintf(place->file, sizeof(place->file), "%s/psbroker.db", place->directory);
    place->config =
        (struct store_sqlite_config){.directory = place->directory, .log = keep_log, .log_ctx = place};
}

void sqlite_case_deinit(struct sqlite_case *place)
{
    sqlite_case_close(place);
    tmpdir_remove(place->directory);
}

enum ps_status sqlite_case_try_open(struct sqlite_case *place)
{
    enum ps_status status =
        store_sqlite_open(&place->config, &place->store, &place->opened, place->error, sizeof(place->error));

    if (status == PS_OK)
        place->state = place->opened.state;
    return status;
}

void sqlite_case_open(struct sqlite_case *place)
{
    enum ps_status status = sqlite_case_try_open(place);

    cr_assert_eq(status, PS_OK, "%s: %s", ps_status_name(status), place->error);
}

void sqlite_case_start(struct sqlite_case *place)
{
    sqlite_case_init(place);
    sqlite_case_open(place);
}

void sqlite_case_close(struct sqlite_case *place)
{
    store_close(place->store);
    place->store = NULL;
}

enum ps_status sqlite_case_commit(struct sqlite_case *place, struct store_op *op)
{
    return store_commit(place->store, &op, 1, &place->state);
}

void sqlite_case_publish(struct sqlite_case *place, const char *topic, uint32_t count)
{
    struct message *messages = calloc(count, sizeof(*messages));
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of(topic), .messages = messages, .count = count}};

    cr_assert_not_null(messages);
    for (uint32_t i = 0; i < count; i++)
        messages[i].payload = span_of("x");
    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK, "%s", ps_status_name(op.status));
    free(messages);
}

void sqlite_case_subscribe(struct sqlite_case *place, const char *id)
{
    struct store_op op = {
        .kind = STORE_ATTACH,
        .attach = {.id = span_of(id), .filter = span_of("A"), .start = {.kind = START_NEW}}};

    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
}

void sqlite_case_killed_in(struct sqlite_case *place, void (*work)(struct sqlite_case *place))
{
    int status = -1;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        if (sqlite_case_try_open(place) != PS_OK)
            _exit(1);
        work(place);
        raise(SIGKILL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

bool sqlite_case_step(struct sqlite_case *place)
{
    bool more;

    cr_assert_eq(store_work(place->store, &more, &place->state), PS_OK, "%s", place->logged);
    return more;
}

unsigned sqlite_case_work(struct sqlite_case *place)
{
    unsigned steps = 1;

    while (sqlite_case_step(place))
        steps++;
    return steps;
}

void sqlite_case_outside(const struct sqlite_case *place, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    cr_assert_eq(
        sqlite3_open_v2(place->file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs_reader_name()),
        SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s", message);
    sqlite3_close(db);
}

int64_t sqlite_case_number(const struct sqlite_case *place, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *query;
    int64_t number;

    cr_assert_eq(sqlite3_open_v2(place->file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &query, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(query), SQLITE_ROW);
    number = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    sqlite3_close(db);
    return number;
}
