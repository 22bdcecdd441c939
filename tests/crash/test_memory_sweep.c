/* Every allocation of the store, and of SQLite on its behalf, fails in turn. The store under test is wrapped: memory
 * fails only inside of its own calls, and not in what they call back. */
#include "caller.h"
#include "check.h"
#include "dice.h"
#include "failing_memory.h"
#include "leaks.h"
#include "store_sweep.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------ a wrapped store */

struct wrapped {
    struct store base;
    struct store *real;
};
struct wrapped_reader {
    struct store_reader base;
    struct store_reader *real;
};

static struct store *real(struct store *store)
{
    return ((struct wrapped *)store)->real;
}
static struct store_reader *real_reader(struct store_reader *reader)
{
    return ((struct wrapped_reader *)reader)->real;
}

static enum ps_status wrapped_commit(struct store *store, struct store_op **ops, size_t count,
                                     struct store_state *state)
{
    memory_resume();
    enum ps_status status = store_commit(real(store), ops, count, state);
    memory_pause();
    return status;
}

static enum ps_status wrapped_work(struct store *store, bool *more, struct store_state *state)
{
    memory_resume();
    enum ps_status status = store_work(real(store), more, state);
    memory_pause();
    return status;
}

static void wrapped_load(struct store *store, store_topic_fn *show, void *ctx)
{
    store_load(real(store), show, ctx);
}

static enum ps_status wrapped_read(struct store_reader *reader, struct store_read *read)
{
    memory_resume();
    enum ps_status status = store_read(real_reader(reader), read);
    memory_pause();
    return status;
}

static enum ps_status wrapped_resolve(struct store_reader *reader, struct store_resolve *resolve)
{
    memory_resume();
    enum ps_status status = store_resolve(real_reader(reader), resolve);
    memory_pause();
    return status;
}

static enum ps_status wrapped_list(struct store_reader *reader, struct store_list *list)
{
    memory_resume();
    enum ps_status status = store_list(real_reader(reader), list);
    memory_pause();
    return status;
}

static enum ps_status wrapped_verify(struct store_reader *reader, struct store_verify *verify)
{
    memory_resume();
    enum ps_status status = store_verify(real_reader(reader), verify);
    memory_pause();
    return status;
}

static enum ps_status wrapped_read_backup(struct store_reader *reader, struct store_backup_read *read)
{
    memory_resume();
    enum ps_status status = store_read_backup(real_reader(reader), read);
    memory_pause();
    return status;
}

static void wrapped_reader_free(struct store_reader *reader)
{
    store_reader_free(real_reader(reader));
    free(reader);
}

static enum ps_status wrapped_reader_new(struct store *store, struct store_reader **reader);

static enum ps_status wrapped_close(struct store *store)
{
    memory_resume();
    enum ps_status status = store_close(real(store));
    memory_pause();
    free(store);
    return status;
}

static const struct store_vtable vtable = {.commit = wrapped_commit,
                                           .work = wrapped_work,
                                           .load = wrapped_load,
                                           .reader_new = wrapped_reader_new,
                                           .reader_free = wrapped_reader_free,
                                           .read = wrapped_read,
                                           .resolve = wrapped_resolve,
                                           .list = wrapped_list,
                                           .verify = wrapped_verify,
                                           .read_backup = wrapped_read_backup,
                                           .close = wrapped_close};

static enum ps_status wrapped_reader_new(struct store *store, struct store_reader **reader)
{
    struct wrapped_reader *made = calloc(1, sizeof *made);
    made->base.vtable = &vtable;
    memory_resume();
    enum ps_status status = store_reader_new(real(store), &made->real);
    memory_pause();
    if (status != PS_OK)
        free(made);
    else
        *reader = &made->base;
    return status;
}

static enum ps_status wrapped_open(const char *directory, const struct store_limits *limits,
                                   struct store **store, struct store_opened *opened)
{
    struct wrapped *made = calloc(1, sizeof *made);
    made->base.vtable = &vtable;
    memory_resume();
    enum ps_status status = sqlite_small_body.open(directory, limits, &made->real, opened);
    memory_pause();
    if (status != PS_OK)
        free(made);
    else
        *store = &made->base;
    return status;
}

/* ----------------------------------------------------------------------------------------- SQLite's memory */

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return memory_is_to_fail() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *place, int size)
{
    return memory_is_to_fail() ? NULL : sqlite_memory.xRealloc(place, size);
}

static void watch_sqlite(void)
{
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    sqlite3_mem_methods ours = sqlite_memory;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours), SQLITE_OK);
}

/* --------------------------------------------------------------------------------------------------- sweeps */

