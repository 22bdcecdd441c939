/* Publishes the commits of view_plan.h into a store, to be killed between two of them:
 *
 *     store_child DIRECTORY FIRST UNWATCHED
 *
 * begins with commit FIRST. After each one but the first UNWATCHED it writes a line and waits for one on its
 * standard input. Ends only when that is closed, and then without closing the store. */
#include "store_sqlite.h"
#include "view_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct store *store;
    struct store_opened opened;
    char error[256] = "";
    struct store_sqlite_config config = {.directory = argc == 4 ? argv[1] : ".",
                                         .epoch_rows = PLAN_EPOCH_ROWS,
                                         .slice_runs = PLAN_SLICE_RUNS,
                                         .idle_slice_runs = PLAN_IDLE_SLICE_RUNS};
    if (argc != 4)
        return 2;
    if (store_sqlite_open(&config, &store, &opened, error, sizeof error) != PS_OK) {
        fprintf(stderr, "store_child: %s\n", error);
        return 1;
    }
    uint64_t first = strtoull(argv[2], NULL, 10), watched_from = first + strtoull(argv[3], NULL, 10);
    for (uint64_t number = first;; number++) {
        char line[8];
        if (plan_commit(store, number, &opened.state) != PS_OK) {
            fprintf(stderr, "store_child: commit %llu failed\n", (unsigned long long)number);
            return 1;
        }
        if (number < watched_from)
            continue;
        printf("%llu\n", (unsigned long long)number);
        fflush(stdout);
        if (fgets(line, sizeof line, stdin) == NULL)
            _exit(0);
    }
}
