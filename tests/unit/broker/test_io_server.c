/* A whole server over loopback, in memory. */
#include "hosted.h"
#include "leaks.h"
#include "store_memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void end(struct hosted *hosted)
{
    hosted_ask_stop(hosted);
    cr_assert_eq(hosted_join(hosted), PS_OK);
    ASSERT_NO_LEAKS();
}

/* Awaits answers until `count` publications of `peer` were accepted. */
static void await_published(struct peer *peer, uint64_t count)
{
    struct server_frame frame;

    for (uint64_t got = 0; got < count;) {
        cr_assert(peer_receive(peer, &frame), "no answer after %llu", (unsigned long long)got);
        cr_assert_eq(frame.kind, SERVER_PUBLISHED);
        for (size_t i = 0; i < frame.published.run_count; i++) {
            cr_assert_eq(frame.published.runs[i].status, PS_OK);
            got += frame.published.runs[i].count;
        }
    }
}

/* Reads deliveries until offset `count` of the one topic was reached; each offset once and in order. */
static void await_delivered(struct peer *peer, uint64_t count)
{
    struct server_frame frame;
    uint64_t next = 0;

    while (next < count) {
        cr_assert(peer_receive(peer, &frame), "the delivery ended at %llu", (unsigned long long)next);
        if (frame.kind == SERVER_SUBSCRIBED || frame.kind == SERVER_PROGRESS)
            continue;
        cr_assert_eq(frame.kind, SERVER_DELIVERY);
        for (size_t i = 0; i < frame.delivery.message_count; i++)
            cr_assert_eq(frame.delivery.messages[i].offset, next++);
    }
}

static struct info ask_info(struct peer *peer)
{
    struct client_frame frame = {.kind = CLIENT_GET_INFO};
    struct server_frame answer;

    peer_send(peer, &frame);
    cr_assert(peer_receive(peer, &answer));
    cr_assert_eq(answer.kind, SERVER_INFO);
    return answer.info;
}

/* The refusal is told, then the connection ends. */
static void expect_refusal(struct peer *peer, enum ps_status status)
{
    struct server_frame frame;

    cr_assert(peer_receive(peer, &frame), "closed without a word");
    cr_assert(frame.kind == SERVER_ERROR || frame.kind == SERVER_GOODBYE);
    cr_assert_eq(frame.error.status, status, "%s", ps_status_name(frame.error.status));
    while (peer_receive(peer, &frame))
        ;
}

Test(io_server, published_messages_are_acknowledged_and_delivered)
{
    struct hosted hosted;
    struct peer publisher, subscriber;
    struct server_config config = hosted_config();

    hosted_start(&hosted, &config);
    peer_open(&publisher, &hosted);
    peer_open(&subscriber, &hosted);
    peer_publish(&publisher, "A", 3, 10);
    await_published(&publisher, 3);
    peer_subscribe(&subscriber, "A");
    await_delivered(&subscriber, 3);
    peer_close(&subscriber);
    peer_close(&publisher);
    end(&hosted);
}

Test(io_server, a_flood_of_small_frames_is_answered_in_full)
{
    enum { FRAMES = 20000 };
    struct hosted hosted;
    struct peer publisher, subscriber;
    struct server_config config = hosted_config();

    hosted_start(&hosted, &config);
    peer_open(&publisher, &hosted);
    peer_open(&subscriber, &hosted);
    peer_subscribe(&subscriber, "A");
    for (int i = 0; i < FRAMES; i++)
        peer_publish(&publisher, "A", 1, 20);
    await_published(&publisher, FRAMES);
    await_delivered(&subscriber, FRAMES);
    peer_close(&subscriber);
    peer_close(&publisher);
    end(&hosted);
}

