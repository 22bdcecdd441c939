/* The power fails at any write, sync or truncation of the store, also of the recovery from the last cut. What is found
 * then is what was acknowledged, or that and the whole commit that was under way: never less, never a part, never other
 * bytes.
 *
 * A round runs random operations on the file that the last cut left until its own cut is due. The image is made at that
 * moment and the run goes on to the end of the operation, so that the model knows both outcomes. POWER_CUTS=N makes N
 * cuts; a failure names the seed of its chain of cuts, to be given as PSBROKER_SEED. */
#include "caller.h"
#include "leaks.h"
#include "power_vfs.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/random.h>

enum {
    CUTS = 300,
    CHAIN = 10, /* cuts in a row on one file */
    TOPICS = 5,
    SUBSCRIPTIONS = 3,
    MOST_OPS = 4,
    MOST_MESSAGES = 40,
    MOST_BYTES = 60000,
    MOST_KEPT = 20000
};

static const char *const topic_names[TOPICS] = {"A", "B", "a/b", "007", "\xc3\xa4"};
static const char *const ids[SUBSCRIPTIONS] = {"s", "t", "u"};

struct model_topic {
    bool live;
    uint64_t first, next;
    uint32_t numbers[MOST_KEPT]; /* of which each message was made, by offset */
};
struct model_subscription {
    bool exists;
    uint64_t id, generation;
    uint64_t committed[TOPICS]; /* 0: nothing to compare */
};
struct model {
    struct model_topic topics[TOPICS];
    struct model_subscription subscriptions[SUBSCRIPTIONS];
};

struct world {
    struct caller caller;
    struct dice dice;
    struct model now, at_cut;
    uint32_t numbers;
    uint64_t moments, due; /* operations on the disk in this round, and which one is cut */
    bool is_cut;
    char image[TMPDIR_BYTES];
};

/* ----------------------------------------------------------------------------------------------- messages */

static uint8_t filler[MOST_BYTES + 256];

/* Size and bytes follow from the number; now and then several pages. */
static struct span payload_of(uint32_t number)
{
    struct dice dice = {number};
    size_t size = 4 + dice_below(&dice, 100);
    if (dice_below(&dice, 40) == 0)
        size = 4 + dice_below(&dice, MOST_BYTES - 4);
    return (struct span){filler + number % 251, size};
}

static bool is_made_of(struct span payload, uint32_t number)
{
    return span_equal(payload, payload_of(number));
}

/* ---------------------------------------------------------------------------------------------- operations */

struct planned {
    struct store_op *op;
    size_t topic, subscription;
    uint32_t first_number;
    struct message messages[MOST_MESSAGES];
    struct store_offset offset;
};

static void plan_append(struct world *world, struct planned *planned)
{
    uint32_t count = 1 + (uint32_t)dice_below(&world->dice, MOST_MESSAGES);
    planned->first_number = world->numbers;
    for (uint32_t i = 0; i < count; i++)
        planned->messages[i] = (struct message){.payload = payload_of(world->numbers++)};
    *planned->op = append_op(topic_names[planned->topic], planned->messages, count);
}

static void plan_offset(struct world *world, struct planned *planned)
{
    const struct model_topic *topic = &world->now.topics[planned->topic];
    const struct known_topic *known = caller_find(&world->caller, topic_names[planned->topic]);
    const struct model_subscription *subscription = &world->now.subscriptions[planned->subscription];
    if (!topic->live || !subscription->exists || known == NULL) {
        *planned->op = attach_op(ids[planned->subscription], "#", START_BEGINNING, 0);
        return;
    }
    planned->offset = (struct store_offset){.subscription_id = subscription->id,
                                            .topic_id = known->id,
                                            .next_offset = 1 + dice_below(&world->dice, topic->next)};
    *planned->op = offsets_op(&planned->offset, 1);
}

static void plan(struct world *world, struct planned *planned)
{
    planned->topic = dice_below(&world->dice, TOPICS);
    planned->subscription = dice_below(&world->dice, SUBSCRIPTIONS);
    switch (dice_below(&world->dice, 24)) {
    case 0:
        *planned->op = delete_op(topic_names[planned->topic]);
        break;
    case 1:
        *planned->op = forget_op(ids[planned->subscription], "#");
        break;
    case 2:
    case 3:
        *planned->op = attach_op(ids[planned->subscription], "#", START_BEGINNING, 0);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        plan_offset(world, planned);
        break;
    default:
        plan_append(world, planned);
    }
}

