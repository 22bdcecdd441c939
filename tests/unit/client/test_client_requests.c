/* Requests besides messages: lists, info, ping, seek, delete, forget. */
#include "fake_broker.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct listed {
    unsigned calls, ends;
    enum ps_status status;
    char names[256];
    size_t positions;
};

static void topic_cb(const struct psc_error *error, const struct psc_topic_info *topic, void *data)
{
    struct listed *listed = data;

    cr_assert_eq(listed->ends, 0);
    if (topic == NULL) {
        listed->ends++;
        listed->status = error != NULL ? error->status : PS_OK;
        return;
    }
    listed->calls++;
    snprintf(listed->names + strlen(listed->names), sizeof listed->names - strlen(listed->names),
             "%.*s=%llu ", (int)topic->topic.size, (const char *)topic->topic.data,
             (unsigned long long)topic->head);
}

static void send_topics(struct story *story, uint64_t id, const char *first, const char *second, bool more)
{
    struct topic_info topics[2] = {{span_of(first), 0, 1, 0}, {span_of(second), 0, 2, 0}};

    fake_send(&story->broker, &(struct server_frame){.request_id = {true, id},
                                                     .kind = SERVER_TOPIC_LIST,
                                                     .topic_list = {topics, second == NULL ? 1 : 2, more}});
}

Test(client_requests, a_list_of_topics_is_fetched_page_by_page)
{
    struct story story;
    struct listed listed = {0};
    const struct client_frame *frame;

    story_connect(&story, false);
    cr_assert_eq(psc_list_topics(story.client, text("#"), topic_cb, &listed), PS_OK);
    frame = fake_expect(&story.broker, CLIENT_LIST_TOPICS);
    cr_assert(!span_present(frame->list_topics.after));
    send_topics(&story, frame->request_id.value, "a", "b", true);
    frame = fake_expect(&story.broker, CLIENT_LIST_TOPICS);
    cr_assert(span_equal(frame->list_topics.after, span_of("b")));
    cr_assert(span_equal(frame->list_topics.filter, span_of("#")));
    send_topics(&story, frame->request_id.value, "c", NULL, false);
    story_wait(&story, &listed.ends, 1);
    cr_assert_str_eq(listed.names, "a=1 b=2 c=1 ");
    cr_assert_eq(listed.status, PS_OK);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_requests, a_list_that_goes_round_ends_the_connection)
{
    struct story story;
    struct listed listed = {0};

    story_connect(&story, false);
    psc_list_topics(story.client, text(NULL), topic_cb, &listed);
    send_topics(&story, fake_expect(&story.broker, CLIENT_LIST_TOPICS)->request_id.value, "a", "b", true);
    send_topics(&story, fake_expect(&story.broker, CLIENT_LIST_TOPICS)->request_id.value, "b", NULL, true);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_PROTOCOL_VIOLATION);
    cr_assert_eq(listed.ends, 1);
    cr_assert_eq(listed.status, PS_CONNECTION_LOST);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

static void listed_cb(const struct psc_error *error, const struct psc_subscription_info *info, void *data)
{
    struct listed *listed = data;

    if (info == NULL) {
        listed->ends++;
        listed->status = error != NULL ? error->status : PS_OK;
        return;
    }
    listed->calls++;
    listed->positions += info->position_count;
    for (size_t i = 0; i < info->position_count; i++)
        cr_assert_eq(*(const char *)info->positions[i].topic.data,
                     (char)('a' + info->positions[i].committed));
    snprintf(listed->names + strlen(listed->names), sizeof listed->names - strlen(listed->names),
             "%.*s:%.*s ", (int)info->durable_id.size, (const char *)info->durable_id.data,
             (int)info->filter.size, (const char *)info->filter.data);
}

