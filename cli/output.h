/* How messages, times and names look on stdout. Pure: renders into a text. */
#ifndef PSCTL_OUTPUT_H
#define PSCTL_OUTPUT_H

#include "text.h"

struct output_style {
    bool json;
    bool verbose;  /* TOPIC TAB OFFSET TAB PAYLOAD */
    bool nul;      /* records end with NUL instead of a line feed */
    bool bare;     /* raw records end with nothing */
    bool terminal; /* control bytes are shown as \xNN */
};

/* One record, its end included. */
void output_message(struct text *text, const struct output_style *style, struct psc_bytes topic,
                    const struct psc_message *message);

/* The record that says which offset a publication got: bare, or {"topic":…,"offset":…}. */
void output_published(struct text *text, const struct output_style *style, struct psc_bytes topic,
                      uint64_t offset);

/* Bytes as the style shows them in raw output: verbatim, or escaped on a terminal. */
void output_bytes(struct text *text, const struct output_style *style, struct psc_bytes bytes);

enum { OUTPUT_TIME_BYTES = 28 };
/* RFC 3339, UTC, six decimals: "2026-01-31T23:59:59.000001Z" and a NUL. `time`: microseconds since 1970. */
void output_time(char buffer[OUTPUT_TIME_BYTES], int64_t time);

#endif
