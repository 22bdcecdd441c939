/* A disk that is nearly full: a reserve to give up, and room that deleted topics give back. Publications are refused
 * below the floor; what remains (acknowledgements, deletions, the sweep behind them, a start) needs a few pages of WAL
 * each, and a start a WAL and an index of it. So a file of 16 MiB is kept beside the database, and
 * removed when others have taken nearly all that was left. Writer thread. */
#ifndef PSBROKER_ROOM_H
#define PSBROKER_ROOM_H

#include "status.h"

#include <stdbool.h>
#include <stdint.h>

struct sqlite_store;

struct room {
    char *path; /* of the reserve */
    bool held;
    uint64_t tried_at; /* monotonic ms, to make the reserve; 0: never */
    bool was_short;    /* below the floor */
    bool was_full;     /* above it, but the last commit found no room */
    bool shrinks_no_more;
    bool files_too_long; /* a checkpoint would give bytes of the file or of the WAL back */
};

/* What is not a whole reserve is removed: the start of one, or a copy without blocks. PS_OK or PS_NO_MEMORY. */
enum ps_status room_init(struct room *room, const char *directory, uint64_t disk_floor_bytes);
void room_deinit(struct room *room); /* takes the zero state; leaves the file */

/* Samples the disk, gives the reserve up or makes it, and logs when publications stop or go on. */
void room_look(struct sqlite_store *store);

/* A commit found room, or not. */
void room_note(struct sqlite_store *store, bool was_found);

/* At a start, before anything is known: only gives the reserve up. */
void room_look_first(struct sqlite_store *store);

/* A WAL is longer than usual, and the next checkpoint might need more than is free above a part of the floor. */
bool room_is_owed(const struct sqlite_store *store, uint32_t part);

/* Publications are refused; there is nothing left. */
bool room_is_short(const struct sqlite_store *store);
bool room_is_full(const struct sqlite_store *store);

/* Pages of the file that hold nothing. Inside a transaction or not. */
uint64_t room_free_pages(struct sqlite_store *store);

/* Inside a transaction: moves a few pages from the end of the file into free ones. The next checkpoint shortens the
 * file. */
enum ps_status room_shrink(struct sqlite_store *store);

/* It met a damaged page: the file stays as long as it is, and publications go on when there is room elsewhere. */
void room_give_up_shrinking(struct sqlite_store *store);

#endif
