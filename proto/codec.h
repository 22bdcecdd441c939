/* Frames as protobuf bytes <-> the structs of protocol.h. Generated code stays inside, in codec_pack.h.
 *
 * Decoding is total and bounded: any bytes give a frame or a named refusal, nothing is allocated outside of
 * the arena, strings that must be UTF-8 are checked, offsets fit 63 bits. Names and message limits are
 * checked by the session, which knows the limits. No state, any thread. */
#ifndef PSBROKER_CODEC_H
#define PSBROKER_CODEC_H

#include "arena.h"
#include "protocol.h"

/* The arena budget that every frame of `body_size` bytes within the announced limits fits in:
 * 16 KiB + 320 for each two bytes, up to PROTOCOL_MAX_MESSAGES_PER_FRAME times (messages, groups, runs,
 * subscriptions) + 12 for each byte (headers, starts, positions, topics). It is a bound, not what is used:
 * unknown members cost nothing, an ordinary frame less than 4 KiB. */
size_t codec_arena_budget(size_t body_size);

/* Decodes one frame body. Spans in *frame point into `body`, arrays into `arena`.
 * PS_OK; PS_MALFORMED (not protobuf, a required member missing, a value out of range);
 * PS_LIMIT_EXCEEDED (the arena's budget: too many members for its size); PS_NO_MEMORY.
 * After PS_OK a frame of unknown kind has kind CLIENT_NONE / SERVER_NONE and keeps its request_id; so has a
 * Subscribe or Seek whose start rule is of an unknown kind. */
enum ps_status codec_decode_client(struct span body, struct arena *arena, struct client_frame *frame);
enum ps_status codec_decode_server(struct span body, struct arena *arena, struct server_frame *frame);

/* A growing byte string owned by its holder. */
struct bytes {
    uint8_t *data;
    size_t size, room;
};
void bytes_deinit(struct bytes *bytes); /* takes the zero state, leaves it */
/* At least `more` bytes of room behind `size`. PS_OK or PS_NO_MEMORY. */
enum ps_status bytes_reserve(struct bytes *bytes, size_t more);

/* Appends a whole frame: length and body. PS_OK; PS_NO_MEMORY; PS_FRAME_TOO_LARGE beyond FRAME_HARD_CAP.
 * On failure `out` is as before. SERVER_DELIVERY is not encoded here but by codec_put_delivery_header(). */
enum ps_status codec_encode_client(const struct client_frame *frame, struct bytes *out);
enum ps_status codec_encode_server(const struct server_frame *frame, struct bytes *out);

/* Everything of a delivery frame in front of its messages: frame length, frame, header. `messages_size` is the
 * number of bytes of encoded messages (a range of a batch) that the caller sends right behind it.
 * Returns the number of bytes written, at most DELIVERY_HEADER_MAX_BYTES. */
enum { DELIVERY_HEADER_MAX_BYTES = 320 };
size_t codec_put_delivery_header(uint8_t place[DELIVERY_HEADER_MAX_BYTES], uint64_t subscription,
                                 struct span topic, size_t messages_size);

/* The form of a message inside a batch: member 15 of Delivery, tag and length included. */
size_t codec_message_size(const struct message *message);
/* Writes exactly codec_message_size() bytes. */
void codec_put_message(uint8_t *place, const struct message *message);

#endif
