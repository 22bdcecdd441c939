#include "uv_status.h"

#include <uv.h>

enum ps_status uv_status(int code)
{
    if (code >= 0)
        return PS_OK;
    switch (code) {
    case UV_ENOMEM:
    case UV_ENOBUFS:
        return PS_NO_MEMORY;
    case UV_EADDRINUSE:
        return PS_IN_USE;
    case UV_EACCES:
    case UV_EPERM:
    case UV_EROFS:
        return PS_ACCESS_DENIED;
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_EPIPE:
        return PS_CONNECTION_LOST;
    case UV_ETIMEDOUT:
        return PS_TIMED_OUT;
    case UV_ECANCELED:
        return PS_CANCELLED;
    case UV_EMFILE:
    case UV_ENFILE:
        return PS_LIMIT_EXCEEDED;
    default:
        return PS_IO_ERROR;
    }
}
