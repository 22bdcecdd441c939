/* Outcomes of publications, what they are charged, and how the broker drains and fails. */
#include "broker_state.h"
#include "leaks.h"
#include "session_state.h"
#include "world.h"

#include <criterion/criterion.h>

static void send_messages(struct client *client, const char *topic, struct message *messages, uint32_t count)
{
    struct publish_group group = {span_of(topic), messages, count};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, count, false}};
    client_request(client, &frame);
}

Test(publishing, an_invalid_message_does_not_fail_its_neighbours)
{
    static uint8_t big[64];
    struct broker_config config = {.limits = {.max_message = 32, .max_frame = 65536}};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct header twice[] = {{span_of("h"), span_of("1")}, {span_of("h"), span_of("2")}};
    struct message messages[] = {
        {.payload = span_of("0")},
        {.payload = {big, sizeof big}},
        {.payload = {big, sizeof big}},
        {.payload = span_of("1")},
        {.payload = span_of("x"), .headers = twice, .header_count = 2},
        {.payload = span_of("2")},
    };
    static struct message other = {.payload = {(const uint8_t *)"b", 1}};
    struct publish_group groups[] = {
        {span_of("A"), messages, 6}, {span_of("a/+"), &other, 1}, {span_of("B"), &other, 1}};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {groups, 3, 8, false}};

    client_request(client, &frame);
    world_settle(world);

    static const struct published_run expected[] = {
        {.first_index = 0, .count = 1, .status = PS_OK, .first_offset = 0},
        {.first_index = 1, .count = 2, .status = PS_MESSAGE_TOO_LARGE},
        {.first_index = 3, .count = 1, .status = PS_OK, .first_offset = 1},
        {.first_index = 4, .count = 1, .status = PS_BAD_HEADER},
        {.first_index = 5, .count = 1, .status = PS_OK, .first_offset = 2},
        {.first_index = 6, .count = 1, .status = PS_BAD_TOPIC},
        {.first_index = 7, .count = 1, .status = PS_OK, .first_offset = 0},
    };
    const struct published *published = &client_expect(client, SERVER_PUBLISHED)->published;
    cr_assert_eq(published->run_count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < published->run_count; i++) {
        cr_assert_eq(published->runs[i].first_index, expected[i].first_index, "run %zu", i);
        cr_assert_eq(published->runs[i].count, expected[i].count, "run %zu", i);
        cr_assert_eq(published->runs[i].status, expected[i].status, "run %zu", i);
        if (expected[i].status == PS_OK)
            cr_assert_eq(published->runs[i].first_offset, expected[i].first_offset, "run %zu", i);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, what_may_not_be_published_is_refused)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    static const struct {
        const char *topic;
        enum ps_status status;
    } table[] = {
        {"", PS_BAD_TOPIC}, {"a/#", PS_BAD_TOPIC}, {"$x", PS_RESERVED_TOPIC}, {"a\nb", PS_BAD_TOPIC}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct message message = {.payload = span_of("x")};
        send_messages(client, table[i].topic, &message, 1);
        cr_assert_eq(world->write_count, 0u);
        cr_assert_eq(client_expect(client, SERVER_PUBLISHED)->published.runs[0].status, table[i].status);
    }
    send_messages(client, "A", NULL, 0);
    cr_assert_eq(client_expect(client, SERVER_PUBLISHED)->published.run_count, 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, a_full_window_stops_reading_until_the_commit)
{
    static uint8_t bytes[1000];
    struct broker_config config = {.publish_window = 10000};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct message message = {.payload = {bytes, sizeof bytes}};

    unsigned sent = 0;
    for (; !client->paused; sent++)
        send_messages(client, "A", &message, 1);
    cr_assert_leq(sent, 10u);
    cr_assert_geq(client->session->window.used, 10000u);
    world_commit(world, 1);
    if (client->session->window.used < 10000)
        cr_assert_not(client->paused);
    world_settle(world);

    cr_assert_not(client->paused);
    cr_assert_eq(client->session->window.used, 0u);
    cr_assert_eq(world->broker->publish.used, 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* A frame in a receive buffer that it shares with others. */
static void receive_from(struct client *client, struct buffer *buffer, const char *topic)
{
    struct message message = {.payload = span_of("x")};
    struct publish_group group = {span_of(topic), &message, 1};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}}, decoded;
    struct bytes bytes = {0};

    cr_assert_eq(codec_encode_client(&frame, &bytes), PS_OK);
    memcpy(buffer->data, bytes.data, bytes.size);
    struct span body = {buffer->data + FRAME_HEADER_BYTES, bytes.size - FRAME_HEADER_BYTES};
    bytes_deinit(&bytes);
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    cr_assert_not_null(arena);
    cr_assert_eq(codec_decode_client(body, arena, &decoded), PS_OK);
    session_receive(client->session, &decoded, buffer, &arena);
    arena_free(arena);
}

