#include "store_sweep.h"

#include "leaks.h"
#include "outsider.h"
#include "store_care.h"
#include "store_model.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/random.h>

enum { COMMITS = 30, SCENARIO_SEED = 42 };

struct world {
    const struct sweep *sweep;
    struct caller caller;
    struct outsider outsider;
    struct dice dice;
    struct model now;
    struct model_commit commit;
    struct copies copies;
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
        if (world->commit.ops[i].kind == STORE_BACKUP)
            refused |= each == PS_LIMIT_EXCEEDED || each == PS_OK;
        HOLDS(refused || each == status, "operation: %s in a commit that is %s", ps_status_name(each),
              ps_status_name(status));
    }
    world->is_unknown = status == PS_UNKNOWN;
    return status == PS_OK;
}

/* Background work that fails for good ends the store; whether it takes another commit. */
static bool check_work(enum ps_status status)
{
    HOLDS(status == PS_OK || status == PS_UNKNOWN || is_refusal(status), "work: %s", ps_status_name(status));
    return status == PS_OK;
}

/* Commits until all are done or the store takes no more. */
static void run(struct world *world, unsigned commits)
{
    bool takes = true;
    for (unsigned i = 0; takes && i < commits; i++) {
        bool held_up = outsider_visit(&world->outsider, &world->caller, &world->dice);
        model_plan(&world->now, &world->caller, &world->dice, &world->made, &world->commit);
        enum ps_status status = caller_try_commit(&world->caller, world->commit.ops, world->commit.count);
        takes = check_statuses(world, status);
        model_learn(&world->now, &world->commit);
        if (takes)
            copies_look(&world->copies, &world->caller, &world->now);
        if (held_up)
            outsider_give_way(&world->outsider, world->caller.directory);
        if (takes && world->outsider.db == NULL && dice_below(&world->dice, 4) == 0)
            takes = check_work(caller_try_work(&world->caller));
        if (takes)
            copies_look(&world->copies, &world->caller, &world->now);
        status = model_try_read(&world->now, &world->caller, &world->dice);
        HOLDS(status == PS_OK || is_refusal(status), "read: %s", ps_status_name(status));
        status = dice_below(&world->dice, 8) == 0 ? verify_try(&world->caller) : PS_OK;
        HOLDS(status == PS_OK || is_refusal(status), "check: %s", ps_status_name(status));
    }
    outsider_leave(&world->outsider);
}

/* Opens, runs and closes on a disk that may fail. */
static void live(struct world *world, unsigned commits)
{
    enum ps_status status = caller_open_in(&world->caller, world->sweep->body, world->directory);
    if (status != PS_OK) {
        HOLDS(status == PS_IO_ERROR || status == PS_ACCESS_DENIED || is_refusal(status), "open: %s",
              ps_status_name(status));
        return;
    }
    run(world, commits);
    caller_leave(&world->caller);
    world->copies.is_fetched = false;
}

static struct {
    uint64_t faults, messages, copies;
} tally;

/* The disk is well again. */
static void check(struct world *world)
{
    enum ps_status status = caller_open_in(&world->caller, world->sweep->body, world->directory);
    HOLDS(status == PS_OK, "open on a disk that is well: %s", ps_status_name(status));
    if (!model_agrees(&world->now, &world->caller)) {
        HOLDS(world->is_unknown, "what was acknowledged or refused is not so");
        model_assume(&world->now, &world->commit);
        HOLDS(model_agrees(&world->now, &world->caller), "a part of an unknown commit");
    }
    model_adopt(&world->now, &world->caller);
    model_check_file(&world->now, world->directory);
    HOLDS(!copy_is_left(world->directory), "a start leaves a copy that was under way");
    tally.copies += world->copies.count;
    copies_check(&world->copies, world->directory);
    world->is_unknown = false;
}

static bool scenario(const struct sweep *sweep, uint64_t n, bool once, bool is_later)
{
    static struct world world;
    world = (struct world){.sweep = sweep, .dice = dice_of(SCENARIO_SEED)};
    snprintf(test_note, sizeof test_note, "%s %llu, %s, %s", sweep->name, (unsigned long long)n,
             once ? "once" : "from then on", is_later ? "second life" : "first life");
    HOLDS(tmpdir_make(world.directory), "no directory");
    if (is_later)
        live(&world, COMMITS);
    sweep->arm(n, once);
    live(&world, COMMITS);
    bool came = sweep->disarm();
    check(&world);
    tally.faults += came;
    tally.messages += model_count(&world.now);
    run(&world, 5);
    caller_leave(&world.caller);
    tmpdir_remove(world.directory);
    return came;
}

static void sweep_life(const struct sweep *sweep, bool once, bool is_later)
{
    uint64_t stride = setting("SWEEP_STRIDE", sweep->stride), only = setting("SWEEP_ONLY", 0);
    uint64_t random = setting("PSBROKER_SEED", 0), tried = 0;
    if (random == 0)
        cr_assert_eq(getrandom(&random, sizeof random, 0), (ssize_t)sizeof random);
    if (only > 0) {
        scenario(sweep, only, once, is_later);
        return;
    }
    for (uint64_t n = 1 + random % stride; scenario(sweep, n, once, is_later); n += stride)
        tried++;
    cr_assert_gt(tried, 3u, "the scenario hardly uses it");
}

void sweep_run(const struct sweep *sweep, bool once)
{
    sweep_life(sweep, once, false);
    sweep_life(sweep, once, true);
    cr_assert_gt(tally.copies, 0u);
    tell_injected(tally.faults, tally.messages);
    ASSERT_NO_LEAKS();
}
