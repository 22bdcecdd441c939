/* Every allocation fails once, one after the other, while clients do everything there is: whoever is concerned is
 * refused or closed, the others go on, nothing is leaked or left charged. */
#include "failing_memory.h"
#include "leaks.h"
#include "world.h"

#include "broker_state.h"

#include <criterion/criterion.h>

enum { MOST_ALLOCATIONS = 5000 };

static void ask(struct client *client, struct client_frame frame)
{
    client_request(client, &frame);
    world_settle(client->world);
}

static void publish_two_topics(struct client *client)
{
    struct header twice[] = {{span_of("h"), span_of("1")}, {span_of("h"), span_of("2")}};
    struct message a[3] = {{.payload = span_of("1")},
                           {.payload = span_of("2"), .headers = twice, .header_count = 2},
                           {.payload = span_of("3")}};
    struct message b[1] = {{.payload = span_of("4")}};
    struct publish_group groups[] = {{span_of("t/a"), a, 3}, {span_of("t/b"), b, 1}};
    ask(client, (struct client_frame){.kind = CLIENT_PUBLISH, .publish = {groups, 2, 4, false}});
}

/* What a client does in its life; answers are not looked at. */
static void live(struct client *client)
{
    struct client_frame durable = subscribe_frame("t/#", "s1");
    durable.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    durable.subscribe.start_given = true;
    struct client_frame temporary = durable;
    temporary.subscribe.durable_id = SPAN_ABSENT;
    struct seek seek = {
        .durable_id = span_of("s1"), .filter = span_of("t/#"), .to = {.kind = START_BEGINNING}};
    struct client_frame ack = ack_frame(1, "t/a", 1);

    publish_two_topics(client);
    ask(client, durable);
    ask(client, temporary);
    publish_two_topics(client);
    ask(client, ack);
    ask(client, (struct client_frame){.kind = CLIENT_LIST_SUBSCRIPTIONS});
    ask(client, (struct client_frame){.kind = CLIENT_LIST_TOPICS});
    ask(client, (struct client_frame){.kind = CLIENT_GET_INFO});
    ask(client, (struct client_frame){.kind = CLIENT_SEEK, .seek = seek});
    ask(client, durable);
    ask(client, (struct client_frame){.kind = CLIENT_DETACH, .detach = 3});
    ask(client, (struct client_frame){.kind = CLIENT_LIST_SUBSCRIPTIONS});
    ask(client,
        (struct client_frame){.kind = CLIENT_UNSUBSCRIBE,
                              .unsubscribe = {.durable_id = span_of("s1"), .filter = span_of("t/#")}});
    ask(client, (struct client_frame){.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("t/b")});
    publish_two_topics(client);
}

static void skip(struct client *client)
{
    while (client_next(client) != NULL)
        continue;
}

/* One failing allocation concerns one client. */
static void check_service(struct world *world, struct client *publisher, struct client *follower)
{
    cr_assert_not(publisher->closed && follower->closed);
    skip(publisher);
    skip(follower);
    if (publisher->closed) {
        client_disconnect(publisher);
        publisher = world_connect(world, 2, SESSION_ANY, NULL);
    }
    uint64_t offset = publish(publisher, "t/a", "after");
    if (!follower->closed)
        expect_offsets(follower, "t/a", offset, offset + 1);
}

/* At the moment of `drained`, everything acknowledged is in the store; what could not be written for want of memory
 * was tried again. */
Test(no_memory, draining_ends_only_when_what_was_acknowledged_is_committed)
{
    bool failed = true;
    for (size_t n = 0; failed; n++) {
        cr_assert_lt(n, (size_t)MOST_ALLOCATIONS);
        struct world *world = world_new(NULL);
        struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
        uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
        publish_many(client, "A", 3);
        struct client_frame ack = ack_frame(number, "A", 3);
        client_send(client, &ack);

        memory_fails_after(n);
        broker_drain(world->broker);
        failed = memory_failed();
        while (world->drained == 0) {
            world_pass(world, 50);
            cr_assert(world->drained == 0 || offsets_idle(&world->broker->offsets));
            world_settle(world);
        }
        world_restart(world);

        client = world_connect(world, 0, SESSION_ANY, NULL);
        struct client_frame again = subscribe_frame("A", "s1");
        ask(client, again);
        cr_assert_eq(client_expect(client, SERVER_SUBSCRIBED)->subscribed.starts[0].offset, 3u);
        world_free(world);
        if (!failed)
            cr_assert_gt(n, 1u);
    }
    ASSERT_NO_LEAKS();
}

