/* Subscribing: credit, acknowledging, ending. */
#include "attached.h"
#include "leaks.h"

#include <criterion/criterion.h>

static void consume(struct story *story, uint64_t messages)
{
    story->in_call++;
    psc_consumed(story->subscription, messages, 2 * messages);
    story->in_call--;
}

Test(client_subscribe, a_subscription_says_where_it_begins_and_delivers_in_order)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    attach(&story, &options, 5);
    cr_assert(story.created);
    cr_assert_eq(story.start_offset, 5);
    cr_assert(psc_subscription_filter(story.subscription).size == 1);
    fake_deliver(&story.broker, 1, "A", 5, 3);
    fake_deliver(&story.broker, 1, "A", 8, 2);
    story_wait(&story, &story.messages, 5);
    cr_assert_eq(story.first_offset, 5);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, the_start_and_the_options_travel)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");
    const struct client_frame *frame;

    options.start = PSC_START_LAST;
    options.value = 7;
    options.until_end = true;
    story_connect(&story, false);
    story_subscribe(&story, &options);
    frame = expect_subscribe(&story);
    cr_assert_eq(frame->subscribe.start.kind, START_LAST);
    cr_assert_eq(frame->subscribe.start.value, 7);
    cr_assert(frame->subscribe.until_end);
    cr_assert(!span_present(frame->subscribe.durable_id));
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, options_that_cannot_work_are_refused)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "a/#/b");
    struct psc_subscription *subscription = NULL;

    story_connect(&story, false);
    cr_assert_eq(psc_subscribe(story.client, &options, &subscription), PS_BAD_FILTER);
    options.filter = text("a/#");
    options.start = PSC_START_OFFSET;
    cr_assert_eq(psc_subscribe(story.client, &options, &subscription), PS_INVALID_ARGUMENT);
    options.start = PSC_START_NEW;
    options.durable_id = text("");
    cr_assert_eq(psc_subscribe(story.client, &options, &subscription), PS_BAD_ID);
    cr_assert_null(subscription);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_refusal_ends_the_subscription)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    story_connect(&story, true);
    story_subscribe(&story, &options);
    fake_error(&story.broker, expect_subscribe(&story)->request_id.value, PS_ROLE_REFUSED);
    story_wait(&story, &story.ended, 1);
    cr_assert_eq(story.end_status, PS_ROLE_REFUSED);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, every_end_is_told_with_its_reason)
{
    static const enum ps_status reasons[] = {PS_END_REACHED, PS_REPLACED, PS_REMOVED, PS_DAMAGED};

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        struct story story;
        struct psc_subscribe_options options = story_subscription(&story, "A");

        attach(&story, &options, 0);
        fake_deliver(&story.broker, 1, "A", 0, 1);
        fake_end(&story.broker, 1, reasons[i]);
        fake_deliver(&story.broker, 1, "A", 1, 1);
        fake_quiet(&story.broker);
        cr_assert_eq(story.ended, 1);
        cr_assert_eq(story.end_status, reasons[i]);
        cr_assert_eq(story.messages, 1);
        story_end(&story);
    }
    ASSERT_NO_LEAKS();
}

/* ----------------------------------------------------------------------------------------------- credit */

Test(client_subscribe, credit_is_a_running_total_of_what_was_consumed_and_the_window)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");
    const struct client_frame *frame;

    options.window_messages = 8;
    options.window_bytes = 1000;
    story_connect(&story, true);
    story_subscribe(&story, &options);
    frame = expect_subscribe(&story);
    cr_assert_eq(frame->subscribe.credit_messages, 8);
    cr_assert_eq(frame->subscribe.credit_bytes, 1000);
    fake_subscribed(&story.broker, frame->request_id.value, 1, "A", 0, 0, false);
    fake_deliver(&story.broker, 1, "A", 0, 4);
    story_wait(&story, &story.messages, 4);
    consume(&story, 1);
    fake_quiet(&story.broker);
    consume(&story, 1);
    frame = fake_expect(&story.broker, CLIENT_CREDIT);
    cr_assert_eq(frame->credit.subscription, 1);
    cr_assert_eq(frame->credit.messages, 10);
    cr_assert_eq(frame->credit.bytes, 1004);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_broker_without_credit_gets_any_that_comes_up)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    options.window_messages = 100;
    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 100);
    story_wait(&story, &story.messages, 100);
    consume(&story, 1);
    cr_assert_eq(fake_expect(&story.broker, CLIENT_CREDIT)->credit.messages, 101);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, many_topics_are_told_before_any_credit_is_given)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "#");
    struct topic_start starts[2] = {{.topic = span_of("A")}, {.topic = span_of("B")}};
    const struct client_frame *frame;

    options.window_messages = 10;
    story_connect(&story, false);
    story_subscribe(&story, &options);
    frame = expect_subscribe(&story);
    cr_assert_eq(frame->subscribe.credit_messages, 0);
    for (int i = 0; i < 2; i++)
        fake_send(
            &story.broker,
            &(struct server_frame){
                .request_id = frame->request_id,
                .kind = SERVER_SUBSCRIBED,
                .subscribed = {.subscription = 3, .starts = &starts[i], .start_count = 1, .more = i == 0}});
    frame = fake_expect(&story.broker, CLIENT_CREDIT);
    cr_assert_eq(frame->credit.subscription, 3);
    cr_assert_eq(frame->credit.messages, 10);
    cr_assert_eq(story.subscribed, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, what_is_held_counts_against_the_credit_of_the_next_connection)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    options.window_messages = 8;
    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 6);
    story_wait(&story, &story.messages, 6);
    lose_and_return(&story);
    cr_assert_eq(expect_subscribe(&story)->subscribe.credit_messages, 2);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------- acknowledgements */

