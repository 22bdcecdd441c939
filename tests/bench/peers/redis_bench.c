/* Redis Streams under the load of `psctl bench`: XADD in a pipeline of 1000, XRANGE and XREAD with COUNT 1000.
 *
 * hiredis, with two things of its own interface that redis-benchmark has as well: commands are encoded once, and
 * replies are taken as they are parsed (redisReplyObjectFunctions) instead of being built from allocations. The
 * server is then what is measured: this process uses about a tenth of the time (client_cpu_s). */
#include "drive.h"

#include "text.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PORT = 6379, PIPELINE = 1000, COUNT = 1000, KEY_BYTES = 64, ID_BYTES = 64 };
enum { PAUSE_NS = 500000 }; /* measured: of 0 to 500 us the fastest, and a pipeline lasts longer */

static const char first_id[] = "0-0";

struct reader {
    redisContext *context;
    unsigned number, stream;
    uint64_t entries; /* in the reply that is being parsed */
    char last[ID_BYTES];
};

struct redis_bench {
    struct peer peer;
    struct drive drive;
    redisContext *publisher;
    struct text *commands; /* of each stream: XADD up to the payload */
    struct reader *readers;
};

static struct redis_bench bench; /* the histogram is large; and atexit() passes nothing */

/* --------------------------------------------------------------------------------------------- connections */

static redisContext *connect_to_server(void)
{
    redisContext *context = redisConnect(bench.peer.host, bench.peer.port);

    if (context == NULL || context->err != 0)
        peer_fail("%s:%u: %s", bench.peer.host, (unsigned)bench.peer.port,
                  context == NULL ? "no memory" : context->errstr);
    return context;
}

static void key_of(unsigned stream, char *key)
{
    snprintf(key, KEY_BYTES, "psbroker-bench:%ld:%u", (long)getpid(), stream);
}

static void delete_streams(void)
{
    redisContext *context = redisConnect(bench.peer.host, bench.peer.port);
    char key[KEY_BYTES];

    for (unsigned i = 0; context != NULL && context->err == 0 && i < bench.peer.plan.topics; i++) {
        key_of(i, key);
        redisReply *reply = redisCommand(context, "DEL %s", key);
        if (reply != NULL)
            freeReplyObject(reply);
    }
    if (context != NULL)
        redisFree(context);
}

static void send_commands(redisContext *context)
{
    int done = 0;

    while (done == 0) {
        if (redisBufferWrite(context, &done) != REDIS_OK)
            peer_fail("writing to Redis: %s", context->errstr);
    }
}

/* One read, and through `functions` all replies that are complete with it. */
static void take_replies(redisContext *context, void (*took)(void *), void *data)
{
    void *reply;

    if (redisBufferRead(context) != REDIS_OK)
        peer_fail("reading from Redis: %s", context->errstr);
    bench.drive.now = peer_now();
    for (;;) {
        if (redisGetReplyFromReader(context, &reply) != REDIS_OK)
            peer_fail("reading from Redis: %s", context->errstr);
        if (reply == NULL)
            return;
        took(data);
    }
}

/* ------------------------------------------------------------------------------------------------- replies */

static char something; /* stands for a reply: hiredis takes NULL for a lack of memory */

/* A reply to XRANGE is a list of entries, each its id and a list of the field and its value; one to XREAD is a list
 * of streams, each its key and such a list of entries. */
static void take_entry(struct reader *reader, const redisReadTask *task, const char *string, size_t size)
{
    int entry = bench.peer.plan.live ? 4 : 2, depth = 0;

    for (const redisReadTask *parent = task->parent; parent != NULL; parent = parent->parent)
        depth++;
    if (depth == entry && task->idx == 0) {
        if (size >= sizeof reader->last)
            peer_fail("an id of %zu bytes", size);
        memcpy(reader->last, string, size);
        reader->last[size] = '\0';
    } else if (depth == entry + 1 && task->idx == 1) {
        if (size != bench.peer.plan.size)
            peer_fail("an entry of %zu bytes instead of %zu", size, bench.peer.plan.size);
        drive_delivered(&bench.drive, reader->number, string);
        reader->entries++;
    }
}

static void *create_string(const redisReadTask *task, char *string, size_t size)
{
    if (task->type == REDIS_REPLY_ERROR)
        peer_fail("Redis: %.*s", (int)size, string);
    if (task->privdata != NULL)
        take_entry(task->privdata, task, string, size);
    return &something;
}

static void *create_array(const redisReadTask *task, int elements)
{
    (void)task;
    (void)elements;
    return &something;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    (void)task;
    (void)value;
    return &something;
}

static void *create_nil(const redisReadTask *task)
{
    (void)task;
    return &something;
}

static void free_object(void *object)
{
    (void)object;
}

static redisContext *connect_parsing(struct reader *reader)
{
    static redisReplyObjectFunctions functions = {create_string, create_array, create_integer, create_nil,
                                                  free_object};
    redisContext *context = connect_to_server();

    context->reader->fn = &functions;
    context->reader->privdata = reader;
    context->reader->maxbuf = 0; /* keep the read buffer when it is empty */
    return context;
}

