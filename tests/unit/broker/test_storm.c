/* Everything at once, at random: connections come and go, subscriptions are attached, taken over, moved and
 * forgotten, topics deleted and made again, reads complete in any order. Whatever happens, what an attachment is
 * sent of a topic goes on without a hole except over a Gap, and in the end nothing is left charged or leaked. */
#include "dice.h"
#include "leaks.h"
#include "world.h"

#include "broker_state.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 20, STEPS = 1200, CLIENTS = 6, TOPICS = 4, NUMBERS = 512 };

struct seen {
    bool started[TOPICS]; /* its next offset is known */
    bool moved[TOPICS];   /* since Subscribed */
    uint64_t next[TOPICS];
    bool ended;
};

struct member {
    struct client *client;
    struct seen seen[NUMBERS];
    uint64_t last_number;
};

struct storm {
    struct world *world;
    struct dice dice;
    struct member members[CLIENTS];

    uint64_t delivered;
};

static size_t topic_of(struct span name)
{
    cr_assert_eq(name.size, 3u);
    return (size_t)(name.data[2] - '0');
}

static const char *topic_name_of(size_t topic)
{
    static const char *const names[TOPICS] = {"t/0", "t/1", "t/2", "t/3"};
    return names[topic];
}

static struct seen *seen_of(struct member *member, uint64_t number)
{
    cr_assert(number > 0 && number < NUMBERS);
    struct seen *seen = &member->seen[number];
    cr_assert_not(seen->ended, "a frame for an ended subscription");
    return seen;
}

static void look(struct storm *storm, struct member *member, const struct server_frame *frame)
{
    struct seen *seen;
    size_t topic;
    switch (frame->kind) {
    case SERVER_SUBSCRIBED:
        member->last_number = frame->subscribed.subscription;
        seen = seen_of(member, frame->subscribed.subscription);
        for (size_t i = 0; i < frame->subscribed.start_count; i++) {
            topic = topic_of(frame->subscribed.starts[i].topic);
            seen->started[topic] = true;
            seen->next[topic] = frame->subscribed.starts[i].offset;
        }
        break;
    case SERVER_DELIVERY:
        seen = seen_of(member, frame->delivery.subscription);
        topic = topic_of(frame->delivery.topic);
        for (size_t i = 0; i < frame->delivery.message_count; i++) {
            uint64_t offset = frame->delivery.messages[i].offset;
            cr_assert(!seen->started[topic] || offset == seen->next[topic], "offset %llu, not %llu",
                      (unsigned long long)offset, (unsigned long long)seen->next[topic]);
            seen->started[topic] = seen->moved[topic] = true;
            seen->next[topic] = offset + 1;
            storm->delivered++;
        }
        break;
    case SERVER_GAP:
        seen = seen_of(member, frame->gap.subscription);
        topic = topic_of(frame->gap.topic);
        cr_assert_lt(frame->gap.from, frame->gap.to);
        /* Subscribed tells the place behind a gap that is still to be told. */
        cr_assert(!seen->started[topic] || frame->gap.from == seen->next[topic] ||
                  (!seen->moved[topic] && frame->gap.from < seen->next[topic] &&
                   frame->gap.to >= seen->next[topic]));
        seen->moved[topic] = true;
        seen->started[topic] = true;
        seen->next[topic] = frame->gap.to;
        break;
    case SERVER_SUBSCRIPTION_ENDED:
        seen_of(member, frame->ended.subscription)->ended = true;
        break;
    default:
        break;
    }
}

static void look_at_all(struct storm *storm, struct member *member)
{
    const struct server_frame *frame;
    while ((frame = client_next(member->client)) != NULL)
        look(storm, member, frame);
    client_take(member->client);
}

static void come(struct storm *storm, unsigned index)
{
    struct member *member = &storm->members[index];
    memset(member->seen, 0, sizeof member->seen);
    member->last_number = 0;
    member->client = world_connect(storm->world, index, SESSION_ANY, NULL);
    member->client->slow = true;
}

static void publish_some(struct storm *storm, struct client *client)
{
    static uint8_t bytes[600];
    struct message messages[8] = {0};
    uint32_t count = 1 + (uint32_t)dice_below(&storm->dice, 8);
    for (uint32_t i = 0; i < count; i++)
        messages[i].payload = (struct span){bytes, dice_below(&storm->dice, sizeof bytes)};
    struct publish_group group = {span_of(topic_name_of(dice_below(&storm->dice, TOPICS))), messages, count};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, count, false}};
    client_request(client, &frame);
}

static const char *some_filter(struct dice *dice)
{
    static const char *const filters[] = {"t/#", "t/+", "t/1", "t/2"};
    return filters[dice_below(dice, 4)];
}

static const char *some_id(struct dice *dice)
{
    static const char *const ids[] = {"one", "two", "three"};
    return ids[dice_below(dice, 3)];
}

