#include "protocol.h"

struct protocol_error protocol_error_of(enum ps_status status)
{
    return (struct protocol_error){.status = status, .retryable = ps_status_retryable(status)};
}
