/* libuv's codes become ours in this one function. */
#ifndef PSBROKER_UV_STATUS_H
#define PSBROKER_UV_STATUS_H

#include "status.h"

/* For a negative code of libuv: the nearest status; PS_IO_ERROR for one without a nearer name. 0 and above:
 * PS_OK. The message to show beside it is uv_strerror()'s. Any thread. */
enum ps_status uv_status(int code);

#endif
