/* What one session may ask for, and the budgets that all of them share. */
#include "attachment.h"
#include "broker_state.h"
#include "leaks.h"
#include "session_state.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(session, what_comes_before_hello_has_limits_of_its_own)
{
    struct broker_config config = {.hello_frame = 2000, .hello_timeout_ms = 300};
    struct world *world = world_new(&config);
    struct client *client = world_accept(world, 0, SESSION_ANY);
    struct client *large = world_accept(world, 1, SESSION_ANY);
    cr_assert_eq(session_frame_cap(client->session), 2000u);

    session_refuse(large->session, PS_FRAME_TOO_LARGE);
    const struct protocol_error *error = &client_expect_error(large, PS_FRAME_TOO_LARGE)->error;
    cr_assert(span_equal(error->limit_name, span_of("hello_frame")));
    cr_assert_eq(error->limit_value, 2000u);
    world_pass(world, 300);

    error = &client_expect_error(client, PS_TIMED_OUT)->error;
    cr_assert(span_equal(error->limit_name, span_of("hello_timeout_ms")));
    cr_assert_eq(error->limit_value, 300u);
    cr_assert(error->retryable);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, names_are_limited)
{
    struct broker_config config = {.limits.max_name_bytes = 3};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, "abc");
    struct client *other = world_accept(world, 1, SESSION_ANY);
    struct client_frame hello = {.kind = CLIENT_HELLO,
                                 .hello = {.min_version = 1, .max_version = 1, .id = span_of("abcd")}};
    struct client_frame long_filter = subscribe_frame("abcd", NULL);
    struct client_frame long_id = subscribe_frame("abc", "abcd");

    client_request(other, &hello);
    cr_assert_eq(client_expect_error(other, PS_BAD_ID)->error.limit_value, 3u);
    client_request(client, &long_filter);
    cr_assert_eq(client_expect_error(client, PS_BAD_FILTER)->error.limit_value, 3u);
    client_request(client, &long_id);
    const struct protocol_error *error = &client_expect_error(client, PS_BAD_ID)->error;
    cr_assert_eq(error->limit_value, 3u);
    cr_assert(span_equal(error->limit_name, span_of("max_name_bytes")));
    subscribe(client, "abc", "abc", START_NEW, 0);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, subscriptions_are_limited)
{
    struct broker_config config = {.limits.max_subscriptions = 2};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    uint64_t first = subscribe(client, "A", NULL, START_NEW, 0);
    subscribe(client, "B", NULL, START_NEW, 0);
    struct client_frame frame = subscribe_frame("C", NULL);

    client_request(client, &frame);
    const struct protocol_error *error = &client_expect_error(client, PS_LIMIT_EXCEEDED)->error;
    cr_assert_eq(error->limit_value, 2u);
    struct client_frame detach = {.kind = CLIENT_DETACH, .detach = first};
    client_request(client, &detach);
    client_expect(client, SERVER_DONE);

    subscribe(client, "C", NULL, START_NEW, 0);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* Until the next subscription is refused; each has its own filter. */
static void use_up_the_budget(struct world *world, struct client *client)
{
    char filter[16];
    for (unsigned i = 0; !quota_full(&world->broker->subscriptions); i++) {
        snprintf(filter, sizeof filter, "%u/a/b", i);
        subscribe(client, filter, NULL, START_NEW, 0);
    }
}

static void expect_budget(struct client *client)
{
    const struct protocol_error *error = &client_expect_error(client, PS_LIMIT_EXCEEDED)->error;
    cr_assert(span_equal(error->limit_name, span_of("cursor_memory")));
    cr_assert_gt(error->limit_value, 0u);
}

Test(session, cursors_of_all_subscriptions_share_a_budget)
{
    struct broker_config config = {.cursor_bytes = sizeof(struct attachment) + 6 * sizeof(struct cursor)};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *other = world_connect(world, 1, SESSION_ANY, NULL);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (unsigned i = 0; i < 8; i++)
        publish_many(client, names[i], 1);

    struct client_frame all = subscribe_frame("#", NULL);
    client_request(client, &all);
    expect_budget(client);
    cr_assert_eq(world->broker->subscriptions.used, 0u);

    /* A refused one gave its charge back; a topic that comes into being beyond the budget ends the connection. */
    subscribe(other, "later", NULL, START_NEW, 0);
    use_up_the_budget(world, other);
    publish_many(client, "later", 1);
    expect_budget(other);
    world_settle(world);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, subscriptions_and_their_filters_are_charged_until_they_end)
{
    struct broker_config config = {.cursor_bytes = 8000};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *other = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t first = subscribe(client, "a/b/c", NULL, START_NEW, 0);
    uint64_t one = world->broker->subscriptions.used;

    /* Levels that another filter has are there already. */
    subscribe(other, "a/b/c", NULL, START_NEW, 0);
    cr_assert_lt(world->broker->subscriptions.used, 2 * one);
    cr_assert_geq(one, sizeof(struct attachment) + 3 * sizeof(struct map_node));

    use_up_the_budget(world, other);
    struct client_frame frame = subscribe_frame("one/more", NULL);
    client_request(client, &frame);
    expect_budget(client);
    client_disconnect(other);
    cr_assert_eq(world->broker->subscriptions.used, one);
    struct client_frame detach = {.kind = CLIENT_DETACH, .detach = first};
    client_request(client, &detach);
    client_expect(client, SERVER_DONE);
    cr_assert_eq(world->broker->subscriptions.used, 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, a_client_that_does_not_read_its_answers_is_not_read_either)
{
    struct broker_config config = {.delivery_bytes = 1024,
                                   .limits = {.max_message = 1024, .max_frame = 4096}};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame info = {.kind = CLIENT_GET_INFO};
    client->slow = true;

    for (unsigned i = 0; i < 1000 && !client->paused; i++)
        client_request(client, &info);
    cr_assert(client->paused);
    cr_assert_lt(client->queued, 16384u);
    client_take(client);

    cr_assert_not(client->paused);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* Sockets that stand still share a budget; one that moves is served all the same. */
Test(session, what_is_queued_for_all_sockets_has_a_budget)
{
    enum { STOPPED = 8, SCARCE = 16 * 1024 };
    static char payload[1001];
    struct broker_config config = {.send_total = 512 * 1024};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *stopped[STOPPED];
    memset(payload, 'x', sizeof payload - 1);
    for (unsigned i = 0; i < STOPPED; i++) {
        stopped[i] = world_connect(world, 1 + i, SESSION_ANY, NULL);
        stopped[i]->slow = true;
        subscribe(stopped[i], "A", NULL, START_NEW, 0);
    }
    for (unsigned i = 0; i < 400; i++)
        publish(publisher, "A", payload);

    uint64_t queued = 0;
    for (unsigned i = 0; i < STOPPED; i++)
        queued += stopped[i]->queued;
    cr_assert_gt(queued, 512u * 1024u - 1);
    cr_assert_lt(queued, 512u * 1024u + STOPPED * (SCARCE + 4096u));

    /* One that does not read its answers is not read; one that reads gets all. */
    struct client *asking = world_connect(world, STOPPED + 1, SESSION_ANY, NULL);
    struct client *reading = world_connect(world, STOPPED + 2, SESSION_ANY, NULL);
    struct client_frame info = {.kind = CLIENT_GET_INFO};
    asking->slow = true;
    while (!asking->paused)
        client_request(asking, &info);
    cr_assert_lt(asking->queued, SCARCE + 1024u);
    subscribe(reading, "A", NULL, START_BEGINNING, 0);
    expect_offsets(reading, "A", 0, 400);

    for (unsigned i = 0; i < STOPPED; i++) {
        client_take(stopped[i]);
        world_settle(world);
    }
    client_take(asking);
    cr_assert_not(asking->paused);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* Slots are charged as large as a slice can be, while a socket takes nothing. */
Test(session, slices_of_history_are_charged_as_they_are)
{
    static char payload[301];
    struct broker_config config = {.delivery_bytes = 4096, .tail_bytes = 1000};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *stopped = world_connect(world, 1, SESSION_ANY, NULL);
    memset(payload, 'x', sizeof payload - 1);
    for (unsigned i = 0; i < 200; i++)
        publish(publisher, "A", payload);
    stopped->slow = true;
    subscribe(stopped, "A", NULL, START_BEGINNING, 0);

    cr_assert_gt(stopped->session->slots, 0u);
    cr_assert_eq(world->broker->output.used, stopped->queued + stopped->session->slots * 2048u);
    stopped->slow = false;
    client_take(stopped);
    world_settle(world);
    expect_offsets(stopped, "A", 0, 200);
    world_free(world);
    ASSERT_NO_LEAKS();
}
