/* A log whose every message, subscription and committed offset is known, and whether a store still holds it: as it
 * was, or with what is missing said. Messages follow from their number; there are topics of every kind (busy, idle,
 * with payloads of many pages, deleted, deleted and made again), keys, headers and publishers, several epochs, start
 * rules that depend on the index, and subscriptions that acknowledged. For one log at a time. */
#ifndef PSBROKER_TESTS_KNOWN_LOG_H
#define PSBROKER_TESTS_KNOWN_LOG_H

#include "store.h"

enum known_outcome {
    KNOWN_SAME,    /* nothing is missing */
    KNOWN_REFUSED, /* it did not open, and said why */
    KNOWN_NAMED,   /* it opened; what cannot be given is told, with topic and offset */
    KNOWN_SHORTER, /* it is as the log was at an earlier moment */
    KNOWN_WRONG    /* anything else */
};

enum { KNOWN_TEXT_BYTES = 400 };

/* Makes the log in an empty directory. With `closed` it ends cleanly, else it is left as by a kill once
 * `at_kill` was called, which may copy the files. False: impossible. */
bool known_log_make(const char *directory, bool closed, void (*at_kill)(void *ctx), void *ctx);

/* Opens what is in the directory, reads all of it, appends to every topic, and reads again after one more start.
 * `text` says what was refused, named or wrong. */
enum known_outcome known_log_check(const char *directory, char text[KNOWN_TEXT_BYTES]);

#endif