static void subscribe_somehow(struct storm *storm, struct member *member)
{
    struct dice *dice = &storm->dice;
    struct client_frame frame =
        subscribe_frame(some_filter(dice), dice_below(dice, 3) == 0 ? NULL : some_id(dice));
    frame.subscribe.credit_messages = dice_below(dice, 200);
    frame.subscribe.until_end = dice_below(dice, 4) == 0;
    frame.subscribe.start_given = true;
    frame.subscribe.start.kind =
        (enum start_kind[]){START_NEW, START_BEGINNING, START_LAST}[dice_below(dice, 3)];
    frame.subscribe.start.value = dice_below(dice, 30);
    if (member->last_number + 40 < NUMBERS)
        client_request(member->client, &frame);
}

static void ack_something(struct storm *storm, struct member *member)
{
    if (member->last_number == 0)
        return;
    uint64_t number = 1 + dice_below(&storm->dice, member->last_number);
    size_t topic = dice_below(&storm->dice, TOPICS);
    struct client_frame frame = ack_frame(number, topic_name_of(topic), member->seen[number].next[topic]);
    if (dice_below(&storm->dice, 2) == 0)
        client_request(member->client, &frame);
    else
        client_send(member->client, &frame);
}

static void administer(struct storm *storm, struct member *member)
{
    struct dice *dice = &storm->dice;
    struct client_frame frame = {0};
    switch (dice_below(dice, 6)) {
    case 0:
        frame.kind = CLIENT_SEEK;
        frame.seek =
            (struct seek){.durable_id = span_of(some_id(dice)), .filter = span_of(some_filter(dice))};
        frame.seek.to.kind = dice_below(dice, 2) ? START_NEW : START_BEGINNING;
        break;
    case 1:
        frame.kind = CLIENT_UNSUBSCRIBE;
        frame.unsubscribe =
            (struct unsubscribe){.durable_id = span_of(some_id(dice)), .filter = span_of(some_filter(dice))};
        break;
    case 2:
        frame.kind = CLIENT_DELETE_TOPIC;
        frame.delete_topic = span_of(topic_name_of(dice_below(dice, TOPICS)));
        break;
    case 3:
        frame.kind = CLIENT_DETACH;
        frame.detach = dice_below(dice, member->last_number + 1);
        break;
    case 4:
        frame.kind = CLIENT_UNSUBSCRIBE;
        frame.unsubscribe.subscription =
            (struct optional_u64){true, dice_below(dice, member->last_number + 1)};
        break;
    default:
        frame.kind = CLIENT_LIST_SUBSCRIPTIONS;
        break;
    }
    client_request(member->client, &frame);
}

static void give_credit(struct storm *storm, struct member *member)
{
    struct client_frame frame = {.kind = CLIENT_CREDIT};
    frame.credit.subscription = 1 + dice_below(&storm->dice, member->last_number + 1);
    frame.credit.messages = dice_below(&storm->dice, 3000);
    frame.credit.bytes = UINT64_MAX / 4;
    client_send(member->client, &frame);
}

static void step(struct storm *storm)
{
    struct dice *dice = &storm->dice;
    struct world *world = storm->world;
    unsigned index = (unsigned)dice_below(dice, CLIENTS);
    struct member *member = &storm->members[index];
    size_t read = world->read_count > 0 ? dice_below(dice, world->read_count) : 0;
    switch (dice_below(dice, 16)) {
    case 0:
        client_disconnect(member->client);
        come(storm, index);
        break;
    case 1:
    case 2:
        subscribe_somehow(storm, member);
        break;
    case 3:
    case 4:
    case 5:
        publish_some(storm, member->client);
        break;
    case 6:
        administer(storm, member);
        break;
    case 7:
        ack_something(storm, member);
        break;
    case 8:
        give_credit(storm, member);
        break;
    case 9:
        world_pass(world, dice_below(dice, 60));
        break;
    case 10:
        if (world->read_count > 0)
            world_run_read(world, read);
        break;
    case 11:
    case 12:
        if (world->read_count > 0)
            world_complete_read(world, read);
        break;
    case 13:
        world_commit(world, 1 + dice_below(dice, 8));
        break;
    default:
        look_at_all(storm, member);
        break;
    }
}

Test(storm, whatever_happens_nothing_is_lost_doubled_or_left_over)
{
    uint64_t delivered = 0;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        static struct storm storm;
        memset(&storm, 0, sizeof storm);
        storm.dice = dice_of(seed);
        struct broker_config config = {.tail_bytes = 2000 + dice_below(&storm.dice, 40000),
                                       .delivery_bytes = 1024 + (uint32_t)dice_below(&storm.dice, 8192)};
        fprintf(stderr, "# seed %llu\n", (unsigned long long)seed);
        storm.world = world_new(&config);
        for (unsigned i = 0; i < CLIENTS; i++)
            come(&storm, i);
        for (unsigned i = 0; i < STEPS; i++)
            step(&storm);
        for (unsigned i = 0; i < CLIENTS; i++)
            look_at_all(&storm, &storm.members[i]);
        delivered += storm.delivered;
        world_free(storm.world);
    }
    cr_assert_gt(delivered, 10000u);
    ASSERT_NO_LEAKS();
}
