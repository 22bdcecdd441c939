/* How long a lock of another process has been waited for, and when to say so: after a second, then every ten. */
#ifndef PSBROKER_LOCK_WAIT_H
#define PSBROKER_LOCK_WAIT_H

#include <stdint.h>

struct sqlite_store;

struct lock_wait {
    uint64_t since;  /* monotonic ms */
    uint64_t logged; /* waited so long when it was last said; 0: not yet */
};

void lock_wait_begin(struct lock_wait *wait);

/* Logs if it is time to; `what` waits. Returns the milliseconds waited. */
uint64_t lock_wait_tell(struct lock_wait *wait, const struct sqlite_store *store, const char *what);

#endif
