/* The writer's VFS by itself: whatever is written in whatever pieces is what is read, others see it after a sync, and a
 * write that fails is told and dropped. */
#include "dice.h"
#include "fault_vfs.h"
#include "leaks.h"
#include "tmpdir.h"
#include "vfs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 3 * 1024 * 1024, MOST_AT_ONCE = 200 * 1024, FRAME = 24 + 16384 };

struct place {
    char directory[TMPDIR_BYTES];
    char path[TMPDIR_BYTES + 32];
    sqlite3_file *file;
    unsigned char *expected; /* FILE_BYTES */
    unsigned char *bytes;    /* FILE_BYTES, to read into */
};

static void place_init(struct place *place)
{
    int flags = SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    sqlite3_vfs *vfs;
    sqlite3_initialize();
    fault_vfs_install();
    vfs = sqlite3_vfs_find(vfs_name());
    cr_assert_not_null(vfs);
    cr_assert_str_eq(vfs->zName, "psbroker");
    cr_assert(tmpdir_make(place->directory));
    snprintf(place->path, sizeof place->path, "%s/psbroker.db", place->directory);
    fclose(fopen(place->path, "wb")); /* SQLite makes a WAL with the rights of its database */
    snprintf(place->path, sizeof place->path, "%s/psbroker.db-wal", place->directory);
    place->file = calloc(1, (size_t)vfs->szOsFile);
    place->expected = calloc(1, FILE_BYTES);
    place->bytes = malloc(FILE_BYTES);
    cr_assert_eq(vfs->xOpen(vfs, place->path, place->file, flags, &flags), SQLITE_OK);
    fault_vfs_set(FAULT_WAL_WRITE, UINT64_MAX, SQLITE_OK);
}

static void place_deinit(struct place *place)
{
    cr_assert_eq(place->file->pMethods->xClose(place->file), SQLITE_OK);
    free(place->file);
    free(place->expected);
    free(place->bytes);
    tmpdir_remove(place->directory);
}

static int write_some(struct place *place, size_t size, size_t offset, unsigned char byte)
{
    memset(place->expected + offset, byte, size);
    return place->file->pMethods->xWrite(place->file, place->expected + offset, (int)size,
                                         (sqlite3_int64)offset);
}

/* What another program sees. */
static size_t outside(struct place *place)
{
    FILE *stream = fopen(place->path, "rb");
    size_t size = fread(place->bytes, 1, FILE_BYTES, stream);
    fclose(stream);
    return size;
}

