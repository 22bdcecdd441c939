#include "world.h"

#include "broker_state.h"
#include "own_work.h"
#include "session_state.h"
#include "store_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

void (*own_work)(bool begins);

/* The test's own memory: a sweep over failing allocations lets one fail, and not the next. */
static void *ours(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL)
        memory = malloc(size);
    cr_assert_not_null(memory);
    return memory;
}

static struct arena *our_arena(size_t budget)
{
    struct arena *arena = arena_new(budget);
    return arena != NULL ? arena : arena_new(budget);
}

/* ------------------------------------------------------------------------------------------------ the log */

static void log_write(void *ctx, struct log_write *write)
{
    struct world *world = ctx;
    cr_assert_lt(world->write_count, (size_t)WORLD_QUEUE);
    world->writes[world->write_count++] = write;
}

static void log_read(void *ctx, struct log_read *read)
{
    struct world *world = ctx;
    cr_assert_lt(world->read_count, (size_t)WORLD_QUEUE);
    world->read_ran[world->read_count] = false;
    world->reads[world->read_count++] = read;
}

void world_commit(struct world *world, size_t count)
{
    struct log_write *now[WORLD_QUEUE];
    struct store_op *ops[WORLD_QUEUE];
    count = count < world->write_count ? count : world->write_count;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        now[i] = world->writes[i];
        ops[i] = &now[i]->op;
    }
    world->write_count -= count;
    memmove(world->writes, world->writes + count, world->write_count * sizeof now[0]);
    enum ps_status forced = world->next_commit != PS_OK ? world->next_commit : world->next_op;
    if (forced == PS_OK)
        cr_assert_eq(store_commit(world->store, ops, count, &world->state), PS_OK);
    for (size_t i = 0; i < count; i++) {
        if (forced != PS_OK)
            now[i]->op.status = forced;
    }
    if (world->next_commit != PS_OK)
        world->next_commit = PS_STORAGE_FAILED;
    world->next_op = PS_OK;
    for (size_t i = 0; i < count; i++)
        now[i]->done(now[i], &world->state);
    broker_flush(world->broker);
}

struct gathering {
    struct world *world;
    struct store_read *read;
    struct batch *batch;
    bool no_memory;
};

static bool gather(void *ctx, const struct message *message)
{
    struct gathering *gathering = ctx;
    if (message->offset == gathering->world->damaged_offset)
        return false;
    gathering->no_memory = batch_append(gathering->batch, message) != PS_OK;
    return !gathering->no_memory;
}

static void run_slice(struct world *world, struct log_read *log)
{
    world->slices++;
    struct store_read *read = &log->slice.read;
    struct gathering gathering = {world, read, batch_new(16, 1024), false};
    if (gathering.batch == NULL) {
        log->status = PS_NO_MEMORY;
        return;
    }
    read->show = gather;
    read->ctx = &gathering;
    log->status = store_read(world->reader, read);
    uint64_t damaged = world->damaged_offset;
    if (damaged >= read->from && damaged < read->next_offset) {
        log->status = PS_DAMAGED;
        read->next_offset = read->damaged_offset = damaged;
    }
    if (gathering.no_memory)
        log->status = PS_NO_MEMORY;
    log->slice.batch = gathering.batch;
    if (gathering.batch->count == 0) {
        batch_unref(gathering.batch);
        log->slice.batch = NULL;
    }
}

void world_run_read(struct world *world, size_t index)
{
    struct log_read *read = world->reads[index];
    if (world->read_ran[index])
        return;
    world->read_ran[index] = true;
    if (read->kind == LOG_READ_SLICE)
        run_slice(world, read);
    else if (read->kind == LOG_READ_RESOLVE)
        read->status = store_resolve(world->reader, &read->resolve);
    else if (read->kind == LOG_READ_VERIFY)
        read->status = store_verify(world->reader, &read->verify);
    else if (read->kind == LOG_READ_BACKUP)
        read->status = store_read_backup(world->reader, &read->backup);
    else
        read->status = store_list(world->reader, &read->list);
}

void world_complete_read(struct world *world, size_t index)
{
    struct log_read *read = world->reads[index];
    world_run_read(world, index);
    world->read_count--;
    memmove(world->reads + index, world->reads + index + 1, (world->read_count - index) * sizeof read);
    memmove(world->read_ran + index, world->read_ran + index + 1,
            (world->read_count - index) * sizeof world->read_ran[0]);
    read->done(read);
    broker_flush(world->broker);
}

