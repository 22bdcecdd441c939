/* One frame or more of every kind, with every member set and with none that is optional. */
#ifndef PSBROKER_TESTS_SAMPLES_H
#define PSBROKER_TESTS_SAMPLES_H

#include "codec.h"

enum { SAMPLE_CLIENT_FRAMES = 26, SAMPLE_SERVER_FRAMES = 27 };

extern const struct client_frame sample_client_frames[SAMPLE_CLIENT_FRAMES];
extern const struct server_frame sample_server_frames[SAMPLE_SERVER_FRAMES];

#endif
