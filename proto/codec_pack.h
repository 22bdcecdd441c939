/* From our words to protobuf-c's: spans, texts, start rules, and packing a frame. Inside of the codec only. */
#ifndef PSBROKER_CODEC_PACK_H
#define PSBROKER_CODEC_PACK_H

#include "codec_encode.h"
#include "psbroker.pb-c.h"

/* Memory for the structs of one frame, made at the first request. Zero state is empty. */
struct scratch {
    struct arena *arena;
    bool failed; /* memory ran out: the frame is not to be packed */
};
/* Uninitialised; NULL sets `failed`. */
void *scratch_alloc(struct scratch *scratch, size_t count, size_t size);

static inline ProtobufCBinaryData pack_bytes(struct span bytes)
{
    /* protobuf-c only reads when packing. */
    return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data};
}

void pack_ping(uint64_t token, Psbroker__Ping *packed);
void pack_pong(uint64_t token, Psbroker__Pong *packed);

/* NUL-terminated; NULL for an absent span. */
char *pack_text(struct scratch *scratch, struct span text);

/* Fills a start rule; `resume` is used by START_RESUME. */
void pack_start(struct scratch *scratch, const struct start_rule *rule, Psbroker__Start *start,
                Psbroker__Start__Resume *resume);

/* Packs the message as a frame unless the scratch memory failed, and empties that. */
enum ps_status pack_frame(struct scratch *scratch, const ProtobufCMessage *message, struct bytes *out);

#endif
