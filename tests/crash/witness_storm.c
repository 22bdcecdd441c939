/* Thousands of durable subscribers, each with a connection of its own that comes back by itself, beside a trickle of
 * publications. The broker is killed and started by others; each time all are attached again, that is said. */
#include "witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACK_EVERY = 16, UNDER_WAY = 4 /* publications */, AT_ONCE = 256 /* at first */ };

struct member {
    unsigned cursor;
    struct psc_client *client;
    struct psc_subscription *subscription;
    struct ledger_view *view;
    bool attached, seen_before;
    uint64_t shown, bytes; /* since the broker was told */
};

struct storm {
    struct witness *witness;
    struct member *members;
    unsigned count, opened, attached, rounds;
    struct psc_client *producer;
    unsigned under_way;
    bool connected, ending;
};

struct pending_ack {
    struct member *member;
    unsigned topic;
    uint64_t next_offset;
};

static struct storm storm; /* callbacks of publications carry nothing but the message's number */

static void close_client(struct psc_client **client)
{
    psc_close(*client, NULL, NULL);
    *client = NULL;
}

static void end(void)
{
    storm.ending = true;
    close_client(&storm.producer);
    for (unsigned i = 0; i < storm.count; i++)
        close_client(&storm.members[i].client);
}

/* ---------------------------------------------------------------------------------------------- publishing */

static void publish_some(void);

static void published_cb(const struct psc_error *error, uint64_t offset, void *data)
{
    uint64_t number = (uint64_t)(uintptr_t)data;
    struct ledger *ledger = storm.witness->ledger;

    storm.under_way--;
    if (error == NULL)
        ledger_acknowledged(ledger, number, offset);
    else if (error->status == PS_UNKNOWN)
        ledger_unknown(ledger, number);
    else
        ledger_refused(ledger, number);
    publish_some();
}

static void publish_some(void)
{
    struct ledger *ledger = storm.witness->ledger;

    while (storm.connected && !storm.ending && storm.under_way < UNDER_WAY) {
        uint64_t number = ledger_send(ledger, 0);
        struct ledger_message bytes = ledger_message_of(ledger, number);
        struct psc_message message = {.payload = {bytes.payload, bytes.payload_size},
                                      .key = {bytes.key, bytes.key_size}};
        const char *name = ledger_topic_name(ledger, ledger_topic_of(ledger, number));

        if (psc_publish(storm.producer, (struct psc_bytes){name, strlen(name)}, &message, published_cb,
                        (void *)(uintptr_t)number) != PS_OK) {
            ledger_unsend(ledger, number);
            return;
        }
        storm.under_way++;
    }
}

static void producer_connected_cb(struct psc_client *client, const struct psc_server *server, void *data)
{
    (void)client, (void)server, (void)data;
    storm.connected = true;
    publish_some();
}

static void producer_disconnected_cb(struct psc_client *client, const struct psc_error *error,
                                     int64_t retry_in_ms, void *data)
{
    (void)client, (void)error, (void)retry_in_ms, (void)data;
    storm.connected = false;
}

/* --------------------------------------------------------------------------------------------- subscribing */

static void open_some(void);

/* All that were opened are attached. At first they come in groups, as a first connect does not wait for long. */
static void all_are_back(void)
{
    if (storm.opened < storm.count) {
        open_some();
        return;
    }
    printf("attached %u\n", storm.count);
    fflush(stdout);
    if (storm.rounds-- == 0)
        end();
}

static void disconnected_cb(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                            void *data)
{
    struct member *member = data;

    (void)client;
    if (retry_in_ms < 0 && !storm.ending)
        ledger_complain(storm.witness->ledger, "a member of the storm gave up: %s", error->text);
    storm.attached -= member->attached;
    member->attached = false;
}

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct member *member = data;
    struct ledger *ledger = storm.witness->ledger;
    unsigned topic;

    (void)subscription, (void)created;
    for (size_t i = 0; i < count; i++) {
        if (!ledger_topic_find(ledger, starts[i].topic.data, starts[i].topic.size, &topic))
            continue;
        /* Later ones tell where the library goes on, which is behind what it has shown. */
        if (member->seen_before)
            continue;
        ledger_committed(ledger, member->cursor, topic, starts[i].offset);
        ledger_view_start(member->view, topic, starts[i].offset, starts[i].first, starts[i].head);
    }
    member->seen_before |= count > 0;
    storm.attached += !member->attached;
    member->attached = true;
    if (storm.attached == storm.opened && !storm.ending)
        all_are_back();
}

