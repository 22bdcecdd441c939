/* Many clients at a time against a whole server over both stores: publishers, subscribers that begin with history, a
 * durable subscription that leaves and resumes, visitors, a drain in the middle of publications, and restarts on what
 * is there. A plain main, because ThreadSanitizer cannot run Criterion's binaries; `./dev test` runs it under it, in
 * build-tsan/.
 *
 * Exit 0, or abort with the line that failed. */
#include "hosted.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PUBLISHERS = 3, SUBSCRIBERS = 2, DURABLE = 1, VISITORS = 2, FRAMES = 150, MESSAGES = 40, RUNS = 3 };

/* What a subscriber was given of each topic: the offset that comes next. */
struct progress_of {
    uint64_t next[PUBLISHERS];
};

struct client {
    const struct address *address;
    unsigned number;
    uint64_t heads;              /* where each topic ends when the publishers of this run are done */
    struct progress_of *durable; /* lasts over restarts */
    uv_thread_t thread;
    uv_sem_t ready;
};

static void publish_all(void *arg)
{
    struct client *client = arg;
    struct peer peer;
    struct server_frame frame;
    char topic[16];
    uint64_t answered = 0;

    snprintf(topic, sizeof topic, "T/%u", client->number);
    peer_connect(&peer, client->address);
    peer_hello(&peer);
    for (int i = 0; i < FRAMES; i++)
        peer_publish(&peer, topic, MESSAGES, 200);
    while (answered < FRAMES * MESSAGES) {
        REQUIRE(peer_receive(&peer, &frame));
        REQUIRE(frame.kind == SERVER_PUBLISHED);
        for (size_t i = 0; i < frame.published.run_count; i++) {
            REQUIRE(frame.published.runs[i].status == PS_OK);
            answered += frame.published.runs[i].count;
        }
    }
    peer_close(&peer);
}

static bool is_complete(const struct progress_of *progress, uint64_t heads)
{
    for (unsigned topic = 0; topic < PUBLISHERS; topic++) {
        if (progress->next[topic] < heads)
            return false;
    }
    return true;
}

/* Each topic without a gap; the first delivery of one that this attachment has not `seen` may repeat some. */
static void take_delivery(struct progress_of *progress, const struct delivery *delivery, bool *seen)
{
    unsigned topic = (unsigned)(delivery->topic.data[2] - '0');

    REQUIRE(topic < PUBLISHERS);
    REQUIRE(delivery->message_count > 0);
    if (!seen[topic] && delivery->messages[0].offset <= progress->next[topic])
        progress->next[topic] = delivery->messages[0].offset;
    seen[topic] = true;
    for (size_t i = 0; i < delivery->message_count; i++)
        REQUIRE(delivery->messages[i].offset == progress->next[topic]++);
}

/* From the beginning: history first, where an earlier run left some, then live. */
static void receive_all(void *arg)
{
    struct client *client = arg;
    struct peer peer;
    struct server_frame frame;
    struct progress_of progress = {0};
    bool seen[PUBLISHERS] = {false};

    peer_connect(&peer, client->address);
    peer_hello(&peer);
    peer_subscribe(&peer, "T/+");
    while (!is_complete(&progress, client->heads)) {
        REQUIRE(peer_receive(&peer, &frame));
        if (frame.kind == SERVER_DELIVERY)
            take_delivery(&progress, &frame.delivery, seen);
    }
    peer_close(&peer);
}

static void attach_durable(struct peer *peer)
{
    struct client_frame frame = {.kind = CLIENT_SUBSCRIBE,
                                 .subscribe = {.filter = span_of("T/+"),
                                               .durable_id = span_of("worker"),
                                               .start = {.kind = START_BEGINNING},
                                               .start_given = true,
                                               .credit_messages = 1ull << 40,
                                               .credit_bytes = 1ull << 60}};

    peer_send(peer, &frame);
}

static void acknowledge(struct peer *peer, const struct delivery *delivery)
{
    const struct message *last = &delivery->messages[delivery->message_count - 1];
    struct client_frame frame = {.kind = CLIENT_ACK,
                                 .ack = {.subscription = delivery->subscription,
                                         .topic = delivery->topic,
                                         .next_offset = last->offset + 1}};

    peer_send(peer, &frame);
}

