/* What a start costs and promises after a kill: a bounded number of rows is read, and no seq, topic id or offset that
 * was given out is given again. The store runs in a process of its own, which ends without closing anything. */
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void killed_after(struct sqlite_case *place, void (*work)(struct sqlite_case *place, unsigned amount),
                         unsigned amount)
{
    int status = -1;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        if (sqlite_case_try_open(place) == PS_OK)
            work(place, amount);
        _exit(place->store == NULL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --------------------------------------------------------------------------------------------------- floors */

struct ends {
    uint64_t mark, topic_id, offset;
};

/* What the next append to the topic gets. */
static struct ends next_of(struct sqlite_case *place, const char *topic)
{
    struct message message = {.payload = span_of("x")};
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of(topic), .messages = &message, .count = 1}};
    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
    return (struct ends){op.append.first_seq, op.append.topic_id, op.append.first_offset};
}

static void delete_topic(struct sqlite_case *place, const char *topic)
{
    struct store_op op = {.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of(topic)}};
    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
}

enum { STEPS_A_PHASE = 6 };

/* Phases, a commit each: an open epoch, a full one on its way into the index, a deletion that is being swept, an epoch
 * whose rows are all gone. `amount` of them are made. */
static void phases(struct sqlite_case *place, unsigned amount)
{
    for (unsigned step = 0; step < amount; step++) {
        unsigned phase = step / STEPS_A_PHASE;
        char name[32];
        if (phase == 0) {
            snprintf(name, sizeof name, "t/%u", step);
            sqlite_case_publish(place, name, 1);
        } else if (phase == 1) {
            for (int i = 0; i < 15; i++) {
                snprintf(name, sizeof name, "t/%u/%d", step, i);
                sqlite_case_publish(place, name, 1);
            }
        } else if (phase == 2) {
            sqlite_case_step(place);
        } else if (phase == 3) {
            snprintf(name, sizeof name, "t/%u", step - 3 * STEPS_A_PHASE);
            delete_topic(place, name);
            sqlite_case_publish(place, "kept", 3);
        } else {
            if (step % STEPS_A_PHASE == 0)
                delete_topic(place, "kept");
            sqlite_case_step(place);
        }
    }
}

static void make_small(struct sqlite_case *place)
{
    sqlite_case_init(place);
    place->config.epoch_rows = 40;
    place->config.slice_runs = 3;
    place->config.idle_slice_runs = 5;
    place->config.sweep_rows = 2;
}

enum { ASKED = 3 };
static const char *const asked[ASKED] = {"t/0", "kept", "new"};

static void ask(struct sqlite_case *place, struct ends ends[ASKED])
{
    for (int i = 0; i < ASKED; i++)
        ends[i] = next_of(place, asked[i]);
}

/* What comes next when nobody is killed. */
static void without_a_kill(unsigned amount, struct ends ends[ASKED])
{
    struct sqlite_case place;
    make_small(&place);
    sqlite_case_open(&place);
    phases(&place, amount);
    ask(&place, ends);
    sqlite_case_deinit(&place);
}

/* Wherever an epoch is listed a floor stands above it, and nowhere above what was given out. */
static void check_floors(const struct sqlite_case *place, uint64_t next_seq)
{
    int64_t floor =
        sqlite_case_number(place, "SELECT coalesce(max(value), 1) FROM settings WHERE name = 'next_seq'");
    cr_assert_gt(floor, sqlite_case_number(place, "SELECT coalesce(max(last_seq), 0) FROM epochs"));
    cr_assert_leq(floor, (int64_t)next_seq);
    cr_assert_leq(sqlite_case_number(place, "SELECT coalesce(max(value), 0) FROM settings WHERE name = "
                                            "'last_published_at'"),
                  sqlite_case_number(place, "SELECT max(published_at) FROM messages"));
}

Test(sqlite_recovery, nothing_is_given_twice_after_a_kill_in_any_phase)
{
    for (unsigned amount = 1; amount <= 5 * STEPS_A_PHASE; amount++) {
        struct sqlite_case place;
        struct ends wanted[ASKED];
        struct ends got[ASKED];
        without_a_kill(amount, wanted);
        make_small(&place);
        killed_after(&place, phases, amount);

        sqlite_case_open(&place);
        cr_assert_eq(place.opened.state.mark, wanted[0].mark, "after %u", amount);
        ask(&place, got);
        for (int i = 0; i < ASKED; i++) {
            cr_assert_eq(got[i].mark, wanted[i].mark, "after %u: %s", amount, asked[i]);
            cr_assert_eq(got[i].topic_id, wanted[i].topic_id, "after %u: %s", amount, asked[i]);
            cr_assert_eq(got[i].offset, wanted[i].offset, "after %u: %s", amount, asked[i]);
        }
        check_floors(&place, got[ASKED - 1].mark + 1);
        sqlite_case_deinit(&place);
    }
    ASSERT_NO_LEAKS();
}

/* ---------------------------------------------------------------------------------------------------- cost */

enum { EPOCH = 65536, BATCH = 4000, MOST_PAGES = 1500 };

static void publish_batches(struct sqlite_case *place, unsigned amount)
{
    static struct message messages[BATCH];
    char topic[32];
    for (unsigned batch = 0; batch < amount; batch++) {
        snprintf(topic, sizeof topic, "topic/%u", batch % 50);
        for (size_t i = 0; i < BATCH; i++)
            messages[i] = (struct message){.payload = span_of("twenty bytes or so..")};
        struct store_op op = {.kind = STORE_APPEND,
                              .append = {.topic = span_of(topic), .messages = messages, .count = BATCH}};
        cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
        cr_assert_eq(op.status, PS_OK);
    }
}

struct cost {
    unsigned long long rows, pages;
};

static struct cost cost_of_start(unsigned batches)
{
    struct sqlite_case place;
    struct cost cost = {0};
    unsigned long long milliseconds;
    sqlite_case_init(&place);
    killed_after(&place, publish_batches, batches);
    sqlite_case_open(&place);
    const char *line = strstr(place.logged, "event=recovered");
    cr_assert_not_null(line, "%s", place.logged);
    cr_assert_eq(sscanf(line, "event=recovered rows=%llu pages=%llu milliseconds=%llu", &cost.rows,
                        &cost.pages, &milliseconds),
                 3);
    cr_log_info("%u rows killed: %llu rows, %llu pages read in %llu ms", batches * BATCH, cost.rows,
                cost.pages, milliseconds);
    cr_assert_eq(sqlite_case_number(&place, "SELECT max(seq) FROM messages"), (int64_t)batches * BATCH);
    sqlite_case_deinit(&place);
    return cost;
}

Test(sqlite_recovery_cost, a_start_reads_a_bounded_number_of_rows_and_pages)
{
    struct cost small = cost_of_start(50);
    struct cost large = cost_of_start(500);

    cr_assert_lt(small.rows, 3u * EPOCH + BATCH);
    cr_assert_lt(large.rows, 3u * EPOCH + BATCH);
    cr_assert_lt(large.pages, (unsigned)MOST_PAGES);
    ASSERT_NO_LEAKS();
}
