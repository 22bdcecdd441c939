/* What psctl's exit codes mean, and which status ends with which of them: one table. Pure. */
#ifndef PSCTL_EXITS_H
#define PSCTL_EXITS_H

#include "status.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_OTHER = 1,
    EXIT_USAGE = 2,
    EXIT_CONNECTION = 3,
    EXIT_RIGHTS = 4,
    EXIT_NOT_FOUND = 5,
    EXIT_LIMIT = 6,
    EXIT_PROTOCOL = 7,
    EXIT_UNKNOWN = 8,
    EXIT_DAMAGED = 9,
    EXIT_ENDED = 10,
    EXIT_IDLE = 124,
    EXIT_SIGINT = 130,
    EXIT_SIGTERM = 143
};

/* The exit code of a command that a status ended. A number that is not in the table gives EXIT_LIMIT when
 * the broker called it retryable, else EXIT_OTHER. */
enum exit_code exit_of(enum ps_status status, bool retryable);

/* The code's meaning in a few words; NULL behind the last. Codes in rising order by index. */
const char *exit_meaning(unsigned index, enum exit_code *code);

#endif