Test(io_server, garbage_oversized_and_empty_frames_are_refused_by_name)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum ps_status status;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18, PS_MALFORMED}, {"\x16\x03\x01\x02\x00\x01\x00", 7, PS_MALFORMED},
        {"\x00\x00\x13\x88", 4, PS_FRAME_TOO_LARGE}, /* 5000 bytes before Hello */
        {"\x00\x00\x00\x00", 4, PS_MALFORMED},        {"\x00\x00\x00\x03\xff\xff\xff", 7, PS_MALFORMED},
    };
    struct hosted hosted;
    struct peer peer, other;
    struct server_config config = hosted_config();
    struct server_frame frame;

    hosted_start(&hosted, &config);
    peer_open(&other, &hosted);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        peer_connect(&peer, &hosted.addresses[0]);
        peer_send_bytes(&peer, rows[i].bytes, rows[i].size);
        cr_assert(peer_receive(&peer, &frame), "row %zu: closed without a word", i);
        cr_assert(frame.kind == SERVER_ERROR || frame.kind == SERVER_GOODBYE);
        cr_assert(frame.error.status == rows[i].status || frame.error.status == PS_FRAME_TOO_LARGE,
                  "row %zu: %s", i, ps_status_name(frame.error.status));
        cr_assert_not(peer_receive(&peer, &frame), "row %zu: still open", i);
        peer_close(&peer);
    }
    peer_publish(&other, "A", 1, 1);
    await_published(&other, 1);
    peer_close(&other);
    end(&hosted);
}

Test(io_server, the_refusal_arrives_even_when_the_peer_goes_on_sending)
{
    struct hosted hosted;
    struct peer peer;
    struct server_config config = hosted_config();
    static char garbage[1024 * 1024];

    memset(garbage, 'G', sizeof garbage);
    hosted_start(&hosted, &config);
    peer_connect(&peer, &hosted.addresses[0]);
    peer_send_bytes(&peer, garbage, sizeof garbage);
    expect_refusal(&peer, PS_MALFORMED);
    peer_close(&peer);
    end(&hosted);
}

Test(io_server, a_frame_beyond_the_cap_after_hello_is_refused)
{
    struct hosted hosted;
    struct peer peer;
    struct server_config config = hosted_config();

    hosted_start(&hosted, &config);
    peer_open(&peer, &hosted);
    peer_send_bytes(&peer, "\x00\x20\x00\x00", 4);
    expect_refusal(&peer, PS_FRAME_TOO_LARGE);
    peer_close(&peer);
    end(&hosted);
}

Test(io_server, a_peer_that_leaves_within_a_frame_harms_nobody)
{
    struct hosted hosted;
    struct peer peer, other;
    struct server_config config = hosted_config();

    hosted_start(&hosted, &config);
    peer_open(&other, &hosted);
    for (size_t size = 1; size < 12; size++) {
        peer_open(&peer, &hosted);
        peer_send_bytes(&peer, "\x00\x00\x10\x00\x08\x01\x2a\x04\x01\x02\x03\x04", size);
        peer_close(&peer);
    }
    peer_publish(&other, "A", 1, 1);
    await_published(&other, 1);
    peer_close(&other);
    end(&hosted);
}

/* A byte now and then buys no time. */
Test(io_server, a_frame_that_does_not_come_whole_in_time_is_refused)
{
    struct hosted hosted;
    struct peer peer, other;
    struct server_config config = hosted_config();

    config.deadlines.assembly_ms = 300;
    hosted_start(&hosted, &config);
    peer_open(&other, &hosted);
    peer_open(&peer, &hosted);
    peer_send_bytes(&peer, "\x00\x00\x10\x00\x08", 5);
    ask_info(&other);
    peer_send_bytes(&peer, "\x01", 1);
    expect_refusal(&peer, PS_TIMED_OUT);
    peer_close(&peer);
    peer_close(&other);
    end(&hosted);
}

static void await_refusal(struct peer *peer, const struct hosted *hosted)
{
    peer_open(peer, hosted);
    peer_send_bytes(peer, "\x00\x00\x00\x00", 4);
    expect_refusal(peer, PS_MALFORMED);
}

/* A reset would take the refusal away from one who has not read it yet. */
Test(io_server, one_who_was_refused_may_go_on_sending)
{
    struct hosted hosted;
    struct peer peer, other;
    struct server_config config = hosted_config();

    config.deadlines.linger_ms = 60 * 1000;
    hosted_start(&hosted, &config);
    peer_open(&other, &hosted);
    await_refusal(&peer, &hosted);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(send(peer.socket, "more", 4, MSG_NOSIGNAL), 4);
        cr_assert_eq(ask_info(&other).connections, 2u);
    }
    peer_close(&peer);
    while (ask_info(&other).connections == 2)
        ;
    peer_close(&other);
    end(&hosted);
}

