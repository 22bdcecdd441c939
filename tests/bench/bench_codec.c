/* What encoding and decoding cost: a batch of publications and of deliveries (an operation is a message of it), an
 * answer to a publication and an acknowledgement (an operation is a frame). protobuf-c decodes the same bytes beside
 * us. */
#include "frame.h"
#include "micro.h"
#include "psbroker.pb-c.h"
#include "wire_samples.h"

enum { BATCH = 100 };

struct codec_case {
    struct client_frame from_client;
    struct server_frame from_server;
    struct span body;   /* of the frame in `bytes` */
    uint32_t per_frame; /* operations */
    struct bytes bytes, out;
    struct arena *arena;
};

static uint64_t encode_client(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        codec->out.size = 0;
        MICRO_REQUIRE(codec_encode_client(&codec->from_client, &codec->out) == PS_OK);
    }
    return done;
}

static uint64_t encode_server(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        codec->out.size = 0;
        MICRO_REQUIRE(codec_encode_server(&codec->from_server, &codec->out) == PS_OK);
    }
    return done;
}

/* As after a commit: a new batch, then the header in front of it. */
static uint64_t encode_delivery(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    const struct message *messages = sample_messages(codec->per_frame);
    uint8_t header[DELIVERY_HEADER_MAX_BYTES];
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        struct batch *batch = batch_new(codec->per_frame, codec->body.size);
        MICRO_REQUIRE(batch != NULL);
        for (uint32_t i = 0; i < codec->per_frame; i++)
            MICRO_REQUIRE(batch_append(batch, &messages[i]) == PS_OK);
        MICRO_REQUIRE(codec_put_delivery_header(header, 1, sample_topic(), batch->size) > 0);
        batch_unref(batch);
    }
    return done;
}

static uint64_t decode_client(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    struct client_frame frame;
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        arena_reset(codec->arena, codec_arena_budget(codec->body.size));
        MICRO_REQUIRE(codec_decode_client(codec->body, codec->arena, &frame) == PS_OK);
    }
    return done;
}

static uint64_t decode_server(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    struct server_frame frame;
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        arena_reset(codec->arena, codec_arena_budget(codec->body.size));
        MICRO_REQUIRE(codec_decode_server(codec->body, codec->arena, &frame) == PS_OK);
    }
    return done;
}

static uint64_t protobuf_client(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        Psbroker__ClientFrame *frame =
            psbroker__client_frame__unpack(NULL, codec->body.size, codec->body.data);
        MICRO_REQUIRE(frame != NULL);
        psbroker__client_frame__free_unpacked(frame, NULL);
    }
    return done;
}

static uint64_t protobuf_server(void *ctx, uint64_t count)
{
    struct codec_case *codec = ctx;
    uint64_t done = 0;

    for (; done < count; done += codec->per_frame) {
        Psbroker__ServerFrame *frame =
            psbroker__server_frame__unpack(NULL, codec->body.size, codec->body.data);
        MICRO_REQUIRE(frame != NULL);
        psbroker__server_frame__free_unpacked(frame, NULL);
    }
    return done;
}

typedef uint64_t run_fn(void *ctx, uint64_t count);

/* Encodes, decodes and has protobuf-c decode the one frame in `bytes`. */
static void bench(struct micro *micro, struct codec_case *codec, const char *const names[3],
                  run_fn *const runs[3])
{
    codec->body =
        (struct span){codec->bytes.data + FRAME_HEADER_BYTES, codec->bytes.size - FRAME_HEADER_BYTES};
    codec->arena = arena_new(0);
    MICRO_REQUIRE(codec->arena != NULL);
    for (unsigned i = 0; i < 3; i++)
        micro_run(micro, &(struct micro_case){.name = names[i],
                                              .run = runs[i],
                                              .ctx = codec,
                                              .bytes = (double)codec->bytes.size / codec->per_frame});
    arena_free(codec->arena);
    bytes_deinit(&codec->bytes);
    bytes_deinit(&codec->out);
}

static void bench_publish(struct micro *micro)
{
    struct publish_group group = {sample_topic(), sample_messages(BATCH), BATCH};
    struct codec_case codec = {.per_frame = BATCH,
                               .from_client = {.request_id = {true, 1},
                                               .kind = CLIENT_PUBLISH,
                                               .publish = {&group, 1, BATCH, false}}};

    sample_put_publish(BATCH, &codec.bytes);
    bench(micro, &codec,
          (const char *const[]){"codec/publish/encode", "codec/publish/decode",
                                "codec/publish/decode, protobuf-c"},
          (run_fn *const[]){encode_client, decode_client, protobuf_client});
}

static void bench_delivery(struct micro *micro)
{
    struct codec_case codec = {.per_frame = BATCH};

    sample_put_delivery(BATCH, &codec.bytes);
    bench(micro, &codec,
          (const char *const[]){"codec/delivery/encode", "codec/delivery/decode",
                                "codec/delivery/decode, protobuf-c"},
          (run_fn *const[]){encode_delivery, decode_server, protobuf_server});
}

static void bench_published(struct micro *micro)
{
    static const struct published_run run = {.count = BATCH, .status = PS_OK, .first_offset = 1000000};
    struct codec_case codec = {
        .per_frame = 1,
        .from_server = {.request_id = {true, 1}, .kind = SERVER_PUBLISHED, .published = {&run, 1}}};

    MICRO_REQUIRE(codec_encode_server(&codec.from_server, &codec.bytes) == PS_OK);
    bench(micro, &codec,
          (const char *const[]){"codec/published/encode", "codec/published/decode",
                                "codec/published/decode, protobuf-c"},
          (run_fn *const[]){encode_server, decode_server, protobuf_server});
}

static void bench_ack(struct micro *micro)
{
    struct codec_case codec = {.per_frame = 1,
                               .from_client = {.request_id = {true, 1},
                                               .kind = CLIENT_ACK,
                                               .ack = {1, sample_topic(), 1000000, SPAN_ABSENT}}};

    MICRO_REQUIRE(codec_encode_client(&codec.from_client, &codec.bytes) == PS_OK);
    bench(micro, &codec,
          (const char *const[]){"codec/ack/encode", "codec/ack/decode", "codec/ack/decode, protobuf-c"},
          (run_fn *const[]){encode_client, decode_client, protobuf_client});
}

int main(int argc, char **argv)
{
    struct micro micro;

    micro_init(&micro, argc, argv);
    bench_publish(&micro);
    bench_delivery(&micro);
    bench_published(&micro);
    bench_ack(&micro);
    return micro_end(&micro);
}
