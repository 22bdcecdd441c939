/* The core over the real store, killed at random places: what a start loads fits to what is appended behind it.
 *
 * A kill is a copy of the database and its WAL, made between two commits by another process (a descriptor of the file
 * that this one closed would drop SQLite's locks). Epochs, slices and steps are small, so kills fall before, inside
 * and behind the flush of an epoch; topics are deleted and made again; several commits are under way while the index
 * moves. */
#include "dice.h"
#include "leaks.h"
#include "store_sqlite.h"
#include "tmpdir.h"
#include "world.h"

#include "broker_state.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { RUNS = 4, KILLS = 12, STEPS = 60, TOPICS = 5, EPOCH_ROWS = 40 };

struct place {
    char directory[TMPDIR_BYTES];
    struct dice dice;
    uint64_t heads[TOPICS];
    struct world *world;
    struct client *publisher;
    unsigned unlisted; /* kills that left runs of an epoch that was not listed */
};

static const char *const names[TOPICS] = {"A", "B", "c/0", "c/1", "c/2"};

static struct store *open_store(const char *directory, struct store_opened *opened)
{
    struct store *store;
    char error[256] = "";
    struct store_sqlite_config config = {.directory = directory,
                                         .epoch_rows = EPOCH_ROWS,
                                         .slice_runs = 1,
                                         .idle_slice_runs = 3,
                                         .checkpoint_bytes = 64 * 1024,
                                         .sweep_rows = 8};
    enum ps_status status = store_sqlite_open(&config, &store, opened, error, sizeof error);
    cr_assert_eq(status, PS_OK, "%s: %s", ps_status_name(status), error);
    return store;
}

/* Recent runs go on without a hole to the head, and lie between the index and the mark. */
static void check_topic(const struct world *world, const struct topic *topic)
{
    const struct store_run *run = runs_first(&topic->runs);
    cr_assert_leq(topic->first, topic->head);
    cr_assert_lt(topic->last_seq, world->broker->state.mark);
    cr_assert_eq(topic->pending, 0u);
    if (topic->runs.count == 0) {
        cr_assert(topic->last_seq <= world->broker->state.indexed_through || topic->first == topic->head);
        return;
    }
    for (uint32_t i = 0; i < topic->runs.count; i++) {
        cr_assert_gt(run[i].count, 0u);
        cr_assert_gt(run[i].first_seq, world->broker->state.indexed_through);
        if (i == 0)
            continue;
        cr_assert_eq(run[i].first_offset, run[i - 1].first_offset + run[i - 1].count);
        cr_assert_geq(run[i].first_seq, run[i - 1].first_seq + run[i - 1].count);
    }
    run += topic->runs.count - 1;
    cr_assert_eq(run->first_offset + run->count, topic->head);
    cr_assert_eq(run->first_seq + run->count - 1, topic->last_seq);
}

static void check(const struct place *place)
{
    for (size_t i = 0; i < TOPICS; i++) {
        const struct topic *topic = topics_find(&place->world->broker->topics, span_of(names[i]));
        if (topic != NULL && topic->listed)
            check_topic(place->world, topic);
    }
}

/* Everything that is kept is delivered in order, from history. */
static void read_all(struct place *place)
{
    for (size_t i = 0; i < TOPICS; i++) {
        const struct topic *topic = topics_find(&place->world->broker->topics, span_of(names[i]));
        if (topic == NULL || !topic->listed || topic->first == topic->head)
            continue;
        uint64_t first = topic->first, head = topic->head;
        struct client *reader = world_connect(place->world, 1, SESSION_ANY, NULL);
        subscribe(reader, names[i], NULL, START_BEGINNING, 0);
        expect_offsets(reader, names[i], first, head);
        client_disconnect(reader);
    }
}

static void send_some(struct place *place)
{
    struct message messages[4] = {{.payload = span_of("0")},
                                  {.payload = span_of("1")},
                                  {.payload = span_of("2")},
                                  {.payload = span_of("3")}};
    struct publish_group groups[3];
    uint32_t count = 1 + (uint32_t)dice_below(&place->dice, 3), total = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = 1 + (uint32_t)dice_below(&place->dice, 4);
        groups[i] = (struct publish_group){span_of(names[dice_below(&place->dice, TOPICS)]), messages, size};
        total += size;
    }
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {groups, count, total, false}};
    client_request(place->publisher, &frame);
}

static void step(struct place *place)
{
    struct world *world = place->world;
    struct client_frame deletion = {.kind = CLIENT_DELETE_TOPIC,
                                    .delete_topic = span_of(names[dice_below(&place->dice, TOPICS)])};
    switch (dice_below(&place->dice, 12)) {
    case 0:
        client_request(place->publisher, &deletion);
        break;
    case 1:
        cr_assert_eq(store_work(world->store, &(bool){false}, &world->state), PS_OK);
        break;
    case 2:
    case 3:
    case 4:
        world_commit(world, dice_below(&place->dice, 6));
        break;
    default:
        send_some(place);
    }
    while (client_next(place->publisher) != NULL)
        continue;
}

static void copy_database(const struct place *place, const char *to)
{
    char command[4 * TMPDIR_BYTES];
    snprintf(command, sizeof command, "cp %s/psbroker.db %s/psbroker.db-wal %s", place->directory,
             place->directory, to);
    cr_assert_eq(system(command), 0);
}

static void remember_heads(struct place *place)
{
    for (size_t i = 0; i < TOPICS; i++) {
        const struct topic *topic = topics_find(&place->world->broker->topics, span_of(names[i]));
        if (topic != NULL && topic->listed)
            place->heads[i] = topic->head;
    }
}

static void kill_and_start(struct place *place)
{
    char survivor[TMPDIR_BYTES];
    struct store_opened opened;
    uint64_t mark = place->world->broker->state.mark;
    cr_assert(tmpdir_make(survivor));
    copy_database(place, survivor);
    remember_heads(place);
    struct store *store = open_store(survivor, &opened);
    cr_assert_eq(opened.state.mark, mark, "mark %llu, not %llu", (unsigned long long)opened.state.mark,
                 (unsigned long long)mark);
    place->unlisted += opened.state.indexed_through + 1 < mark;
    world_move(place->world, store, &opened);
    tmpdir_remove(place->directory);
    memcpy(place->directory, survivor, sizeof survivor);
    for (size_t i = 0; i < TOPICS; i++) {
        const struct topic *topic = topics_find(&place->world->broker->topics, span_of(names[i]));
        if (topic != NULL)
            cr_assert_eq(topic->head, place->heads[i]);
    }
    place->publisher = world_connect(place->world, 0, SESSION_ANY, NULL);
}

static void run(uint64_t seed)
{
    struct place place = {.dice = dice_of(seed)};
    struct store_opened opened;
    cr_assert(tmpdir_make(place.directory));
    struct store *store = open_store(place.directory, &opened);
    place.world = world_new_on(NULL, store, &opened);
    place.publisher = world_connect(place.world, 0, SESSION_ANY, NULL);
    for (unsigned kill = 0; kill < KILLS; kill++) {
        for (unsigned i = 0; i < STEPS; i++)
            step(&place);
        kill_and_start(&place);
        check(&place);
        if (kill % 3 == 0)
            read_all(&place);
        send_some(&place);
        world_settle(place.world);
        check(&place);
    }
    read_all(&place);
    cr_assert_gt(place.unlisted, 0u);
    world_free(place.world);
    tmpdir_remove(place.directory);
}

Test(recovery, a_start_after_a_kill_loads_runs_that_appends_go_on_from)
{
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed);
    ASSERT_NO_LEAKS();
}
