#include "outsider.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

enum {
    COMES = 6,
    GOES = 4,
    RETRY_US = 12 * 1000 /* the store's first pause after a checkpoint that was held up, and some more */
};

static bool look(sqlite3 *db, double *seen)
{
    static const char sql[] = "SELECT total(checksum % 65521) + 65521.0 * count(*) FROM messages";
    sqlite3_stmt *select = NULL;
    bool read =
        sqlite3_prepare_v2(db, sql, -1, &select, NULL) == SQLITE_OK && sqlite3_step(select) == SQLITE_ROW;

    if (read)
        *seen = sqlite3_column_double(select, 0);
    sqlite3_finalize(select);
    return read;
}

static void enter(struct outsider *outsider, const char *directory)
{
    char path[128];

    snprintf(path, sizeof path, "%s/psbroker.db", directory);
    if (sqlite3_open_v2(path, &outsider->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_exec(outsider->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
        look(outsider->db, &outsider->seen))
        return;
    sqlite3_close(outsider->db);
    outsider->db = NULL;
}

bool outsider_visit(struct outsider *outsider, struct caller *caller, struct dice *dice)
{
    if (outsider->db == NULL && dice_below(dice, COMES) == 0)
        enter(outsider, caller->directory);
    else if (outsider->db != NULL && dice_below(dice, GOES) == 0)
        outsider_leave(outsider);
    return outsider->db != NULL && caller->state.wal_bytes >= SQLITE_SMALL_CHECKPOINT;
}

void outsider_leave(struct outsider *outsider)
{
    double seen;

    if (outsider->db == NULL)
        return;
    HOLDS(!look(outsider->db, &seen) || seen == outsider->seen, "an outside reader's snapshot has changed");
    sqlite3_close(outsider->db);
    outsider->db = NULL;
}

void outsider_give_way(struct outsider *outsider)
{
    outsider->held_up++;
    outsider_leave(outsider);
    usleep(RETRY_US);
}
