/* Publishing and delivering: outcomes, starts, credit, history and tail, ends and gaps. */
#include "broker_state.h"
#include "leaks.h"
#include "session_state.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(delivery, a_publication_is_answered_and_delivered_after_its_commit)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, "p1");
    struct client *subscriber = world_connect(world, 1, SESSION_ANY, NULL);
    subscribe(subscriber, "A", NULL, START_NEW, 0);
    struct message message = {.payload = span_of("hello")};
    struct publish_group group = {span_of("A"), &message, 1};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};

    client_request(publisher, &frame);
    client_expect_nothing(publisher);
    client_expect_nothing(subscriber);
    world_settle(world);

    cr_assert_eq(client_expect(publisher, SERVER_PUBLISHED)->published.runs[0].first_offset, 0u);
    const struct delivery *delivery = &client_expect(subscriber, SERVER_DELIVERY)->delivery;
    cr_assert_eq(delivery->message_count, 1u);
    cr_assert(span_equal(delivery->messages[0].payload, span_of("hello")));
    cr_assert(span_equal(delivery->messages[0].publisher, span_of("p1")));
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_subscription_begins_where_it_asked)
{
    static const struct {
        enum start_kind kind;
        uint64_t value, first;
    } table[] = {{START_NEW, 0, 20},     {START_BEGINNING, 0, 0}, {START_OFFSET, 7, 7},
                 {START_OFFSET, 20, 20}, {START_OFFSET, 22, 22},  {START_LAST, 5, 15},
                 {START_LAST, 0, 20},    {START_LAST, 100, 0}};
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    publish_many(publisher, "A", 20);

    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct client *client = world_connect(world, i + 1, SESSION_ANY, NULL);
        subscribe(client, "A", NULL, table[i].kind, table[i].value);
    }
    publish_many(publisher, "A", 5);

    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++)
        expect_offsets(&world->clients[i + 1], "A", table[i].first, 25);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, nothing_goes_out_beyond_the_credit)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish_many(publisher, "A", 10);
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.credit_messages = 3;
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    world_settle(world);
    uint64_t number = client_expect(client, SERVER_SUBSCRIBED)->subscribed.subscription;
    expect_offsets(client, "A", 0, 3);
    client_expect_nothing(client);
    struct client_frame credit = {.kind = CLIENT_CREDIT, .credit = {number, 7, 1000000}};
    client_send(client, &credit);
    world_settle(world);

    expect_offsets(client, "A", 3, 7);
    client_expect_nothing(client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_batch_is_cut_where_the_credit_ends)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.credit_messages = 3;
    client_request(client, &frame);
    client_expect(client, SERVER_SUBSCRIBED);
    struct message messages[10] = {0};
    struct publish_group group = {span_of("A"), messages, 10};
    struct client_frame publication = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 10, false}};

    client_request(publisher, &publication);
    world_settle(world);

    expect_offsets(client, "A", 0, 3);
    client_expect_nothing(client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* What was read comes back in the wrong order, and sizes change, so that what was expected to fit does not. */
Test(delivery, history_is_read_ahead_and_given_in_order)
{
    static const char large[] =
        "a payload that is a good deal larger than those of the messages in front of it, which "
        "makes slices end before the offset that the next one was asked to begin with";
    struct broker_config config = {.delivery_bytes = 1024};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    for (unsigned i = 0; i < 1000; i++)
        publish(publisher, "A", i / 100 % 2 == 0 ? "small" : large);
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    client_find(client, SERVER_SUBSCRIBED);
    size_t most = 0;

    while (world->read_count > 0) {
        most = world->read_count > most ? world->read_count : most;
        world_complete_read(world, world->read_count - 1);
        broker_flush(world->broker);
    }
    world_settle(world);

    cr_assert_gt(most, 1u, "one read at a time");
    cr_assert_leq(most, 4u);
    expect_offsets(client, "A", 0, 1000);
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* Two topics share the credit: what was read ahead for one is of no use any more when it ends with the other. */
Test(delivery, what_was_read_ahead_is_dropped_when_the_credit_ends)
{
    static const char payload[] =
        "a payload of which a slice holds only a few, so that there are slices to read ahead";
    enum { MESSAGES = 60 };
    struct broker_config config = {.delivery_bytes = 512};
    for (unsigned credit = 1; credit < 2 * MESSAGES; credit++) {
        struct world *world = world_new(&config);
        struct dice dice = dice_of(credit);
        struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
        struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
        for (unsigned i = 0; i < 2 * MESSAGES; i++)
            publish(publisher, i < MESSAGES ? "t/1" : "t/2", payload);
        struct client_frame frame = subscribe_frame("t/#", NULL);
        frame.subscribe.credit_messages = credit;
        frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
        frame.subscribe.start_given = true;
        client_request(client, &frame);

        while (world->read_count > 0) {
            world_complete_read(world, dice_below(&dice, world->read_count));
            broker_flush(world->broker);
        }
        cr_assert_eq(client->session->slots, 0u, "%u slots are kept without credit for more than %u",
                     client->session->slots, credit);
        world_free(world);
    }
    ASSERT_NO_LEAKS();
}

Test(delivery, what_was_read_ahead_is_let_go_of_when_the_socket_takes_nothing)
{
    struct broker_config config = {.delivery_bytes = 1024};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    for (unsigned i = 0; i < 1000; i++)
        publish(publisher, "A", "small");
    client->slow = true;
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    world_settle(world);
    for (unsigned i = 0; i < 3; i++) {
        client_take(client);
        world_settle(world);
    }

    session_rest(client->session);
    cr_assert_gt(client->session->slots, 1u, "it took something since the last look");
    session_rest(client->session);
    cr_assert_eq(client->session->slots, 0u);

    while (client->queued > 0) {
        client_take(client);
        world_settle(world);
    }
    expect_offsets(client, "A", 0, 1000);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, history_without_credit_does_not_hold_up_another_subscription)
{
    struct broker_config config = {.delivery_bytes = 8192};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_accept(world, 1, SESSION_ANY);
    struct client_frame hello = {.kind = CLIENT_HELLO,
                                 .hello = {.min_version = 1, .max_version = 1, .max_frame = 4096}};
    client_request(client, &hello);
    client_expect(client, SERVER_WELCOME);
    static const char *const topics[] = {"t/1", "t/2", "t/3", "t/4", "other"};
    for (unsigned i = 0; i < 5; i++)
        publish_many(publisher, topics[i], 400);
    struct client_frame frame = subscribe_frame("t/#", NULL);
    frame.subscribe.credit_messages = 500;
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    client_expect(client, SERVER_SUBSCRIBED);

    /* Four slices come while the socket is full; the credit ends in the middle of them. */
    cr_assert_eq(world->read_count, 4u);
    client->queued = 100000;
    world_settle(world);
    client_take(client);
    frame = subscribe_frame("other", NULL);
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    world_settle(world);

    client_find(client, SERVER_SUBSCRIBED);
    expect_offsets(client, "other", 0, 400);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, bytes_of_credit_are_exceeded_by_one_message_only)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    for (int i = 0; i < 4; i++)
        publish(publisher, "A", "0123456789");
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.credit_bytes = 11;
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;

    client_request(client, &frame);
    world_settle(world);

    client_expect(client, SERVER_SUBSCRIBED);
    expect_offsets(client, "A", 0, 2);
    client_expect_nothing(client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_subscription_until_the_end_ends_there)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish_many(publisher, "A", 5);
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.until_end = true;
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;

    client_request(client, &frame);
    publish(publisher, "A", "too late");
    world_settle(world);

    client_expect(client, SERVER_SUBSCRIBED);
    expect_offsets(client, "A", 0, 5);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIPTION_ENDED)->ended.reason.status, PS_END_REACHED);
    client_expect_nothing(client);
    frame.subscribe.filter = span_of("nothing/#");
    client_request(client, &frame);
    client_expect(client, SERVER_SUBSCRIBED);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIPTION_ENDED)->ended.reason.status, PS_END_REACHED);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_wildcard_gets_new_topics_from_their_beginning)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish(publisher, "a/old", "x");
    subscribe(client, "a/+", NULL, START_NEW, 0);

    publish_many(publisher, "a/new", 3);
    publish(publisher, "b/new", "x");

    expect_offsets(client, "a/new", 0, 3);
    client_expect_nothing(client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, progress_comes_when_everything_was_sent)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    subscribe(client, "A", NULL, START_NEW, 0);
    publish_many(publisher, "A", 3);
    expect_offsets(client, "A", 0, 3);

    world_pass(world, 100);

    cr_assert_eq(client_expect(client, SERVER_PROGRESS)->progress.mark, world->state.mark);
    world_pass(world, 1000);
    client_expect_nothing(client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_resume_loses_nothing_also_on_topics_it_never_heard_of)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish_many(publisher, "t/known", 3);
    publish_many(publisher, "t/quiet", 2);
    uint64_t mark = world->state.mark;
    publish_many(publisher, "t/known", 2);
    publish_many(publisher, "t/quiet", 1);
    publish_many(publisher, "t/fresh", 2);
    struct topic_offset known = {span_of("t/known"), 2};
    struct client_frame frame = subscribe_frame("t/#", NULL);
    frame.subscribe.start = (struct start_rule){START_RESUME, mark, &known, 1};
    frame.subscribe.start_given = true;

    client_request(client, &frame);
    world_settle(world);

    const struct subscribed *subscribed = &client_expect(client, SERVER_SUBSCRIBED)->subscribed;
    cr_assert_eq(subscribed->start_count, 3u);
    for (size_t i = 0; i < 3; i++) {
        struct span topic = subscribed->starts[i].topic;
        uint64_t expected = span_equal(topic, span_of("t/fresh")) ? 0 : 2;
        cr_assert_eq(subscribed->starts[i].offset, expected);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_deleted_topic_leaves_a_gap_and_goes_on)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish_many(publisher, "A", 5);
    struct client_frame frame = subscribe_frame("A", NULL);
    frame.subscribe.credit_messages = 2;
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    world_settle(world);
    uint64_t number = client_expect(client, SERVER_SUBSCRIBED)->subscribed.subscription;
    expect_offsets(client, "A", 0, 2);

    struct client_frame delete_topic = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("A")};
    client_request(publisher, &delete_topic);
    world_settle(world);
    client_expect(publisher, SERVER_DONE);

    const struct gap *gap = &client_expect(client, SERVER_GAP)->gap;
    cr_assert_eq(gap->from, 2u);
    cr_assert_eq(gap->to, 5u);
    struct client_frame credit = {.kind = CLIENT_CREDIT, .credit = {number, 100, 1000000}};
    client_send(client, &credit);
    cr_assert_eq(publish(publisher, "A", "again"), 5u);
    expect_offsets(client, "A", 5, 6);
    client_request(publisher, &delete_topic);
    world_settle(world);
    client_expect(publisher, SERVER_DONE);
    client_request(publisher, &delete_topic);
    world_settle(world);
    client_expect_error(publisher, PS_NO_SUCH_TOPIC);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_deleted_topic_that_was_given_costs_a_wildcard_nothing)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    subscribe(client, "#", NULL, START_NEW, 0);
    uint64_t before = world->broker->subscriptions.used;
    char name[16];

    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "t/%u", i % 100);
        cr_assert_eq(publish(publisher, name, "x"), i / 100);
        expect_offsets(client, name, i / 100, i / 100 + 1);
        struct client_frame delete_topic = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of(name)};
        client_request(publisher, &delete_topic);
        world_settle(world);
        client_expect(publisher, SERVER_DONE);
        cr_assert_eq(world->broker->subscriptions.used, before);
        cr_assert_eq(world->broker->topics.by_name.count, 0u);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_topic_deleted_before_subscribed_is_out_costs_nothing_either)
{
    enum { TOPICS = 300 }; /* more than one frame tells */
    struct broker_config config = {.delivery_bytes = 1024};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame delete_topic = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("t/000")};
    struct client_frame all = subscribe_frame("#", NULL);
    char name[16];
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof name, "t/%03u", i);
        publish(publisher, name, "x");
    }

    client->slow = true;
    client_request(client, &all);
    world_settle(world);
    cr_assert(client_expect(client, SERVER_SUBSCRIBED)->subscribed.more);
    client_request(publisher, &delete_topic);
    world_settle(world);
    client_expect(publisher, SERVER_DONE);
    client->slow = false;
    client_take(client);
    world_settle(world);
    cr_assert_not(client_expect(client, SERVER_SUBSCRIBED)->subscribed.more);
    cr_assert_eq(world->broker->topics.by_name.count, TOPICS - 1u);

    cr_assert_eq(publish(publisher, "t/000", "again"), 1u);
    expect_offsets(client, "t/000", 1, 2);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, gaps_do_not_pile_up_in_front_of_one_who_does_not_read)
{
    struct broker_config config = {.delivery_bytes = 4096};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame delete_topic = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("A")};
    subscribe(client, "A", NULL, START_BEGINNING, 0);
    client->slow = true;

    for (unsigned i = 0; i < 1000; i++) {
        publish(publisher, "A", "x");
        client_request(publisher, &delete_topic);
        world_settle(world);
    }
    cr_assert_leq(client->queued, 2u * 4096);

    /* Later everything is accounted for: what was not given was told to be gone. */
    client->slow = false;
    client_take(client);
    publish(publisher, "A", "end");
    uint64_t next = 0;
    for (const struct server_frame *frame; (frame = client_next(client)) != NULL;) {
        if (frame->kind == SERVER_GAP) {
            cr_assert_eq(frame->gap.from, next);
            next = frame->gap.to;
        } else if (frame->kind == SERVER_DELIVERY) {
            cr_assert_eq(frame->delivery.messages[0].offset, next);
            next += frame->delivery.message_count;
        }
    }
    cr_assert_eq(next, 1001u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_damaged_record_ends_the_subscription_after_what_lies_before_it)
{
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    publish_many(publisher, "A", 10);
    world->damaged_offset = 6;

    subscribe(client, "A", NULL, START_BEGINNING, 0);

    expect_offsets(client, "A", 0, 6);
    const struct protocol_error *reason = &client_expect(client, SERVER_SUBSCRIPTION_ENDED)->ended.reason;
    cr_assert_eq(reason->status, PS_DAMAGED);
    cr_assert_eq(reason->offset_from.value, 6u);
    cr_assert(span_equal(reason->topic, span_of("A")));
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, a_slow_socket_is_handed_a_bounded_amount)
{
    struct broker_config config = {.delivery_bytes = 4096};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    client->slow = true;
    subscribe(client, "A", NULL, START_NEW, 0);

    publish_many(publisher, "A", 1000);

    cr_assert_lt(client->queued, 2u * 4096u);
    while (client->queued > 0) {
        client_take(client);
        world_settle(world);
    }
    expect_offsets(client, "A", 0, 1000);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(delivery, two_ready_subscriptions_take_turns)
{
    struct broker_config config = {.delivery_bytes = 512};
    struct world *world = world_new(&config);
    struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *client = world_connect(world, 1, SESSION_ANY, NULL);
    client->slow = true;
    publish_many(publisher, "A", 200);
    publish_many(publisher, "B", 200);
    const uint64_t a = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct client_frame frame = subscribe_frame(i == 0 ? "A" : "B", NULL);
        frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
        frame.subscribe.start_given = true;
        client_request(client, &frame);
    }
    unsigned in_a = 0, in_b = 0;

    for (unsigned i = 0; i < 20; i++) {
        client_take(client);
        world_settle(world);
    }

    for (const struct server_frame *frame = client_next(client); frame != NULL; frame = client_next(client)) {
        if (frame->kind == SERVER_DELIVERY)
            *(frame->delivery.subscription == a ? &in_a : &in_b) += 1;
    }
    cr_assert_gt(in_b, 2u);
    cr_assert_leq(in_a, in_b + 4);
    world_free(world);
    ASSERT_NO_LEAKS();
}
