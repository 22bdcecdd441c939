#include "body.h"

#include "store_memory.h"
#include "store_sqlite.h"

#include <criterion/criterion.h>

static struct store *open_memory(const char *directory, uint64_t max_topics, struct store_opened *opened)
{
    (void)directory;
    struct store *store = NULL;
    enum ps_status status = store_memory_open(max_topics, &store, opened);
    cr_assert_eq(status, PS_OK, "open: %s", ps_status_name(status));
    return store;
}

const struct body memory_body = {.name = "memory", .open = open_memory, .epoch = STORE_MEMORY_EPOCH};

static struct store *open_config(const struct store_sqlite_config *config, struct store_opened *opened)
{
    struct store *store = NULL;
    char error[256] = "";
    enum ps_status status = store_sqlite_open(config, &store, opened, error, sizeof error);
    cr_assert_eq(status, PS_OK, "open: %s: %s", ps_status_name(status), error);
    return store;
}

static struct store *open_sqlite(const char *directory, uint64_t max_topics, struct store_opened *opened)
{
    struct store_sqlite_config config = {.directory = directory, .max_topics = max_topics};
    return open_config(&config, opened);
}

const struct body sqlite_body = {.name = "sqlite", .open = open_sqlite, .epoch = 65536, .persistent = true};

enum { SMALL_EPOCH = 300 };

static struct store *open_small(const char *directory, uint64_t max_topics, struct store_opened *opened)
{
    struct store_sqlite_config config = {.directory = directory,
                                         .max_topics = max_topics,
                                         .epoch_rows = SMALL_EPOCH,
                                         .slice_runs = 3,
                                         .idle_slice_runs = 7,
                                         .checkpoint_bytes = 256 * 1024,
                                         .sweep_rows = 11};
    return open_config(&config, opened);
}

const struct body sqlite_small_body = {
    .name = "sqlite_small", .open = open_small, .epoch = SMALL_EPOCH, .persistent = true};
