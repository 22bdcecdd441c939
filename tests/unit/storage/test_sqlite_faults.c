/* A disk that is full or fails: what is refused, what is unknown, and what is there afterwards. */
#include "fault_vfs.h"
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 400, PAYLOAD = 10000 }; /* about 4 MB: more than 30 writes of the WAL */

static char bytes[PAYLOAD];

struct many {
    struct message messages[BATCH];
    struct store_op op;
};

static void make_batch(struct many *batch)
{
    memset(bytes, 'p', sizeof bytes);
    for (size_t i = 0; i < BATCH; i++)
        batch->messages[i] = (struct message){.payload = {(const uint8_t *)bytes, sizeof bytes}};
    batch->op = (struct store_op){
        .kind = STORE_APPEND, .append = {.topic = span_of("A"), .messages = batch->messages, .count = BATCH}};
}

static void open_place(struct sqlite_case *place)
{
    fault_vfs_install();
    sqlite_case_init(place);
    sqlite_case_open(place);
    sqlite_case_publish(place, "A", 1);
}

static int64_t stored(const struct sqlite_case *place)
{
    return sqlite_case_number(place, "SELECT count(*) FROM history WHERE topic = 'A'");
}

static bool count_one(void *ctx, const struct message *message)
{
    uint64_t *next = ctx;

    cr_assert_eq(message->offset, *next);
    ++*next;
    return true;
}

static void show_first(void *ctx, const struct store_topic *topic)
{
    uint64_t next = 0;
    struct store_reader *reader;
    struct sqlite_case *place = ctx;
    struct store_read read = {.topic = *topic,
                              .to = topic->next_offset,
                              .max_messages = 1000000,
                              .max_bytes = 1u << 30,
                              .max_microseconds = 60000000,
                              .show = count_one,
                              .ctx = &next};

    cr_assert_eq(store_reader_new(place->store, &reader), PS_OK);
    cr_assert_eq(store_read(reader, &read), PS_OK);
    cr_assert_eq(next, topic->next_offset);
    store_reader_free(reader);
}

/* Every offset of the topic can be read, through the broker's own path and through SQL. */
static void expect_sound(struct sqlite_case *place, int64_t messages)
{
    store_load(place->store, show_first, place);
    cr_assert_eq(stored(place), messages);
    cr_assert_eq(sqlite_case_number(place, "SELECT max(offset) + 1 FROM history WHERE topic = 'A'"),
                 messages);
}

Test(sqlite_faults, subscriptions_of_a_commit_that_was_undone_do_not_count)
{
    struct sqlite_case place;
    struct store_op attach = {.kind = STORE_ATTACH, .attach = {.id = span_of("s"), .filter = span_of("A")}};
    fault_vfs_install();
    sqlite_case_init(&place);
    place.config.limits.max_durable = 1;
    sqlite_case_open(&place);

    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_FULL);
    cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    cr_assert_eq(attach.status, PS_DISK_FULL);
    fault_vfs_set(FAULT_WAL_WRITE, UINT64_MAX, SQLITE_OK);
    cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    cr_assert_eq(attach.status, PS_OK, "%s", ps_status_name(attach.status));
    attach.attach.id = span_of("another");
    cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    cr_assert_eq(attach.status, PS_LIMIT_EXCEEDED);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

static unsigned lines_of(const struct sqlite_case *place, const char *event)
{
    unsigned count = 0;
    for (const char *at = place->logged; (at = strstr(at, event)) != NULL; at++)
        count++;
    return count;
}

Test(sqlite_faults, a_full_disk_is_logged_once_and_so_is_its_end)
{
    struct sqlite_case place;
    struct many *batch = malloc(sizeof *batch);
    open_place(&place);

    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            make_batch(batch);
            fault_vfs_set(FAULT_WAL_WRITE, 5, SQLITE_FULL);
            cr_assert_eq(sqlite_case_commit(&place, &batch->op), PS_OK);
            cr_assert_eq(batch->op.status, PS_DISK_FULL);
        }
        cr_assert_eq(lines_of(&place, "event=disk_low free_bytes="), round, "%s", place.logged);
        cr_assert_eq(lines_of(&place, "event=disk_ok"), round - 1, "%s", place.logged);
        fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_OK);
        sqlite_case_publish(&place, "A", 1);
        sqlite_case_publish(&place, "A", 1);
        cr_assert_eq(lines_of(&place, "event=disk_ok free_bytes="), round, "%s", place.logged);
    }
    free(batch);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* A disk without room from the Nth frame of a commit on: whichever it is, that commit is refused as a whole. */
