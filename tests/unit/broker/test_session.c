/* Which frame is allowed in which state and role, and how a connection ends. */
#include "broker_state.h"
#include "leaks.h"
#include "session_state.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* A harmless frame of each kind. */
static struct client_frame frame_of(enum client_frame_kind kind)
{
    struct client_frame frame = {.kind = kind};
    switch (kind) {
    case CLIENT_HELLO:
        frame.hello = (struct hello){.min_version = 1, .max_version = 1};
        break;
    case CLIENT_SUBSCRIBE:
        frame.subscribe.filter = span_of("A");
        break;
    case CLIENT_UNSUBSCRIBE:
        frame.unsubscribe = (struct unsubscribe){.durable_id = span_of("s1"), .filter = span_of("A")};
        break;
    case CLIENT_SEEK:
        frame.seek = (struct seek){.durable_id = span_of("s1"), .filter = span_of("A")};
        break;
    case CLIENT_ACK:
        frame.ack = (struct ack){.subscription = 9, .topic = span_of("A")};
        break;
    case CLIENT_CREDIT:
        frame.credit.subscription = 9;
        break;
    case CLIENT_DETACH:
        frame.detach = 9;
        break;
    case CLIENT_DELETE_TOPIC:
        frame.delete_topic = span_of("A");
        break;
    default:
        break;
    }
    return frame;
}

/* Decodes what no encoder writes: a member that this version does not know. */
static void send_unknown(struct client *client, bool with_id)
{
    struct client_frame frame = {.kind = CLIENT_NONE};
    struct arena *arena = arena_new(4096);
    struct buffer *owner = calloc(1, sizeof *owner + 1);
    owner->refs = 1;
    if (with_id)
        frame.request_id = (struct optional_u64){true, ++client->next_request};
    session_receive(client->session, &frame, owner, &arena);
    arena_free(arena);
    buffer_unref(owner);
    broker_flush(client->world->broker);
}

static enum ps_status offer(struct client *client, enum client_frame_kind kind)
{
    struct client_frame frame = frame_of(kind);
    if (kind == CLIENT_NONE)
        send_unknown(client, true);
    else
        client_request(client, &frame);
    if (client->world->drained == 0)
        world_settle(client->world);
    const struct server_frame *answer = client_next(client);
    if (answer == NULL)
        return PS_OK;
    return answer->kind == SERVER_ERROR ? answer->error.status : PS_OK;
}

Test(session, every_kind_in_every_state)
{
    const enum ps_status V = PS_PROTOCOL_VIOLATION, N = PS_NO_SUCH_SUBSCRIPTION, D = PS_DRAINING;
    const struct {
        enum client_frame_kind kind;
        enum ps_status greeting, open, draining;
    } table[] = {
        {CLIENT_NONE, V, PS_UNSUPPORTED, PS_UNSUPPORTED},
        {CLIENT_HELLO, PS_OK, V, V},
        {CLIENT_PING, V, PS_OK, PS_OK},
        {CLIENT_PONG, V, PS_OK, PS_OK},
        {CLIENT_PUBLISH, V, PS_OK, D},
        {CLIENT_SUBSCRIBE, V, PS_OK, D},
        {CLIENT_CREDIT, V, N, N},
        {CLIENT_ACK, V, N, N},
        {CLIENT_DETACH, V, N, N},
        {CLIENT_UNSUBSCRIBE, V, N, D},
        {CLIENT_SEEK, V, N, D},
        {CLIENT_LIST_TOPICS, V, PS_OK, D},
        {CLIENT_DELETE_TOPIC, V, PS_NO_SUCH_TOPIC, D},
        {CLIENT_LIST_SUBSCRIPTIONS, V, PS_OK, D},
        {CLIENT_GET_INFO, V, PS_OK, PS_OK},
        {CLIENT_VERIFY, V, PS_OK, D},
        {CLIENT_BACKUP, V, PS_UNSUPPORTED, D},
        {CLIENT_READ_BACKUP, V, PS_OUT_OF_RANGE, D},
    };
    cr_assert_eq(sizeof table / sizeof table[0], (size_t)CLIENT_READ_BACKUP + 1);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct world *world = world_new(NULL);
        struct client *greeting = world_accept(world, 0, SESSION_ANY);
        cr_assert_eq(offer(greeting, table[i].kind), table[i].greeting, "greeting, kind %zu", i);
        cr_assert_eq(greeting->closed, table[i].greeting == V);
        struct client *open = world_connect(world, 1, SESSION_ANY, NULL);
        cr_assert_eq(offer(open, table[i].kind), table[i].open, "open, kind %zu", i);
        cr_assert_eq(open->closed, table[i].open == V);
        struct client *draining = world_connect(world, 2, SESSION_ANY, NULL);
        broker_drain(world->broker);
        client_expect(draining, SERVER_GOODBYE);
        /* A request under way keeps the drain from ending. */
        cr_assert_eq(draining->session->state, SESSION_DRAINING);
        world->broker->writes++;
        cr_assert_eq(offer(draining, table[i].kind), table[i].draining, "draining, kind %zu", i);
        cr_assert_eq(draining->closed, table[i].draining == V);
        world->broker->writes--;
        world_free(world);
    }
    ASSERT_NO_LEAKS();
}

