/* Input: a script (script.h). A whole broker over the memory store is driven through it by clients that send any frames
 * at any time, over a log whose commits and reads complete when the script says. session_model.h says what must hold;
 * in the end everything open is answered, nothing is charged and nothing leaks. */
#include "script.h"
#include "session_model.h"
#include "world.h"

#include "broker_state.h"
#include "store_memory.h"

#include <criterion/criterion.h>
#include <string.h>

enum { MOST_STEPS = 600, MOST_MESSAGES = 6000, LARGE_BYTES = 70000, QUIET_ROUNDS = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    const uint8_t *at, *end;
    struct world *world;
    struct model *model;
    unsigned messages;
    uint64_t number; /* of the last unique payload */
    bool is_draining;
};

/* ----------------------------------------------------------------------------------------------- choices */

static unsigned byte(struct play *play)
{
    return play->at < play->end ? *play->at++ : 0;
}

static unsigned choose(struct play *play, unsigned below)
{
    return byte(play) % below;
}

static uint64_t number(struct play *play)
{
    static const uint64_t edges[] = {1000,      100000, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MAX - 1,
                                     1ull << 62};
    unsigned first = byte(play);
    return first < NUMBER_EDGE ? first : edges[first - NUMBER_EDGE];
}

static struct span choose_topic(struct play *play)
{
    static const char *const names[] = {"t/0", "t/1", "t/2", "a", "a/b", "$s", "", "t/+"};
    return span_of(names[choose(play, 8)]);
}

static struct span choose_filter(struct play *play)
{
    static const char *const filters[] = {"t/#", "t/+", "t/0", "t/1",   "#",
                                          "a/#", "a",   "+/b", "t/#/x", "\xff"};
    return span_of(filters[choose(play, 10)]);
}

static struct span choose_id(struct play *play)
{
    static const char *const ids[] = {NULL, "one", "two", "three", "one", ""};
    return span_of(ids[choose(play, 6)]);
}

static struct start_rule choose_start(struct play *play, struct topic_offset *place)
{
    static const enum start_kind kinds[] = {START_NEW, START_BEGINNING, START_OFFSET, START_LAST,
                                            START_RESUME};
    struct start_rule rule = {.kind = kinds[choose(play, 5)], .value = number(play)};
    if (rule.kind == START_RESUME) {
        *place = (struct topic_offset){choose_topic(play), number(play)};
        rule.offsets = place;
        rule.offset_count = 1;
    }
    return rule;
}

/* ------------------------------------------------------------------------------------------------ frames */

static void look_at(struct play *play, unsigned index)
{
    const struct server_frame *frame;
    while ((frame = client_next(&play->world->clients[index])) != NULL)
        model_told(play->model, index, frame);
}

static void look(struct play *play)
{
    for (unsigned i = 0; i < MODEL_CLIENTS; i++)
        look_at(play, i);
}

/* Nothing is read from it any more. */
static bool is_deaf(const struct client *client)
{
    return client->session == NULL || client->closed || client->paused;
}

/* What the connection does with one frame. */
static void receive(struct play *play, unsigned index, struct span body)
{
    struct client *client = &play->world->clients[index];
    struct buffer *buffer = malloc(sizeof *buffer + body.size);
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    cr_assert(buffer != NULL && arena != NULL);
    *buffer = (struct buffer){.refs = 1, .size = body.size};
    if (body.size > 0)
        memcpy(buffer->data, body.data, body.size);
    struct client_frame frame;
    enum ps_status status = body.size > session_frame_cap(client->session) ? PS_FRAME_TOO_LARGE : PS_OK;
    if (status == PS_OK)
        status = codec_decode_client((struct span){buffer->data, body.size}, arena, &frame);
    session_heard(client->session);
    if (status == PS_OK) {
        if (frame.request_id.present)
            frame.request_id.value = ++client->next_request;
        model_sent(play->model, index, &frame);
        session_receive(client->session, &frame, buffer, &arena);
    } else {
        session_refuse(client->session, status);
    }
    arena_free(arena);
    buffer_unref(buffer);
    broker_flush(play->world->broker);
}

/* One frame in eight asks for no answer. */
static void ask(struct play *play, unsigned index, struct client_frame *frame)
{
    struct bytes bytes = {0};
    frame->request_id.present = frame->kind == CLIENT_HELLO || choose(play, 8) != 7;
    if (codec_encode_client(frame, &bytes) == PS_OK)
        receive(play, index, (struct span){bytes.data + FRAME_HEADER_BYTES, bytes.size - FRAME_HEADER_BYTES});
    bytes_deinit(&bytes);
}

