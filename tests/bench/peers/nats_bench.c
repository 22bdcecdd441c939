/* The load generator for NATS: what psctl bench does, with a JetStream stream that keeps its messages in files, or with
 * --core on subjects that keep none.
 *
 * One thread, as psctl bench: each turn puts what may be sent into the publishers' buffers, sends, and reads what has
 * come. JetStream acknowledges in the order of the publications, so that a ring of times tells their latency. */
#include "nats_plan.h"
#include "nats_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MOST_UNSENT = 128 * 1024, MOST_EVENTS = 256, STALL_MS = 30000 };
enum { SECOND = 1000000000, PACE_NS = 50000, CALLS_PER_CLOCK = 16, PUB_WINDOW = 1024 };

struct publisher {
    struct nats_link link; /* first: an event names it */
    struct bench *bench;
    bool watched; /* for room to send */
    uint64_t asked, acknowledged;
    uint64_t sequence; /* in the stream, of the last acknowledged one */
    uint64_t *from;    /* publication n: from[n % window] */
    char inbox[32];
};

struct subscriber {
    struct nats_link link; /* first */
    struct bench *bench;
    uint64_t delivered;
    char subject[32];
};

struct bench {
    struct peer peer;
    struct nats_stream stream;
    struct publisher *publishers;
    struct subscriber *subscribers;
    char (*subjects)[NATS_SUBJECT_BYTES];
    int events, pace; /* pace: -1 without a rate */
    unsigned now_calls;
    uint64_t now;
    uint64_t asked, acknowledged, least_delivered;
};

/* The clock, asked once for 16 messages, as psctl bench does. */
static uint64_t now_about(struct bench *bench)
{
    if (bench->now_calls++ % CALLS_PER_CLOCK == 0)
        bench->now = peer_now();
    return bench->now;
}

/* -------------------------------------------------------------------------------------------- publishing */

static uint64_t look_up_least(struct bench *bench)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++) {
        if (bench->subscribers[i].delivered < least)
            least = bench->subscribers[i].delivered;
    }
    return bench->least_delivered = least;
}

/* A subscriber that falls behind holds publishing up: the server would drop it, and what is measured stays live. */
static uint64_t live_room(struct bench *bench)
{
    uint64_t room = (uint64_t)bench->peer.plan.window * bench->peer.plan.clients;

    if (bench->asked - bench->least_delivered >= room)
        look_up_least(bench);
    uint64_t ahead = bench->asked - bench->least_delivered;
    return ahead < room ? room - ahead : 0;
}

static uint64_t allowance(struct bench *bench)
{
    uint64_t due = peer_due_by(&bench->peer, bench->asked, peer_now());
    uint64_t most = due > bench->asked ? due - bench->asked : 0;

    if (bench->peer.plan.live) {
        uint64_t room = live_room(bench);
        most = room < most ? room : most;
    }
    return most;
}

static void publish(struct publisher *publisher)
{
    struct bench *bench = publisher->bench;
    const struct bench_plan *plan = &bench->peer.plan;
    uint64_t from = plan->rate != 0 ? peer_due_at(&bench->peer, bench->asked) : now_about(bench);

    if (plan->live)
        peer_stamp(bench->peer.payload, from);
    nats_publish(&publisher->link, bench->subjects[peer_choose_topic(&bench->peer)],
                 bench->peer.core ? NULL : publisher->inbox, bench->peer.payload, plan->size);
    publisher->from[publisher->asked++ % plan->window] = from;
    bench->asked++;
    if (bench->peer.core) { /* there is no answer to wait for */
        publisher->acknowledged++;
        bench->acknowledged++;
    }
}

static void pump(struct bench *bench)
{
    unsigned clients = bench->peer.plan.clients;
    uint64_t left = allowance(bench);

    for (unsigned i = 0; i < clients; i++) {
        struct publisher *publisher = &bench->publishers[i];
        uint64_t share = left / (clients - i);
        while (share != 0 && publisher->asked - publisher->acknowledged < bench->peer.plan.window &&
               nats_unsent(&publisher->link) < MOST_UNSENT) {
            publish(publisher);
            share--;
            left--;
        }
    }
}

