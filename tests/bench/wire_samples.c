#include "wire_samples.h"

#include "micro.h"

struct span sample_topic(void)
{
    return span_of("sensors/kitchen/temperature");
}

struct message *sample_messages(uint32_t count)
{
    static uint8_t payload[SAMPLE_PAYLOAD_BYTES];
    static struct message messages[SAMPLE_MAX_MESSAGES];

    MICRO_REQUIRE(count <= SAMPLE_MAX_MESSAGES);
    memset(payload, 'x', sizeof payload);
    for (uint32_t i = 0; i < count; i++)
        messages[i] = (struct message){
            .offset = 1000000 + i, .published_at = 1700000000000000, .payload = {payload, sizeof payload}};
    return messages;
}

void sample_put_publish(uint32_t count, struct bytes *out)
{
    struct publish_group group = {sample_topic(), sample_messages(count), count};
    struct client_frame frame = {.request_id = {true, 1},
                                 .kind = CLIENT_PUBLISH,
                                 .publish = {.groups = &group, .group_count = 1, .message_count = count}};

    MICRO_REQUIRE(codec_encode_client(&frame, out) == PS_OK);
}

void sample_put_delivery(uint32_t count, struct bytes *out)
{
    const struct message *messages = sample_messages(count);
    struct batch *batch = batch_new(count, 0);

    MICRO_REQUIRE(batch != NULL);
    for (uint32_t i = 0; i < count; i++)
        MICRO_REQUIRE(batch_append(batch, &messages[i]) == PS_OK);
    MICRO_REQUIRE(bytes_reserve(out, DELIVERY_HEADER_MAX_BYTES + batch->size) == PS_OK);
    out->size += codec_put_delivery_header(out->data + out->size, 1, sample_topic(), batch->size);
    memcpy(out->data + out->size, batch->bytes, batch->size);
    out->size += batch->size;
    batch_unref(batch);
}
