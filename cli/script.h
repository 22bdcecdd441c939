/* One line of the shell's language. Pure.
 *
 *   [SECONDS] sub TOPIC [new|OFFSET]
 *   [SECONDS] unsub TOPIC
 *   [SECONDS] pub TOPIC MESSAGE
 *   help | quit                   without SECONDS, from the keyboard
 *
 * A line that begins with `#`, behind blanks or not, says nothing.
 * Blanks (spaces and tabs) between words run together. MESSAGE is the rest of the line, verbatim up to a `\r` at
 * its very end; it is empty when nothing follows the blank behind TOPIC. SECONDS, with or without a fraction,
 * lead a line of a file and are not part of a line from the keyboard. */
#ifndef PSCTL_SCRIPT_H
#define PSCTL_SCRIPT_H

#include "text.h"

enum script_verb { SCRIPT_NOTHING, SCRIPT_SUB, SCRIPT_UNSUB, SCRIPT_PUB, SCRIPT_HELP, SCRIPT_QUIT };

struct script_line {
    enum script_verb verb; /* SCRIPT_NOTHING: a blank line or a comment */
    uint64_t wait_ms;
    struct psc_bytes topic;   /* borrowed from the line */
    struct psc_bytes message; /* pub */
    bool has_start;           /* sub */
    enum psc_start start;
    uint64_t offset;
};

/* NULL and the parsed line, or why it cannot be read (a static text). `timed`: SECONDS lead the line. */
const char *script_parse(struct psc_bytes line, bool timed, struct script_line *parsed);

#endif