Test(publishing, a_refused_publication_leaves_the_charge_for_its_buffer_to_the_next)
{
    enum { SIZE = 100000 };
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct buffer *buffer = calloc(1, sizeof *buffer + SIZE);
    cr_assert_not_null(buffer);
    buffer->refs = 1;
    buffer->size = SIZE;

    receive_from(client, buffer, "not/+/published");
    receive_from(client, buffer, "A");
    receive_from(client, buffer, "A");
    buffer_unref(buffer);
    broker_flush(world->broker);

    cr_assert_geq(client->session->window.used, SIZE + 0u);
    cr_assert_lt(client->session->window.used, 2 * SIZE + 0u, "the third takes it again");
    world_settle(world);
    cr_assert_eq(client->session->window.used, 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, the_budget_of_all_pauses_all_publishers_and_nobody_else)
{
    static uint8_t bytes[1000];
    struct broker_config config = {.publish_total = 40000};
    struct world *world = world_new(&config);
    struct client *a = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *b = world_connect(world, 1, SESSION_ANY, NULL);
    struct client *idle = world_connect(world, 2, SESSION_ANY, NULL);
    struct message message = {.payload = {bytes, sizeof bytes}};

    send_messages(b, "B", &message, 1);
    while (!a->paused)
        send_messages(a, "A", &message, 1);
    cr_assert(b->paused);
    cr_assert_not(idle->paused);
    world_settle(world);

    cr_assert_not(a->paused);
    cr_assert_not(b->paused);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, goes_on_when_the_connection_is_gone)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, "p1");
    struct message message = {.payload = span_of("x")};
    send_messages(client, "A", &message, 1);

    client_disconnect(client);
    world_settle(world);

    cr_assert_eq(world->broker->publish.used, 0u);
    client = world_connect(world, 1, SESSION_ANY, NULL);
    cr_assert_eq(publish(client, "A", "y"), 1u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, a_refusal_by_the_store_is_told_and_service_resumes)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct message message = {.payload = span_of("x")};
    world->next_op = PS_DISK_FULL;
    send_messages(client, "A", &message, 1);
    world_settle(world);

    const struct published_run *run = &client_expect(client, SERVER_PUBLISHED)->published.runs[0];
    cr_assert_eq(run->status, PS_DISK_FULL);
    cr_assert_not(run->error.unknown);
    cr_assert_eq(publish(client, "A", "y"), 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, a_failed_commit_is_answered_unknown_and_stops_the_broker_once)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct message message = {.payload = span_of("x")};
    send_messages(client, "A", &message, 1);
    send_messages(client, "A", &message, 1);
    world->next_commit = PS_UNKNOWN;

    world_commit(world, 1);
    cr_assert(client_expect(client, SERVER_PUBLISHED)->published.runs[0].error.unknown);
    cr_assert_eq(world->failed, 0u);
    world_commit(world, 1);

    const struct published_run *run = &client_expect(client, SERVER_PUBLISHED)->published.runs[0];
    cr_assert_eq(run->status, PS_STORAGE_FAILED);
    cr_assert_not(run->error.unknown);
    cr_assert_eq(world->failed, 1u);
    cr_assert_eq(world->failure, PS_UNKNOWN);
    send_messages(client, "A", &message, 1);
    client_expect_error(client, PS_STORAGE_FAILED);
    broker_flush(world->broker);
    cr_assert_eq(world->failed, 1u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, draining_answers_what_is_under_way_refuses_the_rest_and_commits_offsets)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *durable = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(durable, "A", "s1", START_NEW, 0);
    publish_many(client, "A", 3);
    expect_offsets(durable, "A", 0, 3);
    struct client_frame ack = ack_frame(number, "A", 2);
    client_send(durable, &ack);
    struct message message = {.payload = span_of("x")};
    send_messages(client, "A", &message, 1);

    broker_drain(world->broker);
    send_messages(client, "A", &message, 1);
    ack.ack.next_offset = 3;
    client_request(durable, &ack);
    cr_assert_eq(world->drained, 0u);
    world_settle(world);
    world_pass(world, 0);

    cr_assert_eq(client_expect(client, SERVER_GOODBYE)->error.status, PS_DRAINING);
    client_expect_error(client, PS_DRAINING);
    cr_assert_eq(client_expect(client, SERVER_PUBLISHED)->published.runs[0].first_offset, 3u);
    client_find(durable, SERVER_DONE);
    cr_assert_eq(world->drained, 1u);
    cr_assert(client->closed && durable->closed);
    world_restart(world);
    durable = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame again = subscribe_frame("A", "s1");
    client_request(durable, &again);
    world_settle(world);
    cr_assert_eq(client_expect(durable, SERVER_SUBSCRIBED)->subscribed.starts[0].offset, 3u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, a_drain_ends_though_offsets_cannot_be_stored)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(client, "A", 3);
    struct client_frame ack = ack_frame(number, "A", 2);
    client_send(client, &ack);

    broker_drain(world->broker);
    for (unsigned i = 0; i < 10 && world->drained == 0; i++) {
        world->next_op = PS_DISK_FULL;
        if (world->write_count > 0)
            world_commit(world, world->write_count);
        world_pass(world, 1000);
    }

    cr_assert_eq(world->drained, 1u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, an_idle_broker_drains_at_its_next_tick)
{
    struct world *world = world_new(NULL);
    broker_drain(world->broker);
    cr_assert_eq(world->drained, 0u);

    world_pass(world, 0);

    cr_assert_eq(world->drained, 1u);
    world_pass(world, 1000);
    cr_assert_eq(world->drained, 1u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* A message of 60 KiB that is not committed yet. */
static void send_large(struct client *client)
{
    static uint8_t payload[60 * 1024];
    struct message message = {.payload = {payload, sizeof payload}};
    send_messages(client, "A", &message, 1);
}

Test(publishing, an_index_that_falls_behind_lets_less_in_at_a_time)
{
    struct broker_config config = {.publish_total = 1024 * 1024};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    send_large(client);
    send_large(client);
    cr_assert_not(client->paused);
    world_settle(world);

    world->state.falling_behind = true;
    broker_store_worked(world->broker, &world->state);
    send_large(client);
    cr_assert_not(client->paused);
    send_large(client);
    cr_assert(client->paused);
    world_settle(world);
    cr_assert_not(client->paused);

    /* The commits told that it has caught up. */
    send_large(client);
    send_large(client);
    cr_assert_not(client->paused);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, what_the_store_does_by_itself_shows_at_once)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    publish_many(client, "A", 10);
    struct topic *topic = topics_find(&world->broker->topics, span_of("A"));
    cr_assert_eq(topic->runs.count, 1u);

    struct store_state state = world->broker->state;
    state.indexed_through = state.mark - 1;
    state.wal_bytes = 123;
    broker_store_worked(world->broker, &state);

    cr_assert_eq(topic->runs.count, 0u);
    struct client_frame info = {.kind = CLIENT_GET_INFO};
    client_request(client, &info);
    cr_assert_eq(client_expect(client, SERVER_INFO)->info.wal_bytes, 123u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, topics_are_limited)
{
    struct broker_config config = {.max_topics = 2};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    publish(client, "A", "x");
    publish(client, "B", "x");
    struct message message = {.payload = span_of("x")};

    send_messages(client, "C", &message, 1);

    const struct published_run *run = &client_expect(client, SERVER_PUBLISHED)->published.runs[0];
    cr_assert_eq(run->status, PS_LIMIT_EXCEEDED);
    cr_assert(span_equal(run->error.limit_name, span_of("max_topics")));
    cr_assert_eq(run->error.limit_value, 2u);
    cr_assert_eq(publish(client, "A", "y"), 1u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, topics_are_made_no_faster_than_is_allowed)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct rate rate = {.per_second = 2};
    client->session->config.topic_rate = &rate;
    struct message message = {.payload = span_of("x")};

    publish(client, "A", "x");
    publish(client, "B", "x");
    send_messages(client, "C", &message, 1);
    const struct published_run *run = &client_expect(client, SERVER_PUBLISHED)->published.runs[0];
    cr_assert_eq(run->status, PS_RATE_EXCEEDED);
    cr_assert(run->error.retryable);
    cr_assert(span_equal(run->error.limit_name, span_of("topic_rate")));
    cr_assert_eq(run->error.limit_value, 2u);
    cr_assert_gt(run->error.retry_after_ms, 0u);
    cr_assert_eq(publish(client, "A", "y"), 1u);
    world_pass(world, 500);
    world->broker->config.limits.max_message = 0;
    send_messages(client, "E", &message, 1);
    cr_assert_eq(client_expect(client, SERVER_PUBLISHED)->published.runs[0].status, PS_MESSAGE_TOO_LARGE);
    world->broker->config.limits.max_message = 1000;
    cr_assert_eq(publish(client, "C", "x"), 0u, "what made no topic took nothing");
    send_messages(client, "D", &message, 1);
    cr_assert_eq(client_expect(client, SERVER_PUBLISHED)->published.runs[0].status, PS_RATE_EXCEEDED);

    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing, a_topic_with_a_long_name_is_refused_unless_it_exists)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct message message = {.payload = span_of("x")};
    publish(client, "long/one", "x");
    world->broker->config.limits.max_name_bytes = 4;

    send_messages(client, "other", &message, 1);
    const struct published_run *run = &client_expect(client, SERVER_PUBLISHED)->published.runs[0];
    cr_assert_eq(run->status, PS_BAD_TOPIC);
    cr_assert(span_equal(run->error.limit_name, span_of("max_name_bytes")));
    cr_assert_eq(run->error.limit_value, 4u);
    cr_assert_eq(publish(client, "long/one", "y"), 1u);
    cr_assert_eq(publish(client, "four", "x"), 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}
