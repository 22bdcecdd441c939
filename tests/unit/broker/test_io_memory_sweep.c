/* Every allocation of a whole server over loopback fails in turn, on whichever thread: while it starts, and while
 * peers connect, publish, follow, read history and leave. A start is refused by a name. Later a peer is refused or
 * dropped, never left without an answer on an open connection; when memory is back, the same server serves and holds
 * all that it acknowledged, and it ends cleanly without a leak.
 *
 * By default one allocation in some, from one that PSBROKER_SEED decides; SWEEP_STRIDE=1 tries every one. */
#include "dice.h"
#include "failing_memory.h"
#include "hosted.h"
#include "leaks.h"
#include "tally.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

enum { STRIDE = 7, MOST_ALLOCATIONS = 20000, LARGE = 150 * 1024, PATIENCE_MS = 300 };

static struct {
    uint64_t faults, messages;
} sum;

struct visit {
    struct hosted *hosted;
    bool memory_fails;
    size_t n;              /* the allocation that fails */
    uint64_t acknowledged; /* offsets below it were */
};

/* False: the connection ended, or there was no word while memory fails. */
static bool next(struct visit *visit, struct peer *peer, struct server_frame *frame)
{
    errno = 0;
    if (peer_receive(peer, frame))
        return true;
    cr_assert(visit->memory_fails || errno != EAGAIN, "allocation %zu: no answer", visit->n);
    return false;
}

static void learn(struct visit *visit, const struct published *published)
{
    for (size_t i = 0; i < published->run_count; i++) {
        const struct published_run *run = &published->runs[i];
        if (run->status == PS_OK)
            visit->acknowledged = run->first_offset + run->count;
        else
            cr_assert(visit->memory_fails && run->status == PS_NO_MEMORY, "%s", ps_status_name(run->status));
    }
}

/* Until the answer to that request; deliveries and others are passed over. */
static bool await(struct visit *visit, struct peer *peer, uint64_t request)
{
    struct server_frame frame;
    while (next(visit, peer, &frame)) {
        if (frame.kind == SERVER_ERROR)
            cr_assert(visit->memory_fails && frame.error.status == PS_NO_MEMORY, "%s",
                      ps_status_name(frame.error.status));
        if (frame.kind == SERVER_PUBLISHED)
            learn(visit, &frame.published);
        if (frame.request_id.present && frame.request_id.value == request)
            return frame.kind != SERVER_ERROR;
    }
    return false;
}

static bool come(struct visit *visit, struct peer *peer)
{
    struct client_frame hello = {.kind = CLIENT_HELLO, .hello = {.min_version = 1, .max_version = 1}};
    struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
    peer_connect(peer, &visit->hosted->addresses[0]);
    if (visit->memory_fails)
        setsockopt(peer->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return await(visit, peer, peer_send(peer, &hello));
}

static void say(struct visit *visit, struct peer *peer, uint32_t count, size_t size)
{
    (void)await(visit, peer, peer_publish(peer, "A", count, size));
}

static void live(struct visit *visit)
{
    struct peer publisher, follower, late, brief;
    bool is_in = come(visit, &publisher);
    bool follows = come(visit, &follower);
    if (follows)
        peer_subscribe(&follower, "A");
    for (unsigned i = 0; is_in && i < 3; i++)
        say(visit, &publisher, 20, 100);
    if (is_in)
        say(visit, &publisher, 2, LARGE);
    peer_connect(&brief, &visit->hosted->addresses[0]);
    peer_close(&brief);
    if (come(visit, &late)) {
        struct client_frame info = {.kind = CLIENT_GET_INFO}, list = {.kind = CLIENT_LIST_TOPICS};
        peer_subscribe(&late, "#");
        if (await(visit, &late, peer_send(&late, &list)))
            (void)await(visit, &late, peer_send(&late, &info));
    }
    peer_close(&late);
    peer_close(&follower);
    peer_close(&publisher);
}

/* All that was acknowledged, from the beginning, each offset once. */
static void check(struct visit *visit)
{
    struct peer peer;
    struct server_frame frame;
    uint64_t expected = 0;
    visit->memory_fails = false;
    cr_assert(come(visit, &peer), "not served though there is memory");
    say(visit, &peer, 1, 10);
    peer_subscribe(&peer, "A");
    while (expected < visit->acknowledged) {
        cr_assert(next(visit, &peer, &frame), "the delivery ended at %llu", (unsigned long long)expected);
        for (size_t i = 0; frame.kind == SERVER_DELIVERY && i < frame.delivery.message_count; i++)
            cr_assert_eq(frame.delivery.messages[i].offset, expected++);
    }
    sum.messages += visit->acknowledged;
    peer_close(&peer);
}

static void arm(size_t n, bool once)
{
    if (once)
        memory_fails_after(n);
    else
        memory_fails_from(n);
    memory_pause(); /* what this thread does is the peers' */
}

static bool serve(size_t n, bool once)
{
    struct hosted hosted;
    struct server_config config = hosted_config();
    struct visit visit = {.hosted = &hosted, .memory_fails = true, .n = n};
    config.broker.tail_bytes = 3000;
    hosted_start(&hosted, &config);
    cr_assert_eq(hosted.start_status, PS_OK);
    arm(n, once);
    live(&visit);
    bool failed = memory_failed();
    sum.faults += failed;
    check(&visit);
    hosted_ask_stop(&hosted);
    cr_assert_eq(hosted_join(&hosted), PS_OK);
    return failed;
}

static bool start(size_t n, bool once)
{
    struct hosted hosted;
    struct server_config config = hosted_config();
    struct visit visit = {.hosted = &hosted, .n = n};
    arm(n, once);
    hosted_start(&hosted, &config);
    bool failed = memory_failed();
    sum.faults += failed;
    cr_assert(hosted.start_status == PS_OK || (failed && hosted.start_status == PS_NO_MEMORY), "%s: %s",
              ps_status_name(hosted.start_status), hosted.error);
    if (hosted.start_status == PS_OK) {
        check(&visit);
        hosted_ask_stop(&hosted);
    }
    cr_assert_eq(hosted_join(&hosted), hosted.start_status);
    return failed;
}

static void sweep(bool (*run)(size_t n, bool once), bool once, uint64_t usual)
{
    uint64_t stride = setting("SWEEP_STRIDE", usual), tried = 0;
    sum.faults = sum.messages = 0;
    for (size_t n = (size_t)(setting("PSBROKER_SEED", 0) % stride); run(n, once);
         n += (size_t)stride, tried++)
        cr_assert_lt(n, (size_t)MOST_ALLOCATIONS);
    cr_assert_gt(tried * stride, 2u, "it hardly allocates");
    tell_injected(sum.faults, sum.messages);
    ASSERT_NO_LEAKS();
}

Test(io_memory_sweep, a_start_without_memory_is_refused)
{
    sweep(start, true, 1);
}

Test(io_memory_sweep, an_allocation_fails_once)
{
    sweep(serve, true, STRIDE);
}

Test(io_memory_sweep, memory_runs_out_for_good)
{
    sweep(serve, false, STRIDE);
}
