/* A message as a row: its checksum, its headers as JSON, and whether bytes are stored as TEXT. Pure
 * functions, any thread. */
#ifndef PSBROKER_RECORD_H
#define PSBROKER_RECORD_H

#include "message.h"

/* Whether bytes go into a column of type ANY as TEXT: valid UTF-8 without NUL. Else they are a BLOB. */
bool record_is_text(struct span bytes);

/* XXH3-64 over the record: layout version, topic name, offset, time, flags, then publisher, key, headers (as
 * stored) and payload, each with its length, absent different from empty. */
uint64_t record_checksum(struct span topic, const struct message *message, struct span headers);

/* Headers as one JSON object, in their order. `*json` is the caller's to free with record_free_json(); NULL
 * when there are no headers. PS_OK, PS_NO_MEMORY, PS_BAD_HEADER (not UTF-8). */
enum ps_status record_headers_to_json(const struct header *headers, uint32_t count, char **json);
void record_free_json(char *json); /* takes NULL */

/* Headers that were read from a row; zero state is empty. Spans live until the next set or deinit. */
struct record_headers {
    struct header items[MESSAGE_MAX_HEADERS];
    uint32_t count;
    void *parsed;
};
void record_headers_deinit(struct record_headers *headers);

/* An absent span gives no headers. PS_OK; PS_DAMAGED: not an object of at most 64 texts. */
enum ps_status record_headers_set(struct record_headers *headers, struct span json);

#endif
