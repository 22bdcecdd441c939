/* Holds the codec against protobuf-c: what our decoder accepts, protobuf-c must accept with the same values. */
#ifndef PSBROKER_TESTS_CODEC_ORACLE_H
#define PSBROKER_TESTS_CODEC_ORACLE_H

#include "codec.h"

/* As codec_encode_server(), and encodes deliveries too. */
enum ps_status oracle_encode_server(const struct server_frame *frame, struct bytes *out);

/* Decodes `body`, encodes the result, and compares what protobuf-c reads in both. NULL when they agree or the
 * decoder refused (*status says which), else what differs. */
const char *oracle_check_client(struct span body, enum ps_status *status);
const char *oracle_check_server(struct span body, enum ps_status *status);

#endif