void world_settle(struct world *world)
{
    while (world->write_count > 0 || world->read_count > 0) {
        world_commit(world, world->write_count);
        while (world->read_count > 0)
            world_complete_read(world, 0);
    }
}

/* ------------------------------------------------------------------------------------------------ the broker */

static uint64_t now_ns(void *ctx)
{
    struct world *world = ctx;
    return world->now_ns += world->look_ns;
}

static void arm(void *ctx, uint64_t at_ns)
{
    ((struct world *)ctx)->armed_ns = at_ns;
}

static void probe(void *ctx, struct broker_probe *probe)
{
    (void)ctx;
    *probe = (struct broker_probe){.connections = 1};
}

static void drained(void *ctx)
{
    ((struct world *)ctx)->drained++;
}

static void failed(void *ctx, enum ps_status status)
{
    struct world *world = ctx;
    world->failed++;
    world->failure = status;
}

static void make_broker(struct world *world)
{
    struct broker_io io = {.log = {log_write, log_read, world},
                           .clock = {now_ns, world},
                           .arm = arm,
                           .probe = probe,
                           .drained = drained,
                           .failed = failed,
                           .ctx = world};
    world->armed_ns = UINT64_MAX;
    world->opened.state = world->state;
    world->broker = broker_new(&world->config, &io, &world->opened);
    cr_assert_not_null(world->broker);
    store_load(world->store, broker_load_topic, world->broker);
    cr_assert(broker_loaded(world->broker));
}

static void take_store(struct world *world, struct store *store, const struct store_opened *opened)
{
    world->store = store;
    world->opened = *opened;
    world->state = opened->state;
    cr_assert_eq(store_reader_new(world->store, &world->reader), PS_OK);
    make_broker(world);
}

struct world *world_new_on(const struct broker_config *config, struct store *store,
                           const struct store_opened *opened)
{
    struct world *world = calloc(1, sizeof *world);
    cr_assert_not_null(world);
    world->now_ns = 1000;
    world->damaged_offset = UINT64_MAX;
    if (config != NULL)
        world->config = *config;
    take_store(world, store, opened);
    return world;
}

struct world *world_new(const struct broker_config *config)
{
    struct store *store;
    struct store_opened opened;
    cr_assert_eq(store_memory_open(NULL, &store, &opened), PS_OK);
    return world_new_on(config, store, &opened);
}

static void end_broker(struct world *world)
{
    for (unsigned i = 0; i < WORLD_CLIENTS; i++)
        client_disconnect(&world->clients[i]);
    world_settle(world);
    cr_assert_eq(world->broker->publish.used, 0u, "uncommitted bytes left over");
    cr_assert_eq(world->broker->output.used, 0u, "queued bytes left over");
    cr_assert_eq(world->broker->durables.count, 0u);
    cr_assert_eq(world->broker->router.nodes.count, 0u);
    broker_free(world->broker);
}

void world_restart(struct world *world)
{
    end_broker(world);
    make_broker(world);
}

static void end_store(struct world *world)
{
    end_broker(world);
    store_reader_free(world->reader);
    store_close(world->store);
}

void world_move(struct world *world, struct store *store, const struct store_opened *opened)
{
    end_store(world);
    take_store(world, store, opened);
}

void world_free(struct world *world)
{
    end_store(world);
    free(world);
}

void world_pass(struct world *world, uint64_t ms)
{
    world->now_ns += ms * 1000000u;
    if (world->now_ns < world->armed_ns)
        return;
    world->armed_ns = UINT64_MAX;
    broker_tick(world->broker);
}

/* ------------------------------------------------------------------------------------------------ clients */

static void keep(struct client *client, const uint8_t *head, size_t head_size, const uint8_t *tail,
                 size_t tail_size)
{
    own_work_begin();
    size_t size = head_size + tail_size;
    struct received *received = ours(sizeof *received + size);
    *received = (struct received){0};
    memcpy(received->bytes, head, head_size);
    if (tail_size > 0)
        memcpy(received->bytes + head_size, tail, tail_size);
    received->size = size;
    received->arena = our_arena(codec_arena_budget(size) + 1024 * 1024);
    struct span body = {received->bytes + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES};
    if (codec_decode_server(body, received->arena, &received->frame) != PS_OK)
        cr_assert_eq(codec_decode_server(body, received->arena, &received->frame), PS_OK);
    *client->end = received;
    client->end = &received->next;
    client->sent += size;
    if (client->slow)
        client->queued += size;
    own_work_end();
}

