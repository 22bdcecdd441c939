#include "hosts.h"
#include "leaks.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

static const uint64_t second = RATE_SECOND_NS;

static struct sockaddr_storage peer(const char *text)
{
    struct sockaddr_storage socket = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        memcpy(&socket, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        memcpy(&socket, &v6, sizeof v6);
    return socket;
}

static struct hosts hosts_of(uint32_t connections, bool local)
{
    struct hosts hosts = {.max_connections = connections, .topic_rate = 2, .local = local};
    return hosts;
}

Test(io_hosts, an_address_has_so_many_connections_and_a_64_is_one_address)
{
    static const struct {
        const char *first, *second;
        bool same;
    } rows[] = {
        {"10.0.0.1", "10.0.0.1", true},          {"10.0.0.1", "10.0.0.2", false},
        {"2001:db8::1", "2001:db8::ffff", true}, {"2001:db8::1", "2001:db8:0:1::1", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},   {"2001:db8::1", "10.0.0.1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hosts hosts = hosts_of(1, false);
        struct sockaddr_storage first = peer(rows[i].first), other = peer(rows[i].second);
        struct host *a, *b = NULL;
        hosts_init(&hosts, 1);
        cr_assert_eq(hosts_enter(&hosts, &first, 0, &a), PS_OK);
        cr_assert_not_null(a);
        enum ps_status expected = rows[i].same ? PS_LIMIT_EXCEEDED : PS_OK;
        cr_assert_eq(hosts_enter(&hosts, &other, 0, &b), expected, "row %zu", i);
        hosts_leave(&hosts, a, 0);
        hosts_leave(&hosts, b, 0);
        cr_assert_eq(hosts_enter(&hosts, &other, 0, &b), PS_OK);
        hosts_leave(&hosts, b, 0);
        cr_assert_eq(hosts.map.count, 0u);
        hosts_deinit(&hosts);
    }
    ASSERT_NO_LEAKS();
}

Test(io_hosts, loopback_and_unix_sockets_count_only_when_asked)
{
    struct sockaddr_storage local[] = {peer("127.0.0.1"), peer("::1"), peer("127.255.0.9")};
    for (int asked = 0; asked <= 1; asked++) {
        struct hosts hosts = hosts_of(1, asked);
        hosts_init(&hosts, 1);
        for (size_t i = 0; i <= 3; i++) {
            struct host *first, *more = NULL;
            const struct sockaddr_storage *from = i < 3 ? &local[i] : NULL;
            cr_assert_eq(hosts_enter(&hosts, from, 0, &first), PS_OK);
            cr_assert_eq(first != NULL, asked == 1);
            cr_assert_eq(hosts_enter(&hosts, from, 0, &more), asked ? PS_LIMIT_EXCEEDED : PS_OK);
            hosts_leave(&hosts, first, 0);
        }
        hosts_deinit(&hosts);
    }
    ASSERT_NO_LEAKS();
}

Test(io_hosts, connecting_anew_gives_no_new_rate)
{
    struct hosts hosts = hosts_of(9, false);
    struct sockaddr_storage from = peer("10.0.0.1"), other = peer("10.0.0.2");
    struct host *host, *passer;
    hosts_init(&hosts, 1);
    hosts_enter(&hosts, &from, 0, &host);
    cr_assert(rate_take(&host->topics, 0));
    cr_assert(rate_take(&host->topics, 0));
    cr_assert_not(rate_take(&host->topics, 0));
    hosts_leave(&hosts, host, 0);
    hosts_enter(&hosts, &from, second / 4, &host);
    cr_assert_not(rate_take(&host->topics, second / 4));
    cr_assert(rate_take(&host->topics, second / 2));
    hosts_leave(&hosts, host, second / 2);

    cr_assert_eq(hosts.map.count, 1u);
    hosts_enter(&hosts, &other, 2 * second, &passer); /* by now it is as if it had never been there */
    cr_assert_eq(hosts.map.count, 1u);
    hosts_leave(&hosts, passer, 2 * second);
    hosts_enter(&hosts, &from, 3 * second, &host);
    cr_assert(rate_take(&host->topics, 3 * second));
    cr_assert(rate_take(&host->topics, 3 * second));
    hosts_leave(&hosts, host, 3 * second);
    hosts_deinit(&hosts);
    ASSERT_NO_LEAKS();
}
