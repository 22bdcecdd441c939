#include "nats_link.h"

#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_BYTES = 64 * 1024, OUT_BYTES = 256 * 1024, OVERHEAD_BYTES = 1024, STALL_MS = 30000 };

/* ------------------------------------------------------------------------------------------- connecting */

static int connect_to(const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char service[8];
    int fd = -1, one = 1;

    snprintf(service, sizeof service, "%u", port);
    int code = getaddrinfo(host, service, &hints, &found);
    if (code != 0)
        peer_fail("%s: %s", host, gai_strerror(code));
    for (const struct addrinfo *address = found; address != NULL && fd < 0; address = address->ai_next) {
        fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        peer_fail("cannot connect to %s:%u: %s", host, port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void put(struct nats_link *link, const void *bytes, size_t size)
{
    if (link->out_begin == link->out_end)
        link->out_begin = link->out_end = 0;
    if (link->out_room - link->out_end < size) {
        link->out_room = 2 * link->out_room + size;
        link->out = must_resize(link->out, link->out_room);
    }
    memcpy(link->out + link->out_end, bytes, size);
    link->out_end += size;
}

static void put_string(struct nats_link *link, const char *string)
{
    put(link, string, strlen(string));
}

void nats_open(struct nats_link *link, const char *host, uint16_t port, size_t largest)
{
    *link = (struct nats_link){
        .fd = connect_to(host, port),
        .in_room = IN_BYTES + OVERHEAD_BYTES + largest,
        .out_room = OUT_BYTES + OVERHEAD_BYTES + largest,
    };
    link->in = must_alloc(link->in_room);
    link->out = must_alloc(link->out_room);
    put_string(link, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
                     "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n");
    nats_flush(link);
}

void nats_close(struct nats_link *link)
{
    if (link->in == NULL)
        return;
    close(link->fd);
    free(link->in);
    free(link->out);
    link->in = NULL;
}

/* ----------------------------------------------------------------------------------------------- sending */

void nats_subscribe(struct nats_link *link, const char *subject)
{
    put_string(link, "SUB ");
    put_string(link, subject);
    put_string(link, " 1\r\n");
}

void nats_publish(struct nats_link *link, const char *subject, const char *reply, const char *payload,
                  size_t size)
{
    char digits[24];
    char *digit = digits + sizeof digits;
    size_t rest = size;

    *--digit = '\n';
    *--digit = '\r';
    do {
        *--digit = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    *--digit = ' ';
    put(link, "PUB ", 4);
    put_string(link, subject);
    if (reply != NULL) {
        put(link, " ", 1);
        put_string(link, reply);
    }
    put(link, digit, (size_t)(digits + sizeof digits - digit));
    put(link, payload, size);
    put(link, "\r\n", 2);
}

void nats_write(struct nats_link *link)
{
    while (nats_unsent(link) != 0) {
        ssize_t sent = send(link->fd, link->out + link->out_begin, nats_unsent(link), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            peer_fail("the connection is lost: %s", strerror(errno));
        link->out_begin += (size_t)sent;
    }
}

/* ---------------------------------------------------------------------------------------------- receiving */

static bool begins(const char *line, const char *end, const char *word)
{
    size_t length = strlen(word);

    return (size_t)(end - line) >= length && memcmp(line, word, length) == 0;
}

/* What is not a message. */
static void obey(struct nats_link *link, const char *line, const char *end)
{
    if (begins(line, end, "PING")) {
        put_string(link, "PONG\r\n");
        nats_write(link);
    } else if (begins(line, end, "PONG")) {
        link->pongs++;
    } else if (begins(line, end, "-ERR")) {
        peer_fail("the server says %.*s", (int)(end - line), line);
    } else if (!begins(line, end, "INFO") && !begins(line, end, "+OK")) {
        peer_fail("not of the protocol: %.*s", (int)(end - line), line);
    }
}

/* The number that ends at `end`; `end` is left before it. */
static uint64_t number_before(const char **end)
{
    uint64_t number = 0, place = 1;

    for (; (*end)[-1] >= '0' && (*end)[-1] <= '9'; (*end)--, place *= 10)
        number += (uint64_t)((*end)[-1] - '0') * place;
    return number;
}

/* Takes one line, or one message, out of the bytes from `at`; NULL: it is not complete. */
static const char *take(struct nats_link *link, const char *at, const char *end)
{
    const char *feed = memchr(at, '\n', (size_t)(end - at));

    if (feed == NULL || feed == at)
        return NULL;
    if (*at != 'M' && *at != 'H') {
        obey(link, at, feed - 1);
        return feed + 1;
    }
    struct nats_message message = {
        .line = at, .line_end = feed - 1, .payload = feed + 1, .has_headers = *at == 'H'};
    const char *digits = message.line_end;
    message.size = number_before(&digits);
    if ((size_t)(end - message.payload) < message.size + 2)
        return NULL;
    if (link->message != NULL)
        link->message(link, &message, link->data);
    return message.payload + message.size + 2;
}

void nats_read(struct nats_link *link)
{
    ssize_t got = recv(link->fd, link->in + link->in_end, link->in_room - link->in_end, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got == 0 || got < 0)
        peer_fail("the connection is lost: %s", got == 0 ? "closed by the server" : strerror(errno));
    link->in_end += (size_t)got;

    const char *at = link->in, *end = link->in + link->in_end, *next;
    while (at != end && (next = take(link, at, end)) != NULL)
        at = next;
    link->in_end = (size_t)(end - at);
    if (link->in_end == link->in_room)
        peer_fail("a message is larger than what was published");
    memmove(link->in, at, link->in_end);
}

void nats_await(struct nats_link *link, const unsigned *count, unsigned least)
{
    while (*count < least) {
        nats_write(link);
        struct pollfd ready = {.fd = link->fd, .events = POLLIN};
        if (nats_unsent(link) != 0)
            ready.events |= POLLOUT;
        if (poll(&ready, 1, STALL_MS) == 0)
            peer_fail("nothing came from the server for %d s", STALL_MS / 1000);
        if ((ready.revents & ~POLLOUT) != 0)
            nats_read(link);
    }
}

void nats_flush(struct nats_link *link)
{
    unsigned least = link->pongs + 1;

    put_string(link, "PING\r\n");
    nats_await(link, &link->pongs, least);
}

/* ---------------------------------------------------------------------------------------- reply subjects */

/* The word before the last one or two, when it is not the subscription's number. */
bool nats_reply(const struct nats_message *message, char *subject, size_t room)
{
    unsigned numbers = message->has_headers ? 2 : 1, words = 1;
    const char *begin = message->line, *end = message->line;

    for (const char *at = message->line; at != message->line_end; at++)
        words += *at == ' ';
    if (words != 4 + numbers)
        return false;
    for (unsigned word = 0; word < 4; word++) {
        begin = word == 0 ? end : end + 1;
        end = memchr(begin, ' ', (size_t)(message->line_end - begin));
    }
    snprintf(subject, room, "%.*s", (int)(end - begin), begin);
    return true;
}

/* "$JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM-SEQUENCE.CONSUMER-SEQUENCE.TIME.PENDING", and then the size */
uint64_t nats_stream_sequence(const struct nats_message *message)
{
    const char *end = message->line_end;

    for (int numbers = message->has_headers ? 5 : 4; numbers > 0; numbers--) {
        number_before(&end);
        if (end[-1] != '.' && end[-1] != ' ')
            return 0;
        end--;
    }
    return number_before(&end);
}
