#include "hosted.h"

#include "store_memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct server_config hosted_config(void)
{
    struct server_config config = {.listener_count = 1, .log_fd = -1, .broker = {.server_version = "test"}};
    char error[512];

    REQUIRE(address_parse("0", &config.listeners[0], error, sizeof error) == PS_OK);
    return config;
}

static void stopped_cb(void *ctx, enum ps_status status)
{
    struct hosted *hosted = ctx;

    hosted->server = NULL;
    hosted->end_status = status;
    uv_close((uv_handle_t *)&hosted->stop, NULL);
}

static void stop_cb(uv_async_t *async)
{
    struct hosted *hosted = async->data;

    if (hosted->server != NULL)
        server_stop(hosted->server);
}

static void host(void *arg)
{
    struct hosted *hosted = arg;

    REQUIRE(uv_loop_init(&hosted->loop) == 0);
    hosted->start_status =
        server_start(&hosted->config, &hosted->loop, &hosted->server, hosted->error, sizeof hosted->error);
    if (hosted->start_status == PS_OK) {
        uv_async_init(&hosted->loop, &hosted->stop, stop_cb);
        hosted->stop.data = hosted;
        for (unsigned i = 0; i < server_listeners(hosted->server); i++)
            hosted->addresses[i] = *server_address(hosted->server, i);
    }
    uv_sem_post(&hosted->started);
    uv_run(&hosted->loop, UV_RUN_DEFAULT);
    REQUIRE(uv_loop_close(&hosted->loop) == 0);
}

void hosted_start(struct hosted *hosted, const struct server_config *config)
{
    *hosted = (struct hosted){.config = *config};
    hosted->config.stopped = stopped_cb;
    hosted->config.ctx = hosted;
    if (config->directory == NULL && config->store == NULL)
        REQUIRE(store_memory_open(NULL, &hosted->config.store, &hosted->config.opened) == PS_OK);
    signal(SIGPIPE, SIG_IGN);
    uv_sem_init(&hosted->started, 0);
    REQUIRE(uv_thread_create(&hosted->thread, host, hosted) == 0);
    uv_sem_wait(&hosted->started);
}

void hosted_ask_stop(struct hosted *hosted)
{
    uv_async_send(&hosted->stop);
}

enum ps_status hosted_join(struct hosted *hosted)
{
    uv_thread_join(&hosted->thread);
    uv_sem_destroy(&hosted->started);
    return hosted->start_status == PS_OK ? hosted->end_status : hosted->start_status;
}

/* ------------------------------------------------------------------------------------------------ peer */

void peer_connect(struct peer *peer, const struct address *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    int code;

    *peer = (struct peer){.next_request = 1};
    frame_reader_init(&peer->reader, FRAME_HARD_CAP, &peer->buffers);
    if (address->kind == ADDRESS_UNIX) {
        memcpy(name.sun_path, address->path, sizeof name.sun_path);
        peer->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        code = connect(peer->socket, (struct sockaddr *)&name, sizeof name);
    } else {
        peer->socket = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        code = connect(peer->socket, (const struct sockaddr *)&address->socket, sizeof address->socket);
    }
    REQUIRE(code == 0);
    setsockopt(peer->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void peer_close(struct peer *peer)
{
    close(peer->socket);
    frame_reader_deinit(&peer->reader);
    buffer_pool_deinit(&peer->buffers);
    arena_free(peer->arena);
    *peer = (struct peer){.socket = -1};
}

void peer_send_bytes(struct peer *peer, const void *bytes, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t count = send(peer->socket, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        if (count < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* shows when receiving */
        REQUIRE(count > 0);
        sent += (size_t)count;
    }
}

uint64_t peer_send(struct peer *peer, struct client_frame *frame)
{
    struct bytes bytes = {0};

    frame->request_id = (struct optional_u64){true, peer->next_request++};
    REQUIRE(codec_encode_client(frame, &bytes) == PS_OK);
    peer_send_bytes(peer, bytes.data, bytes.size);
    bytes_deinit(&bytes);
    return frame->request_id.value;
}

/* False: the connection ended. */
static bool fill(struct peer *peer)
{
    uint8_t *place;
    size_t room;

    REQUIRE(frame_reader_space(&peer->reader, &place, &room) == PS_OK);
    ssize_t got = recv(peer->socket, place, room, 0);
    if (got <= 0)
        return false;
    frame_reader_received(&peer->reader, (size_t)got);
    return true;
}

bool peer_receive(struct peer *peer, struct server_frame *frame)
{
    for (;;) {
        struct span body;
        struct buffer *owner;
        REQUIRE(frame_reader_next(&peer->reader, &body, &owner) == PS_OK);
        if (body.data == NULL) {
            if (!fill(peer))
                return false;
            continue;
        }
        arena_free(peer->arena);
        peer->arena = arena_new(codec_arena_budget(body.size));
        REQUIRE(peer->arena != NULL);
        REQUIRE(codec_decode_server(body, peer->arena, frame) == PS_OK);
        if (frame->kind != SERVER_PING)
            return true;
        struct client_frame pong = {.kind = CLIENT_PONG, .ping_token = frame->ping_token};
        peer_send(peer, &pong);
    }
}

void peer_hello(struct peer *peer)
{
    struct client_frame hello = {.kind = CLIENT_HELLO, .hello = {.min_version = 1, .max_version = 1}};
    struct server_frame answer;

    peer_send(peer, &hello);
    REQUIRE(peer_receive(peer, &answer));
    REQUIRE(answer.kind == SERVER_WELCOME);
}

void peer_open(struct peer *peer, const struct hosted *hosted)
{
    peer_connect(peer, &hosted->addresses[0]);
    peer_hello(peer);
}

uint64_t peer_publish(struct peer *peer, const char *topic, uint32_t count, size_t payload_size)
{
    struct message *messages = calloc(count, sizeof *messages);
    uint8_t *payload = malloc(payload_size + 1);

    memset(payload, 'p', payload_size + 1);
    for (uint32_t i = 0; i < count; i++)
        messages[i].payload = (struct span){payload, payload_size};
    struct publish_group group = {.topic = span_of(topic), .messages = messages, .count = count};
    struct client_frame frame = {.kind = CLIENT_PUBLISH,
                                 .publish = {.groups = &group, .group_count = 1, .message_count = count}};
    uint64_t request = peer_send(peer, &frame);
    free(payload);
    free(messages);
    return request;
}

void peer_subscribe(struct peer *peer, const char *filter)
{
    struct client_frame frame = {.kind = CLIENT_SUBSCRIBE,
                                 .subscribe = {.filter = span_of(filter),
                                               .start = {.kind = START_BEGINNING},
                                               .start_given = true,
                                               .credit_messages = 1ull << 40,
                                               .credit_bytes = 1ull << 60}};

    peer_send(peer, &frame);
}
