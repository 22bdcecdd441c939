/* A reader outside the store, as a person with sqlite3 is one: while its snapshot lasts, checkpoints copy a part of the
 * WAL and do not finish. For one at a time; its connection is of the store's process, so it has to end before the
 * store. */
#ifndef PSBROKER_TESTS_OUTSIDER_H
#define PSBROKER_TESTS_OUTSIDER_H

#include "caller.h"
#include "dice.h"

#include <sqlite3.h>

struct outsider {
    sqlite3 *db;      /* NULL: it is not there */
    double seen;      /* of its snapshot */
    unsigned held_up; /* checkpoints, so far */
};

/* Now and then it comes. A disk that fails may keep it out. To be called before a commit on the small body; true:
 * a checkpoint is due in that commit, and the outsider will hold it up. */
bool outsider_visit(struct outsider *outsider, struct caller *caller, struct dice *dice);
/* It looks at its snapshot once more, expects the same as at first where it can read, and goes. Takes one that is not
 * there. */
void outsider_leave(struct outsider *outsider);
/* To be called after a commit that it held up: it goes, another one looks at what there is now, and it returns when
 * the next commit is sure to try again, so that a run does not depend on the clock. */
void outsider_give_way(struct outsider *outsider, const char *directory);

#endif