/* ---------------------------------------------------------------------------------------------- publishing */

static void encode_commands(void)
{
    unsigned topics = bench.peer.plan.topics;
    char key[KEY_BYTES];

    bench.commands = must_alloc(topics * sizeof *bench.commands);
    for (unsigned i = 0; i < topics; i++) {
        bench.commands[i] = (struct text){0};
        key_of(i, key);
        text_format(&bench.commands[i], "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$1\r\np\r\n$%zu\r\n",
                    strlen(key), key, bench.peer.plan.size);
    }
}

static void append(const char *data, size_t size)
{
    if (redisAppendFormattedCommand(bench.publisher, data, size) != REDIS_OK)
        peer_fail("%s", bench.publisher->errstr);
}

static void publish(struct drive *drive, unsigned topic, const char *payload)
{
    append(text_string(&bench.commands[topic]), text_size(&bench.commands[topic]));
    append(payload, drive->peer->plan.size);
    append("\r\n", 2);
}

static void flush(struct drive *drive)
{
    (void)drive;
    send_commands(bench.publisher);
}

static void acknowledged_cb(void *data)
{
    drive_acknowledged(data);
}

static void answered(struct drive *drive)
{
    take_replies(bench.publisher, acknowledged_cb, drive);
}

/* -------------------------------------------------------------------------------------------- subscribing */

static void ask(struct reader *reader)
{
    char key[KEY_BYTES];

    key_of(reader->stream, key);
    if (bench.peer.plan.live)
        redisAppendCommand(reader->context, "XREAD COUNT %d BLOCK 0 STREAMS %s %s", COUNT, key, reader->last);
    else
        redisAppendCommand(reader->context, "XRANGE %s (%s + COUNT %d", key, reader->last, COUNT);
    reader->entries = 0;
    send_commands(reader->context);
}

static void received_cb(void *data)
{
    struct reader *reader = data;

    if (reader->entries == 0 && ++reader->stream == bench.peer.plan.topics)
        peer_fail("the streams end %" PRIu64 " messages too early",
                  bench.drive.sent - bench.drive.delivered[reader->number]);
    if (reader->entries == 0)
        memcpy(reader->last, first_id, sizeof first_id);
    if (bench.peer.plan.live || bench.drive.delivered[reader->number] != bench.drive.sent)
        ask(reader);
}

static void received(struct drive *drive, unsigned subscriber)
{
    struct reader *reader = &bench.readers[subscriber];

    (void)drive;
    take_replies(reader->context, received_cb, reader);
}

/* From the beginning: in live modes the streams are new. */
static void open_readers(void *data)
{
    unsigned count = bench.peer.plan.subscribers;

    (void)data;
    bench.readers = must_alloc(count * sizeof *bench.readers);
    for (unsigned i = 0; i < count; i++) {
        struct reader *reader = &bench.readers[i];
        *reader = (struct reader){.number = i};
        memcpy(reader->last, first_id, sizeof first_id);
        reader->context = connect_parsing(reader);
        drive_watch_subscriber(&bench.drive, i, reader->context->fd);
    }
}

static void ask_all(void *data)
{
    (void)data;
    for (unsigned i = 0; i < bench.peer.plan.subscribers; i++)
        ask(&bench.readers[i]);
}

/* -------------------------------------------------------------------------------------------------- modes */

static void publish_all(void *data)
{
    (void)data;
    drive_publish(&bench.drive);
}

static void receive_all(void *data)
{
    (void)data;
    drive_receive(&bench.drive);
}

static const struct peer_steps steps = {open_readers, ask_all, publish_all, receive_all};

static void close_all(void)
{
    for (unsigned i = 0; i < bench.drive.subscribers; i++)
        redisFree(bench.readers[i].context);
    for (unsigned i = 0; i < bench.peer.plan.topics; i++)
        text_deinit(&bench.commands[i]);
    free(bench.readers);
    free(bench.commands);
    redisFree(bench.publisher);
}

int main(int argc, char **argv)
{
    static const struct drive_calls calls = {publish, flush, answered, received};

    peer_init(&bench.peer, argc, argv, "Redis Streams: XADD pipelined, XRANGE and XREAD with COUNT 1000.",
              PORT);
    if (bench.peer.plan.live && bench.peer.plan.topics != 1)
        peer_fail("--topics: the live modes read one stream");
    drive_init(&bench.drive, &bench.peer, &calls, PIPELINE);
    if (bench.peer.plan.mode == BENCH_PUB)
        bench.drive.pause_ns = PAUSE_NS;
    bench.publisher = connect_parsing(NULL);
    drive_watch_publisher(&bench.drive, bench.publisher->fd);
    encode_commands();
    atexit(delete_streams);
    peer_measure(&bench.peer, &steps, NULL);
    int code = peer_show(&bench.peer);
    close_all();
    drive_deinit(&bench.drive);
    peer_deinit(&bench.peer);
    return code;
}