Test(sqlite_vfs, reads_find_what_writes_of_any_size_and_order_left)
{
    struct dice dice = dice_of(7);
    struct place place;
    size_t end = 0, at = 0;
    place_init(&place);
    for (int i = 0; i < 3000; i++) {
        size_t size = 1 + dice_below(&dice, dice_below(&dice, 8) == 0 ? MOST_AT_ONCE : 500);
        if (dice_below(&dice, 20) == 0 || at + size > FILE_BYTES)
            at = dice_below(&dice, end + 1 < FILE_BYTES - MOST_AT_ONCE ? end + 1 : FILE_BYTES - MOST_AT_ONCE);
        cr_assert_eq(write_some(&place, size, at, (unsigned char)dice_u64(&dice)), SQLITE_OK);
        at += size;
        end = at > end ? at : end;
        if (dice_below(&dice, 10) == 0) {
            size_t from = dice_below(&dice, end);
            size_t length = 1 + dice_below(&dice, end - from);
            cr_assert_eq(
                place.file->pMethods->xRead(place.file, place.bytes, (int)length, (sqlite3_int64)from),
                SQLITE_OK);
            cr_assert_eq(memcmp(place.bytes, place.expected + from, length), 0, "round %d", i);
        }
        if (dice_below(&dice, 30) == 0) {
            sqlite3_int64 size_told;
            cr_assert_eq(place.file->pMethods->xFileSize(place.file, &size_told), SQLITE_OK);
            cr_assert_eq(size_told, (sqlite3_int64)end, "round %d", i);
        }
        if (dice_below(&dice, 100) == 0) {
            end -= dice_below(&dice, end);
            memset(place.expected + end, 0, FILE_BYTES - end);
            cr_assert_eq(place.file->pMethods->xTruncate(place.file, (sqlite3_int64)end), SQLITE_OK);
            at = end;
        }
    }
    cr_assert_eq(place.file->pMethods->xSync(place.file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    cr_assert_eq(outside(&place), end);
    cr_assert_eq(memcmp(place.bytes, place.expected, end), 0);
    place_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_vfs, frames_are_gathered_and_others_see_all_of_them_after_a_sync)
{
    struct place place;
    size_t at = 0;
    place_init(&place);
    for (int frame = 0; frame < 100; frame++, at += FRAME) {
        cr_assert_eq(write_some(&place, 24, at, 'h'), SQLITE_OK);
        cr_assert_eq(write_some(&place, FRAME - 24, at + 24, (unsigned char)frame), SQLITE_OK);
    }
    cr_assert_eq(place.file->pMethods->xSync(place.file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    cr_assert_lt(fault_vfs_count(FAULT_WAL_WRITE), 20u);
    cr_assert_eq(outside(&place), at);
    cr_assert_eq(memcmp(place.bytes, place.expected, at), 0);
    place_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_vfs, a_write_that_fails_is_told_by_the_sync_and_not_tried_again)
{
    struct place place;
    place_init(&place);
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_FULL);
    cr_assert_eq(write_some(&place, FRAME, 0, 'a'), SQLITE_OK);
    cr_assert_eq(place.file->pMethods->xSync(place.file, SQLITE_SYNC_NORMAL), SQLITE_FULL);
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_OK);
    cr_assert_eq(place.file->pMethods->xSync(place.file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    cr_assert_eq(outside(&place), 0u);
    cr_assert_eq(write_some(&place, FRAME, 0, 'b'), SQLITE_OK);
    cr_assert_eq(place.file->pMethods->xSync(place.file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    cr_assert_eq(outside(&place), (size_t)FRAME);
    cr_assert_eq(place.bytes[FRAME - 1], 'b');
    place_deinit(&place);
    ASSERT_NO_LEAKS();
}

static sqlite3 *open_database(const char *path, const char *vfs)
{
    sqlite3 *db;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    cr_assert_eq(sqlite3_open_v2(path, &db, flags, vfs), SQLITE_OK);
    return db;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
}

static void expect_text(sqlite3 *db, const char *sql, const char *text)
{
    sqlite3_stmt *select;
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &select, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(select), SQLITE_ROW, "%s", sqlite3_errmsg(db));
    cr_assert_str_eq((const char *)sqlite3_column_text(select, 0), text);
    sqlite3_finalize(select);
}

/* Such a checkpoint neither truncates nor syncs the database, and sends readers to the pages that it copied. */
Test(sqlite_vfs, a_checkpoint_that_a_reader_holds_up_leaves_whole_pages)
{
    struct place place;
    char path[sizeof place.path];
    place_init(&place);
    snprintf(path, sizeof path, "%s/other.db", place.directory);
    sqlite3 *writer = open_database(path, vfs_name());
    run_sql(writer, "PRAGMA page_size=16384;PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
                    "PRAGMA wal_autocheckpoint=0;CREATE TABLE t(x)");
    run_sql(writer, "WITH n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < 300) "
                    "INSERT INTO t SELECT randomblob(1000) FROM n");
    sqlite3 *holding = open_database(path, NULL);
    run_sql(holding, "BEGIN;SELECT count(*) FROM t");
    run_sql(writer, "INSERT INTO t VALUES(1)");
    run_sql(writer, "PRAGMA wal_checkpoint(PASSIVE)");
    sqlite3 *reader = open_database(path, NULL);
    expect_text(reader, "PRAGMA quick_check", "ok");
    expect_text(reader, "SELECT count(*) FROM t", "301");
    sqlite3_close(reader);
    sqlite3_close(holding);
    sqlite3_close(writer);
    place_deinit(&place);
}

Test(sqlite_vfs, a_write_that_fails_in_a_read_is_not_forgotten)
{
    struct place place;
    place_init(&place);
    cr_assert_eq(write_some(&place, FRAME, 0, 'a'), SQLITE_OK);
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_FULL);
    cr_assert_eq(place.file->pMethods->xRead(place.file, place.bytes, 10, 0), SQLITE_FULL);
    cr_assert_eq(place.file->pMethods->xSync(place.file, SQLITE_SYNC_NORMAL), SQLITE_FULL, "told again");
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_OK);
    place_deinit(&place);
    ASSERT_NO_LEAKS();
}
