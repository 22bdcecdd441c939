/* One connection to a NATS server, in its text protocol, non-blocking: bytes in, bytes out, messages to a callback.
 *
 * Written by hand because a client library that counts, locks and allocates for each message takes the processor time
 * that the server needs (README.md has the figures). One thread. Whatever goes wrong ends the process with a message:
 * a benchmark that lost its connection has no result. */
#ifndef PSBROKER_TESTS_NATS_LINK_H
#define PSBROKER_TESTS_NATS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed until the callback returns. */
struct nats_message {
    const char *line; /* "MSG subject sid [reply] size", without the line end; headers: "HMSG …" */
    const char *line_end;
    const char *payload; /* headers come first, if it has some */
    size_t size;         /* headers included */
    bool has_headers;
};

struct nats_link {
    int fd;
    char *in, *out; /* NULL: closed */
    size_t in_end, in_room;
    size_t out_begin, out_end, out_room;
    unsigned pongs;
    void (*message)(struct nats_link *link, const struct nats_message *message, void *data);
    void *data;
};

/* Connects and sends CONNECT. `largest` is that of the payloads to come. */
void nats_open(struct nats_link *link, const char *host, uint16_t port, size_t largest);
void nats_close(struct nats_link *link); /* takes the zero state */

/* Append to what is to be sent. `reply` may be NULL. */
void nats_subscribe(struct nats_link *link, const char *subject);
void nats_publish(struct nats_link *link, const char *subject, const char *reply, const char *payload,
                  size_t size);

/* Bytes that are not sent yet. */
static inline size_t nats_unsent(const struct nats_link *link)
{
    return link->out_end - link->out_begin;
}

/* Sends what the socket takes; reads what one read(2) gives and calls back for each whole message in it. */
void nats_write(struct nats_link *link);
void nats_read(struct nats_link *link);

/* Waits, sending and reading, until `*count` is at least `least`: at most 30 s without a byte. */
void nats_await(struct nats_link *link, const unsigned *count, unsigned least);

/* Waits until the server has worked off everything that was sent. */
void nats_flush(struct nats_link *link);

/* The reply subject, if it has one, and the sequence number in the stream that a reply subject of JetStream tells
 * (0: it tells none). */
bool nats_reply(const struct nats_message *message, char *subject, size_t room);
uint64_t nats_stream_sequence(const struct nats_message *message);

#endif
