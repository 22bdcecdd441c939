/* The wire's structs <-> the public ones. No state; everything is borrowed from what it was made of. */
#ifndef PSCLIENT_CONVERT_H
#define PSCLIENT_CONVERT_H

#include "protocol.h"
#include "psclient.h"

static inline struct span span_from(struct psc_bytes bytes)
{
    return (struct span){bytes.data, bytes.size};
}

static inline struct psc_bytes bytes_from(struct span span)
{
    return (struct psc_bytes){span.data, span.size};
}

/* An error together with the memory of its text. Never copied: error.text points into it. */
struct error_box {
    struct psc_error error;
    char text[256];
};

/* A local error; `text` NULL takes the table's. */
void error_set(struct error_box *box, enum ps_status status, const char *text);

/* What the broker said. An outcome that is unknown becomes PS_UNKNOWN; a number that may not travel becomes
 * PS_INTERNAL. Topic and limit name stay borrowed from the frame. */
void error_from_wire(struct error_box *box, const struct protocol_error *error);

/* Forgets what is borrowed, so that the box may outlive its frame. */
void error_detach(struct error_box *box);

/* A copy of the bytes, absent as absent; NUL behind it. PS_OK or PS_NO_MEMORY. Free bytes->data. */
enum ps_status bytes_copy(struct psc_bytes from, struct psc_bytes *copy);

struct start_rule start_to_wire(enum psc_start start, uint64_t value);
enum psc_start start_from_wire(enum start_kind kind);

#endif
