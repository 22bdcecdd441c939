/* Publishing: batching, the window, answers in pieces, the three outcomes. */
#include "fake_broker.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct client_frame *expect_publish(struct story *story, uint32_t count)
{
    const struct client_frame *frame = fake_expect(&story->broker, CLIENT_PUBLISH);

    cr_assert_eq(frame->publish.message_count, count, "%u messages instead of %u",
                 frame->publish.message_count, count);
    cr_assert(frame->request_id.present);
    return frame;
}

Test(client_publish, an_acknowledgement_brings_the_offset)
{
    struct story story;
    const struct client_frame *frame;

    story_connect(&story, false);
    cr_assert_eq(story_publish(&story, "A", "hello", 1), PS_OK);
    cr_assert_eq(psc_pending(story.client), 1);
    frame = expect_publish(&story, 1);
    cr_assert(span_equal(frame->publish.groups[0].topic, span_of("A")));
    cr_assert(span_equal(frame->publish.groups[0].messages[0].payload, span_of("hello")));
    cr_assert(!span_present(frame->publish.groups[0].messages[0].key));
    fake_accept(&story.broker, frame->request_id.value, 0, 1, 17);
    story_wait(&story, &story.published, 1);
    cr_assert_eq(story.outcomes[0].status, PS_OK);
    cr_assert_eq(story.outcomes[0].offset, 17);
    cr_assert_eq(psc_pending(story.client), 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, key_and_headers_travel)
{
    struct story story;
    struct psc_header headers[] = {{text("a"), text("1")}, {text("b"), text("")}};
    struct psc_message message = {
        .payload = text(""), .key = text(""), .headers = headers, .header_count = 2};
    const struct message *sent;

    story_connect(&story, false);
    cr_assert_eq(psc_publish(story.client, text("A"), &message, story_published, NULL), PS_OK);
    sent = expect_publish(&story, 1)->publish.groups[0].messages;
    cr_assert(span_present(sent->key));
    cr_assert_eq(sent->key.size, 0);
    cr_assert_eq(sent->header_count, 2);
    cr_assert(span_equal(sent->headers[0].value, span_of("1")));
    cr_assert(span_equal(sent->headers[1].name, span_of("b")));
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, messages_of_one_turn_travel_in_one_frame_grouped_by_topic)
{
    struct story story;
    const struct client_frame *frame;
    static const char *const topics[] = {"A", "B", "A", "C", "B", "A"};

    story_connect(&story, false);
    for (uintptr_t i = 0; i < 6; i++)
        cr_assert_eq(story_publish(&story, topics[i], "x", i), PS_OK);
    frame = expect_publish(&story, 6);
    cr_assert_eq(frame->publish.group_count, 3);
    cr_assert_eq(frame->publish.groups[0].count, 3);
    cr_assert_eq(frame->publish.groups[1].count, 2);
    cr_assert(span_equal(frame->publish.groups[2].topic, span_of("C")));
    fake_accept(&story.broker, frame->request_id.value, 0, 3, 100);
    fake_accept(&story.broker, frame->request_id.value, 3, 2, 200);
    fake_accept(&story.broker, frame->request_id.value, 5, 1, 300);
    story_wait(&story, &story.published, 6);
    for (unsigned i = 0; i < 6; i++) {
        static const uintptr_t order[] = {0, 2, 5, 1, 4, 3};
        static const uint64_t offsets[] = {100, 101, 102, 200, 201, 300};

        cr_assert_eq(story.outcomes[i].which, order[i]);
        cr_assert_eq(story.outcomes[i].offset, offsets[i]);
    }
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, many_topics_keep_their_messages_apart)
{
    struct story story;
    const struct client_frame *frame;

    story_connect(&story, false);
    for (uintptr_t i = 0; i < 600; i++) {
        char topic[16];

        snprintf(topic, sizeof topic, "t%zu", (size_t)i % 300);
        cr_assert_eq(story_publish(&story, topic, topic, i), PS_OK);
    }
    frame = expect_publish(&story, 600);
    cr_assert_eq(frame->publish.group_count, 300);
    for (uint32_t i = 0; i < 300; i++) {
        cr_assert_eq(frame->publish.groups[i].count, 2);
        cr_assert(span_equal(frame->publish.groups[i].messages[1].payload, frame->publish.groups[i].topic));
    }
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, frames_stay_within_the_announced_limits)
{
    struct story story;
    uint32_t seen = 0;

    story_begin(&story, NULL);
    story.broker.welcome.limits.max_messages_per_frame = 7;
    psc_start(story.client);
    for (uintptr_t i = 0; i < 20; i++)
        cr_assert_eq(story_publish(&story, i % 2 == 0 ? "A" : "B", "x", i), PS_OK);
    fake_greet(&story.broker);
    while (seen < 20) {
        const struct client_frame *frame = fake_expect(&story.broker, CLIENT_PUBLISH);

        cr_assert_leq(frame->publish.message_count, 7);
        seen += frame->publish.message_count;
        fake_accept(&story.broker, frame->request_id.value, 0, frame->publish.groups[0].count, 0);
        if (frame->publish.group_count > 1)
            fake_accept(&story.broker, frame->request_id.value, frame->publish.groups[0].count,
                        frame->publish.groups[1].count, 0);
    }
    story_wait(&story, &story.published, 20);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, what_a_smaller_limit_refuses_is_never_sent)
{
    struct story story;

    story_begin(&story, NULL);
    story.broker.welcome.limits.max_message = 4;
    psc_start(story.client);
    cr_assert_eq(story_publish(&story, "A", "fits", 1), PS_OK);
    cr_assert_eq(story_publish(&story, "A", "does not", 2), PS_OK);
    fake_greet(&story.broker);
    expect_publish(&story, 1);
    cr_assert_eq(story.published, 1);
    cr_assert_eq(story.outcomes[0].which, 2);
    cr_assert_eq(story.outcomes[0].status, PS_MESSAGE_TOO_LARGE);
    cr_assert_eq(story_publish(&story, "A", "does not", 3), PS_MESSAGE_TOO_LARGE);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, names_and_headers_are_checked_before_anything_is_queued)
{
    struct story story;
    struct psc_header twice[] = {{text("a"), text("1")}, {text("a"), text("2")}};
    struct psc_message message = {.payload = text("x"), .headers = twice, .header_count = 2};

    story_connect(&story, false);
    cr_assert_eq(story_publish(&story, "", "x", 1), PS_BAD_TOPIC);
    cr_assert_eq(story_publish(&story, "a/+", "x", 1), PS_BAD_TOPIC);
    cr_assert_eq(story_publish(&story, "$sys", "x", 1), PS_RESERVED_TOPIC);
    cr_assert_eq(psc_publish(story.client, text("A"), &message, story_published, NULL), PS_BAD_HEADER);
    fake_quiet(&story.broker);
    cr_assert_eq(psc_pending(story.client), 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, a_full_window_refuses_and_says_when_there_is_room)
{
    struct story story;
    const struct client_frame *frame;

    story_begin(&story, NULL);
    story.broker.welcome.publish_window = 100;
    psc_start(story.client);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    for (uintptr_t i = 0; i < 10; i++)
        cr_assert_eq(story_publish(&story, "A", "0123456789", i), PS_OK);
    cr_assert_eq(story_publish(&story, "A", "0123456789", 10), PS_LIMIT_EXCEEDED);
    frame = expect_publish(&story, 10);
    cr_assert_eq(story.writable, 0);
    fake_accept(&story.broker, frame->request_id.value, 0, 2, 0);
    fake_quiet(&story.broker);
    cr_assert_eq(story.writable, 0, "a nearly full window is no news");
    fake_accept(&story.broker, frame->request_id.value, 2, 8, 2);
    story_wait(&story, &story.writable, 1);
    cr_assert_eq(story_publish(&story, "A", "0123456789", 10), PS_OK);
    expect_publish(&story, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, a_message_larger_than_the_window_passes_alone)
{
    struct story story;

    story_begin(&story, NULL);
    story.broker.welcome.publish_window = 4;
    psc_start(story.client);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    cr_assert_eq(story_publish(&story, "A", "0123456789", 0), PS_OK);
    cr_assert_eq(story_publish(&story, "A", "0", 1), PS_LIMIT_EXCEEDED);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, empty_messages_are_bounded_by_number)
{
    struct story story;
    size_t queued = 0;

    story_begin(&story, NULL);
    while (psc_publish(story.client, text("A"), &(struct psc_message){.payload = text("")}, NULL, NULL) ==
           PS_OK)
        queued++;
    cr_assert_eq(queued, 256 * 1024);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, a_large_amount_goes_out_before_the_turn_ends)
{
    struct story story;
    struct psc_message message = {.payload = {calloc(1, 100 * 1024), 100 * 1024}};

    story_connect(&story, false);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(psc_publish(story.client, text("A"), &message, story_published, NULL), PS_OK);
    expect_publish(&story, 2);
    expect_publish(&story, 2);
    expect_publish(&story, 1);
    free((void *)message.payload.data);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, all_that_was_queued_before_the_connection_goes_out)
{
    struct story story;
    struct psc_message message = {.payload = {calloc(1, 100 * 1024), 100 * 1024}};

    story_begin(&story, NULL);
    for (int i = 0; i < 9; i++)
        cr_assert_eq(psc_publish(story.client, text("A"), &message, story_published, NULL), PS_OK);
    psc_start(story.client);
    fake_greet(&story.broker);
    for (int i = 0; i < 4; i++)
        expect_publish(&story, 2);
    expect_publish(&story, 1);
    free((void *)message.payload.data);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

/* More than the kernel keeps for two sockets, so that writes are taken in part. */
Test(client_publish, what_a_full_kernel_does_not_take_follows_whole)
{
    enum { MESSAGES = 120, SIZE = 100 * 1024 };
    struct story story;
    struct psc_message message = {.payload = {malloc(SIZE), SIZE}};
    int seen = 0;

    story_begin(&story, NULL);
    story.broker.welcome.publish_window = 2 * MESSAGES * SIZE;
    psc_start(story.client);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    fake_stop_reading(&story.broker);
    for (int i = 0; i < MESSAGES; i++) {
        memset((void *)message.payload.data, 'A' + i % 26, SIZE);
        cr_assert_eq(psc_publish(story.client, text("A"), &message, story_published, NULL), PS_OK);
    }
    fake_read_on(&story.broker);
    while (seen < MESSAGES) {
        const struct client_frame *frame = fake_expect(&story.broker, CLIENT_PUBLISH);

        for (uint32_t i = 0; i < frame->publish.message_count; i++, seen++) {
            struct span payload = frame->publish.groups[0].messages[i].payload;

            cr_assert_eq(payload.size, SIZE);
            cr_assert_eq(payload.data[0], 'A' + seen % 26);
            cr_assert_eq(payload.data[SIZE - 1], 'A' + seen % 26);
        }
    }
    free((void *)message.payload.data);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, answers_may_come_in_pieces_refused_in_part_and_out_of_order)
{
    struct story story;
    const struct client_frame *first, *second;
    enum ps_status of[8] = {0};

    story_connect(&story, false);
    for (uintptr_t i = 0; i < 5; i++)
        story_publish(&story, "A", "x", i);
    first = expect_publish(&story, 5);
    for (uintptr_t i = 5; i < 8; i++)
        story_publish(&story, "A", "x", i);
    second = expect_publish(&story, 3);
    fake_refuse_run(&story.broker, first->request_id.value, 3, 1, PS_DISK_FULL, false);
    fake_accept(&story.broker, second->request_id.value, 0, 2, 50);
    fake_accept(&story.broker, first->request_id.value, 0, 3, 7);
    fake_refuse_run(&story.broker, first->request_id.value, 4, 1, PS_STORAGE_FAILED, true);
    fake_refuse_run(&story.broker, second->request_id.value, 2, 1, PS_NO_MEMORY, false);
    story_wait(&story, &story.published, 8);
    for (unsigned i = 0; i < 8; i++)
        of[story.outcomes[i].which] = story.outcomes[i].status;
    cr_assert_eq(of[0], PS_OK);
    cr_assert_eq(of[3], PS_DISK_FULL);
    cr_assert_eq(of[4], PS_UNKNOWN, "an unknown outcome is never reported as a refusal");
    cr_assert_eq(of[6], PS_OK);
    cr_assert_eq(of[7], PS_NO_MEMORY);
    cr_assert_eq(psc_pending(story.client), 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, a_refusal_that_overtakes_acknowledgements_is_told_in_its_turn)
{
    struct story story;
    const struct client_frame *first, *second;

    story_connect(&story, false);
    for (uintptr_t i = 0; i < 3; i++)
        story_publish(&story, "A", "x", i);
    first = expect_publish(&story, 3);
    for (uintptr_t i = 3; i < 6; i++)
        story_publish(&story, "A", "x", i);
    second = expect_publish(&story, 3);
    fake_error(&story.broker, second->request_id.value, PS_DRAINING);
    fake_accept(&story.broker, first->request_id.value, 1, 2, 8);
    fake_accept(&story.broker, first->request_id.value, 0, 1, 7);
    story_wait(&story, &story.published, 6);
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(story.outcomes[i].which, i);
        cr_assert_eq(story.outcomes[i].status, i < 3 ? PS_OK : PS_DRAINING);
        if (i < 3)
            cr_assert_eq(story.outcomes[i].offset, 7u + i);
    }
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, an_error_for_a_frame_refuses_all_of_it)
{
    struct story story;

    story_connect(&story, false);
    for (uintptr_t i = 0; i < 3; i++)
        story_publish(&story, "A", "x", i);
    fake_error(&story.broker, expect_publish(&story, 3)->request_id.value, PS_ROLE_REFUSED);
    story_wait(&story, &story.published, 3);
    cr_assert_eq(story.outcomes[2].status, PS_ROLE_REFUSED);
    cr_assert_eq(story.disconnected, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, a_run_outside_of_the_frame_or_given_twice_ends_the_connection)
{
    for (int i = 0; i < 3; i++) {
        struct story story;
        uint64_t id;

        story_connect(&story, false);
        for (uintptr_t k = 0; k < 3; k++)
            story_publish(&story, "A", "x", k);
        id = expect_publish(&story, 3)->request_id.value;
        if (i == 0) {
            fake_accept(&story.broker, id, 2, 2, 0);
        } else if (i == 1) {
            fake_accept(&story.broker, id, 4, 1, 0);
        } else {
            fake_accept(&story.broker, id, 0, 2, 0);
            fake_accept(&story.broker, id, 1, 1, 0);
        }
        story_wait(&story, &story.disconnected, 1);
        cr_assert_eq(story.lost_status, PS_PROTOCOL_VIOLATION);
        cr_assert_eq(story.published, 3);
        cr_assert_eq(story.outcomes[2].status, PS_UNKNOWN);
        story_end(&story);
    }
    ASSERT_NO_LEAKS();
}

Test(client_publish, what_was_sent_is_unknown_after_a_loss_and_what_was_not_is_lost)
{
    struct story story;
    struct psc_message message = {.payload = {calloc(1, 1000 * 1000), 1000 * 1000}};
    unsigned unknown = 0;

    story_begin(&story, &(struct psc_options){.reconnect = true});
    story.broker.welcome.publish_window = 64 * 1024 * 1024;
    psc_start(story.client);
    fake_greet(&story.broker);
    story_wait(&story, &story.connected, 1);
    fake_stop_reading(&story.broker);
    for (uintptr_t i = 0; i < 40; i++)
        cr_assert_eq(psc_publish(story.client, text("A"), &message, story_published, (void *)i), PS_OK);
    free((void *)message.payload.data);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.published, 40);
    while (unknown < 40 && story.outcomes[unknown].status == PS_UNKNOWN)
        unknown++;
    cr_assert_gt(unknown, 0);
    cr_assert_lt(unknown, 40, "more than the sockets can hold was sent");
    for (unsigned i = 0; i < 40; i++) {
        cr_assert_eq(story.outcomes[i].which, i);
        cr_assert_eq(story.outcomes[i].status, i < unknown ? PS_UNKNOWN : PS_CONNECTION_LOST);
    }
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, what_is_queued_between_connections_is_sent_once_there_is_one)
{
    struct story story;
    const struct client_frame *frame;

    story_connect(&story, true);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story_publish(&story, "A", "later", 1), PS_OK);
    fake_greet(&story.broker);
    frame = expect_publish(&story, 1);
    fake_accept(&story.broker, frame->request_id.value, 0, 1, 5);
    story_wait(&story, &story.published, 1);
    cr_assert_eq(story.outcomes[0].offset, 5);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_publish, nothing_is_queued_after_close)
{
    struct story story;
    struct psc_client *client;

    story_connect(&story, true);
    client = story.client;
    story_close(&story);
    cr_assert_eq(psc_publish(client, text("A"), &(struct psc_message){.payload = text("x")}, NULL, NULL),
                 PS_CANCELLED);
    story_end(&story);
    ASSERT_NO_LEAKS();
}
