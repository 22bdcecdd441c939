/* What becomes of subscriptions when the connection goes: resuming without a gap and without a message twice. */
#include "attached.h"
#include "leaks.h"

#include <criterion/criterion.h>

Test(client_resume, a_temporary_one_resumes_behind_what_it_was_given)
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

Test(client_resume, progress_shortens_what_a_resume_has_to_name)
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

Test(client_resume, a_durable_one_is_attached_again_and_gives_nothing_twice)
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

Test(client_resume, what_was_acknowledged_is_told_again_as_far_as_the_attachment_has_come)
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

Test(client_resume, an_acknowledgement_between_connections_waits_for_its_messages)
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

Test(client_resume, what_the_broker_has_committed_needs_no_second_acknowledgement)
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

Test(client_resume, a_moved_one_is_attached_again_and_gives_the_same_messages_again)
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

Test(client_resume, one_that_was_moved_back_while_away_gives_the_same_messages_again)
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

Test(client_resume, another_log_ends_temporary_ones_and_makes_durable_ones_anew)
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

Test(client_resume, a_bounded_one_keeps_its_first_end_over_a_reconnect)
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

Test(client_resume, a_gap_is_told_once)
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

Test(client_resume, without_reconnect_a_loss_ends_it)
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