Test(sqlite_faults, a_full_disk_refuses_the_commit_and_service_resumes)
{
    struct sqlite_case place;
    struct many *batch = malloc(sizeof *batch);
    int64_t expected = 1;
    open_place(&place);
    make_batch(batch);
    fault_vfs_set(FAULT_WAL_WRITE, UINT64_MAX, SQLITE_FULL);
    cr_assert_eq(sqlite_case_commit(&place, &batch->op), PS_OK);
    uint64_t writes = fault_vfs_count(FAULT_WAL_WRITE);
    cr_assert_gt(writes, 20u);
    expected += BATCH;

    for (uint64_t after = 0; after < writes - 4; after += after < writes - 12 ? 7 : 1) {
        make_batch(batch);
        fault_vfs_set(FAULT_WAL_WRITE, after, SQLITE_FULL);
        cr_assert_eq(sqlite_case_commit(&place, &batch->op), PS_OK, "write %llu", (unsigned long long)after);
        cr_assert_gt(fault_vfs_failed(FAULT_WAL_WRITE), 0u);
        cr_assert_eq(batch->op.status, PS_DISK_FULL, "write %llu: %s", (unsigned long long)after,
                     ps_status_name(batch->op.status));
        for (size_t i = 0; i < BATCH; i++)
            cr_assert_eq(batch->messages[i].status, PS_DISK_FULL);
        cr_assert_eq(stored(&place), expected, "nothing of it is there");
        fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_OK);
        make_batch(batch);
        cr_assert_eq(sqlite_case_commit(&place, &batch->op), PS_OK);
        cr_assert_eq(batch->op.status, PS_OK, "service resumes");
        cr_assert_eq(batch->op.append.first_offset, (uint64_t)expected, "offsets go on without a gap");
        expected += BATCH;
    }
    sqlite_case_close(&place);
    sqlite_case_open(&place);
    expect_sound(&place, expected);
    free(batch);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* What made the disk full may be the copy itself. */
Test(sqlite_faults, a_backup_ends_though_the_commit_it_came_with_is_refused)
{
    struct sqlite_case place;
    struct many *batch = malloc(sizeof *batch);
    struct store_op begin = {.kind = STORE_BACKUP};
    struct store_op end = {.kind = STORE_BACKUP, .backup = {.end = true}};
    struct store_op *both[2] = {&batch->op, &end};
    open_place(&place);
    make_batch(batch);
    cr_assert_eq(sqlite_case_commit(&place, &begin), PS_OK);
    sqlite_case_work(&place);
    cr_assert_eq(place.state.backup.phase, STORE_BACKUP_READY);

    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_FULL);
    cr_assert_eq(store_commit(place.store, both, 2, &place.state), PS_OK);
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_OK);
    cr_assert_eq(batch->op.status, PS_DISK_FULL);
    cr_assert_eq(end.status, PS_OK);
    cr_assert_eq(place.state.backup.phase, STORE_BACKUP_NONE);
    cr_assert_eq(sqlite_case_commit(&place, &begin), PS_OK);
    cr_assert_eq(begin.status, PS_OK, "%s", ps_status_name(begin.status));
    free(batch);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* What is rolled back makes SQLite copy from the first page on: work that finds no room again and again had no end. */
Test(sqlite_faults, a_backup_gives_way_to_work_that_finds_no_room)
{
    struct sqlite_case place;
    struct many *batch = malloc(sizeof *batch);
    struct store_op begin = {.kind = STORE_BACKUP};
    bool more = true;
    int steps = 0;

    fault_vfs_install();
    sqlite_case_init(&place);
    place.config.backup_pages = 1;
    place.config.epoch_rows = 10;
    sqlite_case_open(&place);
    make_batch(batch);
    cr_assert_eq(sqlite_case_commit(&place, &batch->op), PS_OK);
    cr_assert_eq(sqlite_case_commit(&place, &begin), PS_OK);
    cr_assert_eq(place.state.backup.phase, STORE_BACKUP_COPYING);
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_FULL);
    while (more && steps++ < 1000)
        cr_assert_eq(store_work(place.store, &more, &place.state), PS_OK);
    fault_vfs_set(FAULT_WAL_WRITE, 0, SQLITE_OK);
    cr_assert_eq(place.state.backup.phase, STORE_BACKUP_FAILED, "%d after %d steps", place.state.backup.phase,
                 steps);
    cr_assert_eq(place.state.backup.status, PS_DISK_FULL);
    free(batch);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* What a commit answers when its write or sync fails for good, and what the next start finds. */