Test(session, nothing_is_taken_or_sent_once_it_closes)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    session_refuse(client->session, PS_MALFORMED);
    client_expect_error(client, PS_MALFORMED);
    cr_assert(client->closed);

    for (enum client_frame_kind kind = CLIENT_HELLO; kind <= CLIENT_READ_BACKUP; kind++)
        offer(client, kind);
    session_writable(client->session);
    session_refuse(client->session, PS_MALFORMED);

    client_expect_nothing(client);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, a_listener_with_a_role_refuses_the_other_requests)
{
    static const enum client_frame_kind publishing[] = {CLIENT_PUBLISH, CLIENT_DELETE_TOPIC};
    static const enum client_frame_kind subscribing[] = {CLIENT_SUBSCRIBE, CLIENT_CREDIT, CLIENT_ACK,
                                                         CLIENT_DETACH,    CLIENT_SEEK,   CLIENT_UNSUBSCRIBE};
    struct world *world = world_new(NULL);
    struct client *publisher = world_connect(world, 0, SESSION_PUBLISH, NULL);
    struct client *subscriber = world_connect(world, 1, SESSION_SUBSCRIBE, NULL);

    for (size_t i = 0; i < sizeof publishing / sizeof publishing[0]; i++) {
        cr_assert_eq(offer(subscriber, publishing[i]), PS_ROLE_REFUSED);
        cr_assert_neq(offer(publisher, publishing[i]), PS_ROLE_REFUSED);
    }
    for (size_t i = 0; i < sizeof subscribing / sizeof subscribing[0]; i++) {
        cr_assert_eq(offer(publisher, subscribing[i]), PS_ROLE_REFUSED);
        cr_assert_neq(offer(subscriber, subscribing[i]), PS_ROLE_REFUSED);
    }
    cr_assert_eq(offer(publisher, CLIENT_GET_INFO), PS_OK);
    cr_assert_not(publisher->closed || subscriber->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, hello_is_checked)
{
    struct {
        struct hello hello;
        enum ps_status status;
    } table[] = {
        {{.min_version = 2, .max_version = 9}, PS_VERSION_MISMATCH},
        {{.min_version = 0, .max_version = 0}, PS_VERSION_MISMATCH},
        {{.min_version = 0, .max_version = 9}, PS_OK},
        {{.min_version = 1, .max_version = 1, .id = span_of("bad\nid")}, PS_BAD_ID},
        {{.min_version = 1, .max_version = 1, .credentials = span_of("x")}, PS_UNSUPPORTED},
    };
    struct world *world = world_new(NULL);
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct client *client = world_accept(world, i, SESSION_ANY);
        struct client_frame frame = {.kind = CLIENT_HELLO, .hello = table[i].hello};
        cr_assert_eq(session_frame_cap(client->session), (size_t)FRAME_CAP_BEFORE_HELLO);
        client_request(client, &frame);
        if (table[i].status == PS_OK) {
            const struct welcome *welcome = &client_expect(client, SERVER_WELCOME)->welcome;
            cr_assert_eq(welcome->limits.max_message, (uint32_t)MESSAGE_MAX_BYTES);
            cr_assert_eq(session_frame_cap(client->session), (size_t)welcome->limits.max_frame);
        } else {
            client_expect_error(client, table[i].status);
        }
        cr_assert_eq(client->closed, table[i].status != PS_OK);
    }
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, a_silent_connection_is_pinged_then_closed)
{
    struct broker_config config = {.ping_interval_ms = 1000};
    struct world *world = world_new(&config);
    struct client *answers = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *silent = world_connect(world, 1, SESSION_ANY, NULL);

    world_pass(world, 1000);
    client_expect(silent, SERVER_PING);
    struct client_frame pong = {.kind = CLIENT_PONG,
                                .ping_token = client_expect(answers, SERVER_PING)->ping_token};
    client_send(answers, &pong);
    world_pass(world, 999);
    cr_assert_not(silent->closed);
    world_pass(world, 1);

    client_expect_error(silent, PS_TIMED_OUT);
    cr_assert(silent->closed);
    cr_assert_not(answers->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, hello_must_come_within_five_seconds_whatever_else_trickles_in)
{
    struct world *world = world_new(NULL);
    struct client *client = world_accept(world, 0, SESSION_ANY);

    for (int i = 0; i < 4; i++) {
        world_pass(world, 1000);
        session_heard(client->session);
    }
    cr_assert_not(client->closed);
    world_pass(world, 2000);

    client_expect_error(client, PS_TIMED_OUT);
    cr_assert(client->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, one_who_is_slow_is_waited_for_as_long_as_it_takes_something)
{
    struct broker_config config = {.ping_interval_ms = 1000};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame info = {.kind = CLIENT_GET_INFO};
    client->slow = true;
    for (unsigned i = 0; i < 100; i++)
        client_request(client, &info);

    for (unsigned i = 0; i < 5; i++) {
        world_pass(world, 1000);
        client->queued -= 10; /* the ping lies behind the answers */
    }
    cr_assert_not(client->closed);
    world_pass(world, 1000);
    world_pass(world, 1000);

    cr_assert(client->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, what_is_sent_is_no_sign_of_life)
{
    struct broker_config config = {.ping_interval_ms = 1000};
    struct world *world = world_new(&config);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);

    for (unsigned i = 0; i < 4; i++) {
        cr_assert_not(client->closed);
        session_writable(client->session);
        world_pass(world, 500);
    }

    cr_assert(client->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, requests_without_an_id_are_carried_out_and_not_answered)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client_frame wrong = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("none")};
    struct message message = {.payload = span_of("x")};
    struct publish_group group = {span_of("A"), &message, 1};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};

    client_send(client, &wrong);
    client_send(client, &frame);
    send_unknown(client, false);
    world_settle(world);

    client_expect_nothing(client);
    cr_assert_eq(publish(client, "A", "y"), 1u);
    struct client_frame subscribing = subscribe_frame("A", NULL);
    client_send(client, &subscribing);
    client_expect_error(client, PS_PROTOCOL_VIOLATION);
    cr_assert(client->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, a_subscribe_is_checked)
{
    struct topic_offset none = {span_of("A"), 0};
    struct {
        struct subscribe subscribe;
        enum ps_status status;
    } table[] = {
        {{.filter = span_of("a/#/b")}, PS_BAD_FILTER},
        {{.filter = span_of("A"), .durable_id = span_of("bad\x01")}, PS_BAD_ID},
        {{.filter = span_of("A"), .existing_only = true}, PS_INVALID_ARGUMENT},
        {{.filter = span_of("A"), .log_id = span_of("0123456789abcdef")}, PS_LOG_CHANGED},
        {{.filter = span_of("a/+"), .start_given = true, .start = {START_OFFSET, 1, NULL, 0}},
         PS_INVALID_ARGUMENT},
        {{.filter = span_of("A"),
          .durable_id = span_of("s1"),
          .start_given = true,
          .start = {START_RESUME, 1, &none, 1}},
         PS_INVALID_ARGUMENT},
        {{.filter = span_of("A"), .start_given = true, .start = {START_RESUME, 1000, &none, 1}},
         PS_LOG_CHANGED},
        {{.filter = span_of("A"),
          .durable_id = span_of("s1"),
          .start_given = true,
          .start = {START_OFFSET, 3, NULL, 0}},
         PS_OUT_OF_RANGE},
    };
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    publish_many(client, "A", 2);
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct client_frame frame = {.kind = CLIENT_SUBSCRIBE, .subscribe = table[i].subscribe};
        client_request(client, &frame);
        world_settle(world);
        client_expect_error(client, table[i].status);
    }
    cr_assert_not(client->closed);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, topics_are_listed_in_pages_by_name)
{
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    static const char *const names[] = {"b/2", "a", "b/1", "c", "b"};
    for (unsigned i = 0; i < 5; i++)
        publish_many(client, names[i], i + 1);
    struct client_frame list = {.kind = CLIENT_LIST_TOPICS, .list_topics = {span_of("b/#"), SPAN_ABSENT, 2}};

    client_request(client, &list);
    const struct topic_list *page = &client_expect(client, SERVER_TOPIC_LIST)->topic_list;
    cr_assert_eq(page->topic_count, 2u);
    cr_assert(page->more);
    cr_assert(span_equal(page->topics[0].topic, span_of("b")));
    cr_assert_eq(page->topics[0].head, 5u);
    cr_assert(span_equal(page->topics[1].topic, span_of("b/1")));
    list.list_topics.after = span_of("b/1");
    client_request(client, &list);

    page = &client_expect(client, SERVER_TOPIC_LIST)->topic_list;
    cr_assert_eq(page->topic_count, 1u);
    cr_assert_not(page->more);
    cr_assert(span_equal(page->topics[0].topic, span_of("b/2")));
    world_free(world);
    ASSERT_NO_LEAKS();
}

