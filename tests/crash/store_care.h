/* What cares for a log as a whole, in the middle of a scenario: copies of it, and checks. For one run at a time. */
#ifndef PSBROKER_TESTS_STORE_CARE_H
#define PSBROKER_TESTS_STORE_CARE_H

#include "store_model.h"

enum { COPIES = 30 };

struct copies {
    bool is_fetched; /* the one that is ready now */
    size_t count;    /* as copy-0.db and so on beside the log */
    struct {
        uint64_t messages, mark; /* that it should hold */
    } items[COPIES];
};

/* To be called whenever the store may have gone on with a copy, while it is as the model says: one that is ready is
 * fetched. The disk under the store's VFS may fail. */
void copies_look(struct copies *copies, struct caller *caller, const struct model *model);
/* On a disk that is well: each copy that was fetched is sound, whole, and of its moment. Removes them. */
void copies_check(struct copies *copies, const char *directory);
/* Whether the directory holds anything of a copy under way. */
bool copy_is_left(const char *directory);

/* All of a check by a running store, where it may fail; expects it to find nothing. */
enum ps_status verify_try(struct caller *caller);

#endif
