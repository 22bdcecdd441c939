/* psbroker verify FILE|DIR: checks a log that no broker has open, and lists what is wrong with it. */
#ifndef PSBROKER_VERIFY_COMMAND_H
#define PSBROKER_VERIFY_COMMAND_H

#include "status.h"

#include <stdbool.h>
#include <stdio.h>

/* `path` is a database or a broker's directory. Problems go to `out`, one a line; how far it is to stderr when that
 * is a terminal; the summary, or why it could not be checked, to stderr. `sound` is written with PS_OK.
 * PS_OK; PS_IN_USE; PS_FOREIGN_FILE; PS_NEWER_SCHEMA; PS_ACCESS_DENIED, PS_IO_ERROR, PS_NO_MEMORY. */
enum ps_status verify_file(const char *path, FILE *out, bool *sound);

void verify_print_help(FILE *out);

#endif