Test(io_server, one_who_was_refused_and_stays_is_closed_in_time, .timeout = 60)
{
    struct hosted hosted;
    struct peer peer, other;
    struct server_config config = hosted_config();

    config.deadlines.linger_ms = 100;
    hosted_start(&hosted, &config);
    peer_open(&other, &hosted);
    await_refusal(&peer, &hosted);
    while (ask_info(&other).connections == 2)
        ;
    peer_close(&peer);
    peer_close(&other);
    end(&hosted);
}

Test(io_server, a_subscriber_that_does_not_read_pins_a_bounded_amount_and_loses_nothing)
{
    enum { FRAMES = 300, MESSAGES = 10, SIZE = 10000 };
    struct hosted hosted;
    struct peer publisher, slow, quick;
    struct server_config config = hosted_config();

    config.broker.tail_bytes = 1 << 20;
    hosted_start(&hosted, &config);
    peer_open(&publisher, &hosted);
    peer_open(&slow, &hosted);
    peer_open(&quick, &hosted);
    peer_subscribe(&slow, "A");
    peer_subscribe(&quick, "A");
    for (int i = 0; i < FRAMES; i++) {
        peer_publish(&publisher, "A", MESSAGES, SIZE);
        await_published(&publisher, MESSAGES);
    }
    await_delivered(&quick, (uint64_t)FRAMES * MESSAGES);
    cr_assert_lt(ask_info(&publisher).queued_bytes, 4u << 20);
    await_delivered(&slow, (uint64_t)FRAMES * MESSAGES);
    peer_close(&slow);
    peer_close(&quick);
    peer_close(&publisher);
    end(&hosted);
}

Test(io_server, a_drain_answers_what_is_under_way_and_says_goodbye)
{
    struct hosted hosted;
    struct peer publisher, idle;
    struct server_config config = hosted_config();
    struct server_frame frame;
    uint64_t answered = 0, refused = 0;
    bool goodbye = false;

    hosted_start(&hosted, &config);
    peer_open(&publisher, &hosted);
    peer_open(&idle, &hosted);
    for (int i = 0; i < 100; i++)
        peer_publish(&publisher, "A", 10, 100);
    await_published(&publisher, 10);
    hosted_ask_stop(&hosted);
    while (peer_receive(&publisher, &frame)) {
        goodbye |= frame.kind == SERVER_GOODBYE;
        for (size_t i = 0; frame.kind == SERVER_PUBLISHED && i < frame.published.run_count; i++) {
            if (frame.published.runs[i].status == PS_OK)
                answered += frame.published.runs[i].count;
            else
                refused += frame.published.runs[i].count;
        }
    }
    cr_assert(goodbye);
    cr_assert_leq(answered + refused, 990u);
    goodbye = false;
    while (peer_receive(&idle, &frame))
        goodbye |= frame.kind == SERVER_GOODBYE && frame.error.status == PS_DRAINING;
    cr_assert(goodbye);
    cr_assert_eq(hosted_join(&hosted), PS_OK);
    peer_close(&publisher);
    peer_close(&idle);
    ASSERT_NO_LEAKS();
}

Test(io_server, a_drain_does_not_wait_for_a_peer_that_does_not_read)
{
    struct hosted hosted;
    struct peer publisher, dead;
    struct server_config config = hosted_config();

    config.deadlines.send_ms = 300;

    hosted_start(&hosted, &config);
    peer_open(&publisher, &hosted);
    peer_open(&dead, &hosted);
    peer_subscribe(&dead, "A");
    for (int i = 0; i < 30; i++)
        peer_publish(&publisher, "A", 1, 900 * 1000);
    await_published(&publisher, 30);
    hosted_ask_stop(&hosted);
    cr_assert_eq(hosted_join(&hosted), PS_OK);
    peer_close(&publisher);
    peer_close(&dead);
    ASSERT_NO_LEAKS();
}

