/* Subscribing: credit, acknowledging, resuming without duplicates, ending. */
#include "fake_broker.h"
#include "leaks.h"

#include <criterion/criterion.h>

static const struct client_frame *expect_subscribe(struct story *story)
{
    const struct client_frame *frame = fake_expect(&story->broker, CLIENT_SUBSCRIBE);

    cr_assert(frame->request_id.present);
    return frame;
}

/* A client that holds subscription 1 on topic A, nothing delivered yet. */
static void attach(struct story *story, const struct psc_subscribe_options *options, uint64_t offset)
{
    story_connect(story, true);
    story_subscribe(story, options);
    fake_subscribed(&story->broker, expect_subscribe(story)->request_id.value, 1, "A", offset, offset, true);
    story_wait(story, &story->subscribed, 1);
}

static struct psc_subscribe_options durable(struct story *story)
{
    struct psc_subscribe_options options = story_subscription(story, "A");

    options.durable_id = text("s1");
    return options;
}

static void lose_and_return(struct story *story)
{
    unsigned before = story->disconnected;

    fake_drop(&story->broker);
    story_wait(story, &story->disconnected, before + 1);
    fake_greet(&story->broker);
}

static void ack(struct story *story, uint64_t next_offset)
{
    story->in_call++;
    cr_assert_eq(psc_ack(story->subscription, text("A"), next_offset, NULL, NULL), PS_OK);
    story->in_call--;
}

static void ack_and_wait(struct story *story, uint64_t next_offset)
{
    story->in_call++;
    cr_assert_eq(psc_ack(story->subscription, text("A"), next_offset, story_done, story), PS_OK);
    story->in_call--;
}

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

/* --------------------------------------------------------------------------------------------- resuming */