static void committed_cb(const struct psc_error *error, void *data)
{
    struct pending_ack *ack = data;

    if (error == NULL)
        ledger_commit_confirmed(storm.witness->ledger, ack->member->cursor, ack->topic, ack->next_offset);
    free(ack);
}

static void acknowledge(struct member *member, struct psc_bytes name, unsigned topic, uint64_t next_offset)
{
    struct pending_ack *ack = malloc(sizeof *ack);

    if (ack == NULL)
        abort();
    *ack = (struct pending_ack){member, topic, next_offset};
    ledger_commit_asked(storm.witness->ledger, member->cursor, topic, next_offset);
    if (psc_ack(member->subscription, name, next_offset, committed_cb, ack) != PS_OK)
        free(ack);
}

static void message_cb(struct psc_subscription *subscription, struct psc_bytes name,
                       const struct psc_message *message, void *data)
{
    struct member *member = data;
    struct ledger_message bytes = witness_bytes(message);
    unsigned topic;

    if (!ledger_topic_find(storm.witness->ledger, name.data, name.size, &topic))
        return;
    member->seen_before = true;
    ledger_view_show(member->view, topic, message->offset, &bytes);
    member->bytes += bytes.payload_size + bytes.key_size;
    if (++member->shown % ACK_EVERY != 0)
        return;
    psc_consumed(subscription, ACK_EVERY, member->bytes);
    member->bytes = 0;
    acknowledge(member, name, topic, message->offset + 1);
}

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    (void)subscription, (void)data;
    if (!storm.ending)
        ledger_complain(storm.witness->ledger, "a member of the storm ended with %s: %s",
                        ps_status_name(reason->status), reason->text);
}

static struct psc_client *
open_client(void (*connected)(struct psc_client *, const struct psc_server *, void *),
            void (*disconnected)(struct psc_client *, const struct psc_error *, int64_t, void *), void *data)
{
    struct psc_client *client;
    struct psc_options options = {.unix_path = storm.witness->socket,
                                  .reconnect = true,
                                  .connected = connected,
                                  .disconnected = disconnected,
                                  .data = data};

    if (psc_new(&storm.witness->loop, &options, &client) != PS_OK)
        abort();
    psc_start(client);
    return client;
}

static void open_member(struct member *member, unsigned cursor)
{
    struct ledger *ledger = storm.witness->ledger;
    unsigned topic = cursor % (ledger_plan_of(ledger)->topics - 1);
    const char *name = ledger_topic_name(ledger, topic);
    char id[16];
    struct psc_subscribe_options options = {.filter = {name, strlen(name)},
                                            .durable_id = witness_durable_id(cursor, id),
                                            .start = PSC_START_BEGINNING,
                                            .subscribed = subscribed_cb,
                                            .message = message_cb,
                                            .ended = ended_cb,
                                            .data = member};

    *member = (struct member){.cursor = cursor};
    member->view = ledger_view_new(ledger, "member", LEDGER_PART);
    member->client = open_client(NULL, disconnected_cb, member);
    if (psc_subscribe(member->client, &options, &member->subscription) != PS_OK)
        abort();
}

static void open_some(void)
{
    for (unsigned i = 0; i < AT_ONCE && storm.opened < storm.count; i++, storm.opened++)
        open_member(&storm.members[storm.opened], storm.opened);
}

void witness_storm(struct witness *witness, unsigned rounds)
{
    unsigned count = ledger_plan_of(witness->ledger)->cursors;

    storm = (struct storm){.witness = witness, .count = count, .rounds = rounds};
    storm.members = calloc(count, sizeof *storm.members);
    if (storm.members == NULL)
        abort();
    open_some();
    storm.producer = open_client(producer_connected_cb, producer_disconnected_cb, NULL);
    uv_run(&witness->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < count; i++)
        ledger_view_end(storm.members[i].view);
    free(storm.members);
}
