/* The life of durable subscriptions: attach, acknowledge, detach, take-over, seek, forget, restart. */
#include "broker_state.h"
#include "leaks.h"
#include "world.h"

#include <criterion/criterion.h>

static const struct subscribed *resubscribe(struct client *client, const char *filter, const char *id)
{
    struct client_frame frame = subscribe_frame(filter, id);
    client_request(client, &frame);
    world_settle(client->world);
    return &client_expect(client, SERVER_SUBSCRIBED)->subscribed;
}

static enum ps_status ack_status(struct client *client, uint64_t subscription, const char *topic,
                                 uint64_t next)
{
    struct client_frame frame = ack_frame(subscription, topic, next);
    client_request(client, &frame);
    world_settle(client->world);
    const struct server_frame *answer = client_next(client);
    cr_assert_not_null(answer);
    return answer->kind == SERVER_DONE ? PS_OK : answer->error.status;
}

Test(durable, resumes_at_what_was_acknowledged_also_after_a_restart)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 10);
    expect_offsets(client, "A", 0, 10);
    acknowledge(client, number, "A", 6);
    client_disconnect(client);
    publish_many(publisher, "A", 2);

    client = world_connect(world, 2, SESSION_ANY, NULL);
    cr_assert_not(resubscribe(client, "A", "s1")->created);
    expect_offsets(client, "A", 6, 12);
    world_restart(world);

    client = world_connect(world, 3, SESSION_ANY, NULL);
    const struct subscribed *subscribed = resubscribe(client, "A", "s1");
    cr_assert_not(subscribed->created);
    cr_assert_eq(subscribed->start_count, 1u);
    cr_assert_eq(subscribed->starts[0].offset, 6u);
    expect_offsets(client, "A", 6, 12);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, a_number_names_nothing_before_it_was_told)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame attach = subscribe_frame("A", "s1");
    struct client_frame detach = {.kind = CLIENT_DETACH, .detach = 1};
    struct client_frame forget = {.kind = CLIENT_UNSUBSCRIBE, .unsubscribe = {.subscription = {true, 1}}};
    uint64_t asked = client_request(client, &attach);
    client_request(client, &detach);
    client_expect_error(client, PS_STALE_GENERATION);
    client_request(client, &forget);
    client_expect_error(client, PS_STALE_GENERATION);
    world_settle(world);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIBED)->request_id.value, asked);
    client_request(client, &detach);
    world_settle(world);
    client_expect(client, SERVER_DONE);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, unanswered_acknowledgements_are_committed_on_disconnect)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 4);
    struct client_frame ack = ack_frame(number, "A", 3);

    client_send(client, &ack);
    cr_assert_eq(world->write_count, 0u);
    client_disconnect(client);
    cr_assert_eq(world->write_count, 1u);
    world_settle(world);

    client = world_connect(world, 2, SESSION_ANY, NULL);
    cr_assert_eq(resubscribe(client, "A", "s1")->starts[0].offset, 3u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, acknowledgements_are_coalesced_and_wait_for_100_ms_or_ride_along)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 8);
    for (uint64_t next = 1; next <= 5; next++) {
        struct client_frame ack = ack_frame(number, "A", next);
        client_send(client, &ack);
    }
    world_pass(world, 99);
    cr_assert_eq(world->write_count, 0u);

    world_pass(world, 1);

    cr_assert_eq(world->write_count, 1u);
    cr_assert_eq(world->writes[0]->op.offsets.count, 1u);
    cr_assert_eq(world->writes[0]->op.offsets.items[0].next_offset, 5u);
    world_settle(world);
    struct client_frame ack = ack_frame(number, "A", 7);
    client_send(client, &ack);
    struct message message = {.payload = span_of("x")};
    struct publish_group group = {span_of("B"), &message, 1};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};
    client_request(publisher, &frame);
    cr_assert_eq(world->write_count, 2u);
    cr_assert_eq(world->writes[0]->op.kind, STORE_OFFSETS);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, what_was_given_of_a_deleted_topic_is_acknowledged_all_the_same)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame delete_topic = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("t/1")};
    uint64_t number = subscribe(client, "t/+", "s1", START_NEW, 0);
    publish_many(publisher, "t/1", 1);
    expect_offsets(client, "t/1", 0, 1);
    cr_assert_eq(ack_status(client, number, "t/1", 1), PS_OK);
    publish_many(publisher, "t/1", 1);
    expect_offsets(client, "t/1", 1, 2);

    /* Acknowledged while the deletion is under way: it is written although the cursor goes. */
    client_request(publisher, &delete_topic);
    struct client_frame ack = ack_frame(number, "t/1", 2);
    client_send(client, &ack);
    world_settle(world);
    client_expect(publisher, SERVER_DONE);
    cr_assert_eq(world->broker->topics.by_name.count, 0u);
    cr_assert_eq(ack_status(client, number, "t/1", 2), PS_OK);
    cr_assert_eq(ack_status(client, number, "u", 2), PS_OUT_OF_RANGE);

    publish_many(publisher, "t/1", 1);
    expect_offsets(client, "t/1", 2, 3);
    client_disconnect(client);
    world_settle(world);
    client = world_connect(world, 2, SESSION_ANY, NULL);
    subscribe(client, "t/+", "s1", START_NEW, 0);
    cr_assert_eq(client_expect(client, SERVER_DELIVERY)->delivery.messages[0].offset, 2u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, an_acknowledgement_stays_within_what_was_given)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame frame = subscribe_frame("A", "s1");
    frame.subscribe.credit_messages = 4;
    client_request(client, &frame);
    world_settle(world);
    uint64_t number = client_expect(client, SERVER_SUBSCRIBED)->subscribed.subscription;
    publish_many(publisher, "A", 10);
    expect_offsets(client, "A", 0, 4);

    cr_assert_eq(ack_status(client, number, "A", 5), PS_OUT_OF_RANGE);
    cr_assert_eq(ack_status(client, number, "A", 4), PS_OK);
    cr_assert_eq(ack_status(client, number, "A", 2), PS_OK);
    struct client_frame list = {.kind = CLIENT_LIST_SUBSCRIPTIONS};
    client_request(client, &list);
    world_settle(world);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIPTION_LIST)
                     ->subscription_list.subscriptions[0]
                     .positions[0]
                     .committed,
                 4u);
    client_expect(client, SERVER_SUBSCRIPTION_LIST);
    cr_assert_eq(ack_status(client, number, "B", 0), PS_OUT_OF_RANGE);
    cr_assert_eq(ack_status(client, number + 1, "A", 4), PS_NO_SUCH_SUBSCRIPTION);
    uint64_t temporary = subscribe(client, "A", NULL, START_NEW, 0);
    cr_assert_eq(ack_status(client, temporary, "A", 4), PS_INVALID_ARGUMENT);

    client_disconnect(client);
    world_settle(world);
    client = world_connect(world, 2, SESSION_ANY, NULL);
    cr_assert_eq(resubscribe(client, "A", "s1")->starts[0].offset, 4u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, a_newer_attachment_takes_over_and_keeps_what_was_acknowledged)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *older = world_connect(world, 1, SESSION_ANY, NULL);
    struct client *newer = world_connect(world, 2, SESSION_ANY, NULL);
    uint64_t number = subscribe(older, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 5);
    expect_offsets(older, "A", 0, 5);
    struct client_frame ack = ack_frame(number, "A", 2);
    client_send(older, &ack);

    const struct subscribed *subscribed = resubscribe(newer, "A", "s1");

    cr_assert_eq(subscribed->starts[0].offset, 2u);
    cr_assert_eq(subscribed->generation, 2u);
    cr_assert_eq(client_expect(older, SERVER_SUBSCRIPTION_ENDED)->ended.reason.status, PS_REPLACED);
    cr_assert_eq(ack_status(older, number, "A", 5), PS_STALE_GENERATION);
    expect_offsets(newer, "A", 2, 5);
    struct client_frame again = subscribe_frame("A", "s1");
    client_request(newer, &again);
    client_expect_error(newer, PS_ALREADY_SUBSCRIBED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, one_that_is_replaced_while_it_is_being_stored_is_told)
{
    struct world *world = world_new(NULL);
    struct client *older = world_connect(world, 1, SESSION_ANY, NULL);
    struct client *newer = world_connect(world, 2, SESSION_ANY, NULL);
    struct client_frame frame = subscribe_frame("A", "s1");

    client_request(older, &frame);
    client_request(newer, &frame);
    world_settle(world);

    client_expect_error(older, PS_REPLACED);
    client_expect(newer, SERVER_SUBSCRIBED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, a_wildcard_gets_topics_that_came_while_it_was_away_from_their_beginning)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    publish_many(publisher, "t/old", 3);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    subscribe(client, "t/#", "s1", START_NEW, 0);
    client_disconnect(client);
    publish_many(publisher, "t/fresh", 2);
    publish_many(publisher, "t/old", 1);

    client = world_connect(world, 2, SESSION_ANY, NULL);
    const struct subscribed *subscribed = resubscribe(client, "t/#", "s1");

    cr_assert_eq(subscribed->start_count, 2u);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(subscribed->starts[i].offset,
                     span_equal(subscribed->starts[i].topic, span_of("t/old")) ? 3 : 0);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, a_seek_moves_it_and_tells_the_holder)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 6);
    expect_offsets(client, "A", 0, 6);
    struct client_frame ack = ack_frame(number, "A", 5);
    client_send(client, &ack);
    struct client_frame seek = {.kind = CLIENT_SEEK,
                                .seek = {.durable_id = span_of("s1"), .filter = span_of("A")}};
    seek.seek.to = (struct start_rule){.kind = START_OFFSET, .value = 1};

    client_request(publisher, &seek);
    ack.ack.next_offset = 6;
    client_request(client, &ack);
    world_settle(world);

    client_expect(publisher, SERVER_DONE);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIPTION_ENDED)->ended.reason.status, PS_MOVED);
    client_expect_error(client, PS_STALE_GENERATION);
    cr_assert_eq(resubscribe(client, "A", "s1")->starts[0].offset, 1u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, a_refused_seek_leaves_everything_as_it_was)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 6);
    expect_offsets(client, "A", 0, 6);
    struct client_frame seek = {.kind = CLIENT_SEEK,
                                .seek = {.durable_id = span_of("s1"), .filter = span_of("A")}};
    seek.seek.to = (struct start_rule){.kind = START_OFFSET, .value = 100};
    struct client_frame ack = ack_frame(number, "A", 4);

    client_request(publisher, &seek);
    client_request(client, &ack);
    world_settle(world);

    const struct protocol_error *error = &client_expect_error(publisher, PS_OUT_OF_RANGE)->error;
    cr_assert_eq(error->offset_from.value, 0u);
    cr_assert_eq(error->offset_to.value, 7u);
    client_expect(client, SERVER_DONE);
    client_disconnect(client);
    world_settle(world);
    client = world_connect(world, 2, SESSION_ANY, NULL);
    cr_assert_eq(resubscribe(client, "A", "s1")->starts[0].offset, 4u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, forgetting_removes_it_for_its_holder_too)
{
    struct world *world = world_new(NULL);
    struct client *admin = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    struct client_frame forget = {.kind = CLIENT_UNSUBSCRIBE,
                                  .unsubscribe = {.durable_id = span_of("s1"), .filter = span_of("A")}};

    client_request(admin, &forget);
    world_settle(world);
    client_expect(admin, SERVER_DONE);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIPTION_ENDED)->ended.reason.status, PS_REMOVED);
    client_request(admin, &forget);
    world_settle(world);
    client_expect_error(admin, PS_NO_SUCH_SUBSCRIPTION);

    number = subscribe(client, "A", "s1", START_NEW, 0);
    struct client_frame own = {.kind = CLIENT_UNSUBSCRIBE, .unsubscribe = {.subscription = {true, number}}};
    client_request(client, &own);
    world_settle(world);
    client_expect(client, SERVER_DONE);
    client_expect_nothing(client);
    struct client_frame existing = subscribe_frame("A", "s1");
    existing.subscribe.existing_only = true;
    client_request(client, &existing);
    world_settle(world);
    client_expect_error(client, PS_NO_SUCH_SUBSCRIPTION);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, one_that_reached_its_end_still_takes_acknowledgements)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish_many(publisher, "A", 5);
    struct client_frame frame = subscribe_frame("A", "s1");
    frame.subscribe.until_end = true;
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    world_settle(world);
    uint64_t number = client_expect(client, SERVER_SUBSCRIBED)->subscribed.subscription;
    expect_offsets(client, "A", 0, 5);
    client_expect(client, SERVER_SUBSCRIPTION_ENDED);

    cr_assert_eq(ack_status(client, number, "A", 5), PS_OK);

    cr_assert_eq(resubscribe(client, "A", "s1")->starts[0].offset, 5u);
    cr_assert_eq(ack_status(client, number, "A", 5), PS_STALE_GENERATION);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, the_listing_tells_committed_offsets_and_lags)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    subscribe(client, "B/#", "s2", START_NEW, 0);
    publish_many(publisher, "A", 6);
    publish_many(publisher, "B/1", 2);
    expect_offsets(client, "A", 0, 6);
    acknowledge(client, number, "A", 4);

    for (unsigned attached = 2; attached-- > 0;) {
        struct client_frame list = {.kind = CLIENT_LIST_SUBSCRIPTIONS};
        client_request(publisher, &list);
        world_settle(world);
        const struct subscription_list *frame =
            &client_expect(publisher, SERVER_SUBSCRIPTION_LIST)->subscription_list;
        cr_assert(span_equal(frame->subscriptions[0].durable_id, span_of("s1")));
        cr_assert_eq(frame->subscriptions[0].attached, attached);
        cr_assert_eq(frame->subscriptions[0].positions[0].committed, 4u);
        cr_assert_eq(frame->subscriptions[0].positions[0].lag, 2u);
        cr_assert(frame->more);
        frame = &client_expect(publisher, SERVER_SUBSCRIPTION_LIST)->subscription_list;
        cr_assert(span_equal(frame->subscriptions[0].durable_id, span_of("s2")));
        cr_assert_eq(frame->subscriptions[0].positions[0].lag, 2u);
        cr_assert_not(client_expect(publisher, SERVER_SUBSCRIPTION_LIST)->subscription_list.more);
        client_disconnect(client);
        world_settle(world);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

static uint64_t listed_offset(struct client *client)
{
    const struct subscription_list *list =
        &client_expect(client, SERVER_SUBSCRIPTION_LIST)->subscription_list;
    cr_assert_eq(list->subscription_count, 1u);
    cr_assert_eq(list->subscriptions[0].position_count, 1u);
    uint64_t committed = list->subscriptions[0].positions[0].committed;
    cr_assert_not(client_expect(client, SERVER_SUBSCRIPTION_LIST)->subscription_list.more);
    return committed;
}

Test(durable, a_listing_is_as_new_as_everything_acknowledged_before_it)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 6);
    struct client_frame list = {.kind = CLIENT_LIST_SUBSCRIPTIONS};
    struct client_frame ack = ack_frame(number, "A", 2);

    /* The first write is under way and the second is not even that when the subscriber goes; every read is
     * answered before any write. */
    client_send(client, &ack);
    world_pass(world, 100);
    cr_assert_eq(world->write_count, 1u);
    ack.ack.next_offset = 5;
    client_send(client, &ack);
    client_disconnect(client);
    client_request(publisher, &list);
    while (world->read_count > 0)
        world_complete_read(world, 0);
    world_settle(world);

    cr_assert_eq(listed_offset(publisher), 5u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, a_listing_that_waits_ends_with_its_connection_and_goes_on_after_a_refusal)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client *leaving = world_connect(world, 2, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 6);
    struct client_frame list = {.kind = CLIENT_LIST_SUBSCRIPTIONS};
    struct client_frame ack = ack_frame(number, "A", 2);
    client_send(client, &ack);
    client_disconnect(client);

    client_request(publisher, &list);
    client_request(leaving, &list);
    cr_assert_eq(world->read_count, 0u);
    client_disconnect(leaving);
    world->next_op = PS_DISK_FULL;
    world_settle(world);

    cr_assert_eq(listed_offset(publisher), 0u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, offsets_refused_by_the_store_are_written_again)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(publisher, "A", 3);
    expect_offsets(client, "A", 0, 3);
    world->next_op = PS_DISK_FULL;
    cr_assert_eq(ack_status(client, number, "A", 3), PS_DISK_FULL);

    world_pass(world, 1000);
    world_settle(world);

    world_restart(world);
    client = world_connect(world, 2, SESSION_ANY, NULL);
    cr_assert_eq(resubscribe(client, "A", "s1")->starts[0].offset, 3u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(durable, one_that_goes_and_one_that_comes_within_a_commit_leave_no_hole)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *holder = world_connect(world, 1, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 2, SESSION_ANY, NULL);
    struct message message = {.payload = span_of("x")};
    struct publish_group group = {span_of("A"), &message, 1};
    struct client_frame send = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};
    struct client_frame forget = {.kind = CLIENT_UNSUBSCRIBE,
                                  .unsubscribe = {.durable_id = span_of("s1"), .filter = span_of("A")}};
    struct client_frame attach = subscribe_frame("A", "s2");

    subscribe(holder, "A", "s1", START_NEW, 0);
    attach.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    attach.subscribe.start_given = true;
    client_request(publisher, &send);
    client_request(publisher, &forget);
    client_request(publisher, &send);
    client_request(client, &attach);
    client_request(publisher, &send);
    cr_assert_eq(world->write_count, 5u);
    world_commit(world, 5);
    world_settle(world);
    client_expect(client, SERVER_SUBSCRIBED);
    expect_offsets(client, "A", 0, 3);
    world_free(world);
    ASSERT_NO_LEAKS();
}
