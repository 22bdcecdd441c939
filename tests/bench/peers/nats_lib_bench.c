/* The load generator for NATS on its official C client library: the work of nats_bench the way an application does it.
 *
 * The main thread publishes; acknowledgements and deliveries come on threads of the library, which only count them.
 * Each count is changed by one thread and passes every number, so whoever waits names the number beforehand and is
 * woken by the thread that reaches it. Only the main thread ends the process. */
#include "nats_plan.h"

#include <errno.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SECOND = 1000000000,
    STALL_S = 30,
    BURST = 64,
    STEP = 10000,
    PUB_WINDOW = 4096,
    FLUSH_MS = 10000,
    PROBLEM_BYTES = 512
};

struct subscriber {
    struct bench *bench;
    natsConnection *connection;
    jsCtx *js;
    natsSubscription *subscription;
    _Atomic uint64_t delivered;
    struct histogram latency;
};

struct bench {
    struct peer peer;
    natsOptions *options;
    natsConnection *connection; /* the publisher's */
    jsCtx *js;
    bool stream_made;
    natsMsg **messages; /* one for each subject */
    uint64_t *from;     /* publication n: from[n % window] */
    uint64_t asked;
    _Atomic uint64_t acknowledged;
    struct subscriber *subscribers;

    _Atomic uint64_t awaited_acknowledged, awaited_delivered; /* by the main thread */
    pthread_mutex_t mutex;                                    /* guards what follows */
    pthread_cond_t progress;
    bool ending;
    char problem[PROBLEM_BYTES]; /* the first on a thread of the library; then it stays */
};

static void must(natsStatus status, const char *what)
{
    const char *detail = nats_GetLastError(NULL);

    if (status != NATS_OK)
        peer_fail("%s: %s", what, detail != NULL && detail[0] != '\0' ? detail : natsStatus_GetText(status));
}

/* ------------------------------------------------------------------------------ on the library's threads */

static void wake(struct bench *bench)
{
    pthread_mutex_lock(&bench->mutex);
    pthread_cond_signal(&bench->progress);
    pthread_mutex_unlock(&bench->mutex);
}

static void report(struct bench *bench, const char *what, const char *detail)
{
    pthread_mutex_lock(&bench->mutex);
    if (!bench->ending && bench->problem[0] == '\0')
        snprintf(bench->problem, sizeof bench->problem, "%s: %s", what, detail == NULL ? "" : detail);
    pthread_cond_signal(&bench->progress);
    pthread_mutex_unlock(&bench->mutex);
}

/* Such as a subscription that drops messages. */
static void error_cb(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *data)
{
    (void)connection;
    (void)subscription;
    report(data, "the client library reports", natsStatus_GetText(status));
}

static void closed_cb(natsConnection *connection, void *data)
{
    const char *detail = NULL;

    natsConnection_GetLastError(connection, &detail);
    report(data, "a connection was closed", detail);
}

/* They come in the order of the publications. In live modes the library made the message, and it is now ours. */
static void acknowledged_cb(jsCtx *js, natsMsg *message, jsPubAck *answer, jsPubAckErr *error, void *data)
{
    struct bench *bench = data;
    const struct bench_plan *plan = &bench->peer.plan;
    uint64_t number = atomic_load_explicit(&bench->acknowledged, memory_order_relaxed);

    (void)js;
    (void)answer;
    if (plan->live)
        natsMsg_Destroy(message);
    if (error != NULL) {
        report(bench, "refused", error->ErrText);
        return;
    }
    if (plan->mode == BENCH_PUB)
        histogram_record(&bench->peer.latency, peer_now() - bench->from[number % plan->window]);
    atomic_store(&bench->acknowledged, number + 1);
    if (number + 1 == atomic_load(&bench->awaited_acknowledged))
        wake(bench);
}

