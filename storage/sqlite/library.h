/* What SQLite keeps once for a whole process and not for a connection: its settings and its log. */
#ifndef PSBROKER_LIBRARY_H
#define PSBROKER_LIBRARY_H

#include "store_sqlite.h"

#include <stdbool.h>

/* One who is told what SQLite logs; the owner's memory, untouched between start and stop. */
struct library_listener {
    struct library_listener *next;
    store_log_fn *log; /* NULL: hears nothing */
    void *ctx;
};

/* Turns memory statistics off and SQLite's log to our listeners; the first call in the process counts. False:
 * something else in the process used SQLite before, so its settings are as they were. Any thread. */
bool library_init(void);

/* From now on the listener hears every line, whichever connection in the process it is about: SQLite does not say.
 * It may be called on any thread that uses SQLite, one line at a time, and must not use SQLite itself. After stop it is
 * not called any more. Stopping one that was not started does nothing. Any thread. */
void library_listen_start(struct library_listener *listener, store_log_fn *log, void *ctx);
void library_listen_stop(struct library_listener *listener);

#endif
