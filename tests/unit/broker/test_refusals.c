/* What is refused of subscriptions and acknowledgements, and what is unknown. */
#include "broker_state.h"
#include "leaks.h"
#include "world.h"

#include <criterion/criterion.h>

/* What was asked last comes to an outcome that nobody knows. */
static void expect_unknown(struct world *world, struct client *client)
{
    world->next_commit = PS_UNKNOWN;
    world_commit(world, 1);
    const struct server_frame *answer = client_next(client);
    cr_assert_not_null(answer);
    cr_assert(answer->error.unknown, "%s", ps_status_name(answer->error.status));
}

Test(refusals, an_unknown_outcome_of_an_attach_is_told_as_one)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame attach = subscribe_frame("A", "s1");

    client_request(client, &attach);
    expect_unknown(world, client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, an_unknown_outcome_of_a_seek_is_told_as_one)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame seek = {
        .kind = CLIENT_SEEK,
        .seek = {.durable_id = span_of("s1"), .filter = span_of("A"), .to = {.kind = START_BEGINNING}}};

    subscribe(client, "A", "s1", START_NEW, 0);
    client_request(client, &seek);
    expect_unknown(world, client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, an_acknowledgement_of_another_log_moves_nothing)
{
    static const uint8_t other[LOG_ID_BYTES] = {1, 2, 3};
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    struct client_frame ack = {.kind = CLIENT_ACK, .ack = {number, span_of("A"), 2, {other, sizeof other}}};

    publish_many(publisher, "A", 3);
    expect_offsets(client, "A", 0, 3);
    client_request(client, &ack);
    world_settle(world);
    client_expect_error(client, PS_LOG_CHANGED);
    ack.ack.log_id = (struct span){world->opened.log_id, LOG_ID_BYTES};
    client_request(client, &ack);
    world_settle(world);
    client_expect(client, SERVER_DONE);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* Names come from the network: they are matched only when they are names. */
Test(refusals, an_acknowledgement_of_no_topic_is_refused)
{
    static const char *const names[] = {"", "a/+", "#", "a\nb"};
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "#", "s1", START_NEW, 0);

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct client_frame ack = {.kind = CLIENT_ACK, .ack = {number, span_of(names[i]), 1, SPAN_ABSENT}};

        client_request(client, &ack);
        world_settle(world);
        client_expect_error(client, PS_OUT_OF_RANGE);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, a_smaller_credit_takes_none_back)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame frame = subscribe_frame("A", NULL);

    frame.subscribe.credit_messages = 10;
    frame.subscribe.credit_bytes = 10000;
    client_request(client, &frame);
    world_settle(world);
    uint64_t number = client_expect(client, SERVER_SUBSCRIBED)->subscribed.subscription;
    client_send(client, &(struct client_frame){.kind = CLIENT_CREDIT, .credit = {number, 5, 5}});
    publish_many(publisher, "A", 12);
    expect_offsets(client, "A", 0, 10);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, a_seek_in_another_log_is_refused)
{
    static const uint8_t other[LOG_ID_BYTES] = {1, 2, 3};
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame seek = {.kind = CLIENT_SEEK,
                                .seek = {.durable_id = span_of("s1"),
                                         .filter = span_of("A"),
                                         .to = {.kind = START_BEGINNING},
                                         .log_id = {other, sizeof other}}};

    subscribe(client, "A", "s1", START_NEW, 0);
    client_request(client, &seek);
    client_expect_error(client, PS_LOG_CHANGED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* The seek that is refused was not the last one: what was acknowledged waits for the one behind it. */
Test(refusals, an_acknowledgement_waits_for_the_last_of_several_seeks)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    struct client_frame seek = {.kind = CLIENT_SEEK,
                                .seek = {.durable_id = span_of("s1"),
                                         .filter = span_of("A"),
                                         .to = {.kind = START_OFFSET, .value = 1000}}};
    struct client_frame ack = {.kind = CLIENT_ACK, .ack = {number, span_of("A"), 3, SPAN_ABSENT}};

    publish_many(publisher, "A", 3);
    client_request(publisher, &seek);
    seek.seek.to = (struct start_rule){.kind = START_BEGINNING};
    client_request(publisher, &seek);
    expect_offsets(client, "A", 0, 3);
    client_request(client, &ack);
    world_commit(world, 1);
    cr_assert_eq(client_find(publisher, SERVER_ERROR)->error.status, PS_OUT_OF_RANGE);
    client_expect_nothing(client);
    world_settle(world);
    client_disconnect(client);
    world_settle(world);

    client = world_connect(world, 2, SESSION_ANY, NULL);
    struct client_frame again = subscribe_frame("A", "s1");
    client_request(client, &again);
    world_settle(world);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIBED)->subscribed.starts[0].offset, 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, who_subscribes_behind_an_unsubscribe_is_not_removed_by_it)
{
    struct world *world = world_new(NULL);
    struct client *holder = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame forget = {.kind = CLIENT_UNSUBSCRIBE,
                                  .unsubscribe = {.durable_id = span_of("s1"), .filter = span_of("A")}};
    struct client_frame attach = subscribe_frame("A", "s1");

    subscribe(holder, "A", "s1", START_NEW, 0);
    client_request(holder, &forget);
    client_request(client, &attach);
    world_settle(world);
    cr_assert(client_expect(client, SERVER_SUBSCRIBED)->subscribed.created);
    client_expect_nothing(client);
    publish(holder, "A", "x");
    expect_offsets(client, "A", 0, 1);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, one_check_at_a_time)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *another = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame verify = {.kind = CLIENT_VERIFY};

    client_request(client, &verify);
    client_request(another, &verify);
    const struct protocol_error *error = &client_expect_error(another, PS_LIMIT_EXCEEDED)->error;
    cr_assert(span_equal(error->limit_name, span_of("verifications")));
    world_settle(world);
    cr_assert(client_expect(client, SERVER_VERIFICATION)->verification.done);
    client_request(another, &verify);
    world_settle(world);
    client_expect(another, SERVER_VERIFICATION);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* The second was not written yet when the first failed. */
