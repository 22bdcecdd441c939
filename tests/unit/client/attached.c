#include "attached.h"

#include <criterion/criterion.h>

const struct client_frame *expect_subscribe(struct story *story)
{
    const struct client_frame *frame = fake_expect(&story->broker, CLIENT_SUBSCRIBE);

    cr_assert(frame->request_id.present);
    return frame;
}

/* A client that holds subscription 1 on topic A, nothing delivered yet. */
void attach(struct story *story, const struct psc_subscribe_options *options, uint64_t offset)
{
    story_connect(story, true);
    story_subscribe(story, options);
    fake_subscribed(&story->broker, expect_subscribe(story)->request_id.value, 1, "A", offset, offset, true);
    story_wait(story, &story->subscribed, 1);
}

struct psc_subscribe_options durable(struct story *story)
{
    struct psc_subscribe_options options = story_subscription(story, "A");

    options.durable_id = text("s1");
    return options;
}

void lose_and_return(struct story *story)
{
    unsigned before = story->disconnected;

    fake_drop(&story->broker);
    story_wait(story, &story->disconnected, before + 1);
    fake_greet(&story->broker);
}

void ack(struct story *story, uint64_t next_offset)
{
    story->in_call++;
    cr_assert_eq(psc_ack(story->subscription, text("A"), next_offset, NULL, NULL), PS_OK);
    story->in_call--;
}

void ack_and_wait(struct story *story, uint64_t next_offset)
{
    story->in_call++;
    cr_assert_eq(psc_ack(story->subscription, text("A"), next_offset, story_done, story), PS_OK);
    story->in_call--;
}
