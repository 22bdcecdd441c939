/* One life of a broker under load: publishers that keep their windows full, one that deletes what it published, durable
 * subscriptions that acknowledge, and some to what is new. All end with the first connection that is lost, or each
 * comes back by itself. */
#include "witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCRAPS = 300,   /* published between two deletions */
    ACK_EVERY = 64, /* messages of a durable subscription */
    BURST = 2048    /* publications in one go, so that answers get their turn */
};

struct load;

struct producer {
    struct load *load;
    unsigned number;
    struct psc_client *client;
    bool full; /* waits for `writable` */
    uint64_t under_way;
    unsigned scraps; /* the last one: published since the last deletion */
    bool deleting;
    bool in_doubt; /* an outcome was unknown: the last one leaves its topic alone until the next check */
};

struct consumer {
    struct load *load;
    bool durable, subscribed;
    unsigned cursor;
    struct psc_client *client;
    struct psc_subscription *subscription;
    struct ledger_view *view;
    uint64_t shown, bytes; /* since the broker was told */
};

struct pending_ack {
    unsigned cursor, topic;
    uint64_t next_offset;
};

struct load {
    struct witness *witness;
    uv_idle_t idle; /* pumps */
    uint64_t report, most, acknowledged;
    struct producer producers[LEDGER_PUBLISHERS];
    struct consumer *consumers;
    unsigned consumer_count;
    bool again; /* who loses the connection comes back */
    bool ending, lost;
};

static void pump_all(uv_idle_t *idle);

static void wake(struct load *load)
{
    if (!load->ending)
        uv_idle_start(&load->idle, pump_all);
}

static struct load *current; /* callbacks of publications carry nothing but the message's number */

static void close_client(struct psc_client **client);

static void end(struct load *load)
{
    if (load->ending)
        return;
    load->ending = true;
    for (unsigned i = 0; i < ledger_plan_of(load->witness->ledger)->publishers; i++)
        close_client(&load->producers[i].client);
    for (unsigned i = 0; i < load->consumer_count; i++)
        close_client(&load->consumers[i].client);
    uv_close((uv_handle_t *)&load->idle, NULL);
}

static void close_client(struct psc_client **client)
{
    if (*client != NULL)
        psc_close(*client, NULL, NULL);
    *client = NULL;
}

static void disconnected_cb(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                            void *data)
{
    (void)client, (void)data;
    if (error->status == PS_MALFORMED || error->status == PS_PROTOCOL_VIOLATION ||
        error->status == PS_FRAME_TOO_LARGE)
        ledger_complain(current->witness->ledger, "a connection ended with %s: %s",
                        ps_status_name(error->status), error->text);
    if (current->again && retry_in_ms >= 0)
        return;
    current->lost = true;
    end(current);
}

static struct psc_client *open_client(struct load *load, const char *id,
                                      void (*writable)(struct psc_client *, void *), void *data)
{
    struct psc_client *client;
    struct psc_options options = {.unix_path = load->witness->socket,
                                  .id = {id, id == NULL ? 0 : strlen(id)},
                                  .reconnect = load->again,
                                  .disconnected = disconnected_cb,
                                  .writable = writable,
                                  .data = data};

    if (psc_new(&load->witness->loop, &options, &client) != PS_OK)
        abort();
    psc_start(client);
    return client;
}

/* ---------------------------------------------------------------------------------------------- publishing */

static bool is_enough(const struct load *load)
{
    return load->most != 0 && load->acknowledged >= load->most;
}

static bool is_last(const struct producer *producer)
{
    return producer->number == ledger_plan_of(producer->load->witness->ledger)->publishers - 1;
}

static void deleted_cb(const struct psc_error *error, void *data)
{
    struct producer *producer = data;
    struct ledger *ledger = producer->load->witness->ledger;

    producer->deleting = false;
    producer->scraps = 0;
    producer->in_doubt = error != NULL && error->status == PS_UNKNOWN;
    if (error == NULL)
        ledger_deleted(ledger, LEDGER_DELETED);
    else
        ledger_deleted(ledger, producer->in_doubt ? LEDGER_MAYBE_DELETED : LEDGER_KEPT);
    wake(producer->load);
}

static void delete_scraps(struct producer *producer)
{
    struct ledger *ledger = producer->load->witness->ledger;
    const char *name = ledger_topic_name(ledger, ledger_plan_of(ledger)->topics - 1);

    if (psc_delete_topic(producer->client, (struct psc_bytes){name, strlen(name)}, deleted_cb, producer) !=
        PS_OK)
        return;
    producer->deleting = true;
    ledger_delete(ledger);
}