static void fail_commit(enum fault_place where, uint64_t after, int code, enum ps_status wanted)
{
    struct sqlite_case place;
    struct many *batch = malloc(sizeof *batch);
    struct message late = {.payload = span_of("late")};
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of("A"), .messages = &late, .count = 1}};
    open_place(&place);
    make_batch(batch);

    fault_vfs_set(where, after, code);
    cr_assert_eq(sqlite_case_commit(&place, &batch->op), wanted);
    cr_assert_gt(fault_vfs_failed(where), 0u);
    fault_vfs_set(where, 0, SQLITE_OK);
    cr_assert_eq(batch->op.status, wanted);
    for (size_t i = 0; i < BATCH; i++)
        cr_assert_eq(batch->messages[i].status, wanted);
    cr_assert_eq(sqlite_case_commit(&place, &op), PS_STORAGE_FAILED, "takes no further commit");
    cr_assert_eq(late.status, PS_STORAGE_FAILED);

    sqlite_case_close(&place);
    sqlite_case_open(&place);
    /* All of the commit or nothing of it. */
    int64_t found = stored(&place);
    cr_assert(found == 1 || (wanted == PS_UNKNOWN && found == 1 + BATCH), "%lld", (long long)found);
    expect_sound(&place, found);
    sqlite_case_publish(&place, "A", 1);
    expect_sound(&place, found + 1);
    free(batch);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_faults, a_failed_sync_of_the_wal_leaves_the_outcome_unknown)
{
    fail_commit(FAULT_WAL_SYNC, 0, SQLITE_IOERR_FSYNC, PS_UNKNOWN);
}

Test(sqlite_faults, a_failed_write_of_the_wal_leaves_the_outcome_unknown)
{
    fail_commit(FAULT_WAL_WRITE, 0, SQLITE_IOERR_WRITE, PS_UNKNOWN);
    fail_commit(FAULT_WAL_WRITE, 9, SQLITE_IOERR_WRITE, PS_UNKNOWN);
}

