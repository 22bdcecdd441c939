#include "body.h"

#include "store_memory.h"
#ifdef HAVE_STORE_SQLITE
#include "store_sqlite.h"
#endif

#include <criterion/criterion.h>

static struct store *open_memory(const char *directory, uint64_t max_topics, struct store_opened *opened)
{
    (void)directory;
    struct store *store = NULL;
    enum ps_status status = store_memory_open(&store, opened);
    cr_assert_eq(status, PS_OK, "open: %s", ps_status_name(status));
    if (max_topics != 0)
        store_memory_limit_topics(store, max_topics);
    return store;
}

const struct body memory_body = {.name = "memory", .open = open_memory, .epoch = STORE_MEMORY_EPOCH};

#ifdef HAVE_STORE_SQLITE
static struct store *open_sqlite(const char *directory, uint64_t max_topics, struct store_opened *opened)
{
    struct store *store = NULL;
    char error[256] = "";
    struct store_sqlite_config config = {.directory = directory, .max_topics = max_topics};
    enum ps_status status = store_sqlite_open(&config, &store, opened, error, sizeof error);
    cr_assert_eq(status, PS_OK, "open: %s: %s", ps_status_name(status), error);
    return store;
}

const struct body sqlite_body = {.name = "sqlite", .open = open_sqlite, .epoch = 65536, .persistent = true};
#endif
