/* Every status of the table has its line here; the unit tests walk both. */
#include "exits.h"

#include <stddef.h>

static const struct {
    enum exit_code code;
    const char *meaning;
} meanings[] = {
    {EXIT_OK, "ok"},
    {EXIT_OTHER, "another error"},
    {EXIT_USAGE, "usage: the command line, a name or a value is wrong"},
    {EXIT_CONNECTION, "cannot connect, or the connection was lost"},
    {EXIT_RIGHTS, "refused: credentials or rights"},
    {EXIT_NOT_FOUND, "no such topic, subscription or offset"},
    {EXIT_LIMIT, "refused: a limit, or the disk is full"},
    {EXIT_PROTOCOL, "protocol mismatch"},
    {EXIT_UNKNOWN, "outcome unknown: it may or may not have taken effect"},
    {EXIT_DAMAGED, "a stored record does not match its checksum"},
    {EXIT_ENDED, "the subscription was replaced or removed"},
    {EXIT_IDLE, "nothing came within --idle-timeout"},
    {EXIT_SIGINT, "interrupted (Ctrl-C)"},
    {EXIT_SIGTERM, "terminated"},
};

static const struct {
    enum ps_status status;
    enum exit_code code;
} codes[] = {
    {PS_OK, EXIT_OK},
    {PS_MALFORMED, EXIT_PROTOCOL},
    {PS_FRAME_TOO_LARGE, EXIT_PROTOCOL},
    {PS_UNSUPPORTED, EXIT_PROTOCOL},
    {PS_VERSION_MISMATCH, EXIT_PROTOCOL},
    {PS_PROTOCOL_VIOLATION, EXIT_PROTOCOL},
    {PS_TIMED_OUT, EXIT_CONNECTION},
    {PS_BAD_TOPIC, EXIT_USAGE},
    {PS_BAD_FILTER, EXIT_USAGE},
    {PS_RESERVED_TOPIC, EXIT_USAGE},
    {PS_BAD_HEADER, EXIT_USAGE},
    {PS_BAD_ID, EXIT_USAGE},
    {PS_MESSAGE_TOO_LARGE, EXIT_LIMIT},
    {PS_INVALID_ARGUMENT, EXIT_USAGE},
    {PS_NO_SUCH_TOPIC, EXIT_NOT_FOUND},
    {PS_NO_SUCH_SUBSCRIPTION, EXIT_NOT_FOUND},
    {PS_OUT_OF_RANGE, EXIT_NOT_FOUND},
    {PS_LOG_CHANGED, EXIT_NOT_FOUND},
    {PS_STALE_GENERATION, EXIT_ENDED},
    {PS_ALREADY_SUBSCRIBED, EXIT_USAGE},
    {PS_END_REACHED, EXIT_OK},
    {PS_REPLACED, EXIT_ENDED},
    {PS_REMOVED, EXIT_ENDED},
    {PS_MOVED, EXIT_ENDED},
    {PS_LIMIT_EXCEEDED, EXIT_LIMIT},
    {PS_DISK_FULL, EXIT_LIMIT},
    {PS_STORAGE_BUSY, EXIT_LIMIT},
    {PS_DRAINING, EXIT_CONNECTION},
    {PS_ROLE_REFUSED, EXIT_RIGHTS},
    {PS_NOT_ALLOWED, EXIT_RIGHTS},
    {PS_NO_MEMORY, EXIT_LIMIT},
    {PS_RATE_EXCEEDED, EXIT_LIMIT},
    {PS_UNKNOWN, EXIT_UNKNOWN},
    {PS_STORAGE_FAILED, EXIT_OTHER},
    {PS_DAMAGED, EXIT_DAMAGED},
    {PS_INTERNAL, EXIT_OTHER},
    {PS_IN_USE, EXIT_OTHER},
    {PS_FOREIGN_FILE, EXIT_OTHER},
    {PS_NEWER_SCHEMA, EXIT_OTHER},
    {PS_FOREIGN_WRITER, EXIT_OTHER},
    {PS_ACCESS_DENIED, EXIT_OTHER},
    {PS_IO_ERROR, EXIT_OTHER},
    {PS_CONNECT_FAILED, EXIT_CONNECTION},
    {PS_CONNECTION_LOST, EXIT_CONNECTION},
    {PS_CANCELLED, EXIT_CONNECTION},
};

enum exit_code exit_of(enum ps_status status, bool retryable)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].status == status)
            return codes[i].code;
    }
    return retryable ? EXIT_LIMIT : EXIT_OTHER;
}

const char *exit_meaning(unsigned index, enum exit_code *code)
{
    if (index >= sizeof meanings / sizeof meanings[0])
        return NULL;
    *code = meanings[index].code;
    return meanings[index].meaning;
}
