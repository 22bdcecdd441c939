/* The whole broker in this process, with a client on the same loop: what reaches a client is synced (P1, P3),
 * and syncs are not wasted: what arrives during one goes into the next commit, a lone publication waits for
 * one. */
#include "sync_vfs.h"

#include "psclient.h"
#include "server.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOPICS = 3 };
static const char *const names[TOPICS] = {"a/0", "a/1", "a/2"};

struct rig {
    char directory[64];
    uv_loop_t loop;
    struct server *server;
    struct psc_client *client;
    uint64_t published[TOPICS]; /* newest marker of each topic */
    unsigned wanted, sent, acknowledged, delivered;
    unsigned early_acknowledgements, early_deliveries;
    bool subscribing, durable;
    uv_async_t held;
    uint64_t syncs_when_held, commits_when_held;
};

/* --------------------------------------------------------------------------------------------- life time */

static void stopped(void *ctx, enum ps_status status)
{
    struct rig *rig = ctx;
    rig->server = NULL;
    cr_assert_eq(status, PS_OK, "the server ended: %s", ps_status_name(status));
}

static void disconnected(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                         void *data)
{
    (void)client, (void)retry_in_ms, (void)data;
    cr_assert_fail("disconnected: %s", error->text);
}

static void open_rig(struct rig *rig)
{
    char error[512] = "";
    *rig = (struct rig){0};
    cr_assert(tmpdir_make(rig->directory));
    cr_assert_eq(uv_loop_init(&rig->loop), 0);
    sync_vfs_install();
    struct server_config config = {
        .directory = rig->directory, .listener_count = 1, .log_fd = -1, .stopped = stopped, .ctx = rig};
    char listen[128];
    snprintf(listen, sizeof listen, "unix:%s/socket", rig->directory);
    cr_assert_eq(address_parse(listen, &config.listeners[0], error, sizeof error), PS_OK, "%s", error);
    cr_assert_eq(server_start(&config, &rig->loop, &rig->server, error, sizeof error), PS_OK, "%s", error);
    struct psc_options options = {
        .unix_path = config.listeners[0].path, .disconnected = disconnected, .data = rig};
    cr_assert_eq(psc_new(&rig->loop, &options, &rig->client), PS_OK);
    psc_start(rig->client);
}

static void client_closed(void *data)
{
    server_stop(((struct rig *)data)->server);
}

static void close_rig(struct rig *rig)
{
    psc_close(rig->client, client_closed, rig);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    cr_assert_null(rig->server);
    cr_assert_eq(uv_loop_close(&rig->loop), 0);
    tmpdir_remove(rig->directory);
}

static struct psc_bytes bytes_of(const char *text)
{
    return (struct psc_bytes){text, strlen(text)};
}

/* --------------------------------------------------------------------------------------------- publishing */

/* One publication under way: the topic and the number that its marker carries. */
struct publication {
    struct rig *rig;
    unsigned topic;
    uint64_t number;
};

static void publish(struct rig *rig, unsigned topic, psc_published_fn *published)
{
    char marker[SYNC_VFS_MARKER_BYTES];
    struct publication *publication = malloc(sizeof *publication);
    *publication = (struct publication){rig, topic, ++rig->published[topic]};
    sync_vfs_marker(marker, topic, publication->number);
    struct psc_message message = {.payload = bytes_of(marker)};
    cr_assert_eq(psc_publish(rig->client, bytes_of(names[topic]), &message, published, publication), PS_OK);
    rig->sent++;
}

/* Takes the publication; whether its sync came first. */
static bool acknowledged(const struct psc_error *error, void *data)
{
    struct publication *publication = data;
    cr_assert_null(error, "refused: %s", error == NULL ? "" : error->text);
    bool synced = publication->number <= sync_vfs_durable(publication->topic);
    publication->rig->acknowledged++;
    free(publication);
    return synced;
}

static void stop_when_done(struct rig *rig)
{
    if (rig->acknowledged == rig->wanted && (!rig->subscribing || rig->delivered == rig->wanted))
        uv_stop(&rig->loop);
}

/* ------------------------------------------------------------------------------- nothing before its sync */

static void published_one(const struct psc_error *error, uint64_t offset, void *data)
{
    struct rig *rig = ((struct publication *)data)->rig;
    (void)offset;
    rig->early_acknowledgements += !acknowledged(error, data);
    if (rig->sent < rig->wanted)
        publish(rig, rig->sent % TOPICS, published_one);
    stop_when_done(rig);
}

static void subscribed(struct psc_subscription *subscription, bool created,
                       const struct psc_topic_start *starts, size_t count, void *data)
{
    enum { IN_FLIGHT = 40 };
    struct rig *rig = data;
    (void)subscription, (void)created, (void)starts, (void)count;
    for (int i = 0; i < IN_FLIGHT; i++)
        publish(rig, rig->sent % TOPICS, published_one);
}

