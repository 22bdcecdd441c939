#include "fake_broker.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------- sockets */

static void peer_closed_cb(uv_handle_t *handle)
{
    struct peer *peer = handle->data;

    peer->broker->open_sockets--;
    frame_reader_deinit(&peer->reader);
    buffer_pool_deinit(&peer->buffers);
    free(peer);
}

static void close_peer(struct peer *peer)
{
    if (peer == NULL || !peer->open)
        return;
    peer->open = false;
    if (peer->broker->peer == peer)
        peer->broker->peer = NULL;
    uv_close((uv_handle_t *)&peer->socket, peer_closed_cb);
}

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct peer *peer = handle->data;
    uint8_t *place;
    size_t room;

    (void)suggested;
    cr_assert_eq(frame_reader_space(&peer->reader, &place, &room), PS_OK);
    *buf = uv_buf_init((char *)place, (unsigned)room);
}

static void keep_frame(struct fake_broker *broker, struct span body)
{
    struct heard *heard = calloc(1, sizeof *heard), **at = &broker->heard;

    heard->body = malloc(body.size);
    memcpy(heard->body, body.data, body.size);
    heard->arena = arena_new(codec_arena_budget(body.size));
    cr_assert_eq(codec_decode_client((struct span){heard->body, body.size}, heard->arena, &heard->frame),
                 PS_OK);
    while (*at != NULL)
        at = &(*at)->next;
    *at = heard;
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct peer *peer = stream->data;

    (void)buf;
    if (size < 0) {
        close_peer(peer);
        return;
    }
    frame_reader_received(&peer->reader, (size_t)size);
    for (;;) {
        struct buffer *owner;
        struct span body;

        cr_assert_eq(frame_reader_next(&peer->reader, &body, &owner), PS_OK);
        if (!span_present(body))
            return;
        keep_frame(peer->broker, body);
    }
}

static void connection_cb(uv_stream_t *listener, int status)
{
    struct fake_broker *broker = listener->data;
    struct peer *peer = calloc(1, sizeof *peer);

    cr_assert_eq(status, 0);
    peer->broker = broker;
    peer->open = true;
    peer->socket.data = peer;
    frame_reader_init(&peer->reader, FRAME_HARD_CAP, &peer->buffers);
    uv_tcp_init(broker->loop, &peer->socket);
    cr_assert_eq(uv_accept(listener, (uv_stream_t *)&peer->socket), 0);
    uv_read_start((uv_stream_t *)&peer->socket, alloc_cb, read_cb);
    broker->open_sockets++;
    broker->accepted++;
    broker->peer = peer;
}

