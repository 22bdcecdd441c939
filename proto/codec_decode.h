/* Decoding of protobuf messages into our structs by table. Inside of the codec only.
 *
 * A shape lists the members of a message by field number. Unknown numbers are skipped, the last occurrence
 * of a plain member wins, a second occurrence of a nested message is refused. Spans point into the decoded
 * bytes, arrays into the arena; arrays are counted first and allocated once. */
#ifndef PSBROKER_CODEC_DECODE_H
#define PSBROKER_CODEC_DECODE_H

#include "arena.h"
#include "protocol.h"
#include "wire.h"

/* Offsets and marks fit 63 bits, as stores need them signed. */
#define OFFSET_MAX ((uint64_t)INT64_MAX)

enum member_kind {
    MEMBER_UNKNOWN,
    MEMBER_U32, /* uint32_t or an enum of its size */
    MEMBER_U64,
    MEMBER_OFFSET,       /* uint64_t up to OFFSET_MAX */
    MEMBER_OPTIONAL_U64, /* struct optional_u64 */
    MEMBER_OPTIONAL_OFFSET,
    MEMBER_BOOL,
    MEMBER_DOUBLE,
    MEMBER_BYTES,   /* struct span */
    MEMBER_TEXT,    /* struct span, valid UTF-8 */
    MEMBER_NUMBERS, /* repeated integers, packed or not: checked and forgotten */
    MEMBER_NESTED,
    MEMBER_REPEATED /* pointer to an array of nested ones, and its size_t count */
};

/* PS_OK, or why the bytes are refused. `place` is zeroed memory of the shape's size. */
typedef enum ps_status decode_fn(struct span bytes, struct arena *arena, void *place);
/* Checks a decoded struct as a whole; bit N of `seen`: member N occurred. */
typedef enum ps_status finish_fn(void *place, uint32_t seen);

struct shape;

struct member {
    enum member_kind kind;
    bool required;
    size_t at;       /* offset in the struct */
    size_t count_at; /* MEMBER_REPEATED */
    const struct shape *shape;
};

struct shape {
    size_t size;                  /* of the struct */
    const struct member *members; /* indexed by field number; numbers stay below 32 */
    uint32_t member_count;
    uint32_t max_elements; /* as the element of an array: how many at most in one; 0: as the arena allows */
    decode_fn *decode;     /* instead of members */
    finish_fn *finish;     /* may be NULL */
};

#define MEMBER_COUNT(members) ((uint32_t)(sizeof(members) / sizeof((members)[0])))

/* PS_OK, PS_MALFORMED, PS_LIMIT_EXCEEDED, PS_NO_MEMORY; PS_UNSUPPORTED: a choice this version does not know.
 * `place` is zeroed. */
enum ps_status decode_shape(const struct shape *shape, struct span bytes, struct arena *arena, void *place);

/* An array of `count` zeroed elements. PS_LIMIT_EXCEEDED when the arena's budget ended, PS_NO_MEMORY. */
enum ps_status decode_array(struct arena *arena, size_t count, size_t size, void **array);

/* Values of one field; false when its type or range is wrong. */
bool decode_u32(const struct wire_field *field, uint32_t *value);
bool decode_offset(const struct wire_field *field, uint64_t *value);
bool decode_bytes(const struct wire_field *field, struct span *value);

/* The body of a frame: field number and bytes. Number 0: none that is known. */
struct frame_body {
    uint32_t number;
    struct span bytes;
};

/* Finds the request id and the one body among field numbers 2 to `numbers` - 1. PS_OK or PS_MALFORMED. */
enum ps_status decode_frame(struct span bytes, uint32_t numbers, struct optional_u64 *request_id,
                            struct frame_body *body);

/* Set publish->unsupported where it carries what a publisher may not use. */
enum ps_status decode_publish(struct span bytes, struct arena *arena, void *publish);
enum ps_status decode_delivery(struct span bytes, struct arena *arena, void *delivery);

/* A start that is asked for must be of a known kind, else PS_UNSUPPORTED; one that is only shown need not. */
extern const struct shape shape_ping, shape_start, shape_shown_start;

#endif
