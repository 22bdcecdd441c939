#include "nats_plan.h"

#include <stdio.h>

enum { LEAST_WINDOW = 16, CORE_WINDOW = 2048, MOST_IN_FLIGHT = 8 * 1024 * 1024 };

void nats_subject(unsigned topic, char subject[NATS_SUBJECT_BYTES])
{
    snprintf(subject, NATS_SUBJECT_BYTES, "psbench.%u", topic);
}

/* What was measured to be the best for this server; a larger one only waits in its memory. */
static void choose_window(struct peer *peer, unsigned pub_window)
{
    const unsigned windows[] = {
        [BENCH_PUB] = pub_window, [BENCH_REPLAY] = pub_window, [BENCH_FANOUT] = 16384,
        [BENCH_E2E] = 4096,       [BENCH_LATENCY] = 65536,
    };
    size_t in_bytes = MOST_IN_FLIGHT / (peer->plan.size + 1);
    unsigned window = peer->core ? CORE_WINDOW : windows[peer->plan.mode];

    if (peer->options.given[BENCH_WINDOW])
        return;
    if (in_bytes < window)
        window = in_bytes < LEAST_WINDOW ? LEAST_WINDOW : (unsigned)in_bytes;
    peer->plan.window = window;
}

void nats_plan(struct peer *peer, unsigned pub_window)
{
    if (peer->core && !peer->plan.live)
        peer_fail("--core stores and acknowledges nothing: only fanout, latency and e2e have a meaning");
    bench_plan_raise_descriptors(&peer->plan);
    choose_window(peer, pub_window);
}
