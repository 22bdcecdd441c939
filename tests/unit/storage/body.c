#include "body.h"

#include "store_memory.h"
#include "store_sqlite.h"

static enum ps_status open_memory(const char *directory, const struct store_limits *limits,
                                  struct store **store, struct store_opened *opened)
{
    (void)directory;
    return store_memory_open(limits, store, opened);
}

const struct body memory_body = {.name = "memory", .open = open_memory, .epoch = STORE_MEMORY_EPOCH};

static enum ps_status open_sqlite(const char *directory, const struct store_limits *limits,
                                  struct store **store, struct store_opened *opened)
{
    char error[256];
    struct store_sqlite_config config = {.directory = directory, .limits = *limits};
    return store_sqlite_open(&config, store, opened, error, sizeof error);
}

const struct body sqlite_body = {.name = "sqlite", .open = open_sqlite, .epoch = 65536, .persistent = true};

enum { SMALL_EPOCH = 300 };

static enum ps_status open_small(const char *directory, const struct store_limits *limits,
                                 struct store **store, struct store_opened *opened)
{
    char error[256];
    struct store_sqlite_config config = {.directory = directory,
                                         .limits = *limits,
                                         .epoch_rows = SMALL_EPOCH,
                                         .slice_runs = 3,
                                         .idle_slice_runs = 7,
                                         .checkpoint_bytes = SQLITE_SMALL_CHECKPOINT,
                                         .sweep_rows = 11,
                                         .backup_pages = 8};
    return store_sqlite_open(&config, store, opened, error, sizeof error);
}

const struct body sqlite_small_body = {
    .name = "sqlite_small", .open = open_small, .epoch = SMALL_EPOCH, .persistent = true};