Test(refusals, an_acknowledgement_behind_a_failed_one_is_not_said_to_be_done)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    struct client_frame ack = {.kind = CLIENT_ACK, .ack = {number, span_of("A"), 1, SPAN_ABSENT}};

    publish_many(publisher, "A", 3);
    expect_offsets(client, "A", 0, 3);
    client_request(client, &ack);
    client_request(client, &ack);
    cr_assert_eq(world->write_count, 1u);
    world->next_commit = PS_UNKNOWN;
    world_commit(world, 1);
    cr_assert_neq(client_expect(client, SERVER_ERROR)->error.status, PS_OK);
    cr_assert_eq(client_expect(client, SERVER_ERROR)->error.status, PS_STORAGE_FAILED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(refusals, acknowledgements_of_several_topics_are_written_together)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "t/+", "s1", START_NEW, 0);
    static const char *const topics[] = {"t/a", "t/b", "t/c"};

    for (int i = 0; i < 3; i++) {
        publish_many(publisher, topics[i], 2);
        expect_offsets(client, topics[i], 0, 2);
    }
    for (int i = 0; i < 3; i++)
        client_send(client, &(struct client_frame){.kind = CLIENT_ACK,
                                                   .ack = {number, span_of(topics[i]), 2, SPAN_ABSENT}});
    client_disconnect(client);
    world_settle(world);

    client = world_connect(world, 2, SESSION_ANY, NULL);
    struct client_frame again = subscribe_frame("t/+", "s1");
    client_request(client, &again);
    world_settle(world);
    const struct subscribed *subscribed = &client_expect(client, SERVER_SUBSCRIBED)->subscribed;
    cr_assert_eq(subscribed->start_count, 3u);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(subscribed->starts[i].offset, 2u);
    world_free(world);
    ASSERT_NO_LEAKS();
}
