/* A durable subscription that others had a hand in while the connection was gone, and topics that are gone then. */
#include "fake_broker.h"
#include "leaks.h"

#include <criterion/criterion.h>

static uint64_t expect_subscribe(struct story *story)
{
    return fake_expect(&story->broker, CLIENT_SUBSCRIBE)->request_id.value;
}

/* A durable one that was given and has acknowledged offsets 0 to 9 of topic A; then the connection is lost and comes
 * again. */
static void begin(struct story *story)
{
    struct psc_subscribe_options options;

    story_connect(story, true);
    options = story_subscription(story, "A");
    options.durable_id = text("s1");
    story_subscribe(story, &options);
    fake_subscribed(&story->broker, expect_subscribe(story), 1, "A", 0, 0, true);
    story_wait(story, &story->subscribed, 1);
    fake_deliver(&story->broker, 1, "A", 0, 10);
    story_wait(story, &story->messages, 10);
    cr_assert_eq(psc_ack(story->subscription, text("A"), 10, NULL, NULL), PS_OK);
    cr_assert_eq(fake_expect(&story->broker, CLIENT_ACK)->ack.next_offset, 10);
}

static void lose_and_return(struct story *story)
{
    unsigned before = story->disconnected;

    fake_drop(&story->broker);
    story_wait(story, &story->disconnected, before + 1);
    fake_greet(&story->broker);
}

Test(client_moved, one_that_was_moved_back_behind_what_is_known_committed_gives_the_messages_again)
{
    struct story story;

    begin(&story);
    lose_and_return(&story);
    story.broker.generation++; /* the move */
    fake_subscribed(&story.broker, expect_subscribe(&story), 1, "A", 4, 10, false);
    story_wait(&story, &story.subscribed, 2);
    cr_assert_eq(story.start_offset, 4);
    story.next_offset = 4;
    fake_deliver(&story.broker, 1, "A", 4, 6);
    story_wait(&story, &story.messages, 16);
    fake_quiet(&story.broker); /* what was acknowledged before the move is not told again */
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_moved, one_that_was_made_anew_begins_where_it_stands)
{
    struct story story;

    begin(&story);
    lose_and_return(&story);
    story.broker.generation = 0;
    fake_subscribed(&story.broker, expect_subscribe(&story), 1, "A", 2, 10, false);
    story.next_offset = 2;
    fake_deliver(&story.broker, 1, "A", 2, 8);
    story_wait(&story, &story.messages, 18);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_moved, attempts_that_were_lost_are_not_taken_for_a_move)
{
    struct story story;

    begin(&story);
    lose_and_return(&story);
    (void)expect_subscribe(&story);
    story.broker.generation++; /* carried out, but the answer is lost */
    lose_and_return(&story);
    fake_subscribed(&story.broker, expect_subscribe(&story), 1, "A", 4, 10, false);
    fake_deliver(&story.broker, 1, "A", 4, 7);
    story_wait(&story, &story.messages, 11);
    cr_assert_eq(story.next_offset, 11);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_moved, a_topic_that_is_gone_needs_no_acknowledgement)
{
    struct story story;

    begin(&story);
    lose_and_return(&story);
    fake_subscribed(&story.broker, expect_subscribe(&story), 1, NULL, 0, 0, false);
    story_wait(&story, &story.subscribed, 2);
    cr_assert_eq(psc_ack(story.subscription, text("A"), 10, story_done, &story), PS_OK);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_OK);
    fake_quiet(&story.broker);
    story_end(&story);
    ASSERT_NO_LEAKS();
}
