/* The phases, one way, each left when bench_settle() finds what it waits for:
 *
 *   CONNECTING -> PUBLISHING -> DRAINING ---------------------------> LEAVING -> DELETING -> OVER
 *                                  \-> (replay) ATTACHING -> READING -/
 *
 * An error or a signal ends any of them early: a refusal or a signal by DRAINING, for what is under way will still be
 * answered, anything else by LEAVING. DELETING comes after every other connection is closed, so that nothing of ours
 * makes a topic anew. A second signal skips
 * that. */
#include "bench.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NEXT(phase) (1U << (phase))

static const unsigned successors[] = {
    [BENCH_CONNECTING] = NEXT(BENCH_PUBLISHING) | NEXT(BENCH_LEAVING),
    [BENCH_PUBLISHING] = NEXT(BENCH_DRAINING) | NEXT(BENCH_LEAVING),
    [BENCH_DRAINING] = NEXT(BENCH_ATTACHING) | NEXT(BENCH_LEAVING),
    [BENCH_ATTACHING] = NEXT(BENCH_READING) | NEXT(BENCH_LEAVING),
    [BENCH_READING] = NEXT(BENCH_LEAVING),
    [BENCH_LEAVING] = NEXT(BENCH_DELETING) | NEXT(BENCH_OVER),
    [BENCH_DELETING] = NEXT(BENCH_OVER),
    [BENCH_OVER] = 0,
};

static void move(struct bench *bench, enum bench_phase to)
{
    assert((successors[bench->phase] & NEXT(to)) != 0);
    bench->phase = to;
}

/* ------------------------------------------------------------------------------------------ the connections */

static void closed_cb(void *data)
{
    struct bench *bench = data;

    bench->open--;
    bench_settle(bench);
}

static void disconnected_cb(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                            void *data)
{
    struct bench_worker *worker = data;

    (void)client;
    (void)retry_in_ms;
    bench_fail(worker->bench, error);
}

void bench_open(struct bench_worker *worker,
                void (*connected)(struct psc_client *, const struct psc_server *, void *), void *data)
{
    struct bench *bench = worker->bench;
    const struct args *args = bench->run->args;
    struct psc_options options = {
        .host = args->host,
        .port = args->port,
        .unix_path = args->unix_path,
        .id = bytes_of(args->id),
        .connect_timeout_ms = args->connect_timeout_ms,
        .connected = connected,
        .disconnected = disconnected_cb,
        .data = data,
    };
    enum ps_status status = psc_new(&bench->run->loop, &options, &worker->client);

    if (status != PS_OK) {
        struct psc_error error = {.status = status, .text = ps_status_text(status)};
        bench_fail(bench, &error);
        return;
    }
    bench->open++;
    psc_start(worker->client);
}

static void close_worker(struct bench_worker *worker)
{
    struct psc_client *client = worker->client;

    worker->client = NULL;
    if (client != NULL)
        psc_close(client, closed_cb, worker->bench);
}

/* ----------------------------------------------------------------------------------------------- the end */

void bench_leave(struct bench *bench, int code)
{
    if (bench->phase >= BENCH_LEAVING)
        return;
    if (bench->code == EXIT_OK)
        bench->code = code;
    if (bench->began != 0 && bench->ended == 0)
        bench->ended = uv_hrtime();
    move(bench, BENCH_LEAVING);
    for (unsigned i = 0; i < bench->plan->clients; i++)
        close_worker(&bench->publishers[i].worker);
    for (unsigned i = 0; i < bench->plan->subscribers; i++)
        close_worker(&bench->subscribers[i].worker);
}

void bench_fail(struct bench *bench, const struct psc_error *error)
{
    if (bench->phase >= BENCH_LEAVING)
        return;
    bench->stopping = true;
    bench_leave(bench, run_report(bench->run, NULL, error));
}

void bench_stop(struct bench *bench, int code)
{
    if (bench->phase >= BENCH_LEAVING)
        return;
    bench->stopping = true;
    if (bench->code == EXIT_OK)
        bench->code = code;
    if (bench->phase == BENCH_PUBLISHING)
        move(bench, BENCH_DRAINING);
    else if (bench->phase != BENCH_DRAINING)
        bench_leave(bench, code);
}

