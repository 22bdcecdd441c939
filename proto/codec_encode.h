/* What the encoding files of the codec share. Inside of the codec only. */
#ifndef PSBROKER_CODEC_ENCODE_H
#define PSBROKER_CODEC_ENCODE_H

#include "codec.h"

/* Appends the length of a body and room for it, to be filled at *body. PS_OK, PS_NO_MEMORY,
 * PS_FRAME_TOO_LARGE; `out` is unchanged on failure. */
enum ps_status encode_begin(struct bytes *out, size_t body_size, uint8_t **body);

/* A whole frame. */
enum ps_status encode_publish(const struct optional_u64 *request_id, const struct publish *publish,
                              struct bytes *out);

#endif