/* The library checks the sequence of an ordered consumer. */
static void delivered_cb(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                         void *data)
{
    struct subscriber *subscriber = data;
    struct bench *bench = subscriber->bench;
    uint64_t number = atomic_load_explicit(&subscriber->delivered, memory_order_relaxed) + 1;

    (void)connection;
    (void)subscription;
    if (natsMsg_GetDataLength(message) != (int)bench->peer.plan.size) {
        report(bench, "delivered", "a message of another size");
    } else {
        if (bench->peer.plan.live) {
            uint64_t now = peer_now(), from = peer_stamped(natsMsg_GetData(message));
            histogram_record(&subscriber->latency, now > from ? now - from : 0);
        }
        atomic_store(&subscriber->delivered, number);
        if (number == atomic_load(&bench->awaited_delivered))
            wake(bench);
    }
    natsMsg_Destroy(message);
}

/* ---------------------------------------------------------------------------------------------- waiting */

static uint64_t least_delivered(struct bench *bench)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++) {
        uint64_t delivered = atomic_load(&bench->subscribers[i].delivered);
        if (delivered < least)
            least = delivered;
    }
    return least;
}

static bool is_through(struct bench *bench, uint64_t acknowledged, uint64_t delivered)
{
    return atomic_load(&bench->acknowledged) >= acknowledged &&
           (delivered == 0 || least_delivered(bench) >= delivered);
}

/* Returns when so many are acknowledged, and delivered to everybody. */
static void wait_for(struct bench *bench, uint64_t acknowledged, uint64_t delivered)
{
    struct timespec end;
    int status = 0;
    bool failed;

    atomic_store(&bench->awaited_acknowledged, acknowledged);
    atomic_store(&bench->awaited_delivered, delivered);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += STALL_S;
    pthread_mutex_lock(&bench->mutex);
    while (bench->problem[0] == '\0' && status == 0 && !is_through(bench, acknowledged, delivered))
        status = pthread_cond_timedwait(&bench->progress, &bench->mutex, &end);
    failed = bench->problem[0] != '\0';
    pthread_mutex_unlock(&bench->mutex);
    if (failed)
        peer_fail("%s", bench->problem);
    if (status == ETIMEDOUT)
        peer_fail("no end after %d s", STALL_S);
}

