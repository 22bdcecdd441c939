/* Every call of the store to its disk fails in turn, once and from then on: opening, migrating, appending,
 * checkpointing, filling the index, changing subscriptions, closing, recovering. The store answers with a named
 * refusal or says that it does not know; when the disk is well again it opens and holds what was acknowledged, or that
 * and the whole commit whose outcome was unknown.
 *
 * The scenario is the same for each N, so the first N that is not reached ends a sweep. FAULT_STRIDE=1 tries every N,
 * by default one in some, from a random one on; a failure names what to set to see it again. */
#include "fault_vfs.h"
#include "leaks.h"
#include "store_model.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/random.h>

enum { STRIDE = 23, COMMITS = 30, SCENARIO_SEED = 42 };

struct world {
    struct caller caller;
    struct dice dice;
    struct model now;
    struct model_commit commit;
    uint32_t made;
    char directory[TMPDIR_BYTES];
    bool is_unknown; /* the last commit */
};

static bool is_refusal(enum ps_status status)
{
    return status == PS_DISK_FULL || status == PS_STORAGE_BUSY || status == PS_STORAGE_FAILED ||
           status == PS_NO_MEMORY;
}

/* What the statuses of a commit may be; whether the store takes another one. */
static bool check_statuses(struct world *world, enum ps_status status)
{
    HOLDS(status == PS_OK || status == PS_UNKNOWN || is_refusal(status), "commit: %s",
          ps_status_name(status));
    for (size_t i = 0; i < world->commit.count; i++) {
        enum ps_status each = world->commit.ops[i].status;
        bool refused = is_refusal(each) || each == PS_NO_SUCH_TOPIC || each == PS_NO_SUCH_SUBSCRIPTION;
        HOLDS(refused || each == status, "operation: %s in a commit that is %s", ps_status_name(each),
              ps_status_name(status));
    }
    world->is_unknown = status == PS_UNKNOWN;
    return status == PS_OK;
}

/* Commits until all are done or the store takes no more. */
static void run(struct world *world, unsigned commits)
{
    bool takes = true;
    for (unsigned i = 0; takes && i < commits; i++) {
        model_plan(&world->now, &world->caller, &world->dice, &world->made, &world->commit);
        enum ps_status status = caller_try_commit(&world->caller, world->commit.ops, world->commit.count);
        takes = check_statuses(world, status);
        model_learn(&world->now, &world->commit);
        if (takes && dice_below(&world->dice, 4) == 0)
            caller_work(&world->caller);
    }
}

/* Opens, runs and closes on a disk that may fail. */
static void live(struct world *world, unsigned commits)
{
    enum ps_status status = caller_open_in(&world->caller, &sqlite_small_body, world->directory);
    if (status != PS_OK) {
        HOLDS(status == PS_IO_ERROR || status == PS_ACCESS_DENIED || is_refusal(status), "open: %s",
              ps_status_name(status));
        return;
    }
    run(world, commits);
    caller_leave(&world->caller);
}

/* The disk is well again. */
static void check(struct world *world)
{
    enum ps_status status = caller_open_in(&world->caller, &sqlite_small_body, world->directory);
    HOLDS(status == PS_OK, "open on a disk that is well: %s", ps_status_name(status));
    if (!model_agrees(&world->now, &world->caller)) {
        HOLDS(world->is_unknown, "what was acknowledged or refused is not so");
        model_assume(&world->now, &world->commit);
        HOLDS(model_agrees(&world->now, &world->caller), "a part of an unknown commit");
    }
    model_adopt(&world->now, &world->caller);
    model_check_file(&world->now, world->directory);
    world->is_unknown = false;
}

/* Two lives under the fault, the second on what the first left, then a well one. Whether the fault came. */
static bool scenario(enum fault_flavour flavour, uint64_t n, bool once, bool is_later)
{
    static struct world world;
    world = (struct world){.dice = {SCENARIO_SEED}};
    snprintf(test_note, sizeof test_note, "flavour %d, operation %llu, %s, %s", flavour,
             (unsigned long long)n, once ? "once" : "from then on", is_later ? "second life" : "first life");
    HOLDS(tmpdir_make(world.directory), "no directory");
    if (is_later) {
        live(&world, COMMITS);
        fault_vfs_sweep(flavour, n, once);
        live(&world, COMMITS);
    } else {
        fault_vfs_sweep(flavour, n, once);
        live(&world, COMMITS);
    }
    bool came = fault_vfs_has_swept();
    fault_vfs_sweep(flavour, 0, false);
    check(&world);
    run(&world, 5);
    caller_leave(&world.caller);
    tmpdir_remove(world.directory);
    return came;
}

static uint64_t stride(void)
{
    const char *given = getenv("FAULT_STRIDE");
    uint64_t stride = given != NULL ? strtoull(given, NULL, 10) : STRIDE;
    return stride > 0 ? stride : 1;
}

static void sweep(enum fault_flavour flavour, bool once, bool is_later)
{
    uint16_t random = 0;
    uint64_t step = stride(), tried = 0;
    fault_vfs_install();
    cr_assert_eq(getrandom(&random, sizeof random, 0), (ssize_t)sizeof random);
    for (uint64_t n = 1 + random % step; scenario(flavour, n, once, is_later); n += step)
        tried++;
    cr_assert_gt(tried, 3u, "the scenario hardly uses the disk");
    ASSERT_NO_LEAKS();
}

Test(fault_sweep, an_error_once)
{
    sweep(FAULT_IO_ERROR, true, false);
    sweep(FAULT_IO_ERROR, true, true);
}

Test(fault_sweep, errors_from_one_on)
{
    sweep(FAULT_IO_ERROR, false, false);
    sweep(FAULT_IO_ERROR, false, true);
}

Test(fault_sweep, a_full_disk_once)
{
    sweep(FAULT_FULL, true, false);
    sweep(FAULT_FULL, true, true);
}

Test(fault_sweep, a_full_disk_from_one_write_on)
{
    sweep(FAULT_FULL, false, false);
    sweep(FAULT_FULL, false, true);
}

Test(fault_sweep, a_short_write_once)
{
    sweep(FAULT_SHORT_WRITE, true, false);
    sweep(FAULT_SHORT_WRITE, true, true);
}
