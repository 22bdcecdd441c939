/* Connecting, losing, closing. */
#include "fake_broker.h"
#include "leaks.h"

#include <criterion/criterion.h>

Test(client_life, a_welcomed_client_says_who_it_is)
{
    struct story story;
    const struct client_frame *hello;

    story_begin(&story, &(struct psc_options){.id = text("s1")});
    psc_start(story.client);
    hello = fake_expect(&story.broker, CLIENT_HELLO);
    cr_assert(span_equal(hello->hello.id, span_of("s1")));
    cr_assert_eq(hello->hello.min_version, PROTOCOL_VERSION);
    fake_send(&story.broker, &(struct server_frame){.request_id = hello->request_id,
                                                    .kind = SERVER_WELCOME,
                                                    .welcome = story.broker.welcome});
    story_wait(&story, &story.connected, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_first_connect_that_is_refused_fails_after_its_time)
{
    struct story story;

    story_begin(&story, &(struct psc_options){.connect_timeout_ms = 60, .reconnect = true});
    fake_stop_listening(&story.broker);
    psc_start(story.client);
    cr_assert_eq(story_publish(&story, "A", "x", 1), PS_OK);
    story_wait(&story, &story.disconnected, 1);

    cr_assert_eq(story.lost_status, PS_CONNECT_FAILED);
    cr_assert_lt(story.retry_in_ms, 0);
    cr_assert_eq(story.published, 1);
    cr_assert_eq(story.outcomes[0].status, PS_CONNECTION_LOST);
    cr_assert_eq(story_publish(&story, "A", "x", 1), PS_CONNECTION_LOST);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_first_connect_waits_for_a_broker_that_comes_late)
{
    struct story story;

    story_begin(&story, &(struct psc_options){.connect_timeout_ms = 60000});
    fake_stop_listening(&story.broker);
    psc_start(story.client);
    for (int i = 0; i < 3; i++)
        uv_run(&story.loop, UV_RUN_ONCE);
    fake_listen_again(&story.broker);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    cr_assert_eq(story.disconnected, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_host_is_found_by_its_name)
{
    struct story story;

    story_begin(&story, &(struct psc_options){.host = "localhost"});
    psc_start(story.client);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_lost_connection_comes_back)
{
    struct story story;

    story_connect(&story, true);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_CONNECTION_LOST);
    cr_assert_geq(story.retry_in_ms, 100);
    cr_assert_leq(story.retry_in_ms, 5000);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 2);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_draining_broker_is_named_as_the_reason)
{
    struct story story;

    story_connect(&story, false);
    fake_send(&story.broker,
              &(struct server_frame){.kind = SERVER_GOODBYE, .error = protocol_error_of(PS_DRAINING)});
    fake_quiet(&story.broker);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_DRAINING);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_refused_greeting_is_final)
{
    struct story story;
    const struct client_frame *hello;

    story_begin(&story, &(struct psc_options){.reconnect = true});
    psc_start(story.client);
    hello = fake_expect(&story.broker, CLIENT_HELLO);
    fake_error(&story.broker, hello->request_id.value, PS_VERSION_MISMATCH);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_VERSION_MISMATCH);
    cr_assert_lt(story.retry_in_ms, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

/* With and without `reconnect`, which begins only behind the first connection. */
Test(client_life, a_first_connect_that_is_told_to_come_again_does)
{
    struct story story;
    const struct client_frame *hello;
    struct server_frame full = {.kind = SERVER_ERROR, .error = protocol_error_of(PS_LIMIT_EXCEEDED)};
    full.error.retryable = true;
    full.error.retry_after_ms = 30;

    story_begin(&story, &(struct psc_options){.connect_timeout_ms = 60000});
    psc_start(story.client);
    for (int i = 0; i < 2; i++) {
        hello = fake_expect(&story.broker, CLIENT_HELLO);
        full.request_id = hello->request_id;
        fake_send(&story.broker, &full);
    }
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    cr_assert_eq(story.disconnected, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, garbage_is_named_and_ends_the_connection)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum ps_status status;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", 28, PS_MALFORMED},
        {"\4\0\0\0", 4, PS_FRAME_TOO_LARGE},
        {"\0\0\0\0", 4, PS_MALFORMED},
        {"\0\0\0\3\xff\xff\xff", 7, PS_MALFORMED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int greeted = 0; greeted < 2; greeted++) {
            struct story story;

            story_begin(&story, NULL);
            psc_start(story.client);
            if (greeted != 0)
                fake_greet(&story.broker);
            else
                fake_expect(&story.broker, CLIENT_HELLO);
            fake_send_bytes(&story.broker, cases[i].bytes, cases[i].size);
            story_wait(&story, &story.disconnected, 1);
            cr_assert_eq(story.lost_status, cases[i].status, "case %zu: %s", i,
                         ps_status_name(story.lost_status));
            story_end(&story);
        }
    }
    ASSERT_NO_LEAKS();
}