static bool io_send(void *ctx, const struct server_frame *frame)
{
    struct client *client = ctx;
    struct bytes bytes = {0};
    cr_assert_not_null(client->session);
    cr_assert_not(client->closed);
    enum ps_status status = codec_encode_server(frame, &bytes);
    if (status != PS_OK) {
        cr_assert_eq(status, PS_NO_MEMORY);
        bytes_deinit(&bytes);
        return false;
    }
    keep(client, bytes.data, bytes.size, NULL, 0);
    bytes_deinit(&bytes);
    return true;
}

static bool io_deliver(void *ctx, uint64_t subscription, struct span topic, struct batch *batch,
                       uint32_t begin, uint32_t end)
{
    struct client *client = ctx;
    uint8_t head[DELIVERY_HEADER_MAX_BYTES];
    cr_assert_lt(begin, end);
    cr_assert_not(client->closed);
    size_t from = batch_begin_of(batch, begin), to = batch_begin_of(batch, end);
    size_t head_size = codec_put_delivery_header(head, subscription, topic, to - from);
    keep(client, head, head_size, batch->bytes + from, to - from);
    batch_unref(batch);
    return true;
}

static size_t io_queued(void *ctx)
{
    return ((struct client *)ctx)->queued;
}

static uint64_t io_taken(void *ctx, uint64_t *left)
{
    const struct client *client = ctx;
    *left = client->queued;
    return client->sent - client->queued;
}

static void io_pause(void *ctx, bool paused)
{
    struct client *client = ctx;
    client->paused = paused;
    client->pauses += paused;
}

static void io_close(void *ctx)
{
    ((struct client *)ctx)->closed = true;
}

struct client *world_accept(struct world *world, unsigned index, enum session_role role)
{
    struct client *client = &world->clients[index];
    cr_assert_null(client->session);
    *client = (struct client){.world = world};
    client->end = &client->first;
    struct session_config config = {
        .io = {io_send, io_deliver, io_queued, io_taken, io_pause, io_close, client},
        .role = role,
        .peer = "test"};
    client->session = session_new(world->broker, &config);
    cr_assert_not_null(client->session);
    return client;
}

struct client *world_connect(struct world *world, unsigned index, enum session_role role, const char *id)
{
    struct client *client = world_accept(world, index, role);
    struct client_frame hello = {.kind = CLIENT_HELLO,
                                 .hello = {.min_version = 1, .max_version = 1, .id = span_of(id)}};
    client_request(client, &hello);
    client_expect(client, SERVER_WELCOME);
    return client;
}

static void forget_current(struct client *client)
{
    if (client->current == NULL)
        return;
    arena_free(client->current->arena);
    free(client->current);
    client->current = NULL;
}

void client_disconnect(struct client *client)
{
    if (client->session == NULL)
        return;
    session_free(client->session);
    client->session = NULL;
    while (client_next(client) != NULL)
        continue;
    broker_flush(client->world->broker);
}

const struct server_frame *client_next(struct client *client)
{
    forget_current(client);
    struct received *received = client->first;
    if (received == NULL)
        return NULL;
    client->first = received->next;
    if (client->first == NULL)
        client->end = &client->first;
    client->current = received;
    return &received->frame;
}

const struct server_frame *client_expect(struct client *client, enum server_frame_kind kind)
{
    const struct server_frame *frame = client_next(client);
    cr_assert_not_null(frame, "nothing came, expected kind %d", kind);
    cr_assert_eq(frame->kind, kind, "kind %d (status %d), expected %d", frame->kind,
                 frame->kind == SERVER_ERROR ? (int)frame->error.status : 0, kind);
    return frame;
}

const struct server_frame *client_expect_error(struct client *client, enum ps_status status)
{
    const struct server_frame *frame = client_expect(client, SERVER_ERROR);
    cr_assert_eq(frame->error.status, status, "status %d, expected %d", frame->error.status, status);
    return frame;
}

void client_expect_nothing(struct client *client)
{
    const struct server_frame *frame = client_next(client);
    cr_assert_null(frame, "kind %d came", frame->kind);
}

const struct server_frame *client_find(struct client *client, enum server_frame_kind kind)
{
    const struct server_frame *frame = client_next(client);
    while (frame != NULL && frame->kind != kind)
        frame = client_next(client);
    cr_assert_not_null(frame, "no frame of kind %d", kind);
    return frame;
}