void fake_listen_again(struct fake_broker *broker)
{
    struct sockaddr_in address;
    int size = sizeof address;

    uv_tcp_init(broker->loop, &broker->listener);
    broker->listener.data = broker;
    uv_ip4_addr("127.0.0.1", broker->port, &address);
    cr_assert_eq(uv_tcp_bind(&broker->listener, (const struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&broker->listener, 8, connection_cb), 0);
    uv_tcp_getsockname(&broker->listener, (struct sockaddr *)&address, &size);
    broker->port = ntohs(address.sin_port);
    broker->listening = true;
    broker->open_sockets++;
}

void fake_start(struct fake_broker *broker, uv_loop_t *loop)
{
    *broker = (struct fake_broker){.loop = loop};
    broker->welcome = (struct welcome){
        .version = PROTOCOL_VERSION,
        .log_id = span_of("0123456789abcdef"),
        .limits = {.max_frame = MESSAGE_MAX_BYTES + FRAME_OVERHEAD_BYTES,
                   .max_message = MESSAGE_MAX_BYTES,
                   .max_headers = MESSAGE_MAX_HEADERS,
                   .max_header_bytes = MESSAGE_MAX_HEADER_BYTES,
                   .max_messages_per_frame = PROTOCOL_MAX_MESSAGES_PER_FRAME,
                   .max_subscriptions = 1000,
                   .hard_frame_cap = FRAME_HARD_CAP},
        .publish_window = 1024 * 1024,
        .ping_interval_ms = 60000,
        .server_version = span_of("fake"),
    };
    fake_listen_again(broker);
}

static void listener_closed_cb(uv_handle_t *handle)
{
    ((struct fake_broker *)handle->data)->open_sockets--;
}

void fake_stop_listening(struct fake_broker *broker)
{
    unsigned before = broker->open_sockets;

    if (!broker->listening)
        return;
    broker->listening = false;
    uv_close((uv_handle_t *)&broker->listener, listener_closed_cb);
    while (broker->open_sockets == before)
        uv_run(broker->loop, UV_RUN_ONCE);
}

static void free_heard(struct heard *heard)
{
    while (heard != NULL) {
        struct heard *next = heard->next;

        arena_free(heard->arena);
        free(heard->body);
        free(heard);
        heard = next;
    }
}

void fake_stop(struct fake_broker *broker)
{
    fake_stop_listening(broker);
    close_peer(broker->peer);
    while (broker->open_sockets > 0)
        uv_run(broker->loop, UV_RUN_ONCE);
    free_heard(broker->heard);
    free_heard(broker->told);
}

void fake_stop_reading(struct fake_broker *broker)
{
    uv_read_stop((uv_stream_t *)&broker->peer->socket);
}

void fake_read_on(struct fake_broker *broker)
{
    uv_read_start((uv_stream_t *)&broker->peer->socket, alloc_cb, read_cb);
}

void fake_drop(struct fake_broker *broker)
{
    close_peer(broker->peer);
}

/* ---------------------------------------------------------------------------------------------- dialogue */

static struct heard *take_heard(struct fake_broker *broker, bool pings)
{
    for (;;) {
        struct heard *heard;

        while (broker->heard == NULL)
            uv_run(broker->loop, UV_RUN_ONCE);
        heard = broker->heard;
        broker->heard = heard->next;
        heard->next = broker->told;
        broker->told = heard;
        if (pings || heard->frame.kind != CLIENT_PING)
            return heard;
    }
}

const struct client_frame *fake_expect(struct fake_broker *broker, enum client_frame_kind kind)
{
    struct heard *heard = take_heard(broker, kind == CLIENT_PING);

    cr_assert_eq(heard->frame.kind, kind, "frame of kind %d instead of %d", heard->frame.kind, kind);
    return &heard->frame;
}

static void written_cb(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
    free(write);
}

void fake_send_bytes(struct fake_broker *broker, const void *data, size_t size)
{
    uv_write_t *write = malloc(sizeof *write);
    uv_buf_t buf = uv_buf_init(malloc(size), (unsigned)size);

    cr_assert_not_null(broker->peer);
    memcpy(buf.base, data, size);
    write->data = buf.base;
    cr_assert_eq(uv_write(write, (uv_stream_t *)&broker->peer->socket, &buf, 1, written_cb), 0);
}

void fake_send(struct fake_broker *broker, const struct server_frame *frame)
{
    struct bytes out = {0};

    cr_assert_eq(codec_encode_server(frame, &out), PS_OK);
    fake_send_bytes(broker, out.data, out.size);
    bytes_deinit(&out);
}

void fake_greet(struct fake_broker *broker)
{
    const struct client_frame *hello = fake_expect(broker, CLIENT_HELLO);

    fake_send(broker, &(struct server_frame){.request_id = hello->request_id,
                                             .kind = SERVER_WELCOME,
                                             .welcome = broker->welcome});
}

void fake_quiet(struct fake_broker *broker)
{
    struct heard *heard;

    fake_send(broker, &(struct server_frame){.kind = SERVER_PING, .ping_token = 4711});
    heard = take_heard(broker, false);
    cr_assert_eq(heard->frame.kind, CLIENT_PONG, "a frame of kind %d was not expected", heard->frame.kind);
    cr_assert_eq(heard->frame.ping_token, 4711);
}

static void send_run(struct fake_broker *broker, uint64_t id, const struct published_run *run)
{
    fake_send(broker, &(struct server_frame){.request_id = {true, id},
                                             .kind = SERVER_PUBLISHED,
                                             .published = {.runs = run, .run_count = 1}});
}

void fake_accept(struct fake_broker *broker, uint64_t id, uint32_t first_index, uint32_t count,
                 uint64_t offset)
{
    struct published_run run = {.first_index = first_index, .count = count, .first_offset = offset};

    send_run(broker, id, &run);
}

void fake_refuse_run(struct fake_broker *broker, uint64_t id, uint32_t first_index, uint32_t count,
                     enum ps_status status, bool unknown)
{
    struct published_run run = {
        .first_index = first_index, .count = count, .status = status, .error = protocol_error_of(status)};

    run.error.unknown = unknown;
    send_run(broker, id, &run);
}

void fake_error(struct fake_broker *broker, uint64_t id, enum ps_status status)
{
    fake_send(broker, &(struct server_frame){.request_id = {true, id},
                                             .kind = SERVER_ERROR,
                                             .error = protocol_error_of(status)});
}

void fake_done(struct fake_broker *broker, uint64_t id)
{
    fake_send(broker, &(struct server_frame){.request_id = {true, id}, .kind = SERVER_DONE});
}

void fake_subscribed(struct fake_broker *broker, uint64_t id, uint64_t number, const char *topic,
                     uint64_t offset, uint64_t head, bool created)
{
    struct topic_start start = {.topic = span_of(topic), .offset = offset, .head = head};

    fake_send(broker, &(struct server_frame){.request_id = {true, id},
                                             .kind = SERVER_SUBSCRIBED,
                                             .subscribed = {.subscription = number,
                                                            .mark = 1000,
                                                            .generation = ++broker->generation,
                                                            .created = created,
                                                            .starts = &start,
                                                            .start_count = topic != NULL}});
}

void fake_deliver(struct fake_broker *broker, uint64_t number, const char *topic, uint64_t offset,
                  unsigned count)
{
    uint8_t head[DELIVERY_HEADER_MAX_BYTES];
    struct batch *batch = batch_new(count, count * 32);
    size_t size;

    for (unsigned i = 0; i < count; i++) {
        char payload[32];
        struct message message = {.offset = offset + i, .published_at = 1};

        snprintf(payload, sizeof payload, "m%llu", (unsigned long long)(offset + i));
        message.payload = span_of(payload);
        cr_assert_eq(batch_append(batch, &message), PS_OK);
    }
    size = codec_put_delivery_header(head, number, span_of(topic), batch->size);
    fake_send_bytes(broker, head, size);
    fake_send_bytes(broker, batch->bytes, batch->size);
    batch_unref(batch);
}

void fake_end(struct fake_broker *broker, uint64_t number, enum ps_status reason)
{
    fake_send(broker, &(struct server_frame){.kind = SERVER_SUBSCRIPTION_ENDED,
                                             .ended = {number, protocol_error_of(reason)}});
}