Test(client_life, an_answer_nobody_asked_for_ends_the_connection)
{
    struct story story;

    story_connect(&story, false);
    fake_accept(&story.broker, 999, 0, 1, 0);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_PROTOCOL_VIOLATION);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_silent_broker_is_pinged_once_and_then_given_up)
{
    struct story story;

    story_begin(&story, NULL);
    story.broker.welcome.ping_interval_ms = 20;
    psc_start(story.client);
    fake_greet(&story.broker);
    fake_expect(&story.broker, CLIENT_PING);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_TIMED_OUT);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, frames_of_a_newer_broker_are_skipped)
{
    struct story story;
    static const uint8_t unknown[] = {0, 0, 0, 4, 0xfa, 0x0f, 1, 'x'};

    story_connect(&story, false);
    fake_send_bytes(&story.broker, unknown, sizeof unknown);
    fake_quiet(&story.broker);
    cr_assert_eq(story.disconnected, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

/* Steps of a life; closing comes after the first `steps` of them. */
static void live(struct story *story, unsigned steps)
{
    struct psc_subscribe_options options = story_subscription(story, "A");

    if (steps-- == 0)
        return;
    psc_start(story->client);
    cr_assert_eq(story_publish(story, "A", "x", 1), PS_OK);
    story_subscribe(story, &options);
    cr_assert_eq(psc_delete_topic(story->client, text("B"), story_done, story), PS_OK);
    for (; steps > 0 && story->broker.accepted == 0; steps--)
        uv_run(&story->loop, UV_RUN_ONCE);
    if (steps-- == 0)
        return;
    fake_expect(&story->broker, CLIENT_HELLO);
    if (steps-- == 0)
        return;
    fake_send(&story->broker,
              &(struct server_frame){.kind = SERVER_WELCOME, .welcome = story->broker.welcome});
    for (; steps > 0 && story->connected == 0; steps--)
        uv_run(&story->loop, UV_RUN_ONCE);
    if (steps-- == 0)
        return;
    fake_subscribed(&story->broker, fake_expect(&story->broker, CLIENT_SUBSCRIBE)->request_id.value, 1, "A",
                    0, 0, false);
    if (steps-- == 0)
        return;
    fake_expect(&story->broker, CLIENT_DELETE_TOPIC);
    fake_expect(&story->broker, CLIENT_PUBLISH);
    fake_deliver(&story->broker, 1, "A", 0, 10);
    if (steps-- == 0)
        return;
    fake_drop(&story->broker);
    for (; steps > 0 && story->disconnected == 0; steps--)
        uv_run(&story->loop, UV_RUN_ONCE);
    if (steps-- == 0)
        return;
    fake_expect(&story->broker, CLIENT_HELLO);
}

Test(client_life, closing_at_every_moment_answers_everything_once)
{
    for (unsigned steps = 0; steps < 20; steps++) {
        struct story story;

        story_begin(&story, &(struct psc_options){.reconnect = true});
        live(&story, steps);
        story_end(&story);
        if (steps > 0) {
            cr_assert_eq(story.published, 1, "%u: %u outcomes", steps, story.published);
            cr_assert_eq(story.done, 1, "%u: %u", steps, story.done);
            cr_assert_leq(story.ended, 1);
            cr_assert(story.ended == 1 || story.subscribed > 0, "%u: no answer", steps);
        }
    }
    ASSERT_NO_LEAKS();
}

Test(client_life, one_that_is_closed_when_it_is_time_to_try_again_does_not)
{
    struct story story;

    story_connect(&story, true);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    story_close(&story);
    uv_sleep((unsigned)story.retry_in_ms + 1);
    story_end(&story);
    cr_assert_eq(story.connected, 1);
    ASSERT_NO_LEAKS();
}

static void close_now(uv_prepare_t *prepare)
{
    uv_close((uv_handle_t *)prepare, NULL);
    story_close(prepare->data);
}

/* Behind the turn and in front of the sockets of one iteration. */
Test(client_life, one_that_is_closed_in_the_turn_in_which_it_connects_does_not_greet)
{
    struct story story;
    uv_prepare_t prepare;

    story_begin(&story, NULL);
    uv_prepare_init(&story.loop, &prepare);
    prepare.data = &story;
    uv_prepare_start(&prepare, close_now);
    psc_start(story.client);
    story_wait(&story, &story.closed, 1);
    story_end(&story);
    cr_assert_eq(story.connected, 0);
    ASSERT_NO_LEAKS();
}

Test(client_life, time_that_the_loop_stood_still_before_is_not_counted)
{
    struct story story;

    story_begin(&story, &(struct psc_options){.connect_timeout_ms = 50});
    uv_sleep(60);
    psc_start(story.client);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    cr_assert_eq(story.disconnected, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, a_client_that_was_never_started_closes)
{
    struct story story;

    story_begin(&story, NULL);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, what_is_queued_is_sent_before_closing)
{
    struct story story;

    story_connect(&story, false);
    cr_assert_eq(story_publish(&story, "A", "last words", 1), PS_OK);
    story_close(&story);
    story_wait(&story, &story.closed, 1);
    cr_assert_eq(story.outcomes[0].status, PS_UNKNOWN);
    cr_assert_eq(fake_expect(&story.broker, CLIENT_PUBLISH)->publish.message_count, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_life, options_that_cannot_work_are_refused)
{
    struct psc_client *client = NULL;
    char long_path[300];
    uv_loop_t loop;

    uv_loop_init(&loop);
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    cr_assert_eq(psc_new(&loop, &(struct psc_options){.id = text("")}, &client), PS_BAD_ID);
    cr_assert_eq(psc_new(&loop, &(struct psc_options){.port = 70000}, &client), PS_INVALID_ARGUMENT);
    cr_assert_eq(psc_new(&loop, &(struct psc_options){.unix_path = long_path}, &client), PS_INVALID_ARGUMENT);
    cr_assert_null(client);
    uv_loop_close(&loop);
    ASSERT_NO_LEAKS();
}