/* {"stream":"PSBENCH", "seq":N}, or an object with "error" */
static void acknowledged_cb(struct nats_link *link, const struct nats_message *message, void *data)
{
    static const char start[] = "{\"stream\":\"" NATS_STREAM "\", \"seq\":";
    struct publisher *publisher = data;
    struct bench *bench = publisher->bench;
    uint64_t sequence;

    (void)link;
    if (message->size < sizeof start || memcmp(message->payload, start, sizeof start - 1) != 0)
        peer_fail("refused: %.*s", (int)message->size, message->payload);
    sequence = strtoull(message->payload + sizeof start - 1, NULL, 10);
    if (sequence <= publisher->sequence)
        peer_fail("acknowledged out of order: %" PRIu64 " after %" PRIu64, sequence, publisher->sequence);
    publisher->sequence = sequence;
    if (bench->peer.plan.mode == BENCH_PUB)
        histogram_record(&bench->peer.latency,
                         now_about(bench) -
                             publisher->from[publisher->acknowledged % bench->peer.plan.window]);
    publisher->acknowledged++;
    bench->acknowledged++;
}

/* ------------------------------------------------------------------------------------------- subscribing */

static void delivered_cb(struct nats_link *link, const struct nats_message *message, void *data)
{
    struct subscriber *subscriber = data;
    struct bench *bench = subscriber->bench;

    if (message->has_headers) { /* none of ours has */
        nats_stream_obey(link, message);
        return;
    }
    if (message->size != bench->peer.plan.size)
        peer_fail("%zu bytes were delivered: %.*s", message->size, (int)(message->line_end - message->line),
                  message->line);
    subscriber->delivered++;
    if (!bench->peer.core && nats_stream_sequence(message) != subscriber->delivered)
        peer_fail("delivered out of order: %.*s", (int)(message->line_end - message->line), message->line);
    if (bench->peer.plan.live)
        peer_delivered(&bench->peer, message->payload, now_about(bench));
    else
        bench->peer.result.deliveries++;
}

static void attach(void *data)
{
    struct bench *bench = data;

    for (unsigned i = 0; i < bench->peer.plan.subscribers && !bench->peer.core; i++)
        nats_stream_push(&bench->stream, bench->subscribers[i].subject, !bench->peer.plan.live);
}

/* ------------------------------------------------------------------------------------------------ events */

static void watch(struct bench *bench, int operation, struct nats_link *link, bool for_room)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};

    if (for_room)
        event.events |= EPOLLOUT;
    if (epoll_ctl(bench->events, operation, link->fd, &event) != 0)
        peer_fail("epoll_ctl: %s", strerror(errno));
}

static void open_publishers(struct bench *bench)
{
    const struct bench_plan *plan = &bench->peer.plan;

    for (unsigned i = 0; i < plan->clients; i++) {
        struct publisher *publisher = &bench->publishers[i];
        *publisher = (struct publisher){.bench = bench, .from = must_alloc(plan->window * sizeof(uint64_t))};
        snprintf(publisher->inbox, sizeof publisher->inbox, "_INBOX.psbench.p%u", i);
        nats_open(&publisher->link, bench->peer.host, bench->peer.port, plan->size);
        publisher->link.message = acknowledged_cb;
        publisher->link.data = publisher;
        nats_subscribe(&publisher->link, publisher->inbox);
        nats_flush(&publisher->link);
        watch(bench, EPOLL_CTL_ADD, &publisher->link, false);
    }
}

static void open_subscribers(void *data)
{
    struct bench *bench = data;
    const struct bench_plan *plan = &bench->peer.plan;

    for (unsigned i = 0; i < plan->subscribers; i++) {
        struct subscriber *subscriber = &bench->subscribers[i];
        subscriber->bench = bench;
        snprintf(subscriber->subject, sizeof subscriber->subject, "_INBOX.psbench.s%u", i);
        nats_open(&subscriber->link, bench->peer.host, bench->peer.port, plan->size);
        subscriber->link.message = delivered_cb;
        subscriber->link.data = subscriber;
        nats_subscribe(&subscriber->link, bench->peer.core ? NATS_SUBJECTS : subscriber->subject);
        nats_flush(&subscriber->link);
        watch(bench, EPOLL_CTL_ADD, &subscriber->link, false);
    }
}

static void send_all(struct bench *bench)
{
    for (unsigned i = 0; i < bench->peer.plan.clients; i++) {
        struct publisher *publisher = &bench->publishers[i];
        nats_write(&publisher->link);
        bool blocked = nats_unsent(&publisher->link) != 0;
        if (blocked != publisher->watched)
            watch(bench, EPOLL_CTL_MOD, &publisher->link, blocked);
        publisher->watched = blocked;
    }
}

