#include "store_care.h"

#include "check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 * 1024, A_SECOND = 1000000 };

static bool find_nothing(void *ctx, const struct store_problem *problem)
{
    (void)ctx;
    HOLDS(false, "%.*s", (int)problem->text.size, (const char *)problem->text.data);
    return false;
}

/* --------------------------------------------------------------------------------------------------- copies */

static void copy_path(const char *directory, size_t number, char path[128])
{
    snprintf(path, 128, "%s/copy-%zu.db", directory, number);
}

static void fetch(struct caller *caller, const char *path, uint64_t size)
{
    static uint8_t piece[PIECE_BYTES];
    struct store_backup_read read = {.size = sizeof piece, .to = piece};
    FILE *file = fopen(path, "wb");
    HOLDS(file != NULL, "no file for the copy");
    do {
        HOLDS(store_read_backup(caller->reader, &read) == PS_OK, "a copy that is ready is not read");
        HOLDS(fwrite(piece, 1, read.got, file) == read.got, "no room for the copy");
        read.offset += read.got;
    } while (read.got == read.size);
    HOLDS(fclose(file) == 0, "no room for the copy");
    HOLDS(read.offset == size, "%llu bytes of %llu", (unsigned long long)read.offset,
          (unsigned long long)size);
}

void copies_look(struct copies *copies, struct caller *caller, const struct model *model)
{
    const struct store_backup_state *state = &caller->state.backup;
    bool is_ready = state->phase == STORE_BACKUP_READY;
    if (is_ready && !copies->is_fetched && copies->count < COPIES) {
        char path[128];
        copy_path(caller->directory, copies->count, path);
        fetch(caller, path, state->total);
        copies->items[copies->count].messages = model_count(model);
        copies->items[copies->count++].mark = state->mark;
    }
    copies->is_fetched = is_ready;
}

static void check_one(const char *path, uint64_t messages, uint64_t mark)
{
    char error[512];
    struct store_check check = {.path = path, .show = find_nothing};
    enum ps_status status = store_sqlite_check(&check, error, sizeof error);
    HOLDS(status == PS_OK, "a copy: %s, %s", ps_status_name(status), error);
    HOLDS(check.is_backup, "a copy has the log_id of its log");
    HOLDS(check.mark == mark && check.records == messages,
          "a copy of %llu messages before %llu instead of %llu before %llu",
          (unsigned long long)check.records, (unsigned long long)check.mark, (unsigned long long)messages,
          (unsigned long long)mark);
}

void copies_check(struct copies *copies, const char *directory)
{
    for (size_t i = 0; i < copies->count; i++) {
        char path[128];
        copy_path(directory, i, path);
        check_one(path, copies->items[i].messages, copies->items[i].mark);
        unlink(path);
    }
    *copies = (struct copies){0};
}

bool copy_is_left(const char *directory)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/psbroker.backup%s", directory, suffixes[i]);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

/* --------------------------------------------------------------------------------------------------- checks */

enum ps_status verify_try(struct caller *caller)
{
    struct store_verify verify = {.max_microseconds = A_SECOND, .show = find_nothing};
    enum ps_status status = PS_OK;
    while (status == PS_OK && !verify.done)
        status = store_verify(caller->reader, &verify);
    store_verify_end(&verify);
    return status;
}