/* The clock passes a flush's time with every look: each flush makes one step. */
Test(session, a_listing_that_matches_nothing_holds_no_other_session_and_listings_take_turns)
{
    struct world *world = world_new(NULL);
    struct client *clients[2] = {world_connect(world, 0, SESSION_ANY, NULL),
                                 world_connect(world, 1, SESSION_ANY, NULL)};
    struct client *other = world_connect(world, 2, SESSION_ANY, NULL);
    struct client_frame list = {.kind = CLIENT_LIST_TOPICS,
                                .list_topics = {span_of("+/none"), SPAN_ABSENT, 0}};
    struct client_frame ping = {.kind = CLIENT_PING, .ping_token = 7};
    unsigned flushes = 0;
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "topic%u", i);
        publish_many(other, name, 1);
    }
    world->look_ns = 2000000;

    for (unsigned i = 0; i < 20; i++)
        client_request(clients[0], &list);
    client_request(clients[1], &list);
    client_request(other, &ping);
    client_expect(other, SERVER_PONG);
    while (client_next(clients[1]) == NULL && flushes < 1000) {
        cr_assert(broker_flush(world->broker));
        flushes++;
    }
    cr_assert_geq(flushes, 5u, "%u flushes", flushes);
    cr_assert_lt(flushes, 40u, "the other session's twenty did not come first: %u flushes", flushes);
    while (broker_flush(world->broker))
        continue;
    for (unsigned i = 0; i < 20; i++)
        cr_assert_not(client_expect(clients[0], SERVER_TOPIC_LIST)->topic_list.more);
    world_free(world);
    ASSERT_NO_LEAKS();
}