static void wait_for_events(struct bench *bench)
{
    struct epoll_event events[MOST_EVENTS];
    uint64_t expirations;
    int count = epoll_wait(bench->events, events, MOST_EVENTS, STALL_MS);

    if (count == 0)
        peer_fail("nothing came from the server for %d s", STALL_MS / 1000);
    bench->now_calls = 0;
    for (int i = 0; i < count; i++) {
        struct nats_link *link = events[i].data.ptr;
        if (link == NULL)
            (void)!read(bench->pace, &expirations, sizeof expirations); /* the clock tells what is due */
        else if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0)
            nats_read(link);
    }
}

static void turn(struct bench *bench)
{
    bench->now_calls = 0;
    pump(bench);
    send_all(bench);
    wait_for_events(bench);
}

static void start_pace(struct bench *bench)
{
    uint64_t interval = SECOND / bench->peer.plan.rate;
    struct epoll_event event = {.events = EPOLLIN};

    if (interval < PACE_NS)
        interval = PACE_NS;
    struct timespec each = {.tv_sec = (time_t)(interval / SECOND), .tv_nsec = (long)(interval % SECOND)};
    struct itimerspec pace = {.it_interval = each, .it_value = each};
    bench->pace = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (bench->pace < 0 || timerfd_settime(bench->pace, 0, &pace, NULL) != 0 ||
        epoll_ctl(bench->events, EPOLL_CTL_ADD, bench->pace, &event) != 0)
        peer_fail("cannot make a timer: %s", strerror(errno));
}

/* ------------------------------------------------------------------------------------------------- modes */

static bool published(const struct bench *bench)
{
    const struct bench_plan *plan = &bench->peer.plan;
    bool over = bench->asked == plan->messages ||
                (plan->rate == 0 && peer_due_by(&bench->peer, bench->asked, peer_now()) == bench->asked);

    return over && bench->acknowledged == bench->asked;
}

static void receive_all(void *data)
{
    struct bench *bench = data;

    while (look_up_least(bench) < bench->acknowledged)
        turn(bench);
}

static void publish_all(void *data)
{
    struct bench *bench = data;

    if (bench->peer.plan.rate != 0)
        start_pace(bench);
    while (!published(bench))
        turn(bench);
    if (bench->peer.plan.live)
        receive_all(bench);
}

static const struct peer_steps steps = {open_subscribers, attach, publish_all, receive_all};

/* -------------------------------------------------------------------------------------------------- main */

static struct bench *to_delete;

static void delete_stream(void)
{
    nats_stream_delete(&to_delete->stream);
}

static void bench_init(struct bench *bench)
{
    const struct bench_plan *plan = &bench->peer.plan;

    bench->publishers = must_alloc(plan->clients * sizeof *bench->publishers);
    bench->subscribers = must_alloc((plan->subscribers + 1) * sizeof *bench->subscribers);
    bench->subjects = must_alloc(plan->topics * sizeof *bench->subjects);
    memset(bench->subscribers, 0, (plan->subscribers + 1) * sizeof *bench->subscribers);
    for (unsigned i = 0; i < plan->topics; i++)
        nats_subject(i, bench->subjects[i]);
    bench->pace = -1;
    bench->events = epoll_create1(EPOLL_CLOEXEC);
    if (bench->events < 0)
        peer_fail("epoll_create1: %s", strerror(errno));
}

static void bench_deinit(struct bench *bench)
{
    for (unsigned i = 0; i < bench->peer.plan.clients; i++) {
        nats_close(&bench->publishers[i].link);
        free(bench->publishers[i].from);
    }
    for (unsigned i = 0; i < bench->peer.plan.subscribers; i++)
        nats_close(&bench->subscribers[i].link);
    free(bench->publishers);
    free(bench->subscribers);
    free(bench->subjects);
    if (bench->pace >= 0)
        close(bench->pace);
    close(bench->events);
}

int main(int argc, char **argv)
{
    static struct bench bench; /* the histogram is large */

    peer_init(&bench.peer, argc, argv, "Measures NATS: JetStream with its file store, or --core.", 4222);
    nats_plan(&bench.peer, PUB_WINDOW);
    bench_init(&bench);
    if (!bench.peer.core) {
        to_delete = &bench;
        atexit(delete_stream);
        nats_stream_make(&bench.stream, bench.peer.host, bench.peer.port);
    }
    open_publishers(&bench);
    peer_measure(&bench.peer, &steps, &bench);
    bench.peer.result.messages = bench.acknowledged;
    int code = peer_show(&bench.peer);
    bench_deinit(&bench);
    peer_deinit(&bench.peer);
    return code;
}