static void sleep_until(uint64_t time)
{
    struct timespec until = {.tv_sec = (time_t)(time / SECOND), .tv_nsec = (long)(time % SECOND)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* ------------------------------------------------------------------------------------------- publishing */

static void publish(struct bench *bench)
{
    struct peer *peer = &bench->peer;
    uint64_t from = peer->plan.rate != 0 ? peer_due_at(peer, bench->asked) : peer_now();
    natsMsg *message = bench->messages[peer_choose_topic(peer)];
    natsStatus status;

    bench->from[bench->asked++ % peer->plan.window] = from;
    if (peer->plan.live)
        peer_stamp(peer->payload, from);
    if (peer->core) { /* there is no answer to wait for */
        status = natsConnection_Publish(bench->connection, natsMsg_GetSubject(message), peer->payload,
                                        (int)peer->plan.size);
        atomic_store(&bench->acknowledged, bench->asked);
    } else if (peer->plan.live) {
        status = js_PublishAsync(bench->js, natsMsg_GetSubject(message), peer->payload, (int)peer->plan.size,
                                 NULL);
    } else {
        status = js_PublishMsgAsync(bench->js, &message, NULL);
    }
    must(status, "publishing");
}

/* Half of the window is through before it is filled again: waking for each message costs more than waiting. */
static void wait_for_room(struct bench *bench)
{
    uint64_t window = bench->peer.plan.window, through = bench->asked - window / 2;

    wait_for(bench, through, bench->peer.plan.live ? through : 0);
}

/* A subscriber that falls behind holds publishing up: the server would drop it, and what is measured stays live. */
static uint64_t room(struct bench *bench)
{
    uint64_t through = atomic_load(&bench->acknowledged);

    if (bench->peer.plan.live) {
        uint64_t least = least_delivered(bench);
        through = least < through ? least : through;
    }
    return bench->peer.plan.window - (bench->asked - through);
}

static void publish_all(void *data)
{
    struct bench *bench = data;
    const struct bench_plan *plan = &bench->peer.plan;

    while (bench->asked < plan->messages) {
        uint64_t due = peer_due_by(&bench->peer, bench->asked, peer_now()), most = room(bench);
        if (due <= bench->asked && plan->rate == 0)
            break; /* the time is over */
        if (due <= bench->asked) {
            sleep_until(peer_due_at(&bench->peer, bench->asked));
        } else if (most == 0) {
            wait_for_room(bench);
        } else {
            most = most < BURST ? most : BURST;
            for (uint64_t left = due - bench->asked; left != 0 && most != 0; left--, most--)
                publish(bench);
        }
    }
    wait_for(bench, bench->asked, plan->live ? bench->asked : 0);
}

/* -------------------------------------------------------------------------------------------- subscribing */

static void open_connection(struct bench *bench, natsConnection **connection, jsCtx **js)
{
    jsOptions options;

    must(natsConnection_Connect(connection, bench->options), "connecting");
    if (bench->peer.core)
        return;
    jsOptions_Init(&options);
    options.PublishAsync.AckHandler = acknowledged_cb;
    options.PublishAsync.AckHandlerClosure = bench;
    must(natsConnection_JetStream(js, *connection, &options), "JetStream");
}

static void open_subscribers(void *data)
{
    struct bench *bench = data;

    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++) {
        struct subscriber *subscriber = &bench->subscribers[i];
        subscriber->bench = bench;
        open_connection(bench, &subscriber->connection, &subscriber->js);
    }
}

static void subscribe_core(struct subscriber *subscriber)
{
    must(natsConnection_Subscribe(&subscriber->subscription, subscriber->connection, NATS_SUBJECTS,
                                  delivered_cb, subscriber),
         "subscribing");
    must(natsConnection_FlushTimeout(subscriber->connection, FLUSH_MS), "subscribing");
}

static void subscribe_stream(struct subscriber *subscriber)
{
    jsSubOptions options;

    jsSubOptions_Init(&options);
    options.Stream = NATS_STREAM;
    options.Ordered = true;
    options.Config.DeliverPolicy = subscriber->bench->peer.plan.live ? js_DeliverNew : js_DeliverAll;
    must(js_Subscribe(&subscriber->subscription, subscriber->js, NATS_SUBJECTS, delivered_cb, subscriber,
                      NULL, &options, NULL),
         "subscribing");
}

static void attach(void *data)
{
    struct bench *bench = data;

    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++) {
        struct subscriber *subscriber = &bench->subscribers[i];
        if (bench->peer.core)
            subscribe_core(subscriber);
        else
            subscribe_stream(subscriber);
        must(natsSubscription_SetPendingLimits(subscriber->subscription, -1, -1), "no pending limits");
    }
}

/* ------------------------------------------------------------------------------------------------ modes */

/* In steps, each of which may take STALL_S. */
static void receive_all(void *data)
{
    struct bench *bench = data;

    for (uint64_t done = 0; done < bench->asked;) {
        done = bench->asked - done < STEP ? bench->asked : done + STEP;
        wait_for(bench, 0, done);
    }
}

static const struct peer_steps steps = {open_subscribers, attach, publish_all, receive_all};

static void add_up(struct bench *bench)
{
    struct histogram *all = &bench->peer.latency;

    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++) {
        const struct histogram *one = &bench->subscribers[i].latency;
        bench->peer.result.deliveries += bench->subscribers[i].delivered;
        all->count += one->count;
        all->max = one->max > all->max ? one->max : all->max;
        for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
            all->buckets[bucket] += one->buckets[bucket];
    }
}

/* ------------------------------------------------------------------------------------------------- main */

static struct bench *to_delete;

static void delete_stream(void)
{
    bool made = to_delete->stream_made;

    to_delete->stream_made = false;
    if (made)
        must(js_DeleteStream(to_delete->js, NATS_STREAM, NULL, NULL), "cannot delete the stream");
}

