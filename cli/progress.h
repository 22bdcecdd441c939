/* A line on a terminal's stderr that says how far a long command is; nothing where stderr is no terminal. */
#ifndef PSCTL_PROGRESS_H
#define PSCTL_PROGRESS_H

#include <stdint.h>

/* `what` done of total, at most ten times a second. */
void progress_show(const char *what, uint64_t done, uint64_t total);

/* Before anything else is written, and at the end. */
void progress_clear(void);

#endif