static void hello(struct play *play, unsigned index, uint32_t least, uint32_t most, struct span id)
{
    struct client_frame frame = {.kind = CLIENT_HELLO,
                                 .hello = {.min_version = least, .max_version = most, .id = id}};
    ask(play, index, &frame);
}

static void step_connect(struct play *play, unsigned index)
{
    unsigned how = choose(play, 8);
    client_disconnect(&play->world->clients[index]);
    enum session_role role = how == 5 ? SESSION_PUBLISH : how == 6 ? SESSION_SUBSCRIBE : SESSION_ANY;
    world_accept(play->world, index, role);
    model_connected(play->model, index);
    if (how != 7)
        hello(play, index, 1, 1, how % 2 == 1 ? span_of("publisher") : SPAN_ABSENT);
}

static size_t payload_size(unsigned size)
{
    return size < 200 ? size : size < 255 ? (size - 199) * 100 : LARGE_BYTES;
}

static struct message some_message(struct play *play, uint8_t *place)
{
    static const struct header headers[] = {{{(const uint8_t *)"h", 1}, {(const uint8_t *)"1", 1}},
                                            {{(const uint8_t *)"i", 1}, {(const uint8_t *)"", 0}},
                                            {{(const uint8_t *)"h", 1}, {(const uint8_t *)"2", 1}}};
    unsigned what = byte(play);
    struct message message = {.payload = {place, payload_size(byte(play))}};
    memset(place, 'p', message.payload.size);
    if (message.payload.size > strlen(MODEL_UNIQUE) + sizeof play->number) {
        play->number++;
        memcpy(place, MODEL_UNIQUE, strlen(MODEL_UNIQUE));
        memcpy(place + strlen(MODEL_UNIQUE), &play->number, sizeof play->number);
    }
    if (what & 1)
        message.key = (struct span){place, what & 2 ? message.payload.size % 20 : 0};
    if (what & 4) {
        message.headers = headers;
        message.header_count = what & 8 ? 3 : 2;
    }
    message.flags = (what & 0x70) == 0x70;
    return message;
}

static void step_publish(struct play *play, unsigned index)
{
    enum { GROUPS = 3, MESSAGES = 16 };
    static uint8_t payloads[GROUPS][MESSAGES][LARGE_BYTES];
    struct message messages[GROUPS][MESSAGES];
    struct publish_group groups[GROUPS];
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {.groups = groups}};
    frame.publish.group_count = choose(play, GROUPS + 1);
    for (uint32_t i = 0; i < frame.publish.group_count; i++) {
        groups[i] = (struct publish_group){choose_topic(play), messages[i], choose(play, MESSAGES)};
        for (uint32_t j = 0; j < groups[i].count; j++)
            messages[i][j] = some_message(play, payloads[i][j]);
        frame.publish.message_count += groups[i].count;
    }
    play->messages += frame.publish.message_count;
    if (play->messages < MOST_MESSAGES)
        ask(play, index, &frame);
}

static void step_subscribe(struct play *play, unsigned index)
{
    struct topic_offset place;
    struct client_frame frame = {.kind = CLIENT_SUBSCRIBE};
    frame.subscribe.filter = choose_filter(play);
    frame.subscribe.durable_id = choose_id(play);
    frame.subscribe.start = choose_start(play, &place);
    unsigned options = byte(play);
    frame.subscribe.start_given = options & 1;
    frame.subscribe.until_end = (options & 6) == 6;
    frame.subscribe.existing_only = (options & 24) == 24;
    frame.subscribe.log_id = (options & 0xe0) == 0xe0 ? span_of("another log here") : SPAN_ABSENT;
    frame.subscribe.credit_messages = number(play);
    frame.subscribe.credit_bytes = options & 32 ? frame.subscribe.credit_messages * 10 : UINT32_MAX;
    if (play->world->clients[index].next_request < 200)
        ask(play, index, &frame);
}

static void step_credit(struct play *play, unsigned index)
{
    struct client_frame frame = {.kind = CLIENT_CREDIT};
    frame.credit.subscription = number(play);
    frame.credit.messages = number(play);
    frame.credit.bytes = number(play) * 100;
    ask(play, index, &frame);
}

