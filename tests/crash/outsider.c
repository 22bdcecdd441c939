#include "outsider.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

enum {
    COMES = 8,
    RETRY_US = 12 * 1000 /* the store's first pause after a checkpoint that was held up, and some more */
};

/* What a full scan comes to. A disk that fails may fail it, but what is read must be a database. */
static int look(sqlite3 *db, double *seen)
{
    static const char sql[] = "SELECT total(checksum % 65521) + 65521.0 * count(*) FROM messages";
    sqlite3_stmt *select = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &select, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        *seen = sqlite3_column_double(select, 0);
    sqlite3_finalize(select);
    HOLDS((rc & 0xff) != SQLITE_CORRUPT, "an outside reader finds damage");
    return rc;
}

static void enter(struct outsider *outsider, const char *directory)
{
    char path[128];

    snprintf(path, sizeof path, "%s/psbroker.db", directory);
    if (sqlite3_open_v2(path, &outsider->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_exec(outsider->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
        look(outsider->db, &outsider->seen) == SQLITE_ROW)
        return;
    sqlite3_close(outsider->db);
    outsider->db = NULL;
}

bool outsider_visit(struct outsider *outsider, struct caller *caller, struct dice *dice)
{
    if (outsider->db == NULL && dice_below(dice, COMES) == 0)
        enter(outsider, caller->directory);
    return outsider->db != NULL && caller->state.wal_bytes >= SQLITE_SMALL_CHECKPOINT;
}

void outsider_leave(struct outsider *outsider)
{
    double seen;

    if (outsider->db == NULL)
        return;
    HOLDS(look(outsider->db, &seen) != SQLITE_ROW || seen == outsider->seen,
          "an outside reader's snapshot has changed");
    sqlite3_close(outsider->db);
    outsider->db = NULL;
}

void outsider_give_way(struct outsider *outsider, const char *directory)
{
    outsider->held_up++;
    outsider_leave(outsider);
    enter(outsider, directory); /* reads from the file what the checkpoint copied there */
    outsider_leave(outsider);
    usleep(RETRY_US);
}
