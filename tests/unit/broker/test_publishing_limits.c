/* When publishing stops and goes on, to the byte, and whose refusal is whose. */
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

static void send_kilobyte(struct client *client)
{
    static uint8_t bytes[1000];
    struct message message = {.payload = {bytes, sizeof bytes}};

    send_messages(client, "A", &message, 1);
}

static enum ps_status outcome(struct client *client, unsigned run)
{
    const struct published *published = &client_expect(client, SERVER_PUBLISHED)->published;

    cr_assert_lt(run, published->run_count);
    return published->runs[run].status;
}

/* Frames may be behind the one that fills it: they were received already. */
Test(publishing_limits, a_window_is_read_on_only_when_it_is_not_full)
{
    struct broker_config config = {.publish_window = 10000};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);

    for (unsigned i = 0; i < 30; i++)
        send_kilobyte(client);
    while (world->write_count > 0) {
        world_commit(world, 1);
        cr_assert_eq(client->paused, client->session->window.used >= 10000, "%llu",
                     (unsigned long long)client->session->window.used);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing_limits, the_budget_of_all_lets_nobody_go_on_while_it_is_full)
{
    struct broker_config config = {.publish_total = 40000};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);

    while (!client->paused || world->broker->publish.used < 60000)
        send_kilobyte(client);
    while (world->write_count > 0) {
        world_commit(world, 1);
        cr_assert_eq(client->paused, world->broker->publish.used >= 40000);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing_limits, while_it_is_full_newcomers_pause_and_those_that_are_done_do_not)
{
    struct broker_config config = {.publish_total = 40000};
    struct world *world = world_new(&config);
    struct client *many = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *done = world_connect(world, 1, SESSION_ANY, NULL);
    struct client *newcomer = world_connect(world, 2, SESSION_ANY, NULL);

    send_kilobyte(done);
    world_settle(world);
    while (!many->paused)
        send_kilobyte(many);
    cr_assert_not(done->paused);
    cr_assert_not(newcomer->paused);
    send_kilobyte(newcomer);
    cr_assert(newcomer->paused);
    world_settle(world);
    cr_assert_not(many->paused || newcomer->paused);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing_limits, a_topic_on_its_way_is_taken_from_the_rate_once)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct rate rate = {.per_second = 1};

    client->session->config.topic_rate = &rate;
    send_kilobyte(client);
    send_kilobyte(client);
    world_settle(world);
    cr_assert_eq(outcome(client, 0), PS_OK);
    cr_assert_eq(outcome(client, 0), PS_OK);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing_limits, a_deleted_topic_that_somebody_waits_for_is_new_again)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *waiting = world_connect(world, 1, SESSION_ANY, NULL);
    struct rate rate = {.per_second = 1};
    struct client_frame delete = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("A")};

    client->session->config.topic_rate = &rate;
    publish(client, "A", "x");
    subscribe(waiting, "A", NULL, START_NEW, 0);
    client_request(client, &delete);
    world_settle(world);
    client_expect(client, SERVER_DONE);
    send_kilobyte(client);
    world_settle(world);
    cr_assert_eq(outcome(client, 0), PS_RATE_EXCEEDED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing_limits, where_no_topic_may_be_made_each_message_is_told_its_own_reason)
{
    static uint8_t big[64];
    struct broker_config config = {.max_topics = 1, .limits = {.max_message = 32, .max_frame = 65536}};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct message messages[] = {{.payload = {big, sizeof big}}, {.payload = span_of("x")}};

    publish(client, "A", "x");
    send_messages(client, "B", messages, 2);
    const struct published *published = &client_expect(client, SERVER_PUBLISHED)->published;
    cr_assert_eq(published->run_count, 2u);
    cr_assert_eq(published->runs[0].status, PS_MESSAGE_TOO_LARGE);
    cr_assert_eq(published->runs[1].status, PS_LIMIT_EXCEEDED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(publishing_limits, messages_in_a_frame_are_limited)
{
    struct broker_config config = {.limits = {.max_messages_per_frame = 2}};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct message messages[3] = {
        {.payload = span_of("x")}, {.payload = span_of("x")}, {.payload = span_of("x")}};

    send_messages(client, "A", messages, 3);
    const struct protocol_error *error = &client_expect_error(client, PS_LIMIT_EXCEEDED)->error;
    cr_assert(span_equal(error->limit_name, span_of("max_messages_per_frame")));
    cr_assert_eq(error->limit_value, 2u);
    send_messages(client, "A", messages, 2);
    world_settle(world);
    cr_assert_eq(outcome(client, 0), PS_OK);
    world_free(world);
    ASSERT_NO_LEAKS();
}