static void arm(uint64_t n, bool once)
{
    if (once)
        memory_fails_after((size_t)n - 1);
    else
        memory_fails_from((size_t)n - 1);
    memory_pause();
}

static void sweep(bool once)
{
    static const struct body body = {.name = "wrapped", .open = wrapped_open, .persistent = true};
    struct sweep sweep = {
        .name = "allocation", .body = &body, .stride = 331, .arm = arm, .disarm = memory_failed};
    watch_sqlite();
    sweep_run(&sweep, once);
}

/* The first commit prepares what later ones use, a savepoint's end too: all of it is there, or nothing. */
static bool first_commit(size_t n)
{
    static const struct body body = {.name = "wrapped", .open = wrapped_open, .persistent = true};
    struct caller caller = {0};
    struct message messages[3] = {
        {.payload = span_of("0")}, {.payload = span_of("1")}, {.payload = span_of("2")}};
    struct store_op op = append_op("A", messages, 3);
    char directory[TMPDIR_BYTES];
    snprintf(test_note, sizeof test_note, "allocation %zu", n);
    HOLDS(tmpdir_make(directory), "no directory");
    HOLDS(caller_open_in(&caller, &body, directory) == PS_OK, "not opened");

    arm(n, true);
    enum ps_status status = caller_try_commit(&caller, &op, 1);
    bool came = memory_failed();
    HOLDS(status == PS_OK && (op.status == PS_OK || op.status == PS_NO_MEMORY), "commit %s, operation %s",
          ps_status_name(status), ps_status_name(op.status));
    uint64_t accepted = op.status == PS_OK ? op.append.accepted : 0;
    HOLDS(caller_publish(&caller, "A", "next") == accepted, "another offset");

    caller_reopen(&caller);
    struct shown shown = {0};
    caller_read(&caller, "A", 0, accepted + 1, &shown);
    HOLDS(shown.count == accepted + 1, "%zu messages", shown.count);
    HOLDS(caller_find(&caller, "A")->next_offset == accepted + 1, "another end");
    shown_clear(&shown);
    caller_leave(&caller);
    tmpdir_remove(directory);
    return came;
}

Test(memory_sweep, any_allocation_of_a_first_commit_fails)
{
    size_t n = 1;
    watch_sqlite();
    while (first_commit(n))
        n++;
    cr_assert_gt(n, 100u);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------ a check of a file */

static bool find_nothing(void *ctx, const struct store_problem *problem)
{
    (void)ctx;
    cr_assert_fail("%s: %.*s", test_note, (int)problem->text.size, (const char *)problem->text.data);
    return false;
}

enum { CHECK_STRIDE = 41 };

/* A sound log is checked as a whole, or the check says that it had no memory; never that the log is damaged. */
static bool check_fails(const char *path, size_t n, bool once)
{
    struct store_check check = {.path = path, .show = find_nothing};
    char error[512];
    snprintf(test_note, sizeof test_note, "allocation %zu%s", n, once ? "" : " and all behind it");

    arm(n, once);
    memory_resume();
    enum ps_status status = store_sqlite_check(&check, error, sizeof error);
    bool came = memory_failed();
    HOLDS(status == PS_NO_MEMORY || (status == PS_OK && check.mark == 4), "%s: %s", ps_status_name(status),
          error);
    HOLDS(came || status == PS_OK, "%s: %s", ps_status_name(status), error);
    return came;
}

Test(memory_sweep, any_allocation_of_a_check_fails)
{
    struct caller caller = {0};
    char directory[TMPDIR_BYTES], path[TMPDIR_BYTES + 16];
    watch_sqlite();
    cr_assert(tmpdir_make(directory));
    cr_assert_eq(caller_open_in(&caller, &sqlite_small_body, directory), PS_OK);
    for (int i = 0; i < 3; i++)
        caller_publish(&caller, i == 1 ? "B" : "A", "payload");
    caller_leave(&caller);

    snprintf(path, sizeof path, "%s/psbroker.db", directory);
    const char *given = getenv("SWEEP_STRIDE");
    size_t stride = given != NULL ? strtoul(given, NULL, 10) : CHECK_STRIDE;
    struct dice dice = dice_of(1);
    for (int once = 0; once <= 1; once++) {
        size_t n = 1 + dice_below(&dice, stride);
        for (; check_fails(path, n, once); n += stride)
            ;
        cr_assert_gt(n, 1000u);
    }
    tmpdir_remove(directory);
    ASSERT_NO_LEAKS();
}

/* ---------------------------------------------------------------------------------------------- all of a life */

Test(memory_sweep, an_allocation_fails_once)
{
    sweep(true);
}

Test(memory_sweep, memory_runs_out_for_good)
{
    sweep(false);
}
