/* The clock of the wall jumps a day either way and stands still under each store: stamps never fall, and nothing else
 * is different from the same life under a clock that goes as it should. */
#include "caller.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STEPS = 60, EACH = 7 };

static const int64_t day = 86400;

static enum { CLOCK_GOES, CLOCK_JUMPS, CLOCK_STANDS } kind;
static unsigned looks;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    static const int64_t jumps[] = {0, day, -day, 0, 2 * day, -30};
    int code = __real_clock_gettime(clock, now);
    if (clock != CLOCK_REALTIME)
        return code;
    if (kind == CLOCK_JUMPS)
        now->tv_sec += (time_t)jumps[looks++ % 6];
    if (kind == CLOCK_STANDS)
        *now = (struct timespec){.tv_sec = 1700000000};
    return code;
}

/* What a life leaves behind, but for times. */
struct trace {
    uint64_t seqs[STEPS], offsets[STEPS], mark, committed, resolved;
};

static void check_stamps(struct caller *caller)
{
    struct shown shown = {0};
    caller_read(caller, "A", 0, STEPS * EACH, &shown);
    cr_assert_eq(shown.count, (size_t)STEPS * EACH);
    for (size_t i = 0; i < shown.count; i++) {
        cr_assert_eq(shown.messages[i].offset, i);
        cr_assert(i == 0 || shown.messages[i].published_at >= shown.messages[i - 1].published_at,
                  "published_at falls at %zu", i);
    }
    if (kind == CLOCK_JUMPS)
        cr_assert_gt(shown.messages[shown.count - 1].published_at - shown.messages[0].published_at,
                     (day - 60) * 1000000, "the clock did not jump");
    if (kind == CLOCK_STANDS)
        cr_assert_eq(shown.messages[0].published_at, shown.messages[shown.count - 1].published_at);
    shown_clear(&shown);
}

static struct trace live(const struct body *body)
{
    struct caller caller;
    struct trace trace = {0};
    caller_open(&caller, body, (struct store_limits){0});
    struct store_op attach = attach_op("s", "A", START_BEGINNING, 0);
    cr_assert_eq(caller_do(&caller, &attach), PS_OK);
    for (unsigned i = 0; i < STEPS; i++) {
        struct message messages[EACH];
        for (unsigned j = 0; j < EACH; j++)
            messages[j] = (struct message){.payload = span_of("payload")};
        struct store_op op = append_op("A", messages, EACH);
        cr_assert_eq(caller_do(&caller, &op), PS_OK);
        trace.seqs[i] = op.append.first_seq;
        trace.offsets[i] = op.append.first_offset;
        struct store_offset offset = {attach.attach.subscription_id, op.append.topic_id,
                                      op.append.first_offset};
        struct store_op offsets = offsets_op(&offset, 1);
        cr_assert_eq(caller_do(&caller, &offsets), PS_OK);
        caller_work(&caller);
        if (body->persistent && i % 20 == 19)
            caller_reopen(&caller);
    }
    bool committed;
    trace.mark = caller.state.mark;
    trace.resolved =
        caller_resolve(&caller, attach.attach.subscription_id, (struct start_rule){.kind = START_BEGINNING},
                       attach.attach.mark, "A", &committed);
    trace.committed = committed;
    check_stamps(&caller);
    caller_close(&caller);
    return trace;
}

static void compare(const struct body *body)
{
    kind = CLOCK_GOES;
    struct trace expected = live(body);
    for (kind = CLOCK_JUMPS; kind <= CLOCK_STANDS; kind++) {
        struct trace trace = live(body);
        cr_assert_eq(memcmp(&trace, &expected, sizeof trace), 0, "another life under clock %d", (int)kind);
    }
}

Test(store_clock, memory)
{
    compare(&memory_body);
}

Test(store_clock, sqlite)
{
    compare(&sqlite_body);
}

Test(store_clock, sqlite_small)
{
    compare(&sqlite_small_body);
}
