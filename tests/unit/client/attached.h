/* A client that holds one subscription: number 1, on topic A. */
#ifndef PSCLIENT_TESTS_ATTACHED_H
#define PSCLIENT_TESTS_ATTACHED_H

#include "fake_broker.h"

/* The next frame must be a Subscribe. */
const struct client_frame *expect_subscribe(struct story *story);

/* Connected and attached, nothing delivered yet; the topic begins and ends at `offset`. */
void attach(struct story *story, const struct psc_subscribe_options *options, uint64_t offset);

/* Options of a durable one. */
struct psc_subscribe_options durable(struct story *story);

/* The connection goes and another one is greeted. */
void lose_and_return(struct story *story);

void ack(struct story *story, uint64_t next_offset);
/* With a callback. */
void ack_and_wait(struct story *story, uint64_t next_offset);

#endif
