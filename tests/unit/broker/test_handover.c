/* The hand-over between tail and history against a model: whatever is evicted, however credit comes, in whatever
 * order reads complete, every subscriber gets every offset of its topics once and in order. */
#include "dice.h"
#include "leaks.h"
#include "world.h"

#include "broker_state.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { ROUNDS = 12, STEPS = 1500, TOPICS = 5, SUBSCRIBERS = 6 };

struct follower {
    struct client *client;
    uint64_t subscription;
    uint64_t next[TOPICS]; /* offset that must come next */
    uint64_t credit, given;
};

struct play {
    struct world *world;
    struct dice dice;
    struct client *publisher;
    uint64_t heads[TOPICS];
    struct follower followers[SUBSCRIBERS];
};

static void name_topic(char name[8], size_t topic)
{
    snprintf(name, 8, "t/%zu", topic);
}

static void publish_some(struct play *play)
{
    static uint8_t bytes[900];
    struct message messages[TOPICS][12] = {0};
    struct publish_group groups[TOPICS];
    char names[TOPICS][8];
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {.groups = groups}};
    for (size_t topic = dice_below(&play->dice, TOPICS); topic < TOPICS;
         topic += 1 + dice_below(&play->dice, 3)) {
        uint32_t count = 1 + (uint32_t)dice_below(&play->dice, 12);
        for (uint32_t i = 0; i < count; i++)
            messages[topic][i].payload = (struct span){bytes, dice_below(&play->dice, sizeof bytes)};
        name_topic(names[topic], topic);
        groups[frame.publish.group_count++] =
            (struct publish_group){span_of(names[topic]), messages[topic], count};
        frame.publish.message_count += count;
        play->heads[topic] += count;
    }
    client_request(play->publisher, &frame);
}

static void take_frames(struct follower *follower)
{
    const struct server_frame *frame;
    while ((frame = client_next(follower->client)) != NULL) {
        cr_assert(frame->kind == SERVER_DELIVERY || frame->kind == SERVER_PROGRESS, "kind %d", frame->kind);
        if (frame->kind != SERVER_DELIVERY)
            continue;
        size_t topic = (size_t)(frame->delivery.topic.data[2] - '0');
        for (size_t i = 0; i < frame->delivery.message_count; i++) {
            cr_assert_eq(frame->delivery.messages[i].offset, follower->next[topic],
                         "topic %zu: %llu, not %llu", topic,
                         (unsigned long long)frame->delivery.messages[i].offset,
                         (unsigned long long)follower->next[topic]);
            follower->next[topic]++;
            follower->given++;
        }
    }
    cr_assert_leq(follower->given, follower->credit);
}

static void give_credit(struct follower *follower, uint64_t more)
{
    follower->credit += more;
    struct client_frame frame = {.kind = CLIENT_CREDIT,
                                 .credit = {follower->subscription, follower->credit, UINT64_MAX / 4}};
    client_send(follower->client, &frame);
}

static void step(struct play *play)
{
    struct world *world = play->world;
    struct follower *follower = &play->followers[dice_below(&play->dice, SUBSCRIBERS)];
    switch (dice_below(&play->dice, 8)) {
    case 0:
    case 1:
        publish_some(play);
        break;
    case 2:
        world_commit(world, 1 + dice_below(&play->dice, 6));
        break;
    case 3:
        if (world->read_count > 0)
            world_run_read(world, dice_below(&play->dice, world->read_count));
        break;
    case 4:
    case 5:
        if (world->read_count > 0)
            world_complete_read(world, dice_below(&play->dice, world->read_count));
        break;
    case 6:
        give_credit(follower, dice_below(&play->dice, 60));
        break;
    default:
        take_frames(follower);
        client_take(follower->client);
        break;
    }
}

static void begin(struct play *play)
{
    static const char *const ids[SUBSCRIBERS] = {NULL, "one", NULL, "two", NULL, "three"};
    play->publisher = world_connect(play->world, 0, SESSION_ANY, NULL);
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        struct follower *follower = &play->followers[i];
        follower->client = world_connect(play->world, i + 1, SESSION_ANY, NULL);
        struct client_frame frame = subscribe_frame("t/#", ids[i]);
        frame.subscribe.credit_messages = 0;
        frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
        frame.subscribe.start_given = true;
        client_request(follower->client, &frame);
        world_settle(play->world);
        follower->subscription = client_expect(follower->client, SERVER_SUBSCRIBED)->subscribed.subscription;
        follower->client->slow = true;
    }
}

static void finish(struct play *play)
{
    for (unsigned i = 0; i < SUBSCRIBERS; i++)
        give_credit(&play->followers[i], 10000000);
    for (bool quiet = false; !quiet;) {
        world_settle(play->world);
        quiet = true;
        for (unsigned i = 0; i < SUBSCRIBERS; i++) {
            quiet = quiet && play->followers[i].client->queued == 0;
            take_frames(&play->followers[i]);
            client_take(play->followers[i].client);
        }
        quiet = quiet && play->world->write_count + play->world->read_count == 0;
    }
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        for (size_t topic = 0; topic < TOPICS; topic++)
            cr_assert_eq(play->followers[i].next[topic], play->heads[topic], "follower %u, topic %zu", i,
                         topic);
    }
}

Test(handover, every_subscriber_gets_every_offset_once_and_in_order)
{
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct play play = {.dice = dice_of(seed)};
        struct broker_config config = {.tail_bytes = 2000 + dice_below(&play.dice, 40000),
                                       .delivery_bytes = 1024 + (uint32_t)dice_below(&play.dice, 8192)};
        fprintf(stderr, "# seed %llu\n", (unsigned long long)seed);
        play.world = world_new(&config);
        begin(&play);

        for (unsigned i = 0; i < STEPS; i++)
            step(&play);
        finish(&play);

        cr_assert_gt(play.world->slices, 0u, "no read of history");
        cr_assert_leq(play.world->broker->tail.memory.used, config.tail_bytes + 300 * 1024);
        world_free(play.world);
    }
    ASSERT_NO_LEAKS();
}