static void count(struct load *load)
{
    load->acknowledged++;
    if (load->acknowledged == load->report) {
        ledger_remember(load->witness->ledger);
        printf("acknowledged %llu\n", (unsigned long long)load->report);
        fflush(stdout);
    }
}

static void published_cb(const struct psc_error *error, uint64_t offset, void *data)
{
    uint64_t number = (uint64_t)(uintptr_t)data;
    struct load *load = current;
    struct ledger *ledger = load->witness->ledger;

    if (--load->producers[ledger_publisher_of(number)].under_way == 0)
        wake(load);
    if (error == NULL) {
        ledger_acknowledged(ledger, number, offset);
        count(load);
    } else if (error->status == PS_UNKNOWN) {
        ledger_unknown(ledger, number);
        load->producers[ledger_publisher_of(number)].in_doubt = true;
    } else {
        ledger_refused(ledger, number);
    }
}

/* False: not now. */
static bool publish(struct producer *producer)
{
    struct ledger *ledger = producer->load->witness->ledger;
    uint64_t number = ledger_send(ledger, producer->number);
    struct ledger_message bytes = ledger_message_of(ledger, number);
    struct psc_message message = {.payload = {bytes.payload, bytes.payload_size},
                                  .key = {bytes.key, bytes.key_size}};
    const char *name = ledger_topic_name(ledger, ledger_topic_of(ledger, number));
    enum ps_status status;

    status = psc_publish(producer->client, (struct psc_bytes){name, strlen(name)}, &message, published_cb,
                         (void *)(uintptr_t)number);
    if (status == PS_OK) {
        producer->under_way++;
        return true;
    }
    ledger_unsend(ledger, number);
    if (status == PS_LIMIT_EXCEEDED)
        producer->full = true;
    else if (status != PS_CONNECTION_LOST)
        ledger_complain(ledger, "a publication was refused by the library: %s", ps_status_name(status));
    return false;
}

static void pump_last(struct producer *producer)
{
    if (producer->in_doubt)
        return;
    while (producer->scraps < SCRAPS && !producer->full && publish(producer))
        producer->scraps++;
    if (producer->scraps >= SCRAPS && producer->under_way == 0 && !producer->deleting)
        delete_scraps(producer);
}

/* Whether there is more to do at once. */
static bool pump(struct producer *producer)
{
    if (is_last(producer)) {
        pump_last(producer);
        return false;
    }
    for (int i = 0; i < BURST; i++)
        if (producer->full || !publish(producer))
            return false;
    return true;
}

static void writable_cb(struct psc_client *client, void *data)
{
    struct producer *producer = data;

    (void)client;
    producer->full = false;
    wake(producer->load);
}

/* Runs while there is something to publish, and once more when all is answered. */
static void pump_all(uv_idle_t *idle)
{
    struct load *load = idle->data;
    unsigned producers = ledger_plan_of(load->witness->ledger)->publishers;
    bool more = false, busy = false;

    for (unsigned i = 0; i < producers && !load->ending; i++) {
        if (!is_enough(load))
            more |= pump(&load->producers[i]);
        busy |= load->producers[i].under_way != 0 || load->producers[i].deleting;
    }
    if (!more)
        uv_idle_stop(idle);
    if (is_enough(load) && !busy)
        end(load);
}

static void open_producers(struct load *load)
{
    for (unsigned i = 0; i < ledger_plan_of(load->witness->ledger)->publishers; i++) {
        struct producer *producer = &load->producers[i];

        *producer = (struct producer){.load = load, .number = i};
        producer->client = open_client(load, "publisher", writable_cb, producer);
    }
    wake(load);
}

/* --------------------------------------------------------------------------------------------- subscribing */

static void committed_cb(const struct psc_error *error, void *data)
{
    struct pending_ack *ack = data;

    if (error == NULL)
        ledger_commit_confirmed(current->witness->ledger, ack->cursor, ack->topic, ack->next_offset);
    free(ack);
}