Test(client_requests, a_subscription_spread_over_frames_is_told_whole)
{
    struct story story;
    struct listed listed = {0};
    struct topic_position places[3] = {{span_of("a"), 0, 1}, {span_of("b"), 1, 1}, {span_of("c"), 2, 1}};
    struct subscription_info first = {span_of("s1"), span_of("#"), .positions = places, .position_count = 2};
    struct subscription_info rest[2] = {
        {span_of("s1"), span_of("#"), .positions = places + 2, .position_count = 1},
        {span_of("s2"), span_of("x"), .positions = NULL, .position_count = 0},
    };
    uint64_t id;

    story_connect(&story, false);
    cr_assert_eq(psc_list_subscriptions(story.client, text(NULL), listed_cb, &listed), PS_OK);
    id = fake_expect(&story.broker, CLIENT_LIST_SUBSCRIPTIONS)->request_id.value;
    fake_send(&story.broker, &(struct server_frame){.request_id = {true, id},
                                                    .kind = SERVER_SUBSCRIPTION_LIST,
                                                    .subscription_list = {&first, 1, true}});
    fake_send(&story.broker, &(struct server_frame){.request_id = {true, id},
                                                    .kind = SERVER_SUBSCRIPTION_LIST,
                                                    .subscription_list = {rest, 2, false}});
    story_wait(&story, &listed.ends, 1);
    cr_assert_str_eq(listed.names, "s1:# s2:x ");
    cr_assert_eq(listed.positions, 3);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_requests, changes_are_answered_done_or_refused)
{
    struct story story;
    const struct client_frame *frame;

    story_connect(&story, false);
    cr_assert_eq(psc_seek(story.client, text("s1"), text("A"), PSC_START_OFFSET, 5, story_done, &story),
                 PS_OK);
    frame = fake_expect(&story.broker, CLIENT_SEEK);
    cr_assert_eq(frame->seek.to.kind, START_OFFSET);
    cr_assert_eq(frame->seek.to.value, 5);
    fake_done(&story.broker, frame->request_id.value);
    story_wait(&story, &story.done, 1);
    cr_assert_eq(story.done_status, PS_OK);
    cr_assert_eq(psc_forget(story.client, text("s1"), text("A"), story_done, &story), PS_OK);
    fake_error(&story.broker, fake_expect(&story.broker, CLIENT_UNSUBSCRIBE)->request_id.value,
               PS_NO_SUCH_SUBSCRIPTION);
    story_wait(&story, &story.done, 2);
    cr_assert_eq(story.done_status, PS_NO_SUCH_SUBSCRIPTION);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_requests, values_that_cannot_work_are_refused_at_once)
{
    struct story story;

    story_connect(&story, false);
    cr_assert_eq(psc_seek(story.client, text("s1"), text("#"), PSC_START_OFFSET, 5, story_done, &story),
                 PS_INVALID_ARGUMENT);
    cr_assert_eq(psc_seek(story.client, text("s1"), text("A"), PSC_START_LAST, 5, story_done, &story),
                 PS_INVALID_ARGUMENT);
    cr_assert_eq(psc_forget(story.client, text(""), text("A"), story_done, &story), PS_BAD_ID);
    cr_assert_eq(psc_delete_topic(story.client, text("#"), story_done, &story), PS_BAD_TOPIC);
    cr_assert_eq(psc_list_topics(story.client, text("#/a"), topic_cb, &story), PS_BAD_FILTER);
    fake_quiet(&story.broker);
    cr_assert_eq(story.done, 0);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_requests, a_change_on_its_way_is_unknown_after_a_loss_and_a_question_is_lost)
{
    struct story story;
    struct listed listed = {0};

    story_connect(&story, true);
    psc_delete_topic(story.client, text("A"), story_done, &story);
    psc_list_topics(story.client, text(NULL), topic_cb, &listed);
    fake_expect(&story.broker, CLIENT_DELETE_TOPIC);
    fake_expect(&story.broker, CLIENT_LIST_TOPICS);
    fake_drop(&story.broker);
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.done_status, PS_UNKNOWN);
    cr_assert_eq(listed.status, PS_CONNECTION_LOST);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

static void info_cb(const struct psc_error *error, const struct psc_info *info, void *data)
{
    struct story *story = data;

    cr_assert_null(error);
    cr_assert_str_eq(info->version, "1.2");
    cr_assert_eq(info->commits, 42);
    story->done++;
}

static void ping_cb(const struct psc_error *error, uint64_t round_trip_ns, void *data)
{
    struct story *story = data;

    cr_assert_null(error);
    cr_assert_gt(round_trip_ns, 0);
    story->done++;
}

Test(client_requests, info_and_ping_are_answered)
{
    struct story story;
    const struct client_frame *frame;

    story_connect(&story, false);
    cr_assert_eq(psc_get_info(story.client, info_cb, &story), PS_OK);
    frame = fake_expect(&story.broker, CLIENT_GET_INFO);
    fake_send(&story.broker, &(struct server_frame){.request_id = frame->request_id,
                                                    .kind = SERVER_INFO,
                                                    .info = {.version = span_of("1.2"), .commits = 42}});
    cr_assert_eq(psc_ping(story.client, ping_cb, &story), PS_OK);
    frame = fake_expect(&story.broker, CLIENT_PING);
    fake_send(&story.broker, &(struct server_frame){.request_id = frame->request_id,
                                                    .kind = SERVER_PONG,
                                                    .ping_token = frame->ping_token});
    story_wait(&story, &story.done, 2);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

Test(client_requests, an_answer_of_the_wrong_kind_ends_the_connection)
{
    struct story story;

    story_connect(&story, false);
    psc_delete_topic(story.client, text("A"), story_done, &story);
    fake_send(&story.broker, &(struct server_frame){
                                 .request_id = fake_expect(&story.broker, CLIENT_DELETE_TOPIC)->request_id,
                                 .kind = SERVER_INFO});
    story_wait(&story, &story.disconnected, 1);
    cr_assert_eq(story.lost_status, PS_PROTOCOL_VIOLATION);
    cr_assert_eq(story.done, 1);
    story_end(&story);
    ASSERT_NO_LEAKS();
}

static void close_in_callback(const struct psc_error *error, void *data)
{
    struct story *story = data;

    (void)error;
    story->done++;
    story_close(story);
}

Test(client_requests, a_client_may_be_closed_from_inside_of_a_callback)
{
    struct story story;

    story_connect(&story, false);
    psc_delete_topic(story.client, text("A"), close_in_callback, &story);
    psc_delete_topic(story.client, text("B"), story_done, &story);
    fake_done(&story.broker, fake_expect(&story.broker, CLIENT_DELETE_TOPIC)->request_id.value);
    story_wait(&story, &story.closed, 1);
    cr_assert_eq(story.done, 2);
    cr_assert_eq(story.done_status, PS_UNKNOWN);
    story_end(&story);
    ASSERT_NO_LEAKS();
}
