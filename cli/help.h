/* Help texts, made from the table of commands and options. */
#ifndef PSCTL_HELP_H
#define PSCTL_HELP_H

#include "command.h"
#include "text.h"

/* All commands, the options that all take, and the exit codes. */
void help_overview(struct text *text);
/* One command: usage, what it does, its options, an example. */
void help_command(struct text *text, const struct command *command);

#endif
