/* What finding frames in a stream costs, and decoding them: publications as the broker receives them, deliveries as a
 * client does. An operation is a message. The stream comes in pieces as from a socket, so each byte is copied once, in
 * the kernel's place. */
#include "frame.h"
#include "micro.h"
#include "wire_samples.h"

#include <stdio.h>

enum { STREAM_BYTES = 1 << 20, PIECE_BYTES = 64 * 1024 };

struct stream {
    struct bytes bytes;
    uint32_t messages; /* of a frame */
    bool of_client, decoded;
    struct arena *arena;
};

static void take_body(struct stream *stream, struct span body)
{
    struct client_frame from_client;
    struct server_frame from_server;

    if (!stream->decoded)
        return;
    arena_reset(stream->arena, codec_arena_budget(body.size));
    if (stream->of_client) {
        MICRO_REQUIRE(codec_decode_client(body, stream->arena, &from_client) == PS_OK);
        MICRO_REQUIRE(from_client.publish.message_count == stream->messages);
    } else {
        MICRO_REQUIRE(codec_decode_server(body, stream->arena, &from_server) == PS_OK);
        MICRO_REQUIRE(from_server.delivery.message_count == stream->messages);
    }
}

/* One pass over the stream; how many messages were in it. */
static uint64_t take_stream(struct stream *stream, struct frame_reader *reader)
{
    uint64_t taken = 0;
    struct buffer *owner;
    struct span body;
    uint8_t *place;
    size_t room;

    for (size_t at = 0; at < stream->bytes.size;) {
        MICRO_REQUIRE(frame_reader_space(reader, &place, &room) == PS_OK);
        size_t piece = stream->bytes.size - at;
        piece = piece < PIECE_BYTES ? piece : PIECE_BYTES;
        piece = piece < room ? piece : room;
        memcpy(place, stream->bytes.data + at, piece);
        frame_reader_received(reader, piece);
        at += piece;
        for (;;) {
            MICRO_REQUIRE(frame_reader_next(reader, &body, &owner) == PS_OK);
            if (body.data == NULL)
                break;
            take_body(stream, body);
            taken += stream->messages;
        }
    }
    return taken;
}

static uint64_t take_all(void *ctx, uint64_t count)
{
    struct stream *stream = ctx;
    struct buffer_pool pool = {0};
    struct frame_reader reader;
    uint64_t done = 0;

    frame_reader_init(&reader, FRAME_HARD_CAP, &pool);
    while (done < count)
        done += take_stream(stream, &reader);
    frame_reader_deinit(&reader);
    buffer_pool_deinit(&pool);
    return done;
}

static void bench(struct micro *micro, uint32_t messages, bool of_client, bool decoded)
{
    struct stream stream = {.messages = messages, .of_client = of_client, .decoded = decoded};
    uint64_t frames = 0;
    char name[64];

    snprintf(name, sizeof name, "frame/%s/%s/%u a frame", decoded ? "decode" : "split",
             of_client ? "publish" : "delivery", (unsigned)messages);
    if (!micro_wants(micro, name))
        return;
    for (; stream.bytes.size < STREAM_BYTES; frames++)
        (of_client ? sample_put_publish : sample_put_delivery)(messages, &stream.bytes);
    stream.arena = arena_new(0);
    MICRO_REQUIRE(stream.arena != NULL);
    micro_run(micro, &(struct micro_case){.name = name,
                                          .run = take_all,
                                          .ctx = &stream,
                                          .bytes = (double)stream.bytes.size / (double)(frames * messages)});
    arena_free(stream.arena);
    bytes_deinit(&stream.bytes);
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {1, 100, 1000};
    struct micro micro;

    micro_init(&micro, argc, argv);
    for (unsigned decoded = 0; decoded < 2; decoded++) {
        for (unsigned from_broker = 0; from_broker < 2; from_broker++) {
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                bench(&micro, sizes[i], from_broker == 0, decoded == 1);
        }
    }
    return micro_end(&micro);
}