static void learn_append(struct model_topic *topic, const struct planned *planned)
{
    const struct store_append *append = &planned->op->append;
    HOLDS(append->accepted == append->count, "%u of %u were accepted", append->accepted, append->count);
    HOLDS(append->first_offset == topic->next, "offset %llu instead of %llu",
          (unsigned long long)append->first_offset, (unsigned long long)topic->next);
    HOLDS(topic->next + append->count <= MOST_KEPT, "too many messages for the model");
    topic->live = true;
    for (uint32_t i = 0; i < append->count; i++)
        topic->numbers[topic->next++] = planned->first_number + i;
}

static void learn_delete(struct model *model, size_t number)
{
    struct model_topic *topic = &model->topics[number];
    topic->live = false;
    topic->first = topic->next;
    for (size_t i = 0; i < SUBSCRIPTIONS; i++)
        model->subscriptions[i].committed[number] = 0;
}

static void learn(struct model *model, const struct planned *planned)
{
    struct model_subscription *subscription = &model->subscriptions[planned->subscription];
    uint64_t *committed = &subscription->committed[planned->topic];
    if (planned->op->status != PS_OK)
        return;
    switch (planned->op->kind) {
    case STORE_APPEND:
        learn_append(&model->topics[planned->topic], planned);
        break;
    case STORE_DELETE_TOPIC:
        learn_delete(model, planned->topic);
        break;
    case STORE_FORGET:
        *subscription = (struct model_subscription){0};
        break;
    case STORE_ATTACH:
        subscription->exists = true;
        subscription->id = planned->op->attach.subscription_id;
        subscription->generation = planned->op->attach.generation;
        break;
    case STORE_OFFSETS:
        if (planned->offset.subscription_id == subscription->id && planned->offset.next_offset > *committed)
            *committed = planned->offset.next_offset;
        break;
    case STORE_SEEK:
        break;
    }
}

/* One commit, and what happens between commits. */
static void step(struct world *world)
{
    static struct planned planned[MOST_OPS];
    struct store_op ops[MOST_OPS];
    size_t count = 1 + dice_below(&world->dice, MOST_OPS);
    for (size_t i = 0; i < count; i++) {
        planned[i].op = &ops[i];
        plan(world, &planned[i]);
    }
    caller_commit(&world->caller, ops, count);
    for (size_t i = 0; i < count; i++)
        learn(&world->now, &planned[i]);
    if (!world->is_cut && dice_below(&world->dice, 4) == 0)
        caller_work(&world->caller);
}

/* ------------------------------------------------------------------------------------------------- checks */

static bool same_messages(struct caller *caller, const struct model_topic *topic, const char *name)
{
    struct shown shown = {0};
    caller_read(caller, name, topic->first, topic->next, &shown);
    bool same = shown.count == topic->next - topic->first;
    for (size_t i = 0; same && i < shown.count; i++)
        same = shown.messages[i].offset == topic->first + i &&
               is_made_of(shown.messages[i].payload, topic->numbers[topic->first + i]);
    shown_clear(&shown);
    return same;
}

static bool same_topic(struct caller *caller, const struct model_topic *topic, const char *name)
{
    const struct known_topic *known = caller_find(caller, name);
    if (known == NULL || !topic->live)
        return known == NULL && !topic->live;
    return known->first_offset == topic->first && known->next_offset == topic->next &&
           same_messages(caller, topic, name);
}

static bool find_listed(void *ctx, const struct store_subscription *subscription)
{
    struct model_subscription *found = ctx;
    *found = (struct model_subscription){
        .exists = true, .id = subscription->subscription_id, .generation = subscription->generation};
    return false;
}

static bool same_subscription(struct caller *caller, const struct model *model, size_t number)
{
    const struct model_subscription *expected = &model->subscriptions[number];
    struct model_subscription found = {0};
    struct store_list list = {.id = span_of(ids[number]), .limit = 1, .show = find_listed, .ctx = &found};
    HOLDS(store_list(caller->reader, &list) == PS_OK, "listing failed");
    if (found.exists != expected->exists || found.id != expected->id ||
        found.generation != expected->generation)
        return false;
    for (size_t i = 0; i < TOPICS; i++) {
        if (!expected->exists || !model->topics[i].live || expected->committed[i] == 0)
            continue;
        struct start_rule rule = {.kind = START_BEGINNING};
        if (caller_resolve(caller, found.id, rule, 0, topic_names[i], NULL) !=
            (expected->committed[i] > model->topics[i].first ? expected->committed[i]
                                                             : model->topics[i].first))
            return false;
    }
    return true;
}