static void ack_each(struct story *story)
{
    ack(story, story->next_offset);
}

Test(client_subscribe, acknowledgements_of_one_turn_travel_as_one)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);
    const struct client_frame *frame;

    attach(&story, &options, 0);
    story.on_message = ack_each;
    fake_deliver(&story.broker, 1, "A", 0, 50);
    frame = fake_expect(&story.broker, CLIENT_ACK);
    cr_assert(!frame->request_id.present);
    cr_assert_eq(frame->ack.subscription, 1);
    cr_assert_eq(frame->ack.next_offset, 50);
    fake_quiet(&story.broker);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, an_acknowledgement_with_a_callback_is_answered_by_the_broker)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);
    const struct client_frame *frame;

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 3);
    story_wait(&story, &story.messages, 3);
    ack_and_wait(&story, 3);
    frame = fake_expect(&story.broker, CLIENT_ACK);
    cr_assert_eq(frame->ack.next_offset, 3);
    cr_assert_eq(story.done, 0);
    fake_done(&story.broker, frame->request_id.value);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_OK);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, an_acknowledgement_on_its_way_is_unknown_after_a_loss)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 3);
    story_wait(&story, &story.messages, 3);
    ack_and_wait(&story, 3);
    fake_expect(&story.broker, CLIENT_ACK);
    fake_drop(&story.broker);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_UNKNOWN);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, temporary_subscriptions_have_nothing_to_acknowledge)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    attach(&story, &options, 0);
    cr_assert_eq(psc_ack(story.subscription, text("A"), 1, story_done, &story), PS_INVALID_ARGUMENT);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

/* --------------------------------------------------------------------------------------------- leaving */

static void detach_at_once(struct story *story)
{
    story->in_call++;
    psc_detach(story->subscription, story_done, story);
    story->in_call--;
}

Test(client_subscribe, detaching_inside_of_a_message_stops_the_rest_of_its_delivery)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");
    const struct client_frame *frame;

    attach(&story, &options, 0);
    story.on_message = detach_at_once;
    fake_deliver(&story.broker, 1, "A", 0, 5);
    frame = fake_expect(&story.broker, CLIENT_DETACH);
    cr_assert_eq(frame->detach, 1);
    fake_deliver(&story.broker, 1, "A", 5, 5);
    fake_done(&story.broker, frame->request_id.value);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.messages, 1);
    cr_assert_eq(story.ended, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, acknowledgements_go_out_in_front_of_the_farewell)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 5);
    story_wait(&story, &story.messages, 5);
    ack(&story, 5);
    detach_at_once(&story);
    cr_assert_eq(fake_expect(&story.broker, CLIENT_ACK)->ack.next_offset, 5);
    fake_expect(&story.broker, CLIENT_DETACH);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, leaving_while_attaching_waits_for_the_answer)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);
    const struct client_frame *frame;
    uint64_t id;

    story_connect(&story, false);
    story_subscribe(&story, &options);
    id = expect_subscribe(&story)->request_id.value;
    psc_unsubscribe(story.subscription, story_done, &story);
    fake_quiet(&story.broker);
    fake_subscribed(&story.broker, id, 1, "A", 0, 0, true);
    frame = fake_expect(&story.broker, CLIENT_UNSUBSCRIBE);
    cr_assert(span_equal(frame->unsubscribe.durable_id, span_of("s1")));
    cr_assert(span_equal(frame->unsubscribe.filter, span_of("A")));
    fake_done(&story.broker, frame->request_id.value);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.subscribed, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, leaving_without_a_connection_needs_none)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    story_begin(&story, NULL);
    story_subscribe(&story, &options);
    detach_at_once(&story);
    cr_assert_eq(story.done, 0, "not from inside of the call");
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_OK);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_delivery_that_goes_back_ends_the_connection)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    attach(&story, &options, 5);
    fake_deliver(&story.broker, 1, "A", 5, 2);
    fake_deliver(&story.broker, 1, "A", 6, 1);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_PROTOCOL_VIOLATION);
    cr_assert_eq(story.messages, 2);
    story_end(&story);
    ASSERT_NO_LEAKS();
}