Test(sqlite_faults, a_checkpoint_that_cannot_write_stops_the_store_before_anything_is_done)
{
    struct sqlite_case place;
    struct many *batch = malloc(sizeof *batch);
    fault_vfs_install();
    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 1;
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 1);
    make_batch(batch);

    fault_vfs_set(FAULT_DATABASE_SYNC, 0, SQLITE_IOERR_FSYNC);
    cr_assert_eq(sqlite_case_commit(&place, &batch->op), PS_STORAGE_FAILED);
    cr_assert_gt(fault_vfs_failed(FAULT_DATABASE_SYNC), 0u);
    cr_assert_eq(batch->op.status, PS_STORAGE_FAILED);
    cr_assert_not_null(strstr(place.logged, "event=checkpoint_failed"), "%s", place.logged);
    fault_vfs_set(FAULT_DATABASE_SYNC, 0, SQLITE_OK);

    sqlite_case_close(&place);
    sqlite_case_open(&place);
    expect_sound(&place, 1);
    free(batch);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_faults, a_checkpoint_without_room_waits_and_publishing_goes_on)
{
    struct sqlite_case place;
    fault_vfs_install();
    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 64 * 1024;
    sqlite_case_open(&place);
    fault_vfs_set(FAULT_DATABASE_WRITE, 0, SQLITE_FULL);

    while (fault_vfs_failed(FAULT_DATABASE_WRITE) == 0)
        sqlite_case_publish(&place, "A", 100);
    sqlite_case_publish(&place, "A", 100);
    fault_vfs_set(FAULT_DATABASE_WRITE, 0, SQLITE_OK);
    uint64_t completed = place.state.checkpoints;
    while (place.state.checkpoints == completed)
        sqlite_case_publish(&place, "A", 100);
    expect_sound(&place, stored(&place));
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_faults, a_start_that_cannot_sync_is_refused)
{
    struct sqlite_case place;
    open_place(&place);
    sqlite_case_close(&place);

    fault_vfs_set(FAULT_WAL_SYNC, 0, SQLITE_IOERR_FSYNC);
    cr_assert_eq(sqlite_case_try_open(&place), PS_IO_ERROR, "%s", place.error);
    cr_assert_gt(fault_vfs_failed(FAULT_WAL_SYNC), 0u);
    fault_vfs_set(FAULT_WAL_SYNC, 0, SQLITE_OK);
    sqlite_case_open(&place);
    expect_sound(&place, 1);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* With an index to be written: nothing but background work meets the fault. */
static void open_with_work(struct sqlite_case *place)
{
    fault_vfs_install();
    sqlite_case_init(place);
    place->config.epoch_rows = 10;
    place->config.slice_runs = 1;
    sqlite_case_open(place);
    for (int i = 0; i < 10; i++)
        sqlite_case_publish(place, i % 2 == 0 ? "A" : "B", 1);
}

Test(sqlite_faults, background_work_that_fails_says_so)
{
    struct sqlite_case place;
    bool more;
    open_with_work(&place);

    fault_vfs_set(FAULT_WAL_SYNC, 0, SQLITE_IOERR_FSYNC);
    cr_assert_eq(store_work(place.store, &more, &place.state), PS_UNKNOWN);
    cr_assert_eq(fault_vfs_failed(FAULT_WAL_SYNC), 1u);
    fault_vfs_set(FAULT_WAL_SYNC, 0, SQLITE_OK);
    cr_assert_not(more);
    cr_assert_eq(store_work(place.store, &more, &place.state), PS_UNKNOWN, "and again");
    cr_assert_eq(store_close(place.store), PS_UNKNOWN);
    sqlite_case_open(&place);
    expect_sound(&place, 5);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_faults, an_end_that_fails_says_so)
{
    static const enum fault_place places[] = {FAULT_WAL_SYNC, FAULT_DATABASE_SYNC};
    static const enum ps_status wanted[] = {PS_UNKNOWN, PS_STORAGE_FAILED};

    for (int i = 0; i < 2; i++) {
        struct sqlite_case place;
        open_with_work(&place);
        fault_vfs_set(places[i], 0, SQLITE_IOERR_FSYNC);
        cr_assert_eq(store_close(place.store), wanted[i]);
        fault_vfs_set(places[i], 0, SQLITE_OK);
        sqlite_case_open(&place);
        expect_sound(&place, 5);
        sqlite_case_deinit(&place);
    }
    ASSERT_NO_LEAKS();
}

/* As another program may do it. SQLite finds out when it copies the WAL. */
static void open_and_cut(struct sqlite_case *place, uint64_t checkpoint_bytes)
{
    struct many *batch = malloc(sizeof *batch);
    open_place(place);
    make_batch(batch);
    cr_assert_eq(sqlite_case_commit(place, &batch->op), PS_OK);
    free(batch);
    sqlite_case_close(place);
    place->config.checkpoint_bytes = checkpoint_bytes;
    sqlite_case_open(place);
    sqlite_case_subscribe(place, "one");
    cr_assert_eq(truncate(place->file, 16384), 0);
}

static void close_damaged(struct sqlite_case *place)
{
    cr_assert_eq(store_close(place->store), PS_STORAGE_FAILED);
    place->store = NULL;
    cr_assert_eq(sqlite_case_try_open(place), PS_DAMAGED, "%s", place->error);
    sqlite_case_deinit(place);
}

Test(sqlite_faults, a_file_that_was_cut_under_a_running_store_stops_it)
{
    struct sqlite_case place;
    struct store_op attach = {.kind = STORE_ATTACH, .attach = {.id = span_of("s"), .filter = span_of("A")}};
    bool more;
    open_and_cut(&place, 1);

    cr_assert_eq(sqlite_case_commit(&place, &attach), PS_STORAGE_FAILED);
    cr_assert_not_null(strstr(place.logged, "event=checkpoint_failed"), "%s", place.logged);
    close_damaged(&place);
    open_and_cut(&place, 1);
    cr_assert_eq(store_work(place.store, &more, &place.state), PS_STORAGE_FAILED);
    close_damaged(&place);
    open_and_cut(&place, 0);
    close_damaged(&place);
    ASSERT_NO_LEAKS();
}

/* An operation that was refused before the commit failed stays refused, with its reason. */
Test(sqlite_faults, a_refusal_in_a_commit_of_unknown_outcome_is_still_one)
{
    struct sqlite_case place;
    struct message message = {.payload = span_of("x")};
    struct store_op append = {.kind = STORE_APPEND,
                              .append = {.topic = span_of("A"), .messages = &message, .count = 1}};
    struct store_op forget = {.kind = STORE_FORGET,
                              .forget = {.id = span_of("nobody"), .filter = span_of("A")}};
    struct store_op *ops[] = {&append, &forget};

    open_place(&place);
    fault_vfs_set(FAULT_WAL_SYNC, 0, SQLITE_IOERR_FSYNC);
    cr_assert_eq(store_commit(place.store, ops, 2, &place.state), PS_UNKNOWN);
    cr_assert_eq(append.status, PS_UNKNOWN);
    cr_assert_eq(message.status, PS_UNKNOWN);
    cr_assert_eq(forget.status, PS_NO_SUCH_SUBSCRIPTION);
    fault_vfs_set(FAULT_WAL_SYNC, 0, SQLITE_OK);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