static void step_ack(struct play *play, unsigned index)
{
    struct client_frame frame = {.kind = CLIENT_ACK};
    frame.ack.subscription = number(play);
    frame.ack.topic = choose_topic(play);
    unsigned back = byte(play);
    uint64_t next = model_next(play->model, index, frame.ack.subscription, frame.ack.topic);
    frame.ack.next_offset = back == 255 ? next + 1 : next > back ? next - back : 0;
    ask(play, index, &frame);
}

static void step_detach(struct play *play, unsigned index)
{
    struct client_frame frame = {.kind = CLIENT_DETACH, .detach = number(play)};
    ask(play, index, &frame);
}

static void step_unsubscribe(struct play *play, unsigned index)
{
    struct client_frame frame = {.kind = CLIENT_UNSUBSCRIBE};
    if (choose(play, 2) == 0) {
        frame.unsubscribe.subscription = (struct optional_u64){true, number(play)};
    } else {
        frame.unsubscribe.filter = choose_filter(play);
        frame.unsubscribe.durable_id = choose_id(play);
    }
    ask(play, index, &frame);
}

static void step_seek(struct play *play, unsigned index)
{
    struct topic_offset place;
    struct client_frame frame = {.kind = CLIENT_SEEK};
    frame.seek.filter = choose_filter(play);
    frame.seek.durable_id = choose_id(play);
    frame.seek.to = choose_start(play, &place);
    ask(play, index, &frame);
}

static void step_list(struct play *play, unsigned index)
{
    struct client_frame frame = {.kind = CLIENT_LIST_SUBSCRIPTIONS};
    if (choose(play, 2) == 0) {
        frame.kind = CLIENT_LIST_TOPICS;
        frame.list_topics.filter = choose(play, 2) == 0 ? SPAN_ABSENT : choose_filter(play);
        frame.list_topics.limit = (uint32_t)number(play);
    } else {
        frame.list_subscriptions = choose_id(play);
    }
    ask(play, index, &frame);
}

static void step_delete(struct play *play, unsigned index)
{
    struct client_frame frame = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = choose_topic(play)};
    ask(play, index, &frame);
}

static void step_ping(struct play *play, unsigned index)
{
    static const enum client_frame_kind kinds[] = {CLIENT_PING, CLIENT_PONG, CLIENT_GET_INFO};
    struct client_frame frame = {.kind = kinds[choose(play, 3)], .ping_token = 7};
    ask(play, index, &frame);
}

static void step_raw(struct play *play, unsigned index)
{
    size_t size = byte(play), left = (size_t)(play->end - play->at);
    struct span body = {play->at, size < left ? size : left};
    play->at += body.size;
    if (body.size > 0)
        receive(play, index, body);
}

static void step_refuse(struct play *play, unsigned index)
{
    static const enum ps_status statuses[] = {PS_MALFORMED, PS_FRAME_TOO_LARGE, PS_TIMED_OUT, PS_NO_MEMORY};
    session_refuse(play->world->clients[index].session, statuses[choose(play, 4)]);
    broker_flush(play->world->broker);
}

/* ----------------------------------------------------------------------------------------------- the rest */

/* The process is gone, and another one comes. */
static void restart(struct play *play)
{
    struct world *world = play->world;
    world->next_commit = world->next_op = PS_OK;
    world->damaged_offset = UINT64_MAX;
    world_restart(world);
    world->failed = world->drained = 0;
    play->is_draining = false;
}

static void step_commit(struct play *play)
{
    static const enum ps_status refusals[] = {PS_DISK_FULL, PS_STORAGE_BUSY, PS_NO_MEMORY};
    unsigned count = byte(play), fate = count / 16;
    if (fate == 15)
        play->world->next_commit = PS_UNKNOWN;
    else if (fate >= 12)
        play->world->next_op = refusals[fate - 12];
    world_commit(play->world, 1 + count % 16);
}

static void step_read(struct play *play)
{
    unsigned which = byte(play);
    size_t count = play->world->read_count;
    if (count == 0)
        return;
    if (which & 1)
        world_run_read(play->world, which / 2 % count);
    else
        world_complete_read(play->world, which / 2 % count);
}

static void step_take(struct play *play, unsigned index)
{
    struct client *client = &play->world->clients[index];
    client->slow = byte(play) % 2;
    if (client->session != NULL && !client->closed)
        client_take(client);
}