Test(io_server, where_descriptors_are_short_peers_wait_until_one_leaves)
{
    struct hosted hosted;
    struct peer first, second, third;
    struct rlimit before, few;
    struct server_config config = hosted_config();

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = SERVER_SPARE_DESCRIPTORS + 2, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    hosted_start(&hosted, &config);
    peer_open(&first, &hosted);
    peer_open(&second, &hosted);
    peer_connect(&third, &hosted.addresses[0]);
    cr_assert_eq(ask_info(&first).connections, 2u);
    cr_assert_eq(ask_info(&second).connections, 2u);
    peer_close(&first);
    peer_hello(&third);
    cr_assert_eq(ask_info(&third).connections, 2u);
    peer_close(&second);
    peer_close(&third);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    end(&hosted);
}

/* The limit of connections keeps descriptors in reserve; this is what happens should they run out all the same. */
Test(io_server, without_descriptors_a_newcomer_is_closed_and_service_goes_on)
{
    struct hosted hosted;
    struct peer first, second;
    struct rlimit before, none;
    struct timeval patience = {.tv_sec = 20};
    struct server_config config = hosted_config();
    char byte;

    hosted_start(&hosted, &config);
    peer_open(&first, &hosted);
    /* The lowest free descriptor is taken, so everything below it is too. */
    int newcomer = socket(hosted.addresses[0].socket.ss_family, SOCK_STREAM, 0);
    cr_assert_geq(newcomer, 0);
    setsockopt(newcomer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)newcomer + 1, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_assert_eq(connect(newcomer, (const struct sockaddr *)&hosted.addresses[0].socket,
                         sizeof hosted.addresses[0].socket),
                 0);
    ssize_t got = recv(newcomer, &byte, 1, 0);
    cr_assert(got == 0 || (got < 0 && errno == ECONNRESET), "%zd %d", got, errno);
    cr_assert_eq(ask_info(&first).connections, 1u);

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    peer_open(&second, &hosted);
    cr_assert_eq(ask_info(&second).connections, 2u);
    close(newcomer);
    peer_close(&first);
    peer_close(&second);
    end(&hosted);
}

Test(io_server, roles_belong_to_listeners)
{
    struct hosted hosted;
    struct peer peer;
    struct server_config config = hosted_config();
    struct server_frame frame;

    config.listener_count = 2;
    config.listeners[1] = config.listeners[0];
    config.listeners[0].role = SESSION_PUBLISH;
    config.listeners[1].role = SESSION_SUBSCRIBE;
    hosted_start(&hosted, &config);
    peer_connect(&peer, &hosted.addresses[1]);
    peer_hello(&peer);
    peer_publish(&peer, "A", 1, 1);
    cr_assert(peer_receive(&peer, &frame));
    cr_assert(frame.kind == SERVER_ERROR || frame.kind == SERVER_PUBLISHED);
    cr_assert_eq(frame.kind == SERVER_ERROR ? frame.error.status : frame.published.runs[0].status,
                 PS_ROLE_REFUSED);
    peer_close(&peer);
    peer_open(&peer, &hosted);
    peer_publish(&peer, "A", 1, 1);
    await_published(&peer, 1);
    peer_close(&peer);
    end(&hosted);
}

/* ---------------------------------------------------------------------------------------- Unix sockets */

static char root[] = "/tmp/psbroker-test-XXXXXX";
static char text[64];

static struct server_config unix_config(void)
{
    struct server_config config = hosted_config();
    char error[512];

    if (access(root, F_OK) != 0)
        cr_assert_not_null(mkdtemp(root));
    snprintf(text, sizeof text, "unix:%s/socket", root);
    cr_assert_eq(address_parse(text, &config.listeners[0], error, sizeof error), PS_OK);
    return config;
}

