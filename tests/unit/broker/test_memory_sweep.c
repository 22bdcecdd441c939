/* Every allocation of decoding, sessions, delivery and the store in memory fails in turn, once, and from then on,
 * while clients do all there is: publish, follow, read history, acknowledge, take over, seek, list, delete, leave.
 * Whoever is concerned is refused by a name or dropped; session_model.h says what holds of everything that anybody is
 * told. When memory is back, all that was acknowledged is there for who asks, every request is answered, nothing is
 * charged or leaked.
 *
 * By default one allocation in some, from one that PSBROKER_SEED decides; SWEEP_STRIDE=1 tries every one,
 * SWEEP_ONLY=N one. */
#include "dice.h"
#include "failing_memory.h"
#include "leaks.h"
#include "own_work.h"
#include "session_model.h"
#include "tally.h"
#include "world.h"

#include "store_memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { PUBLISHER, FOLLOWER, DURABLE, TAKER, CLIENTS, WITNESS = 5, STRIDE = 13, MOST_ALLOCATIONS = 20000 };

static struct world *world;
static struct model *model;
static unsigned dropped;

static void spare(bool begins)
{
    if (begins)
        memory_pause();
    else
        memory_resume();
}

/* Memory fails between these two, and not otherwise. */
static void broker_begins(void)
{
    memory_resume();
}

static void broker_ends(void)
{
    memory_pause();
}

static void look(void)
{
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        const struct server_frame *frame;
        while ((frame = client_next(&world->clients[i])) != NULL)
            model_told(model, i, frame);
    }
}

/* What the connection does with one frame. */
static void receive(unsigned index, struct span body)
{
    struct client *client = &world->clients[index];
    struct buffer *buffer = malloc(sizeof *buffer + body.size);
    *buffer = (struct buffer){.refs = 1, .size = body.size};
    memcpy(buffer->data, body.data, body.size);
    struct client_frame frame;
    broker_begins();
    struct arena *arena = arena_new(codec_arena_budget(body.size));
    enum ps_status status = arena == NULL ? PS_NO_MEMORY : PS_OK;
    if (status == PS_OK)
        status = codec_decode_client((struct span){buffer->data, body.size}, arena, &frame);
    session_heard(client->session);
    if (status == PS_OK) {
        own_work_begin();
        model_sent(model, index, &frame);
        own_work_end();
        session_receive(client->session, &frame, buffer, &arena);
    } else {
        cr_assert_eq(status, PS_NO_MEMORY);
        session_refuse(client->session, status);
    }
    broker_ends();
    arena_free(arena);
    buffer_unref(buffer);
}

static void flush(void)
{
    broker_begins();
    while (broker_flush(world->broker))
        ;
    broker_ends();
    look();
}

static void settle(void)
{
    flush();
    while (world->write_count + world->read_count > 0) {
        broker_begins();
        world_commit(world, 3);
        if (world->read_count > 0)
            world_complete_read(world, world->read_count / 2);
        broker_ends();
        look();
    }
}

static void come(unsigned index);

/* Sends it and lets everything happen; one that was dropped comes again. */
static void ask(unsigned index, struct client_frame frame)
{
    struct client *client = &world->clients[index];
    struct bytes bytes = {0};
    if (client->closed)
        come(index);
    frame.request_id = (struct optional_u64){true, ++client->next_request};
    cr_assert_eq(codec_encode_client(&frame, &bytes), PS_OK);
    receive(index, (struct span){bytes.data + FRAME_HEADER_BYTES, bytes.size - FRAME_HEADER_BYTES});
    bytes_deinit(&bytes);
    settle();
    dropped += client->closed;
}

/* A session that there is no memory for is a connection that ends; here it is made without that. */
static void come(unsigned index)
{
    client_disconnect(&world->clients[index]);
    world_accept(world, index, SESSION_ANY);
    model_connected(model, index);
    ask(index, (struct client_frame){.kind = CLIENT_HELLO,
                                     .hello = {.min_version = 1, .max_version = 1, .id = span_of("name")}});
}

/* ------------------------------------------------------------------------------------------ the scenario */

static void say(const char *topic, unsigned count)
{
    static uint8_t bytes[300];
    static unsigned number;
    const struct header header = {span_of("h"), span_of("1")};
    struct message messages[8] = {0};
    for (unsigned i = 0; i < count; i++) {
        number++;
        memcpy(bytes, MODEL_UNIQUE, strlen(MODEL_UNIQUE));
        memcpy(bytes + strlen(MODEL_UNIQUE), &number, sizeof number);
        messages[i].payload = (struct span){bytes, 20 + i * 30};
        messages[i].headers = &header;
        messages[i].header_count = i % 2;
        if (i == 2)
            messages[i].key = span_of("key");
    }
    struct publish_group groups[] = {{span_of(topic), messages, count}, {span_of("t/else"), messages, 1}};
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_PUBLISH, .publish = {groups, 2, count + 1, false}});
}