static void acknowledge(struct consumer *consumer, struct psc_bytes name, unsigned topic, uint64_t offset)
{
    struct pending_ack *ack = malloc(sizeof *ack);

    if (ack == NULL)
        abort();
    *ack = (struct pending_ack){consumer->cursor, topic, offset + 1};
    if (psc_ack(consumer->subscription, name, offset + 1, committed_cb, ack) == PS_OK)
        ledger_commit_asked(current->witness->ledger, consumer->cursor, topic, offset + 1);
    else
        free(ack);
}

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct consumer *consumer = data;
    struct ledger *ledger = consumer->load->witness->ledger;
    unsigned topic;

    (void)subscription, (void)created;
    for (size_t i = 0; i < count; i++) {
        if (!ledger_topic_find(ledger, starts[i].topic.data, starts[i].topic.size, &topic))
            continue;
        if (consumer->subscribed) { /* later ones tell where the library goes on */
            ledger_view_resume(consumer->view, topic, starts[i].offset);
            continue;
        }
        ledger_view_start(consumer->view, topic, starts[i].offset, starts[i].first, starts[i].head);
        if (consumer->durable)
            ledger_committed(ledger, consumer->cursor, topic, starts[i].offset);
    }
    consumer->subscribed = true;
}

static void message_cb(struct psc_subscription *subscription, struct psc_bytes name,
                       const struct psc_message *message, void *data)
{
    struct consumer *consumer = data;
    struct ledger_message bytes = witness_bytes(message);
    unsigned topic;

    if (!ledger_topic_find(consumer->load->witness->ledger, name.data, name.size, &topic))
        return;
    ledger_view_show(consumer->view, topic, message->offset, &bytes);
    consumer->bytes += bytes.payload_size + bytes.key_size;
    if (++consumer->shown % ACK_EVERY != 0)
        return;
    psc_consumed(subscription, ACK_EVERY, consumer->bytes);
    consumer->bytes = 0;
    if (consumer->durable)
        acknowledge(consumer, name, topic, message->offset);
}

static void gap_cb(struct psc_subscription *subscription, struct psc_bytes name, uint64_t from, uint64_t to,
                   void *data)
{
    struct consumer *consumer = data;
    unsigned topic;

    (void)subscription, (void)from;
    if (ledger_topic_find(consumer->load->witness->ledger, name.data, name.size, &topic))
        ledger_view_gap(consumer->view, topic, to);
}

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    struct consumer *consumer = data;

    (void)subscription;
    if (reason->status != PS_CONNECTION_LOST && reason->status != PS_CANCELLED &&
        reason->status != PS_DRAINING)
        ledger_complain(consumer->load->witness->ledger, "a subscription ended with %s: %s",
                        ps_status_name(reason->status), reason->text);
}

static void subscribe(struct consumer *consumer, const char *filter)
{
    char id[16];
    struct psc_subscribe_options options = {.filter = {filter, strlen(filter)},
                                            .start = consumer->durable ? PSC_START_BEGINNING : PSC_START_NEW,
                                            .subscribed = subscribed_cb,
                                            .message = message_cb,
                                            .gap = gap_cb,
                                            .ended = ended_cb,
                                            .data = consumer};

    if (consumer->durable)
        options.durable_id = witness_durable_id(consumer->cursor, id);
    if (psc_subscribe(consumer->client, &options, &consumer->subscription) != PS_OK)
        abort();
}

static void open_consumers(struct load *load)
{
    unsigned cursors = ledger_plan_of(load->witness->ledger)->cursors;

    load->consumer_count = cursors + load->witness->live;
    load->consumers = calloc(load->consumer_count + 1, sizeof *load->consumers);
    if (load->consumers == NULL)
        abort();
    for (unsigned i = 0; i < load->consumer_count; i++) {
        struct consumer *consumer = &load->consumers[i];

        *consumer = (struct consumer){.load = load, .durable = i < cursors, .cursor = i};
        consumer->view =
            ledger_view_new(load->witness->ledger, i < cursors ? "durable" : "live", LEDGER_PART);
        consumer->client = open_client(load, NULL, NULL, consumer);
        subscribe(consumer, i < cursors ? "w/#" : "#");
    }
}

static void forget_consumers(struct load *load)
{
    for (unsigned i = 0; i < load->consumer_count; i++)
        ledger_view_end(load->consumers[i].view);
    free(load->consumers);
}

bool witness_load(struct witness *witness, uint64_t report, uint64_t most, bool again)
{
    static struct load load;

    load = (struct load){.witness = witness, .report = report, .most = most, .again = again};
    current = &load;
    if (again)
        ledger_reconnects(witness->ledger);
    uv_idle_init(&witness->loop, &load.idle);
    load.idle.data = &load;
    open_consumers(&load);
    open_producers(&load);
    uv_run(&witness->loop, UV_RUN_DEFAULT);
    forget_consumers(&load);
    current = NULL;
    return !load.lost;
}
