/* One line of a dump: a JSON object as `-o json` prints messages. Any thread; Jansson's memory is
 * asked for through it from the first line on. */
#ifndef PSCTL_LOAD_LINE_H
#define PSCTL_LOAD_LINE_H

#include "psclient.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_LINE_HEADERS = 64, LOAD_LINE_ERROR_BYTES = 200 };

/* A message to publish; it borrows from what was parsed, until load_line_deinit(). */
struct load_line {
    struct psc_bytes topic;
    struct psc_message message; /* key, headers and payload */
    bool has_offset;
    uint64_t offset;

    void *parsed;
    void *key, *payload; /* decoded from base64 */
    struct psc_header headers[LOAD_LINE_HEADERS];
};

/* PS_OK; else nothing is kept: PS_INVALID_ARGUMENT, with why it is no message in `error`; PS_NO_MEMORY. */
enum ps_status load_line_parse(struct load_line *line, struct psc_bytes text,
                               char error[LOAD_LINE_ERROR_BYTES]);

void load_line_deinit(struct load_line *line); /* takes the zero state */

#endif