static void step_pass(struct play *play)
{
    unsigned ms = byte(play);
    world_pass(play->world, (uint64_t)ms * ms);
    broker_flush(play->world->broker);
}

static void step_drain(struct play *play)
{
    if (!play->is_draining)
        broker_drain(play->world->broker);
    play->is_draining = true;
    broker_flush(play->world->broker);
}

static void step_damage(struct play *play)
{
    unsigned offset = byte(play);
    play->world->damaged_offset = offset == 255 ? UINT64_MAX : offset;
}

static void (*const client_steps[STEPS])(struct play *play, unsigned index) = {
    [STEP_PUBLISH] = step_publish, [STEP_SUBSCRIBE] = step_subscribe,
    [STEP_CREDIT] = step_credit,   [STEP_ACK] = step_ack,
    [STEP_DETACH] = step_detach,   [STEP_UNSUBSCRIBE] = step_unsubscribe,
    [STEP_SEEK] = step_seek,       [STEP_LIST] = step_list,
    [STEP_DELETE] = step_delete,   [STEP_PING] = step_ping,
    [STEP_RAW] = step_raw,         [STEP_REFUSE] = step_refuse,
};

static void step(struct play *play)
{
    unsigned what = choose(play, STEPS), index = choose(play, MODEL_CLIENTS);
    struct client *client = &play->world->clients[index];
    switch ((enum step)what) {
    case STEP_CONNECT:
        step_connect(play, index);
        break;
    case STEP_DISCONNECT:
        client_disconnect(client);
        break;
    case STEP_HELLO: {
        unsigned least = byte(play), most = byte(play);
        struct span id = choose_id(play);
        if (!is_deaf(client))
            hello(play, index, least % 4, most % 4, id);
        break;
    }
    case STEP_COMMIT:
        step_commit(play);
        break;
    case STEP_READ:
        step_read(play);
        break;
    case STEP_TAKE:
        step_take(play, index);
        break;
    case STEP_PASS:
        step_pass(play);
        break;
    case STEP_SETTLE:
        world_settle(play->world);
        break;
    case STEP_RESTART:
        restart(play);
        break;
    case STEP_DRAIN:
        step_drain(play);
        break;
    case STEP_DAMAGE:
        step_damage(play);
        break;
    default:
        if (!is_deaf(client))
            client_steps[what](play, index);
    }
}

/* Every kernel takes what it is given, and all that is under way completes. */
static void settle_all(struct play *play)
{
    play->world->next_commit = play->world->next_op = PS_OK;
    for (unsigned round = 0; round < QUIET_ROUNDS; round++) {
        world_settle(play->world);
        for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
            struct client *client = &play->world->clients[i];
            client->slow = false;
            if (client->session != NULL && !client->closed)
                client_take(client);
        }
        look(play);
        bool more = broker_flush(play->world->broker);
        look(play);
        if (!more && play->world->write_count + play->world->read_count == 0)
            return;
    }
    cr_assert(false, "it never comes to rest");
}

static void finish(struct play *play)
{
    settle_all(play);
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        struct client *client = &play->world->clients[i];
        if (client->session == NULL || client->closed || play->world->failed > 0)
            continue;
        model_rests(play->model, i);
        cr_assert_not(client->paused, "nothing is under way and a client is not read");
    }
    const struct world *world = play->world;
    for (unsigned i = 0; play->is_draining && world->drained == 0 && world->failed == 0; i++) {
        cr_assert(i < QUIET_ROUNDS, "draining does not end");
        world_pass(play->world, 100);
        settle_all(play);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play play = {.at = data, .end = data + size, .model = model_new()};
    struct broker_config config = {.tail_bytes = 500 + 300 * byte(&play),
                                   .delivery_bytes = 600 + 40 * byte(&play),
                                   .publish_window = 1000 + 400 * byte(&play)};
    uint64_t look_ns = 1000 * byte(&play);
    struct store *store;
    struct store_opened opened;
    cr_assert_eq(store_memory_open(NULL, &store, &opened), PS_OK);
    play.world = world_new_on(&config, model_watch(play.model, store), &opened);
    play.world->look_ns = look_ns;
    for (unsigned i = 0; i < MOST_STEPS && play.at < play.end; i++) {
        step(&play);
        look(&play);
        if (play.world->drained > 0 || play.world->failed > 0)
            restart(&play);
    }
    finish(&play);
    world_free(play.world);
    model_free(play.model);
    return 0;
}