static void make_stream(struct bench *bench)
{
    const char *subjects[] = {NATS_SUBJECTS};
    jsStreamConfig config;

    jsStreamConfig_Init(&config);
    config.Name = NATS_STREAM;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    js_DeleteStream(bench->js, NATS_STREAM, NULL, NULL); /* that an earlier run has left */
    must(js_AddStream(NULL, bench->js, &config, NULL, NULL), "cannot make the stream");
    bench->stream_made = true;
    to_delete = bench;
    atexit(delete_stream);
}

/* The library holds publications back for up to 1 ms to send many at once, unless it is told that latency counts. */
static void set_options(struct bench *bench)
{
    char url[sizeof "nats://:65535" + PEER_HOST_BYTES];

    snprintf(url, sizeof url, "nats://%s:%u", bench->peer.host, bench->peer.port);
    must(natsOptions_Create(&bench->options), "options");
    must(natsOptions_SetURL(bench->options, url), "--server");
    must(natsOptions_SetAllowReconnect(bench->options, false), "options");
    must(natsOptions_SetSendAsap(bench->options, bench->peer.plan.rate != 0 || bench->peer.plan.window == 1),
         "options");
    must(natsOptions_SetErrorHandler(bench->options, error_cb, bench), "options");
    must(natsOptions_SetClosedCB(bench->options, closed_cb, bench), "options");
}

static void bench_init(struct bench *bench)
{
    const struct bench_plan *plan = &bench->peer.plan;
    char subject[NATS_SUBJECT_BYTES];

    if (plan->clients != 1)
        peer_fail("--clients: this generator publishes on one connection");
    pthread_mutex_init(&bench->mutex, NULL);
    pthread_cond_init(&bench->progress, NULL);
    bench->from = must_alloc(plan->window * sizeof *bench->from);
    bench->messages = must_alloc(plan->topics * sizeof(natsMsg *));
    bench->subscribers = must_alloc((plan->subscribers + 1) * sizeof *bench->subscribers);
    memset(bench->subscribers, 0, (plan->subscribers + 1) * sizeof *bench->subscribers);
    for (unsigned i = 0; i < plan->topics; i++) {
        nats_subject(i, subject);
        must(natsMsg_Create(&bench->messages[i], subject, NULL, bench->peer.payload, (int)plan->size),
             "memory");
    }
    set_options(bench);
}

static void bench_deinit(struct bench *bench)
{
    pthread_mutex_lock(&bench->mutex);
    bench->ending = true;
    pthread_mutex_unlock(&bench->mutex);
    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++) {
        natsSubscription_Destroy(bench->subscribers[i].subscription);
        jsCtx_Destroy(bench->subscribers[i].js);
        natsConnection_Destroy(bench->subscribers[i].connection);
    }
    jsCtx_Destroy(bench->js);
    natsConnection_Destroy(bench->connection);
    natsOptions_Destroy(bench->options);
    for (unsigned i = 0; i < bench->peer.plan.topics; i++)
        natsMsg_Destroy(bench->messages[i]);
    nats_CloseAndWait(0); /* no thread of the library runs any more */
    free(bench->messages);
    free(bench->from);
    free(bench->subscribers);
    pthread_cond_destroy(&bench->progress);
    pthread_mutex_destroy(&bench->mutex);
}

int main(int argc, char **argv)
{
    static struct bench bench; /* the histogram is large */

    peer_init(&bench.peer, argc, argv,
              "Measures NATS through its C client library: JetStream with its file store, or --core.", 4222);
    nats_plan(&bench.peer, PUB_WINDOW);
    bench_init(&bench);
    open_connection(&bench, &bench.connection, &bench.js);
    if (!bench.peer.core)
        make_stream(&bench);
    peer_measure(&bench.peer, &steps, &bench);
    bench.peer.result.messages = bench.acknowledged;
    add_up(&bench);
    int code = peer_show(&bench.peer);
    if (!bench.peer.core)
        delete_stream();
    bench_deinit(&bench);
    peer_deinit(&bench.peer);
    return code;
}
