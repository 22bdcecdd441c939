/* The reserve is made when there is room for it above the floor, so that it never makes publishing stop. What an
 * outside reader keeps in the WAL has to go into the file as well when it leaves: that room is not free. */
#include "room.h"

#include "sqlite_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    /* As much as a checkpoint may still have to add to the file: until that is done, the WAL only grows. */
    RESERVE_BYTES = 16 * 1024 * 1024, /* at most, and a quarter of the floor */
    NEARLY_NOTHING = 2 * 1024 * 1024, /* free; with less the reserve is given up */
    HARDLY_ANYTHING = 64 * 1024,      /* free; with less not even the index of a WAL can be made */
    USUAL_CHECKPOINTS =
        4, /* as long as a WAL gets that nobody outside holds, in lengths at which it is due */
    TRY_EVERY_MS = 1000
};

/* Given up, it must not bring the disk above the floor: publications would take it. */
static uint64_t reserve_bytes(uint64_t floor)
{
    return floor / 4 < RESERVE_BYTES ? floor / 4 : RESERVE_BYTES;
}

enum ps_status room_init(struct room *room, const char *directory, uint64_t disk_floor_bytes)
{
    struct stat found;

    if (asprintf(&room->path, "%s/psbroker.reserve", directory) < 0) {
        room->path = NULL;
        return PS_NO_MEMORY;
    }
    room->held = lstat(room->path, &found) == 0 && S_ISREG(found.st_mode) &&
                 (uint64_t)found.st_blocks * 512 >= reserve_bytes(disk_floor_bytes);
    if (!room->held)
        unlink(room->path);
    return PS_OK;
}

void room_deinit(struct room *room)
{
    free(room->path);
    *room = (struct room){0};
}

static void give_up(struct sqlite_store *store)
{
    store->room.held = false;
    store->room.tried_at = monotonic_ms();
    if (unlink(store->room.path) != 0)
        return;
    store_log(store, 4,
              "event=reserve_given_up free_bytes=%llu text=\"the disk is full: room was made for what is not "
              "publishing\"",
              (unsigned long long)store->free_disk_bytes);
    store->disk_sampled_at = 0;
    store_sample_disk(store);
}

/* Its blocks are really taken, so another process cannot have them. */
static void make(struct sqlite_store *store)
{
    struct room *room = &store->room;
    int file;

    room->tried_at = monotonic_ms();
    file = file_open_plain(room->path, O_WRONLY | O_CREAT);
    if (file < 0)
        return;
    room->held = fallocate(file, 0, 0, (off_t)reserve_bytes(store->config.disk_floor_bytes)) == 0;
    close(file);
    if (!room->held)
        unlink(room->path);
}

void room_look_first(struct sqlite_store *store)
{
    store_sample_disk(store);
    if (store->room.held && store->free_disk_bytes < NEARLY_NOTHING && room_is_short(store))
        give_up(store);
}

static void tell_low(struct sqlite_store *store, const char *why)
{
    store_log(
        store, 4, "event=disk_low free_bytes=%llu floor_bytes=%llu text=\"publications are refused: %s\"",
        (unsigned long long)store->free_disk_bytes, (unsigned long long)store->config.disk_floor_bytes, why);
}

static void tell_ok(struct sqlite_store *store)
{
    store_log(store, 6,
              "event=disk_ok free_bytes=%llu floor_bytes=%llu text=\"publications are taken again\"",
              (unsigned long long)store->free_disk_bytes, (unsigned long long)store->config.disk_floor_bytes);
}

static void look_at_floor(struct sqlite_store *store)
{
    struct room *room = &store->room;
    bool is_short = room_is_short(store);

    if (is_short == room->was_short)
        return;
    room->was_short = is_short;
    room->files_too_long |= is_short;
    if (is_short)
        tell_low(store, store->free_disk_bytes < store->config.disk_floor_bytes
                            ? "less is free than --disk-floor asks for"
                            : "what is in the WAL needs the room in psbroker.db too");
    else
        tell_ok(store);
}

void room_note(struct sqlite_store *store, bool was_found)
{
    struct room *room = &store->room;

    if (room->was_full != was_found || room_is_short(store))
        return;
    room->was_full = !was_found;
    if (was_found)
        tell_ok(store);
    else
        tell_low(store, "a write found no room");
}

/* Without a floor there is nothing to keep a reserve behind: publications would use it up. */
void room_look(struct sqlite_store *store)
{
    uint64_t floor = store->config.disk_floor_bytes;
    struct room *room = &store->room;

    room_look_first(store);
    look_at_floor(store);
    if (!room->held && floor > 0 && store->free_disk_bytes >= floor + 2 * reserve_bytes(floor) &&
        (room->tried_at == 0 || monotonic_ms() - room->tried_at >= TRY_EVERY_MS))
        make(store);
}

/* Beyond the usual length, for which half of the floor is enough. Without a floor nobody minds. */
static uint64_t owed(const struct sqlite_store *store)
{
    uint64_t floor = store->config.disk_floor_bytes;
    uint64_t usual = USUAL_CHECKPOINTS * store->config.checkpoint_bytes;

    usual = usual < floor / 2 ? usual : floor / 2;
    return floor > 0 && store->checkpoint.wal_bytes > usual ? store->checkpoint.wal_bytes - usual : 0;
}

static bool is_free(const struct sqlite_store *store, uint64_t bytes)
{
    return store->free_disk_bytes >= bytes && store->free_disk_bytes - bytes >= owed(store);
}

bool room_is_short(const struct sqlite_store *store)
{
    return !is_free(store, store->config.disk_floor_bytes);
}

bool room_is_owed(const struct sqlite_store *store, uint32_t part)
{
    return owed(store) > 0 && !is_free(store, store->config.disk_floor_bytes / part);
}

bool room_is_full(const struct sqlite_store *store)
{
    return store->free_disk_bytes < HARDLY_ANYTHING;
}

uint64_t room_free_pages(struct sqlite_store *store)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_FREE_PAGES);
    uint64_t pages = 0;

    if (select != NULL && sqlite3_step(select) == SQLITE_ROW)
        pages = column_u64(select, 0);
    sqlite3_reset(select);
    return pages;
}

void room_give_up_shrinking(struct sqlite_store *store)
{
    store->room.shrinks_no_more = true;
    store_log(
        store, 4,
        "event=shrink_given_up text=\"a page that was to be moved is damaged; what was deleted stays in the "
        "file, for new messages, until the next start tries again\"");
}

enum ps_status room_shrink(struct sqlite_store *store)
{
    store->room.files_too_long = true;
    return database_run(&store->db, database_statement(&store->db, STATEMENT_SHRINK));
}
