/* What both generators for NATS agree on: the stream, its subjects, and how much is in flight. */
#ifndef PSBROKER_TESTS_NATS_PLAN_H
#define PSBROKER_TESTS_NATS_PLAN_H

#include "peer.h"

#define NATS_STREAM "PSBENCH"
#define NATS_SUBJECTS "psbench.*" /* all of the stream; topic N is psbench.N */

enum { NATS_SUBJECT_BYTES = 24 };

void nats_subject(unsigned topic, char subject[NATS_SUBJECT_BYTES]);

/* Refuses what NATS has no answer for, chooses the window unless one was asked for (`pub_window`: that of pub), and
 * lets the process open as many connections as it needs. Changes the peer. */
void nats_plan(struct peer *peer, unsigned pub_window);

#endif
