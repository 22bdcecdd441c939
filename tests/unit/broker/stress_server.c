/* Many clients at a time against a whole server over both stores, and a drain in the middle of publications. A plain
 * main, because ThreadSanitizer cannot run Criterion's binaries:
 *
 *   meson setup build-tsan -Db_sanitize=thread && ninja -C build-tsan tests/unit/broker/stress_server &&
 *       build-tsan/tests/unit/broker/stress_server
 *
 * Exit 0, or abort with the line that failed. */
#include "hosted.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PUBLISHERS = 3, SUBSCRIBERS = 2, VISITORS = 2, FRAMES = 150, MESSAGES = 40 };

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct client {
    const struct address *address;
    unsigned number;
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

static void receive_all(void *arg)
{
    struct client *client = arg;
    struct peer peer;
    struct server_frame frame;
    uint64_t next[PUBLISHERS] = {0}, total = 0;

    peer_connect(&peer, client->address);
    peer_hello(&peer);
    peer_subscribe(&peer, "T/+");
    while (total < (uint64_t)PUBLISHERS * FRAMES * MESSAGES) {
        REQUIRE(peer_receive(&peer, &frame));
        if (frame.kind != SERVER_DELIVERY)
            continue;
        unsigned topic = (unsigned)(frame.delivery.topic.data[2] - '0');
        REQUIRE(topic < PUBLISHERS);
        for (size_t i = 0; i < frame.delivery.message_count; i++, total++)
            REQUIRE(frame.delivery.messages[i].offset == next[topic]++);
    }
    peer_close(&peer);
}

/* Asks for info, subscribes, leaves at any moment. */
static void visit(void *arg)
{
    struct client *client = arg;
    struct server_frame frame;
    struct client_frame ask = {.kind = CLIENT_GET_INFO};

    for (unsigned i = 0; i < 60; i++) {
        struct peer peer;
        peer_connect(&peer, client->address);
        peer_hello(&peer);
        peer_send(&peer, &ask);
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

static void stress(const struct server_config *config)
{
    struct hosted hosted;
    struct client clients[PUBLISHERS + SUBSCRIBERS + VISITORS];
    unsigned count = 0;

    hosted_start(&hosted, config);
    REQUIRE(hosted.start_status == PS_OK);
    static const struct {
        void (*run)(void *);
        unsigned count;
    } kinds[] = {{publish_all, PUBLISHERS}, {receive_all, SUBSCRIBERS}, {visit, VISITORS}};
    for (size_t kind = 0; kind < 3; kind++) {
        for (unsigned i = 0; i < kinds[kind].count; i++, count++) {
            clients[count] = (struct client){.address = &hosted.addresses[0], .number = i};
            REQUIRE(uv_thread_create(&clients[count].thread, kinds[kind].run, &clients[count]) == 0);
        }
    }
    for (unsigned i = 0; i < count; i++)
        uv_thread_join(&clients[i].thread);
    uv_sem_init(&clients[0].ready, 0);
    REQUIRE(uv_thread_create(&clients[0].thread, publish_into_drain, &clients[0]) == 0);
    uv_sem_wait(&clients[0].ready);
    hosted_ask_stop(&hosted);
    uv_thread_join(&clients[0].thread);
    uv_sem_destroy(&clients[0].ready);
    REQUIRE(hosted_join(&hosted) == PS_OK);
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

    config.broker.tail_bytes = 1 << 20;
    stress(&config);
    REQUIRE(mkdtemp(directory) != NULL);
    config.directory = directory;
    stress(&config);
    remove_directory(directory);
    puts("ok");
    return 0;
}
