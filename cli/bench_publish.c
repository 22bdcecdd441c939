/* The publishing side: who may publish how much now, and what became of it.
 *
 * With a rate, message n is due at n / rate, whatever became of those before it: one that the broker or we are late
 * with is measured from when it was due, so that a pause shows in every message that it held up (no coordinated
 * omission). A publication's slot holds that time until its answer. */
#include "bench.h"

#include <stdio.h>

enum { BURST = 4096 };

static void acknowledged(struct bench *bench, const struct bench_slot *slot)
{
    bench->acknowledged++;
    if (bench->plan->mode == BENCH_PUB)
        histogram_record(&bench->latency, bench_now(bench) - slot->from);
}

static void not_acknowledged(struct bench *bench, const struct psc_error *error)
{
    if (error->status == PS_UNKNOWN)
        bench->unknown++;
    else if (error->status == PS_CONNECTION_LOST || error->status == PS_CONNECT_FAILED ||
             error->status == PS_CANCELLED)
        bench->unsent++;
    else if (bench->refused++ == 0 && bench->phase < BENCH_LEAVING)
        bench_stop(bench, run_report(bench->run, NULL, error));
}

static void published_cb(const struct psc_error *error, uint64_t offset, void *data)
{
    struct bench_slot *slot = data;
    struct bench_publisher *publisher = slot->publisher;

    (void)offset;
    if (error == NULL)
        acknowledged(publisher->worker.bench, slot);
    else
        not_acknowledged(publisher->worker.bench, error);
    slot->next = publisher->free;
    publisher->free = slot;
}

/* ------------------------------------------------------------------------------------------- publishing */

static uint64_t due_at(const struct bench *bench, uint64_t message)
{
    uint64_t rate = bench->plan->rate, second = 1000000000;

    return bench->pace_began + message / rate * second + message % rate * second / rate;
}

static unsigned choose_topic(struct bench *bench)
{
    if (bench->plan->topics == 1)
        return 0;
    bench->dice ^= bench->dice << 13;
    bench->dice ^= bench->dice >> 7;
    bench->dice ^= bench->dice << 17;
    return (unsigned)(bench->dice % bench->plan->topics);
}

/* Text, so that the payload as a whole is. */
static void stamp(char *payload, uint64_t time)
{
    for (int i = BENCH_STAMP_BYTES - 1; i >= 0; i--, time >>= 4)
        payload[i] = "0123456789abcdef"[time & 15];
}

static void refuse(struct bench *bench, enum ps_status status)
{
    struct psc_error error = {
        .status = status, .text = ps_status_text(status), .retryable = ps_status_retryable(status)};
    char subject[64];

    snprintf(subject, sizeof subject, "--size %zu", bench->plan->size);
    bench->asked++; /* and answered */
    bench->refused++;
    if (status == PS_MESSAGE_TOO_LARGE) {
        error.limit_name = bytes_of("max_message");
        error.limit_value = bench->run->max_message;
    }
    bench_stop(bench, run_report(bench->run, status == PS_MESSAGE_TOO_LARGE ? subject : NULL, &error));
}

/* False: the window is full, or it failed. */
static bool publish(struct bench *bench, struct bench_publisher *publisher)
{
    const struct bench_plan *plan = bench->plan;
    struct psc_message message = {.payload = {bench->payload, plan->size}};
    struct bench_slot *slot = publisher->free;
    unsigned topic = choose_topic(bench);

    if (slot == NULL)
        return false;
    slot->from = plan->rate != 0 ? due_at(bench, bench->asked) : bench_now(bench);
    if (plan->live)
        stamp(bench->payload, slot->from);
    enum ps_status status =
        psc_publish(publisher->worker.client, bench->topics[topic], &message, published_cb, slot);
    if (status == PS_OK) {
        publisher->free = slot->next;
        bench->asked++;
        return true;
    }
    if (status != PS_LIMIT_EXCEEDED && status != PS_CONNECTION_LOST)
        refuse(bench, status);
    return false;
}

static uint64_t due_now(const struct bench *bench)
{
    uint64_t rate = bench->plan->rate, second = 1000000000, due;
    uint64_t elapsed = uv_hrtime() - bench->pace_began;

    due = elapsed / second * rate + elapsed % second * rate / second + 1;
    return due < bench->asked ? 0 : due - bench->asked;
}

/* A subscriber that falls behind holds publishing up: what is measured stays live. */
static uint64_t live_room(struct bench *bench)
{
    uint64_t room = (uint64_t)bench->plan->window * bench->plan->clients;

    if (bench->asked - bench->least_delivered >= room)
        bench_look_up_least(bench);
    return bench->asked - bench->least_delivered >= room ? 0 : room - (bench->asked - bench->least_delivered);
}

static uint64_t allowance(struct bench *bench)
{
    uint64_t most = bench->plan->messages - bench->asked;

    if (bench->plan->rate != 0) {
        uint64_t due = due_now(bench);
        most = due < most ? due : most;
    }
    if (bench->plan->live) {
        uint64_t room = live_room(bench);
        most = room < most ? room : most;
    }
    return most;
}

void bench_pump(struct bench *bench)
{
    unsigned clients = bench->plan->clients;
    uint64_t left = allowance(bench);
    uint64_t share = (left - (left != 0)) / clients + 1;

    bench->cut_short = false;
    for (unsigned i = 0; i < clients && left != 0; i++) {
        struct bench_publisher *publisher = &bench->publishers[bench->turn];
        uint64_t most = share < BURST ? share : BURST;
        while (most != 0 && left != 0 && bench->phase == BENCH_PUBLISHING && publish(bench, publisher)) {
            most--;
            left--;
        }
        bench->cut_short |= most == 0 && left != 0;
        bench->turn = (bench->turn + 1) % clients;
    }
}

static void connected_cb(struct psc_client *client, const struct psc_server *server, void *data)
{
    struct bench_publisher *publisher = data;

    (void)client;
    (void)server;
    publisher->worker.bench->ready++;
}

void bench_open_publishers(struct bench *bench)
{
    for (unsigned i = 0; i < bench->plan->clients && bench->phase == BENCH_CONNECTING; i++)
        bench_open(&bench->publishers[i].worker, connected_cb, &bench->publishers[i]);
}
