/* Every allocation fails once, one after the other, while clients do everything there is: whoever is concerned is
 * refused or closed, the others go on, nothing is leaked or left charged. */
#include "failing_memory.h"
#include "leaks.h"
#include "world.h"

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
    struct client_frame ack = {.kind = CLIENT_ACK, .ack = {1, span_of("t/a"), 1, SPAN_ABSENT}};

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
