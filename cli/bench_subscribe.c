/* The subscribing side: counts what comes and, in live modes, takes the time out of the payload. */
#include "bench.h"

static void message_cb(struct psc_subscription *subscription, struct psc_bytes topic,
                       const struct psc_message *message, void *data)
{
    struct bench_subscriber *subscriber = data;
    struct bench *bench = subscriber->worker.bench;

    (void)topic;
    subscriber->delivered++;
    bench->deliveries++;
    psc_consumed(subscription, 1, message->key.size + message->payload.size);
    if (!bench->plan->live || message->payload.size < BENCH_STAMP_BYTES)
        return;
    const char *digits = message->payload.data;
    uint64_t from = 0, now = bench_now(bench);
    for (int i = 0; i < BENCH_STAMP_BYTES; i++)
        from = from << 4 | (uint64_t)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    histogram_record(&bench->latency, now > from ? now - from : 0);
}

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct bench_subscriber *subscriber = data;

    (void)subscription;
    (void)created;
    (void)starts;
    (void)count;
    if (subscriber->worker.bench->plan->live)
        subscriber->worker.bench->ready++;
}

static void subscribe(struct bench_subscriber *subscriber);

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    struct bench_subscriber *subscriber = data;
    struct bench *bench = subscriber->worker.bench;

    (void)subscription;
    if (bench->phase != BENCH_READING || reason->status != PS_END_REACHED)
        bench_fail(bench, reason);
    else if (bench->plan->one_topic && ++subscriber->topic < bench->plan->topics)
        subscribe(subscriber);
    else
        bench->ready++;
}

static void subscribe(struct bench_subscriber *subscriber)
{
    struct bench *bench = subscriber->worker.bench;
    struct psc_subscribe_options options = {
        .filter = bench->plan->one_topic ? bench->topics[subscriber->topic] : bytes_of(bench->filter),
        .start = bench->plan->live ? PSC_START_NEW : PSC_START_BEGINNING,
        .until_end = !bench->plan->live,
        .subscribed = subscribed_cb,
        .message = message_cb,
        .ended = ended_cb,
        .data = subscriber,
    };
    struct psc_subscription *subscription;
    enum ps_status status = psc_subscribe(subscriber->worker.client, &options, &subscription);

    if (status != PS_OK) {
        struct psc_error error = {.status = status, .text = ps_status_text(status)};
        bench_fail(bench, &error);
    }
}

static void connected_cb(struct psc_client *client, const struct psc_server *server, void *data)
{
    struct bench_subscriber *subscriber = data;

    (void)client;
    (void)server;
    if (subscriber->worker.bench->plan->live)
        subscribe(subscriber);
    else
        subscriber->worker.bench->ready++;
}

void bench_open_subscribers(struct bench *bench)
{
    enum bench_phase phase = bench->phase;

    for (unsigned i = 0; i < bench->plan->subscribers && bench->phase == phase; i++)
        bench_open(&bench->subscribers[i].worker, connected_cb, &bench->subscribers[i]);
}

void bench_read(struct bench *bench)
{
    for (unsigned i = 0; i < bench->plan->subscribers && bench->phase == BENCH_READING; i++)
        subscribe(&bench->subscribers[i]);
}

uint64_t bench_look_up_least(struct bench *bench)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < bench->plan->subscribers; i++) {
        if (bench->subscribers[i].delivered < least)
            least = bench->subscribers[i].delivered;
    }
    return bench->least_delivered = least;
}