Test(client_subscribe, a_temporary_one_resumes_behind_what_it_was_given)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");
    const struct client_frame *frame;

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 10);
    story_wait(&story, &story.messages, 10);
    lose_and_return(&story);
    frame = expect_subscribe(&story);
    cr_assert_eq(frame->subscribe.start.kind, START_RESUME);
    cr_assert_eq(frame->subscribe.start.value, 1000);
    cr_assert_eq(frame->subscribe.start.offset_count, 1);
    cr_assert_eq(frame->subscribe.start.offsets[0].offset, 10);
    cr_assert(span_equal(frame->subscribe.log_id, story.broker.welcome.log_id));
    fake_subscribed(&story.broker, frame->request_id.value, 1, "A", 10, 12, false);
    fake_deliver(&story.broker, 1, "A", 10, 2);
    story_wait(&story, &story.messages, 12);
    cr_assert_eq(story.subscribed, 2);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, progress_shortens_what_a_resume_has_to_name)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "#");
    const struct client_frame *frame;

    attach(&story, &options, 0);
    fake_expect(&story.broker, CLIENT_CREDIT);
    fake_deliver(&story.broker, 1, "A", 0, 1);
    fake_send(&story.broker, &(struct server_frame){.kind = SERVER_PROGRESS, .progress = {1, 2000}});
    fake_quiet(&story.broker);
    lose_and_return(&story);
    frame = expect_subscribe(&story);
    cr_assert_eq(frame->subscribe.start.value, 2000);
    cr_assert_eq(frame->subscribe.start.offset_count, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_durable_one_is_attached_again_and_gives_nothing_twice)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);
    const struct client_frame *frame;

    attach(&story, &options, 0);
    cr_assert(!story.broker.told->frame.subscribe.existing_only);
    fake_deliver(&story.broker, 1, "A", 0, 10);
    story_wait(&story, &story.messages, 10);
    lose_and_return(&story);
    frame = expect_subscribe(&story);
    cr_assert(frame->subscribe.existing_only);
    cr_assert(span_equal(frame->subscribe.durable_id, span_of("s1")));
    cr_assert_eq(frame->subscribe.start.kind, START_BEGINNING);
    fake_subscribed(&story.broker, frame->request_id.value, 1, "A", 0, 12, false);
    fake_deliver(&story.broker, 1, "A", 0, 12);
    story_wait(&story, &story.messages, 12);
    cr_assert(!story.created);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, what_was_acknowledged_is_told_again_as_far_as_the_attachment_has_come)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 10);
    story_wait(&story, &story.messages, 10);
    ack(&story, 8);
    cr_assert_eq(fake_expect(&story.broker, CLIENT_ACK)->ack.next_offset, 8);
    lose_and_return(&story);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 0, 10, false);
    fake_quiet(&story.broker);
    fake_deliver(&story.broker, 1, "A", 0, 5);
    cr_assert_eq(fake_expect(&story.broker, CLIENT_ACK)->ack.next_offset, 5);
    fake_deliver(&story.broker, 1, "A", 5, 5);
    cr_assert_eq(fake_expect(&story.broker, CLIENT_ACK)->ack.next_offset, 8);
    cr_assert_eq(story.messages, 10);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, an_acknowledgement_between_connections_waits_for_its_messages)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);
    const struct client_frame *frame;

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 10);
    story_wait(&story, &story.messages, 10);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    ack_and_wait(&story, 10);
    fake_greet(&story.broker);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 0, 10, false);
    fake_quiet(&story.broker);
    fake_deliver(&story.broker, 1, "A", 0, 10);
    frame = fake_expect(&story.broker, CLIENT_ACK);
    cr_assert(frame->request_id.present);
    cr_assert_eq(frame->ack.next_offset, 10);
    fake_done(&story.broker, frame->request_id.value);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_OK);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, what_the_broker_has_committed_needs_no_second_acknowledgement)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);

    attach(&story, &options, 10);
    ack_and_wait(&story, 10);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_OK);
    fake_quiet(&story.broker);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_moved_one_is_attached_again_and_gives_the_same_messages_again)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);

    attach(&story, &options, 0);
    fake_deliver(&story.broker, 1, "A", 0, 10);
    story_wait(&story, &story.messages, 10);
    fake_end(&story.broker, 1, PS_MOVED);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 2, "A", 3, 10, false);
    story_wait(&story, &story.subscribed, 2);
    cr_assert_eq(story.start_offset, 3);
    story.next_offset = 3;
    fake_deliver(&story.broker, 2, "A", 3, 7);
    story_wait(&story, &story.messages, 17);
    cr_assert_eq(story.ended, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, one_that_was_moved_back_while_away_gives_the_same_messages_again)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);

    attach(&story, &options, 5);
    fake_deliver(&story.broker, 1, "A", 5, 5);
    story_wait(&story, &story.messages, 5);
    lose_and_return(&story);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 2, 10, false);
    story_wait(&story, &story.subscribed, 2);
    story.next_offset = 2;
    fake_deliver(&story.broker, 1, "A", 2, 8);
    story_wait(&story, &story.messages, 13);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, another_log_ends_temporary_ones_and_makes_durable_ones_anew)
{
    for (int is_durable = 0; is_durable < 2; is_durable++) {
        struct story story;
        struct psc_subscribe_options options = story_subscription(&story, "A");

        if (is_durable != 0)
            options.durable_id = text("s1");
        attach(&story, &options, 0);
        fake_deliver(&story.broker, 1, "A", 0, 10);
        story_wait(&story, &story.messages, 10);
        story.broker.welcome.log_id = span_of("another log's id");
        lose_and_return(&story);
        if (is_durable == 0) {
            story_wait(&story, &story.ended, 1);
            cr_assert_eq(story.end_status, PS_LOG_CHANGED);
        } else {
            const struct client_frame *frame = expect_subscribe(&story);

            cr_assert(!frame->subscribe.existing_only);
            fake_subscribed(&story.broker, frame->request_id.value, 1, "A", 0, 1, true);
            story.messages = 0;
            fake_deliver(&story.broker, 1, "A", 0, 1);
            story_wait(&story, &story.messages, 1);
        }
        story_end(&story);
    }
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_bounded_one_keeps_its_first_end_over_a_reconnect)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    options.until_end = true;
    story_connect(&story, true);
    story_subscribe(&story, &options);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 0, 10, false);
    fake_deliver(&story.broker, 1, "A", 0, 5);
    story_wait(&story, &story.messages, 5);
    lose_and_return(&story);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 5, 20, false);
    fake_deliver(&story.broker, 1, "A", 5, 15);
    fake_end(&story.broker, 1, PS_END_REACHED);
    story_wait(&story, &story.ended, 1);
    cr_assert_eq(story.messages, 10);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, a_gap_is_told_once)
{
    struct story story;
    struct psc_subscribe_options options = durable(&story);
    struct server_frame gap = {.kind = SERVER_GAP, .gap = {1, span_of("A"), 0, 7}};

    attach(&story, &options, 7);
    fake_send(&story.broker, &gap);
    story_wait(&story, &story.gaps, 1);
    cr_assert_eq(story.gap_from, 0);
    cr_assert_eq(story.gap_to, 7);
    lose_and_return(&story);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 7, 10, false);
    fake_send(&story.broker, &gap);
    fake_quiet(&story.broker);
    cr_assert_eq(story.gaps, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_subscribe, without_reconnect_a_loss_ends_it)
{
    struct story story;
    struct psc_subscribe_options options = story_subscription(&story, "A");

    story_connect(&story, false);
    story_subscribe(&story, &options);
    fake_subscribed(&story.broker, expect_subscribe(&story)->request_id.value, 1, "A", 0, 0, false);
    story_wait(&story, &story.subscribed, 1);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.ended, 1);
    cr_assert_eq(story.end_status, PS_CONNECTION_LOST);
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