void bench_abandon(struct bench *bench)
{
    bench_leave(bench, EXIT_OK);
    if (bench->phase != BENCH_OVER)
        move(bench, BENCH_OVER);
}

static void show_result(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;
    struct bench_result result = {
        .plan = plan,
        .messages = bench->acknowledged,
        .deliveries = bench->deliveries,
        .refused = bench->refused,
        .unknown = bench->unknown,
        .ns = bench->ended - bench->began,
        .complete = !bench->stopping,
        .latency = &bench->latency,
    };

    if (bench->began == 0)
        return;
    if (bench->run->style.json)
        bench_result_json(&bench->run->out.text, &result);
    else
        bench_result_text(&bench->run->out.text, &result);
    writer_appended(&bench->run->out);
}

/* Only now is the result handed over: a stdout that fails ends the command, and must find nothing left to do. */
static void deleted_cb(struct bench_cleanup *cleanup, const struct psc_error *error, void *data)
{
    struct bench *bench = data;

    (void)cleanup;
    if (bench->phase == BENCH_OVER)
        return;
    move(bench, BENCH_OVER);
    if (error != NULL) {
        report("topics may be left: %s; psctl topics list '%s+' shows them", error->text, bench->prefix);
        if (bench->code == EXIT_OK)
            bench->code = (int)exit_of(error->status, error->retryable);
    }
    show_result(bench);
    run_end(bench->run, bench->code);
}

static void delete_topics(struct bench *bench)
{
    struct psc_error lost = {.status = PS_CONNECTION_LOST, .text = ps_status_text(PS_CONNECTION_LOST)};

    move(bench, BENCH_DELETING);
    if (bench->asked == 0)
        deleted_cb(&bench->cleanup, NULL, bench);
    else if (bench->control_lost)
        deleted_cb(&bench->cleanup, &lost, bench);
    else
        bench_cleanup_start(&bench->cleanup, bench->run->client, bench->prefix, deleted_cb, bench);
}

/* -------------------------------------------------------------------------------------------- the phases */

static void begin_publishing(struct bench *bench)
{
    uint64_t now = uv_hrtime();

    move(bench, BENCH_PUBLISHING);
    bench->pace_began = now;
    if (bench->plan->mode != BENCH_REPLAY)
        bench->began = now;
}

static void begin_attaching(struct bench *bench)
{
    move(bench, BENCH_ATTACHING);
    bench->ready = 0;
    bench_open_subscribers(bench);
}

static void begin_reading(struct bench *bench)
{
    move(bench, BENCH_READING);
    bench->ready = 0;
    bench->began = uv_hrtime();
    bench_read(bench);
}

static bool drained(struct bench *bench)
{
    if (bench_answered(bench) != bench->asked)
        return false;
    return bench->stopping || !bench->plan->live || bench_look_up_least(bench) >= bench->acknowledged;
}

/* Every message, unless the time was over first. */
static void check_reading(struct bench *bench)
{
    uint64_t all = bench->acknowledged * bench->plan->subscribers;

    if (bench->time_over || bench->deliveries == all)
        return;
    bench->stopping = true;
    bench->code = EXIT_OTHER;
    report("%" PRIu64 " messages were read, not %" PRIu64, bench->deliveries, all);
}

static void settle_publishing(struct bench *bench)
{
    if (!bench->time_over)
        bench_pump(bench);
    if (bench->phase == BENCH_PUBLISHING && (bench->time_over || bench->asked == bench->plan->messages))
        move(bench, BENCH_DRAINING);
}

static void settle_draining(struct bench *bench)
{
    if (!drained(bench))
        return;
    if (bench->plan->mode == BENCH_REPLAY && !bench->stopping)
        begin_attaching(bench);
    else
        bench_leave(bench, EXIT_OK);
}