static bool same(struct caller *caller, const struct model *model)
{
    for (size_t i = 0; i < TOPICS; i++) {
        if (!same_topic(caller, &model->topics[i], topic_names[i]))
            return false;
    }
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        if (!same_subscription(caller, model, i))
            return false;
    }
    return true;
}

/* What SQLite says of its own file, and that people see the same messages. */
static void check_outside(const struct world *world)
{
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *check;
    int64_t expected = 0;
    for (size_t i = 0; i < TOPICS; i++)
        expected +=
            world->now.topics[i].live ? (int64_t)(world->now.topics[i].next - world->now.topics[i].first) : 0;
    snprintf(path, sizeof path, "%s/psbroker.db", world->caller.directory);
    HOLDS(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, "not opened");
    HOLDS(sqlite3_prepare_v2(db, "SELECT (SELECT quick_check FROM pragma_quick_check), count(*) FROM history",
                             -1, &check, NULL) == SQLITE_OK &&
              sqlite3_step(check) == SQLITE_ROW,
          "%s", sqlite3_errmsg(db));
    HOLDS(strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0, "%s",
          (const char *)sqlite3_column_text(check, 0));
    HOLDS(sqlite3_column_int64(check, 1) == expected, "%lld rows in history instead of %lld",
          (long long)sqlite3_column_int64(check, 1), (long long)expected);
    sqlite3_finalize(check);
    sqlite3_close(db);
}

/* -------------------------------------------------------------------------------------------------- rounds */

static void moment(void *ctx)
{
    static const unsigned kept[] = {0, 0, 26, 128, 230, 256};
    struct world *world = ctx;
    if (world->is_cut || ++world->moments < world->due)
        return;
    world->is_cut = true;
    world->at_cut = world->now;
    HOLDS(power_vfs_image(world->image, &world->dice,
                          kept[dice_below(&world->dice, sizeof kept / sizeof kept[0])]),
          "no image");
}

/* The model becomes the one of both that the store agrees with. */
static void settle(struct world *world, const struct model *without)
{
    if (same(&world->caller, &world->now))
        return;
    HOLDS(same(&world->caller, without), "neither what was acknowledged nor that and one commit");
    world->now = *without;
}

/* Goes on with what is in `directory`, removes it, and leaves the image of a cut under its name. */
static void one_cut(struct world *world, char directory[TMPDIR_BYTES])
{
    static const size_t soon[] = {8, 40, 300, 1500};
    static struct model without;
    char path[TMPDIR_BYTES + 16];
    without = world->at_cut;
    world->moments = 0;
    world->is_cut = false;
    world->due = 1 + dice_below(&world->dice, soon[dice_below(&world->dice, 4)]);
    HOLDS(tmpdir_make(world->image), "no directory");
    snprintf(path, sizeof path, "%s/psbroker.db", directory);
    power_vfs_begin(path);
    power_vfs_watch(moment, world);
    caller_open_in(&world->caller, &sqlite_small_body, directory);
    settle(world, &without);
    if (world->is_cut)
        world->at_cut = world->now; /* opening changes nothing that anybody can see */
    check_outside(world);
    while (!world->is_cut)
        step(world);
    power_vfs_watch(NULL, NULL);
    caller_close(&world->caller);
    memcpy(directory, world->image, TMPDIR_BYTES);
}

static void chain_of_cuts(uint64_t seed, unsigned cuts)
{
    static struct world world;
    char directory[TMPDIR_BYTES];
    world = (struct world){.dice = dice_of(seed)};
    snprintf(test_note, sizeof test_note, "PSBROKER_SEED=%llu", (unsigned long long)seed);
    HOLDS(tmpdir_make(directory), "no directory");
    for (unsigned i = 0; i < cuts; i++)
        one_cut(&world, directory);
    tmpdir_remove(directory);
}

static unsigned cuts_wanted(void)
{
    const char *given = getenv("POWER_CUTS");
    return given != NULL ? (unsigned)strtoul(given, NULL, 10) : CUTS;
}

Test(power, a_cut_at_any_moment_loses_nothing_that_was_acknowledged)
{
    uint64_t seed = 0;
    const char *given = getenv("PSBROKER_SEED");
    cr_assert_eq(getrandom(&seed, 4, 0), 4);
    power_vfs_install();
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (uint8_t)(i * 131 + i / 251);

    unsigned chains = given != NULL ? 1 : (cuts_wanted() + CHAIN - 1) / CHAIN;
    for (unsigned i = 0; i < chains; i++)
        chain_of_cuts(given != NULL ? strtoull(given, NULL, 0) : seed + i, CHAIN);

    power_vfs_begin(NULL);
    ASSERT_NO_LEAKS();
}
