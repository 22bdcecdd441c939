/* Connections that are one too many: refused by name, or making way, over loopback. */
#include "hosted.h"
#include "leaks.h"

#include <criterion/criterion.h>

static void start(struct hosted *hosted, const struct connection_limits *limits)
{
    struct server_config config = hosted_config();
    config.limits = *limits;
    hosted_start(hosted, &config);
}

static void end(struct hosted *hosted)
{
    hosted_ask_stop(hosted);
    cr_assert_eq(hosted_join(hosted), PS_OK);
    ASSERT_NO_LEAKS();
}

static uint32_t connections(struct peer *peer)
{
    struct client_frame frame = {.kind = CLIENT_GET_INFO};
    struct server_frame answer;
    peer_send(peer, &frame);
    cr_assert(peer_receive(peer, &answer));
    cr_assert_eq(answer.kind, SERVER_INFO);
    return answer.info.connections;
}

/* Told which limit and that it may come again; then the connection ends. */
static void expect_refusal(struct peer *peer, const char *limit, uint64_t value)
{
    struct server_frame frame;
    cr_assert(peer_receive(peer, &frame), "closed without a word");
    cr_assert_eq(frame.kind, SERVER_ERROR);
    cr_assert_eq(frame.error.status, PS_LIMIT_EXCEEDED);
    cr_assert(span_equal(frame.error.limit_name, span_of(limit)));
    cr_assert_eq(frame.error.limit_value, value);
    cr_assert(frame.error.retryable);
    cr_assert_gt(frame.error.retry_after_ms, 0u);
    cr_assert_not(peer_receive(peer, &frame));
    peer_close(peer);
}

Test(io_limits, beyond_the_limit_of_connections_a_newcomer_is_refused_by_name)
{
    struct hosted hosted;
    struct peer first, second, third;

    start(&hosted, &(struct connection_limits){.total = 2});
    peer_open(&first, &hosted);
    peer_open(&second, &hosted);
    peer_connect(&third, &hosted.addresses[0]);
    expect_refusal(&third, "max_connections", 2);
    peer_close(&first);
    while (connections(&second) > 1)
        ;
    peer_open(&third, &hosted);
    peer_close(&second);
    peer_close(&third);
    end(&hosted);
}

Test(io_limits, one_address_has_only_so_many_connections_where_that_counts)
{
    for (int local = 0; local <= 1; local++) {
        struct hosted hosted;
        struct peer first, second;

        start(&hosted, &(struct connection_limits){.per_address = 1, .local = local});
        peer_open(&first, &hosted);
        if (local) {
            peer_connect(&second, &hosted.addresses[0]);
            expect_refusal(&second, "max_per_address", 1);
        } else {
            peer_open(&second, &hosted);
            peer_close(&second);
        }
        peer_close(&first);
        end(&hosted);
    }
}

Test(io_limits, of_those_before_hello_the_oldest_makes_way)
{
    struct hosted hosted;
    struct peer peers[4];

    start(&hosted, &(struct connection_limits){.greeting = 2});
    for (int i = 0; i < 3; i++)
        peer_connect(&peers[i], &hosted.addresses[0]);
    expect_refusal(&peers[0], "max_greeting", 2);
    peer_hello(&peers[1]);
    /* Those that said Hello do not count any more. */
    peer_connect(&peers[3], &hosted.addresses[0]);
    peer_hello(&peers[2]);
    peer_hello(&peers[3]);
    for (int i = 1; i < 4; i++)
        peer_close(&peers[i]);
    end(&hosted);
}

Test(io_limits, the_refused_are_told_and_only_some_are_waited_for)
{
    enum { CROWD = 4 * CONNECTIONS_LINGERING };
    struct hosted hosted;
    struct peer first, crowd[CROWD];

    start(&hosted, &(struct connection_limits){.total = 1});
    peer_open(&first, &hosted);
    for (int i = 0; i < CROWD; i++)
        peer_connect(&crowd[i], &hosted.addresses[0]);
    for (int i = 0; i < CROWD; i++) {
        struct server_frame frame;
        cr_assert(peer_receive(&crowd[i], &frame), "%d was closed without a word", i);
        cr_assert_eq(frame.error.status, PS_LIMIT_EXCEEDED);
    }
    cr_assert_leq(connections(&first), 1u + CONNECTIONS_LINGERING);
    for (int i = 0; i < CROWD; i++)
        peer_close(&crowd[i]);
    while (connections(&first) > 1)
        ;
    peer_close(&first);
    end(&hosted);
}