Test(session, what_takes_long_is_left_to_later_flushes_and_loses_nothing)
{
    enum { TOPICS = 1500 };
    struct world *world = world_new(NULL);
    struct client *client = world_connect(world, 0, SESSION_ANY, NULL);
    struct client *other = world_connect(world, 1, SESSION_ANY, NULL);
    struct client_frame info = {.kind = CLIENT_GET_INFO};
    char name[16];
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof name, "topic/%u", i);
        publish_many(client, name, 1);
    }
    struct client_frame all = subscribe_frame("#", NULL);
    all.subscribe.start_given = true;
    all.subscribe.start.kind = START_BEGINNING;
    world->look_ns = 1000000; /* every step takes all the time there is */

    client_request(client, &all);
    client_expect_nothing(client);
    client_request(other, &info);
    client_expect(other, SERVER_INFO);
    unsigned flushes = 1, deliveries = 0;
    while (broker_flush(world->broker) || world->read_count > 0) {
        flushes++;
        world_settle(world);
    }
    cr_assert_gt(flushes, (unsigned)TOPICS);
    const struct server_frame *frame = client_next(client);
    for (; frame != NULL; frame = client_next(client))
        deliveries += frame->kind == SERVER_DELIVERY;
    cr_assert_eq(deliveries, (unsigned)TOPICS);
    world->look_ns = 0;
    world_free(world);
    ASSERT_NO_LEAKS();
}