/* Acknowledges what it gets, leaves in the middle, resumes. */
static void resume_all(void *arg)
{
    struct client *client = arg;
    struct server_frame frame;

    while (!is_complete(client->durable, client->heads)) {
        struct peer peer;
        bool seen[PUBLISHERS] = {false};
        peer_connect(&peer, client->address);
        peer_hello(&peer);
        attach_durable(&peer);
        for (unsigned taken = 0; taken < 20 && !is_complete(client->durable, client->heads);) {
            REQUIRE(peer_receive(&peer, &frame));
            REQUIRE(frame.kind != SERVER_ERROR);
            if (frame.kind != SERVER_DELIVERY)
                continue;
            take_delivery(client->durable, &frame.delivery, seen);
            acknowledge(&peer, &frame.delivery);
            taken++;
        }
        peer_close(&peer);
    }
}

/* Asks for info, deletes a topic, subscribes, leaves at any moment. */
static void visit(void *arg)
{
    struct client *client = arg;
    struct server_frame frame;
    struct client_frame ask = {.kind = CLIENT_GET_INFO};
    struct client_frame delete = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("D")};

    for (unsigned i = 0; i < 60; i++) {
        struct peer peer;
        peer_connect(&peer, client->address);
        peer_hello(&peer);
        peer_send(&peer, &ask);
        if (i % 8 == 0)
            peer_send(&peer, &delete);
        peer_subscribe(&peer, "#");
        for (unsigned received = 0; received < i % 7; received++)
            REQUIRE(peer_receive(&peer, &frame));
        if (i % 3 == 0)
            peer_send_bytes(&peer, "\x00\x00\x10\x00garbage", 11);
        peer_close(&peer);
    }
}

/* Publishes until the broker says goodbye. */
static void publish_into_drain(void *arg)
{
    struct client *client = arg;
    struct peer peer;
    struct server_frame frame;

    peer_connect(&peer, client->address);
    peer_hello(&peer);
    uv_sem_post(&client->ready);
    for (int i = 0; i < 2000; i++)
        peer_publish(&peer, "D", 5, 100);
    while (peer_receive(&peer, &frame))
        ;
    peer_close(&peer);
}

static void drain_under_publications(struct hosted *hosted)
{
    struct client client = {.address = &hosted->addresses[0]};

    uv_sem_init(&client.ready, 0);
    REQUIRE(uv_thread_create(&client.thread, publish_into_drain, &client) == 0);
    uv_sem_wait(&client.ready);
    hosted_ask_stop(hosted);
    uv_thread_join(&client.thread);
    uv_sem_destroy(&client.ready);
    REQUIRE(hosted_join(hosted) == PS_OK);
}

/* One life of a server. `run` counts those that its store had before. */
static void stress(const struct server_config *config, unsigned run, struct progress_of *durable)
{
    static const struct {
        void (*run)(void *);
        unsigned count;
    } kinds[] = {
        {publish_all, PUBLISHERS}, {receive_all, SUBSCRIBERS}, {resume_all, DURABLE}, {visit, VISITORS}};
    struct hosted hosted;
    struct client clients[PUBLISHERS + SUBSCRIBERS + DURABLE + VISITORS];
    unsigned count = 0;

    hosted_start(&hosted, config);
    REQUIRE(hosted.start_status == PS_OK);
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        for (unsigned i = 0; i < kinds[kind].count; i++, count++) {
            clients[count] = (struct client){.address = &hosted.addresses[0],
                                             .number = i,
                                             .heads = (run + 1) * FRAMES * MESSAGES,
                                             .durable = durable};
            REQUIRE(uv_thread_create(&clients[count].thread, kinds[kind].run, &clients[count]) == 0);
        }
    }
    for (unsigned i = 0; i < count; i++)
        uv_thread_join(&clients[i].thread);
    drain_under_publications(&hosted);
}

static void remove_directory(const char *directory)
{
    static const char *const names[] = {"LOCK", "psbroker.db", "psbroker.db-wal", "psbroker.db-shm"};
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

int main(void)
{
    char directory[] = "/tmp/psbroker-test-XXXXXX";
    struct server_config config = hosted_config();
    struct progress_of in_memory = {0}, on_disk = {0};

    config.broker.tail_bytes = 1 << 20;
    stress(&config, 0, &in_memory);
    REQUIRE(mkdtemp(directory) != NULL);
    config.directory = directory;
    for (unsigned run = 0; run < RUNS; run++)
        stress(&config, run, &on_disk);
    remove_directory(directory);
    puts("ok");
    return 0;
}
