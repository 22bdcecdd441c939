/* Frames that the wire's benchmarks work on: `count` messages of 100 bytes to one topic, the shape that a fast
 * publisher makes and a fast subscriber gets. */
#ifndef PSBROKER_TESTS_WIRE_SAMPLES_H
#define PSBROKER_TESTS_WIRE_SAMPLES_H

#include "codec.h"

enum { SAMPLE_PAYLOAD_BYTES = 100, SAMPLE_MAX_MESSAGES = 1000 };

/* The messages themselves, with offsets and times; the same each time. */
struct message *sample_messages(uint32_t count);
struct span sample_topic(void);

/* Appends a whole frame. */
void sample_put_publish(uint32_t count, struct bytes *out);
void sample_put_delivery(uint32_t count, struct bytes *out);

#endif
