#include "fake_broker.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct psc_bytes text(const char *bytes)
{
    return (struct psc_bytes){bytes, bytes == NULL ? 0 : strlen(bytes)};
}

/* Callbacks know their story by this: data of publications is a number that tests compare. */
static struct story *present;

static void outside_of_calls(const struct story *story)
{
    cr_assert_eq(story->in_call, 0, "a callback came from inside of a call");
    cr_assert_eq(story->closed, 0, "a callback came after closed");
}

static void connected_cb(struct psc_client *client, const struct psc_server *server, void *data)
{
    struct story *story = data;

    (void)client;
    outside_of_calls(story);
    cr_assert_eq(memcmp(server->log_id, story->broker.welcome.log_id.data, LOG_ID_BYTES), 0);
    story->connected++;
}

static void disconnected_cb(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                            void *data)
{
    struct story *story = data;

    (void)client;
    outside_of_calls(story);
    cr_assert_not_null(error->text);
    story->disconnected++;
    story->lost_status = error->status;
    story->retry_in_ms = retry_in_ms;
}

static void writable_cb(struct psc_client *client, void *data)
{
    struct story *story = data;

    (void)client;
    outside_of_calls(story);
    story->writable++;
}

void story_begin(struct story *story, const struct psc_options *options)
{
    struct psc_options mine = {0};

    memset(story, 0, sizeof *story);
    present = story;
    uv_loop_init(&story->loop);
    fake_start(&story->broker, &story->loop);
    if (options != NULL)
        mine = *options;
    mine.port = story->broker.port;
    mine.connected = connected_cb;
    mine.disconnected = disconnected_cb;
    mine.writable = writable_cb;
    mine.data = story;
    cr_assert_eq(psc_new(&story->loop, &mine, &story->client), PS_OK);
}

void story_connect(struct story *story, bool reconnect)
{
    story_begin(story, &(struct psc_options){.reconnect = reconnect});
    story->in_call++;
    psc_start(story->client);
    story->in_call--;
    fake_greet(&story->broker);
    story_wait(story, &story->connected, 1);
}

void story_wait(struct story *story, const unsigned *counter, unsigned value)
{
    while (*counter < value)
        uv_run(&story->loop, UV_RUN_ONCE);
    cr_assert_eq(*counter, value);
}

static void closed_cb(void *data)
{
    struct story *story = data;

    outside_of_calls(story);
    story->closed++;
}

void story_close(struct story *story)
{
    story->in_call++;
    psc_close(story->client, closed_cb, story);
    story->in_call--;
    story->client = NULL;
}

void story_end(struct story *story)
{
    if (story->client != NULL)
        story_close(story);
    story_wait(story, &story->closed, 1);
    fake_stop(&story->broker);
    uv_run(&story->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&story->loop), 0, "handles are left in the loop");
}

/* ------------------------------------------------------------------------------------------- publishing */

void story_published(const struct psc_error *error, uint64_t offset, void *data)
{
    struct story *story = present;

    outside_of_calls(story);
    cr_assert_lt(story->published, OUTCOMES_MOST);
    story->outcomes[story->published++] =
        (struct outcome){error != NULL ? error->status : PS_OK, offset, (uintptr_t)data};
}

enum ps_status story_publish(struct story *story, const char *topic, const char *payload, uintptr_t which)
{
    struct psc_message message = {.payload = text(payload)};
    enum ps_status status;

    story->in_call++;
    status = psc_publish(story->client, text(topic), &message, story_published, (void *)which);
    story->in_call--;
    return status;
}

void story_done(const struct psc_error *error, void *data)
{
    struct story *story = data;

    outside_of_calls(story);
    story->done++;
    story->done_status = error != NULL ? error->status : PS_OK;
}

/* ------------------------------------------------------------------------------------------ subscribing */

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct story *story = data;

    (void)subscription;
    outside_of_calls(story);
    cr_assert_eq(story->ended, 0);
    story->subscribed++;
    story->created = created;
    if (count > 0)
        story->start_offset = starts[0].offset;
}

static void message_cb(struct psc_subscription *subscription, struct psc_bytes topic,
                       const struct psc_message *message, void *data)
{
    struct story *story = data;
    char payload[32];

    (void)subscription;
    (void)topic;
    outside_of_calls(story);
    cr_assert_eq(story->ended, 0);
    if (story->messages++ == 0)
        story->first_offset = message->offset;
    else
        cr_assert_eq(message->offset, story->next_offset, "offset %llu, not %llu",
                     (unsigned long long)message->offset, (unsigned long long)story->next_offset);
    story->next_offset = message->offset + 1;
    snprintf(payload, sizeof payload, "m%llu", (unsigned long long)message->offset);
    cr_assert_eq(message->payload.size, strlen(payload));
    cr_assert_eq(memcmp(message->payload.data, payload, strlen(payload)), 0);
    if (story->on_message != NULL)
        story->on_message(story);
}

static void gap_cb(struct psc_subscription *subscription, struct psc_bytes topic, uint64_t from, uint64_t to,
                   void *data)
{
    struct story *story = data;

    (void)subscription;
    (void)topic;
    outside_of_calls(story);
    story->gaps++;
    story->gap_from = from;
    story->gap_to = to;
    if (story->messages > 0)
        story->next_offset = to;
}

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    struct story *story = data;

    (void)subscription;
    outside_of_calls(story);
    cr_assert_not_null(reason->text);
    story->ended++;
    story->end_status = reason->status;
    story->subscription = NULL;
}

struct psc_subscribe_options story_subscription(struct story *story, const char *filter)
{
    return (struct psc_subscribe_options){
        .filter = text(filter),
        .start = PSC_START_BEGINNING,
        .subscribed = subscribed_cb,
        .message = message_cb,
        .gap = gap_cb,
        .ended = ended_cb,
        .data = story,
    };
}

void story_subscribe(struct story *story, const struct psc_subscribe_options *options)
{
    story->in_call++;
    cr_assert_eq(psc_subscribe(story->client, options, &story->subscription), PS_OK);
    story->in_call--;
}
