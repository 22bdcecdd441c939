/* What psctl says on stderr: notices and errors, each one line that begins with "psctl: ". */
#ifndef PSCTL_REPORT_H
#define PSCTL_REPORT_H

#include "exits.h"
#include "text.h"

/* One line. Words that came from elsewhere are escaped by the caller or quoted with report_quoted(). */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The bytes in double quotes with control bytes as \xNN. Valid until the fourth call after this one. */
const char *report_quoted(struct psc_bytes bytes);

/* What the error says, its valid range or limit, and in brackets the status and the exit code; with `json` also
 * one object. `subject` says what it is about, NULL: the error's own topic if it has one. Returns the exit
 * code. */
int report_error(bool json, const char *subject, const struct psc_error *error);

/* The subject of errors about a stored subscription: `"FILTER" of "ID"`. Valid until the next call. */
const char *report_subscription(struct psc_bytes filter, struct psc_bytes id);

/* As report_error() for a status of this process. */
int report_status(bool json, const char *subject, enum ps_status status);

/* A line without "psctl: ", for words that scripts wait for. */
void report_word(const char *word);

/* Called before and after anything is written to stderr, so that a prompt can step aside; NULL: nothing. */
void report_around(void (*around)(bool after));

#endif
