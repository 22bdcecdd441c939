#include "sqlite_store.h"

enum { LOCK_LOG_MS = 1000 };

void lock_wait_begin(struct lock_wait *wait)
{
    *wait = (struct lock_wait){.since = monotonic_ms()};
}

uint64_t lock_wait_tell(struct lock_wait *wait, const struct sqlite_store *store, const char *what)
{
    uint64_t waited = monotonic_ms() - wait->since;

    if (waited < LOCK_LOG_MS || (wait->logged != 0 && waited - wait->logged < 10 * LOCK_LOG_MS))
        return waited;
    wait->logged = waited;
    store_log(store, 4,
              "event=database_locked waited_ms=%llu text=\"another process holds a lock on psbroker.db; "
              "%s waits\"",
              (unsigned long long)waited, what);
    return waited;
}