static void delivered(struct psc_subscription *subscription, struct psc_bytes topic,
                      const struct psc_message *message, void *data)
{
    struct rig *rig = data;
    unsigned at = (unsigned)(((const char *)topic.data)[2] - '0');
    uint64_t number = sync_vfs_number(message->payload.data, message->payload.size, at);
    rig->early_deliveries += number > sync_vfs_durable(at);
    rig->delivered++;
    psc_consumed(subscription, 1, message->payload.size);
    if (rig->durable)
        psc_ack(subscription, topic, message->offset + 1, NULL, NULL);
    stop_when_done(rig);
}

static void ended(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    (void)subscription, (void)data;
    cr_assert_eq(reason->status, PS_CANCELLED, "the subscription ended: %s", reason->text);
}

static void watch_everything(const char *durable_id)
{
    struct rig rig;
    struct psc_subscription *subscription;
    open_rig(&rig);
    sync_vfs_delay(1);
    rig.wanted = 3000;
    rig.subscribing = true;
    rig.durable = durable_id != NULL;
    struct psc_subscribe_options options = {.filter = bytes_of("a/#"),
                                            .durable_id = durable_id != NULL ? bytes_of(durable_id)
                                                                             : (struct psc_bytes){NULL, 0},
                                            .subscribed = subscribed,
                                            .message = delivered,
                                            .ended = ended,
                                            .data = &rig};
    cr_assert_eq(psc_subscribe(rig.client, &options, &subscription), PS_OK);

    uv_run(&rig.loop, UV_RUN_DEFAULT);

    cr_assert_eq(rig.acknowledged, rig.wanted);
    cr_assert_eq(rig.delivered, rig.wanted);
    cr_assert_eq(rig.early_acknowledgements, 0u, "%u acknowledged before their sync",
                 rig.early_acknowledgements);
    cr_assert_eq(rig.early_deliveries, 0u, "%u delivered before their sync", rig.early_deliveries);
    close_rig(&rig);
}

Test(server_sync, what_reaches_a_temporary_subscriber_and_a_publisher_is_synced)
{
    watch_everything(NULL);
}

Test(server_sync, what_reaches_a_durable_subscriber_and_a_publisher_is_synced)
{
    watch_everything("s1");
}

/* -------------------------------------------------------------------------------------- no sync is wasted */

static void published_lone(const struct psc_error *error, uint64_t offset, void *data)
{
    struct rig *rig = ((struct publication *)data)->rig;
    (void)offset;
    cr_assert(acknowledged(error, data));
    stop_when_done(rig);
}

static void publish_lone(struct rig *rig)
{
    rig->wanted++;
    publish(rig, 0, published_lone);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
}

Test(server_sync, a_lone_publication_waits_for_one_sync)
{
    struct rig rig;
    open_rig(&rig);
    publish_lone(&rig);
    sync_vfs_delay(50);

    for (int i = 0; i < 5; i++) {
        uint64_t before = sync_vfs_syncs();
        publish_lone(&rig);
        cr_assert_eq(sync_vfs_syncs(), before + 1);
    }

    close_rig(&rig);
}

/* Each message is a frame of its own: the next goes out when the broker has answered a ping behind it. The last
 * answer says that the broker has them all; only then the sync goes on. */
static void pinged(const struct psc_error *error, uint64_t round_trip_ns, void *data)
{
    struct rig *rig = data;
    (void)round_trip_ns;
    cr_assert_null(error);
    if (rig->sent == rig->wanted) {
        rig->syncs_when_held = sync_vfs_syncs();
        rig->commits_when_held = sync_vfs_commits();
        sync_vfs_hold(false, NULL, NULL);
        return;
    }
    publish(rig, rig->sent % TOPICS, published_lone);
    cr_assert_eq(psc_ping(rig->client, pinged, rig), PS_OK);
}

static void held_cb(uv_async_t *async)
{
    struct rig *rig = async->data;
    uv_close((uv_handle_t *)async, NULL);
    pinged(NULL, 0, rig);
}

static void wake_loop(void *ctx)
{
    uv_async_send(ctx);
}

Test(server_sync, what_arrives_during_a_sync_goes_into_the_next_commit)
{
    struct rig rig;
    open_rig(&rig);
    publish_lone(&rig);
    sync_vfs_delay(50);
    uv_async_init(&rig.loop, &rig.held, held_cb);
    rig.held.data = &rig;
    sync_vfs_hold(true, wake_loop, &rig.held);
    rig.wanted = rig.sent + 101;
    publish(&rig, 0, published_lone);

    uv_run(&rig.loop, UV_RUN_DEFAULT);

    cr_assert_eq(rig.acknowledged, rig.wanted);
    cr_assert_eq(sync_vfs_syncs(), rig.syncs_when_held + 2, "the held one and one for all the others");
    cr_assert_eq(sync_vfs_commits(), rig.commits_when_held + 1);
    close_rig(&rig);
}