static void settle_phase(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;

    switch (bench->phase) {
    case BENCH_CONNECTING:
        if (bench->ready == plan->clients + (plan->live ? plan->subscribers : 0))
            begin_publishing(bench);
        break;
    case BENCH_PUBLISHING:
        settle_publishing(bench);
        break;
    case BENCH_DRAINING:
        settle_draining(bench);
        break;
    case BENCH_ATTACHING:
        if (bench->ready == plan->subscribers)
            begin_reading(bench);
        break;
    case BENCH_READING:
        if (bench->ready != plan->subscribers && !bench->time_over)
            break;
        check_reading(bench);
        bench_leave(bench, EXIT_OK);
        break;
    case BENCH_LEAVING:
        if (bench->open == 0)
            delete_topics(bench);
        break;
    case BENCH_DELETING:
    case BENCH_OVER:
        break;
    }
}

void bench_settle(struct bench *bench)
{
    enum bench_phase before;

    do {
        before = bench->phase;
        settle_phase(bench);
    } while (bench->phase != before);
}

/* ------------------------------------------------------------------------------------------------ memory */

static void name_topics(struct bench *bench)
{
    const struct bench_plan *plan = bench->plan;
    uint64_t random = 0;

    while (random == 0) {
        if (uv_random(NULL, NULL, &random, sizeof random, 0, NULL) != 0)
            random = uv_hrtime();
    }
    bench->dice = random;
    snprintf(bench->prefix, sizeof bench->prefix, "psctl-bench/%016" PRIx64 "/", random);
    for (unsigned i = 0; i < plan->topics; i++) {
        snprintf(bench->names[i], sizeof bench->names[i], "%s%u", bench->prefix, i);
        bench->topics[i] = bytes_of(bench->names[i]);
    }
    snprintf(bench->filter, sizeof bench->filter, "%s%s", bench->prefix, plan->topics == 1 ? "0" : "+");
}

static void fill_payload(struct bench *bench)
{
    uint64_t dice = 1;

    for (size_t i = 0; i < bench->plan->size; i++) {
        dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bench->payload[i] = (char)('0' + (dice >> 58)); /* 64 characters from 0 to o */
    }
}

static bool prepare_publisher(struct bench *bench, struct bench_publisher *publisher)
{
    publisher->worker.bench = bench;
    publisher->slots = calloc(bench->plan->window, sizeof *publisher->slots);
    if (publisher->slots == NULL)
        return false;
    for (unsigned i = bench->plan->window; i-- > 0;) {
        publisher->slots[i] = (struct bench_slot){.publisher = publisher, .next = publisher->free};
        publisher->free = &publisher->slots[i];
    }
    return true;
}

enum ps_status bench_init(struct bench *bench, const struct bench_plan *plan)
{
    *bench = (struct bench){.plan = plan, .pace_fd = -1};
    bench->publishers = calloc(plan->clients, sizeof *bench->publishers);
    bench->subscribers = calloc(plan->subscribers + 1, sizeof *bench->subscribers);
    bench->names = calloc(plan->topics, sizeof *bench->names);
    bench->topics = calloc(plan->topics, sizeof *bench->topics);
    bench->payload = malloc(plan->size + 1);
    if (bench->publishers == NULL || bench->subscribers == NULL || bench->names == NULL ||
        bench->topics == NULL || bench->payload == NULL)
        goto fail;
    for (unsigned i = 0; i < plan->clients; i++) {
        if (!prepare_publisher(bench, &bench->publishers[i]))
            goto fail;
    }
    for (unsigned i = 0; i < plan->subscribers; i++)
        bench->subscribers[i].worker.bench = bench;
    name_topics(bench);
    fill_payload(bench);
    return PS_OK;

fail:
    bench_deinit(bench);
    return PS_NO_MEMORY;
}

void bench_deinit(struct bench *bench)
{
    for (unsigned i = 0; bench->publishers != NULL && i < bench->plan->clients; i++)
        free(bench->publishers[i].slots);
    free(bench->publishers);
    free(bench->subscribers);
    free(bench->names);
    free(bench->topics);
    free(bench->payload);
    bench_cleanup_deinit(&bench->cleanup);
}
