/* What cares for a log as a whole, in the middle of a scenario: copies of it, and checks. For one run at a time. */
#ifndef PSBROKER_TESTS_STORE_CARE_H
#define PSBROKER_TESTS_STORE_CARE_H

#include "store_model.h"

struct copy {
    bool is_fetched;   /* the one that is ready now */
    bool exists;       /* as copy.db beside the log */
    uint64_t messages; /* that it should hold */
    uint64_t mark;
};

/* To be called whenever the store may have gone on with a copy, while it is as the model says: one that is ready is
 * fetched. The disk under the store's VFS may fail. */
void copy_look(struct copy *copy, struct caller *caller, const struct model *model);
/* On a disk that is well: the copy that was fetched last is sound, whole, and of its moment. */
void copy_check(struct copy *copy, const char *directory);
/* Whether the directory holds anything of a copy under way. */
bool copy_is_left(const char *directory);

/* All of a check by a running store, where it may fail; expects it to find nothing. */
enum ps_status verify_try(struct caller *caller);

#endif
