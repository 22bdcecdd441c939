/* The power fails at any write, sync or truncation of the store, also of the recovery from the last cut. What is
 * found then is what was acknowledged, or that and the whole commit that was under way: never less, never a part,
 * never other bytes.
 *
 * Some of these ends are of the process alone: all that was written is still to be seen, and lost with the next cut
 * unless the start in between made it certain.
 *
 * A round runs random operations on the file that the last cut left until its own cut is due. The image is made at
 * that moment and the run goes on to the end of the operation, so that the model knows both outcomes. The cuts are
 * the same in every run; POWER_CUTS=N makes N others, at random or from the seed PSBROKER_SEED on; a failure names
 * the seed of its chain of cuts, which PSBROKER_SEED alone repeats. */
#include "leaks.h"
#include "outsider.h"
#include "power_vfs.h"
#include "store_care.h"
#include "store_model.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/random.h>

enum { CUTS = 300, CHAIN = 10 /* cuts in a row on one file */ };

struct world {
    struct caller caller;
    struct outsider outsider;
    struct dice dice;
    struct model now, at_cut;
    struct model_commit commit;
    uint32_t made;
    uint64_t moments, due; /* operations on the disk in this round, and which one is cut */
    bool is_cut;
    bool dies, died;  /* the process alone does, or did in the round before */
    uint64_t checked; /* messages found after the last cut */
    unsigned copies;  /* under way at a cut */
    char image[TMPDIR_BYTES];
};

/* One commit, and what happens between commits. */
static void step(struct world *world)
{
    bool held_up = outsider_visit(&world->outsider, &world->caller, &world->dice);
    model_plan(&world->now, &world->caller, &world->dice, &world->made, &world->commit);
    caller_commit(&world->caller, world->commit.ops, world->commit.count);
    model_learn(&world->now, &world->commit);
    if (held_up)
        outsider_give_way(&world->outsider, world->caller.directory);
    if (!world->is_cut && world->outsider.db == NULL && dice_below(&world->dice, 4) == 0)
        caller_work(&world->caller);
}

static void moment(void *ctx)
{
    static const unsigned kept[] = {0, 0, 26, 128, 230, 256};
    struct world *world = ctx;
    if (world->is_cut || ++world->moments < world->due)
        return;
    world->is_cut = true;
    world->at_cut = world->now;
    world->copies += world->caller.state.backup.phase == STORE_BACKUP_COPYING;
    if (world->dies) {
        HOLDS(power_vfs_kill(world->image), "no image");
        return;
    }
    HOLDS(power_vfs_image(world->image, &world->dice,
                          kept[dice_below(&world->dice, sizeof kept / sizeof kept[0])]),
          "no image");
}

/* The model becomes the one of both that the store agrees with. */
static void settle(struct world *world, const struct model *without)
{
    if (model_agrees(&world->now, &world->caller))
        return;
    HOLDS(model_agrees(without, &world->caller), "neither what was acknowledged nor that and one commit");
    world->now = *without;
}

/* Goes on with what is in `directory`, removes it, and leaves the image of a cut under its name. */
static void one_cut(struct world *world, char directory[TMPDIR_BYTES])
{
    static const size_t soon[] = {8, 40, 300, 1500};
    static struct model without;
    without = world->at_cut;
    world->moments = 0;
    world->is_cut = false;
    world->died = world->dies;
    world->dies = dice_below(&world->dice, 3) == 0;
    world->due = 1 + dice_below(&world->dice, soon[dice_below(&world->dice, 4)]);
    HOLDS(tmpdir_make(world->image), "no directory");
    power_vfs_begin(directory);
    power_vfs_watch(moment, world);
    enum ps_status status = caller_open_in(&world->caller, &sqlite_small_body, directory);
    HOLDS(status == PS_OK, "open: %s", ps_status_name(status));
    HOLDS(!copy_is_left(directory) || world->is_cut, "a start leaves a copy that was under way");
    settle(world, &without);
    /* Opening changes nothing that anybody can see, but what a dead process left is not certain before its end. */
    if (world->is_cut)
        world->at_cut = world->died ? without : world->now;
    model_check_file(&world->now, directory);
    world->checked = model_count(&world->now);
    while (!world->is_cut)
        step(world);
    power_vfs_watch(NULL, NULL);
    outsider_leave(&world->outsider);
    caller_close(&world->caller);
    memcpy(directory, world->image, TMPDIR_BYTES);
}

static uint64_t messages; /* acknowledged, at the ends of chains */
static unsigned held_up;  /* checkpoints, by an outside reader */
static unsigned copies;   /* under way at a cut */

static void chain_of_cuts(uint64_t seed, unsigned cuts)
{
    static struct world world;
    char directory[TMPDIR_BYTES];
    world = (struct world){.dice = {seed * 2 + 1}};
    snprintf(test_note, sizeof test_note, "PSBROKER_SEED=%llu", (unsigned long long)seed);
    HOLDS(tmpdir_make(directory), "no directory");
    for (unsigned i = 0; i < cuts; i++)
        one_cut(&world, directory);
    power_vfs_begin(NULL);
    tmpdir_remove(directory);
    messages += world.checked;
    held_up += world.outsider.held_up;
    copies += world.copies;
}

static unsigned cuts_wanted(void)
{
    const char *cuts = getenv("POWER_CUTS");
    if (cuts == NULL && getenv("PSBROKER_SEED") != NULL)
        return CHAIN;
    return cuts != NULL ? (unsigned)strtoul(cuts, NULL, 10) : CUTS;
}

static uint64_t first_seed(void)
{
    uint64_t seed = 1;
    const char *given = getenv("PSBROKER_SEED");
    if (given != NULL)
        return strtoull(given, NULL, 0);
    if (getenv("POWER_CUTS") != NULL)
        cr_assert_eq(getrandom(&seed, 4, 0), 4);
    return seed;
}

Test(power, a_cut_at_any_moment_loses_nothing_that_was_acknowledged)
{
    unsigned chains = (cuts_wanted() + CHAIN - 1) / CHAIN;
    uint64_t seed = first_seed();
    power_vfs_install();

    for (unsigned i = 0; i < chains; i++)
        chain_of_cuts(seed + i, CHAIN);

    cr_assert(chains == 1 || held_up > 0, "no outside reader held a checkpoint up");
    cr_assert(chains == 1 || copies > 0, "no cut came while a copy was made");
    tell_injected((uint64_t)chains * CHAIN, messages);
    ASSERT_NO_LEAKS();
}