Test(no_memory, a_detach_that_cannot_commit_is_refused_and_loses_nothing)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    uint64_t number = subscribe(client, "A", "s1", START_NEW, 0);
    publish_many(client, "A", 3);
    struct client_frame ack = ack_frame(number, "A", 3);
    client_send(client, &ack);
    skip(client);

    struct client_frame detach = {.kind = CLIENT_DETACH, .detach = number, .request_id = {true, 100}};
    struct arena *arena = NULL;
    memory_fails_after(0);
    session_receive(client->session, &detach, NULL, &arena);
    cr_assert(memory_failed());
    client_expect_error(client, PS_NO_MEMORY);
    client_request(client, &detach);
    world_settle(world);
    client_expect(client, SERVER_DONE);

    struct client_frame again = subscribe_frame("A", "s1");
    ask(client, again);
    cr_assert_eq(client_expect(client, SERVER_SUBSCRIBED)->subscribed.starts[0].offset, 3u);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(no_memory, whoever_is_concerned_is_refused_or_closed_and_the_others_go_on)
{
    bool failed = true;
    for (size_t n = 0; failed; n++) {
        cr_assert_lt(n, (size_t)MOST_ALLOCATIONS);
        struct world *world = world_new(NULL);
        struct client *victim = world_connect(world, 0, SESSION_ANY, "p1");
        struct client *follower = world_connect(world, 1, SESSION_ANY, NULL);
        subscribe(follower, "t/#", NULL, START_NEW, 0);

        memory_fails_after(n);
        live(victim);
        failed = memory_failed();

        check_service(world, victim, follower);
        world_free(world);
        if (!failed)
            cr_assert_gt(n, 100u);
    }
    ASSERT_NO_LEAKS();
}

static void send_frames(struct client *client, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct message message = {.payload = span_of("x")};
        struct publish_group group = {span_of("t"), &message, 1};
        struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};
        client_request(client, &frame);
    }
}

/* What could not be encoded for those who follow is read from the log, with everything behind it. */
Test(no_memory, a_follower_misses_nothing_of_a_burst_that_could_not_be_encoded)
{
    bool failed = true;
    for (size_t n = 0; failed; n++) {
        cr_assert_lt(n, (size_t)MOST_ALLOCATIONS);
        struct world *world = world_new(NULL);
        struct client *publisher = world_connect(world, 0, SESSION_ANY, NULL);
        struct client *follower = world_connect(world, 1, SESSION_ANY, NULL);
        subscribe(follower, "t", NULL, START_NEW, 0);
        publish(publisher, "t", "before");
        expect_offsets(follower, "t", 0, 1);
        send_frames(publisher, 3);

        memory_fails_after(n);
        world_commit(world, 3);
        failed = memory_failed();
        world_settle(world);
        skip(publisher);
        if (publisher->closed) {
            client_disconnect(publisher);
            publisher = world_connect(world, 2, SESSION_ANY, NULL);
        }
        uint64_t last = publish(publisher, "t", "behind");
        if (!follower->closed)
            expect_offsets(follower, "t", 1, last + 1);
        world_free(world);
    }
    ASSERT_NO_LEAKS();
}

Test(no_memory, a_publication_that_is_given_up_leaves_its_topic_as_it_was)
{
    bool failed = true;
    for (size_t n = 0; failed; n++) {
        cr_assert_lt(n, (size_t)MOST_ALLOCATIONS);
        struct world *world = world_new(NULL);
        struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
        publish_two_topics(client);
        memory_fails_after(n);
        publish_two_topics(client);
        failed = memory_failed();
        world_settle(world);
        cr_assert_eq(topics_find(&world->broker->topics, span_of("t/a"))->pending, 0u);
        cr_assert_eq(topics_find(&world->broker->topics, span_of("t/b"))->pending, 0u);
        world_free(world);
    }
    ASSERT_NO_LEAKS();
}