void client_take(struct client *client)
{
    client->queued = 0;
    if (client->session != NULL)
        session_writable(client->session);
    broker_flush(client->world->broker);
}

void client_send(struct client *client, const struct client_frame *frame)
{
    struct bytes bytes = {0};
    struct client_frame decoded;
    if (codec_encode_client(frame, &bytes) != PS_OK)
        cr_assert_eq(codec_encode_client(frame, &bytes), PS_OK);
    struct buffer *buffer = ours(sizeof *buffer + bytes.size);
    buffer->refs = 1;
    buffer->charged = false;
    buffer->size = bytes.size;
    memcpy(buffer->data, bytes.data, bytes.size);
    bytes_deinit(&bytes);
    struct span body = {buffer->data + FRAME_HEADER_BYTES, buffer->size - FRAME_HEADER_BYTES};
    struct arena *arena = our_arena(codec_arena_budget(body.size));
    if (codec_decode_client(body, arena, &decoded) != PS_OK)
        cr_assert_eq(codec_decode_client(body, arena, &decoded), PS_OK);
    session_heard(client->session);
    session_receive(client->session, &decoded, buffer, &arena);
    arena_free(arena);
    buffer_unref(buffer);
    broker_flush(client->world->broker);
}

uint64_t client_request(struct client *client, struct client_frame *frame)
{
    frame->request_id = (struct optional_u64){true, ++client->next_request};
    client_send(client, frame);
    return client->next_request;
}

/* ------------------------------------------------------------------------------------------------ shorthands */

uint64_t publish(struct client *client, const char *topic, const char *payload)
{
    struct message message = {.payload = span_of(payload)};
    struct publish_group group = {span_of(topic), &message, 1};
    struct client_frame frame = {.kind = CLIENT_PUBLISH, .publish = {&group, 1, 1, false}};
    client_request(client, &frame);
    world_settle(client->world);
    const struct published *published = &client_find(client, SERVER_PUBLISHED)->published;
    cr_assert_eq(published->run_count, 1u);
    cr_assert_eq(published->runs[0].status, PS_OK);
    return published->runs[0].first_offset;
}

void publish_many(struct client *client, const char *topic, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%u", i);
        publish(client, topic, text);
    }
}

struct client_frame subscribe_frame(const char *filter, const char *durable_id)
{
    return (struct client_frame){.kind = CLIENT_SUBSCRIBE,
                                 .subscribe = {.filter = span_of(filter),
                                               .durable_id = span_of(durable_id),
                                               .credit_messages = 1000000,
                                               .credit_bytes = 1000000000}};
}

uint64_t subscribe(struct client *client, const char *filter, const char *durable_id, enum start_kind start,
                   uint64_t value)
{
    struct client_frame frame = subscribe_frame(filter, durable_id);
    frame.subscribe.start = (struct start_rule){.kind = start, .value = value};
    frame.subscribe.start_given = true;
    client_request(client, &frame);
    struct world *world = client->world;
    while (client->first == NULL && world->write_count + world->read_count > 0) {
        world_commit(world, world->write_count);
        if (world->read_count > 0)
            world_complete_read(world, 0);
    }
    uint64_t number = client_expect(client, SERVER_SUBSCRIBED)->subscribed.subscription;
    world_settle(world);
    return number;
}

struct client_frame ack_frame(uint64_t subscription, const char *topic, uint64_t next)
{
    return (struct client_frame){
        .kind = CLIENT_ACK,
        .ack = {.subscription = subscription, .topic = span_of(topic), .next_offset = next}};
}

void acknowledge(struct client *client, uint64_t subscription, const char *topic, uint64_t next)
{
    struct client_frame frame = ack_frame(subscription, topic, next);
    client_request(client, &frame);
    world_settle(client->world);
    client_find(client, SERVER_DONE);
}

void expect_offsets(struct client *client, const char *topic, uint64_t from, uint64_t to)
{
    while (from < to) {
        const struct server_frame *frame = client_find(client, SERVER_DELIVERY);
        cr_assert(span_equal(frame->delivery.topic, span_of(topic)));
        for (size_t i = 0; i < frame->delivery.message_count; i++, from++)
            cr_assert_eq(frame->delivery.messages[i].offset, from, "offset %llu, expected %llu",
                         (unsigned long long)frame->delivery.messages[i].offset, (unsigned long long)from);
    }
    cr_assert_eq(from, to);
}
