#include "nats_stream.h"

#include "nats_plan.h"

#include <stdio.h>
#include <string.h>

#define API "$JS.API."
#define INBOX "_INBOX.psbench"

enum { SUBJECT_BYTES = 256 };

static void answer_cb(struct nats_link *link, const struct nats_message *message, void *data)
{
    struct nats_stream *stream = data;
    size_t size = message->size < sizeof stream->answer - 1 ? message->size : sizeof stream->answer - 1;

    (void)link;
    memcpy(stream->answer, message->payload, size);
    stream->answer[size] = '\0';
    stream->answers++;
}

static bool ask(struct nats_stream *stream, const char *subject, const char *request)
{
    unsigned least = stream->answers + 1;

    nats_publish(&stream->link, subject, INBOX, request, strlen(request));
    nats_await(&stream->link, &stream->answers, least);
    return strstr(stream->answer, "\"error\"") == NULL && strstr(stream->answer, "_response\"") != NULL;
}

void nats_stream_make(struct nats_stream *stream, const char *host, uint16_t port)
{
    nats_open(&stream->link, host, port, sizeof stream->answer);
    stream->link.message = answer_cb;
    stream->link.data = stream;
    nats_subscribe(&stream->link, INBOX);
    ask(stream, API "STREAM.DELETE." NATS_STREAM, "");
    if (!ask(stream, API "STREAM.CREATE." NATS_STREAM,
             "{\"name\":\"" NATS_STREAM "\",\"subjects\":[\"" NATS_SUBJECTS
             "\"],\"storage\":\"file\",\"retention\":\"limits\","
             "\"discard\":\"old\",\"num_replicas\":1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_consumers\":-1}"))
        peer_fail("cannot make the stream: %s", stream->answer);
    stream->made = true;
}

void nats_stream_delete(struct nats_stream *stream)
{
    if (stream->made) {
        stream->made = false;
        if (!ask(stream, API "STREAM.DELETE." NATS_STREAM, ""))
            peer_fail("cannot delete the stream: %s", stream->answer);
    }
    nats_close(&stream->link);
}

void nats_stream_push(struct nats_stream *stream, const char *subject, bool from_beginning)
{
    char request[512];

    snprintf(request, sizeof request,
             "{\"stream_name\":\"" NATS_STREAM
             "\",\"config\":{\"deliver_subject\":\"%s\",\"deliver_policy\":\"%s\","
             "\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"max_deliver\":1,\"mem_storage\":true,"
             "\"num_replicas\":1,\"flow_control\":true,\"idle_heartbeat\":5000000000}}",
             subject, from_beginning ? "all" : "new");
    if (!ask(stream, API "CONSUMER.CREATE." NATS_STREAM, request))
        peer_fail("cannot make a consumer: %s", stream->answer);
}

/* A request has a reply subject; a heartbeat names it in a header when an answer got lost. */
void nats_stream_obey(struct nats_link *link, const struct nats_message *message)
{
    static const char stalled[] = "Nats-Consumer-Stalled: ";
    char subject[SUBJECT_BYTES];

    if (!nats_reply(message, subject, sizeof subject)) {
        const char *found = memmem(message->payload, message->size, stalled, sizeof stalled - 1);
        if (found == NULL)
            return;
        found += sizeof stalled - 1;
        const char *end = memchr(found, '\r', (size_t)(message->payload + message->size - found));
        if (end == NULL)
            return;
        snprintf(subject, sizeof subject, "%.*s", (int)(end - found), found);
    }
    nats_publish(link, subject, NULL, "", 0);
    nats_write(link);
}