static void subscribe_from(unsigned index, const char *filter, const char *id, bool until_end)
{
    struct client_frame frame = subscribe_frame(filter, id);
    frame.subscribe.start = (struct start_rule){.kind = START_BEGINNING};
    frame.subscribe.start_given = true;
    frame.subscribe.until_end = until_end;
    ask(index, frame);
}

static void acknowledge_all(unsigned index, uint64_t subscription, const char *topic)
{
    uint64_t next = model_next(model, index, subscription, span_of(topic));
    ask(index, ack_frame(subscription, topic, next));
}

static void seek_to(const char *id, enum start_kind kind)
{
    struct seek seek = {.durable_id = span_of(id), .filter = span_of("t/#"), .to = {.kind = kind}};
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_SEEK, .seek = seek});
}

static void pass(uint64_t ms)
{
    broker_begins();
    world_pass(world, ms);
    broker_ends();
    settle();
}

static void live(void)
{
    struct unsubscribe forget = {.durable_id = span_of("s2"), .filter = span_of("t/#")};
    subscribe_from(FOLLOWER, "t/#", NULL, false);
    say("t/a", 5);
    say("t/b", 8);
    subscribe_from(DURABLE, "t/#", "s1", false);
    say("t/a", 3);
    acknowledge_all(DURABLE, 1, "t/a");
    ask(DURABLE, (struct client_frame){.kind = CLIENT_CREDIT, .credit = {1, 5000000, 1u << 30}});
    pass(150);
    subscribe_from(TAKER, "t/#", "s1", false);
    acknowledge_all(TAKER, 1, "t/b");
    seek_to("s1", START_BEGINNING);
    subscribe_from(TAKER, "t/#", "s1", false);
    acknowledge_all(TAKER, 2, "t/a");
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_LIST_TOPICS});
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_LIST_SUBSCRIPTIONS});
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_GET_INFO});
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_PING, .ping_token = 1});
    subscribe_from(DURABLE, "t/b", NULL, true);
    subscribe_from(DURABLE, "t/#", "s2", true);
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_of("t/b")});
    say("t/b", 4);
    client_disconnect(&world->clients[DURABLE]);
    come(DURABLE);
    subscribe_from(DURABLE, "t/+", "s2", false);
    ask(DURABLE, (struct client_frame){.kind = CLIENT_DETACH, .detach = 1});
    ask(PUBLISHER, (struct client_frame){.kind = CLIENT_UNSUBSCRIBE, .unsubscribe = forget});
    say("t/new", 2);
    pass(31000);
    pass(31000);
}

/* ------------------------------------------------------------------------------------ memory is back */

static uint64_t check(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (world->clients[i].closed)
            come(i);
    }
    say("t/a", 1);
    pass(1200);
    for (unsigned i = 0; i < CLIENTS; i++) {
        cr_assert_not(world->clients[i].closed, "dropped though there is memory");
        cr_assert_not(world->clients[i].paused);
        model_rests(model, i);
    }
    come(WITNESS);
    subscribe_from(WITNESS, "#", NULL, false);
    uint64_t given = model_given(model, WITNESS, 1);
    subscribe_from(TAKER, "t/#", "s1", false);
    world_restart(world);
    come(TAKER);
    subscribe_from(TAKER, "t/#", "s1", false);
    return given;
}

static struct {
    uint64_t faults, messages;
} sum;

/* False: fewer allocations than that are made. */
static bool scenario(size_t n, bool once)
{
    struct broker_config config = {.tail_bytes = 700, .delivery_bytes = 500, .publish_window = 2000};
    struct store *store;
    struct store_opened opened;
    cr_assert_eq(store_memory_open(NULL, &store, &opened), PS_OK);
    model = model_new();
    world = world_new_on(&config, model_watch(model, store), &opened);
    for (unsigned i = 0; i < CLIENTS; i++)
        come(i);
    dropped = 0;
    if (once)
        memory_fails_after(n);
    else
        memory_fails_from(n);
    memory_pause();
    live();
    bool failed = memory_failed();
    cr_assert(!once || dropped <= 1, "allocation %zu: %u clients were dropped for one", n, dropped);
    uint64_t given = check();
    sum.faults += failed;
    sum.messages += given;
    world_free(world);
    model_free(model);
    return failed;
}

static void sweep(bool once)
{
    uint64_t stride = setting("SWEEP_STRIDE", STRIDE), only = setting("SWEEP_ONLY", 0), tried = 0;
    own_work = spare;
    sum.faults = sum.messages = 0;
    if (only > 0) {
        scenario((size_t)only - 1, once);
        return;
    }
    for (size_t n = (size_t)(setting("PSBROKER_SEED", 0) % stride); scenario(n, once);
         n += (size_t)stride, tried++)
        cr_assert_lt(n, (size_t)MOST_ALLOCATIONS);
    cr_assert_gt(tried * stride, 100u, "the scenario hardly allocates");
    tell_injected(sum.faults, sum.messages);
    ASSERT_NO_LEAKS();
}

Test(memory_sweep, an_allocation_fails_once)
{
    sweep(true);
}

Test(memory_sweep, memory_runs_out_for_good)
{
    sweep(false);
}
