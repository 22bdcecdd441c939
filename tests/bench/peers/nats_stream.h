/* The JetStream requests of a benchmark: one stream, its consumers. Blocking; on a connection of its own. A request
 * that is refused ends the process with the server's answer. */
#ifndef PSBROKER_TESTS_NATS_STREAM_H
#define PSBROKER_TESTS_NATS_STREAM_H

#include "nats_link.h"

struct nats_stream {
    struct nats_link link;
    unsigned answers;
    bool made;
    char answer[4096]; /* of the last request */
};

/* Connects; one that an earlier run has left is deleted. The stream keeps its messages in files and takes every
 * subject that begins with "psbench.". */
void nats_stream_make(struct nats_stream *stream, const char *host, uint16_t port);

/* Takes the zero state. Without an answer: whoever is still connected is not waited for. */
void nats_stream_delete(struct nats_stream *stream);

/* A temporary consumer that pushes every message to `subject`, from the beginning or from now on, in order, and wants
 * no acknowledgement: what client libraries call an ordered consumer. Somebody has to have subscribed to it. Now and
 * then it asks whether what it has pushed was read, for it drops who is too far behind: such a message, which has
 * headers, goes to nats_stream_obey(). */
void nats_stream_push(struct nats_stream *stream, const char *subject, bool from_beginning);
void nats_stream_obey(struct nats_link *link, const struct nats_message *message);

#endif