Test(io_server, a_unix_socket_is_for_its_owner_and_is_removed_at_the_end)
{
    struct hosted hosted;
    struct peer peer;
    struct server_config config = unix_config();
    struct stat info;

    hosted_start(&hosted, &config);
    cr_assert_eq(hosted.start_status, PS_OK, "%s", hosted.error);
    cr_assert_eq(stat(config.listeners[0].path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600u);
    peer_open(&peer, &hosted);
    peer_publish(&peer, "A", 1, 1);
    await_published(&peer, 1);
    peer_close(&peer);
    hosted_ask_stop(&hosted);
    cr_assert_eq(hosted_join(&hosted), PS_OK);
    cr_assert_neq(access(config.listeners[0].path, F_OK), 0);
    rmdir(root);
    ASSERT_NO_LEAKS();
}

Test(io_server, a_live_socket_is_refused_a_dead_one_replaced_and_a_plain_file_left_alone)
{
    struct hosted live, second;
    struct server_config config = unix_config();
    const char *path = config.listeners[0].path;

    hosted_start(&live, &config);
    hosted_start(&second, &config);
    cr_assert_eq(second.start_status, PS_IO_ERROR);
    cr_assert_not_null(strstr(second.error, "another process listens there"), "%s", second.error);
    hosted_join(&second);
    hosted_ask_stop(&live);
    cr_assert_eq(hosted_join(&live), PS_OK);

    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(stale, (struct sockaddr *)&name, sizeof name), 0);
    close(stale);
    hosted_start(&second, &config);
    cr_assert_eq(second.start_status, PS_OK, "%s", second.error);
    hosted_ask_stop(&second);
    cr_assert_eq(hosted_join(&second), PS_OK);

    fclose(fopen(path, "w"));
    hosted_start(&second, &config);
    cr_assert_eq(second.start_status, PS_IO_ERROR);
    cr_assert_not_null(strstr(second.error, "no socket"), "%s", second.error);
    hosted_join(&second);
    cr_assert_eq(unlink(path), 0);
    rmdir(root);
    ASSERT_NO_LEAKS();
}

Test(io_server, a_port_in_use_is_named_and_everything_undone)
{
    struct hosted first, second;
    struct server_config config = hosted_config();

    hosted_start(&first, &config);
    config.listeners[0] = first.addresses[0];
    hosted_start(&second, &config);
    cr_assert_eq(second.start_status, PS_IO_ERROR);
    cr_assert_not_null(strstr(second.error, "address already in use"), "%s", second.error);
    hosted_join(&second);
    end(&first);
}

/* ------------------------------------------------------------------------------------ a store that fails */

static const struct store_vtable *memory_vtable;

static enum ps_status failing_work(struct store *store, bool *more, struct store_state *state)
{
    memory_vtable->work(store, more, state);
    *more = true;
    return PS_FOREIGN_WRITER;
}

static enum ps_status failing_close(struct store *store)
{
    cr_assert_eq(memory_vtable->close(store), PS_OK);
    return PS_STORAGE_FAILED;
}

/* A server over a store that does these two in its own way where they are set. */
static void host_failing(struct hosted *hosted, struct store_vtable *vtable)
{
    const struct store_vtable own = *vtable;
    struct server_config config = hosted_config();

    cr_assert_eq(store_memory_open(NULL, &config.store, &config.opened), PS_OK);
    memory_vtable = config.store->vtable;
    *vtable = *memory_vtable;
    vtable->work = own.work == NULL ? memory_vtable->work : own.work;
    vtable->close = own.close == NULL ? memory_vtable->close : own.close;
    config.store->vtable = vtable;
    hosted_start(hosted, &config);
    cr_assert_eq(hosted->start_status, PS_OK);
}

Test(io_server, background_work_that_fails_ends_it)
{
    struct store_vtable vtable = {.work = failing_work};
    struct hosted hosted;

    host_failing(&hosted, &vtable);
    cr_assert_eq(hosted_join(&hosted), PS_FOREIGN_WRITER, "nobody asked it to stop");
    ASSERT_NO_LEAKS();
}

Test(io_server, a_store_that_fails_while_it_is_closed_is_no_clean_end)
{
    struct store_vtable vtable = {.close = failing_close};
    struct hosted hosted;

    host_failing(&hosted, &vtable);
    hosted_ask_stop(&hosted);
    cr_assert_eq(hosted_join(&hosted), PS_STORAGE_FAILED);
    ASSERT_NO_LEAKS();
}
