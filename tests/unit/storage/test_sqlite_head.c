/* A log that ends early: psbroker.head beside the database tells, whatever became of the WAL. */
#include "fault_vfs.h"
#include "head.h"
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { COMMITS = 12, STRIDE = 5, WAL_HEADER = 32, FRAME_BYTES = 24 + 16384 };

struct head_case {
    struct sqlite_case at;
    char wal[128], head[128];
};

static void publish_some(struct sqlite_case *at)
{
    for (int i = 0; i < COMMITS; i++)
        sqlite_case_publish(at, i % 3 == 0 ? "B" : "A", 5);
}

static void publish_nothing(struct sqlite_case *at)
{
    (void)at;
}

static void subscribe_some(struct sqlite_case *at)
{
    sqlite_case_publish(at, "A", 5);
    for (int i = 0; i < COMMITS; i++)
        sqlite_case_subscribe(at, (char[]){(char)('a' + i), '\0'});
}

static void killed_after(struct head_case *place, void (*work)(struct sqlite_case *at))
{
    sqlite_case_init(&place->at);
    snprintf(place->wal, sizeof place->wal, "%s-wal", place->at.file);
    snprintf(place->head, sizeof place->head, "%s/psbroker.head", place->at.directory);
    sqlite_case_killed_in(&place->at, work);
}

static off_t size_of(const char *path)
{
    struct stat file;

    return stat(path, &file) == 0 ? file.st_size : 0;
}

static void flip_bit(const char *path, off_t at)
{
    int file = open(path, O_RDWR);
    unsigned char byte;

    cr_assert_geq(file, 0);
    cr_assert_eq(pread(file, &byte, 1, at), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(file, &byte, 1, at), 1);
    close(file);
}

static unsigned lines_of(const struct sqlite_case *at, const char *event)
{
    unsigned count = 0;

    for (const char *line = at->logged; (line = strstr(line, event)) != NULL; line++)
        count++;
    return count;
}

static void expect_refused(struct head_case *place, const char *words)
{
    off_t wal = size_of(place->wal);

    for (int again = 0; again < 2; again++) {
        cr_assert_eq(sqlite_case_try_open(&place->at), PS_DAMAGED);
        cr_assert_not_null(strstr(place->at.error, words), "%s", place->at.error);
        cr_assert_not_null(strstr(place->at.error, "--accept-loss"), "%s", place->at.error);
    }
    cr_assert_eq(size_of(place->wal), wal, "the refusal changed the WAL");
}

static void expect_quiet_start(struct head_case *place)
{
    place->at.logged[0] = '\0';
    sqlite_case_open(&place->at);
    cr_assert_null(strstr(place->at.logged, "event=head_"), "%s", place->at.logged);
    cr_assert_null(strstr(place->at.logged, "event=loss_"), "%s", place->at.logged);
    sqlite_case_close(&place->at);
}

static void expect_warning(struct head_case *place, const char *event)
{
    place->at.logged[0] = '\0';
    sqlite_case_open(&place->at);
    cr_assert_not_null(strstr(place->at.logged, event), "%s", place->at.logged);
    sqlite_case_close(&place->at);
    expect_quiet_start(place);
}

/* ------------------------------------------------------------------------------------------------ refusals */

Test(sqlite_head, a_killed_process_leaves_a_head_that_fits)
{
    struct head_case place;
    killed_after(&place, publish_some);
    cr_assert_eq(size_of(place.head), 64);

    expect_quiet_start(&place);
    cr_assert_eq(place.at.opened.state.mark, COMMITS * 5 + 1);
    expect_quiet_start(&place);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, a_removed_wal_is_refused_and_named)
{
    struct head_case place;
    killed_after(&place, publish_some);
    cr_assert_eq(unlink(place.wal), 0);

    cr_assert_eq(sqlite_case_try_open(&place.at), PS_DAMAGED);
    cr_assert_not_null(strstr(place.at.error, "messages with seq 1 to 60 (60 messages)"), "%s",
                       place.at.error);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, a_truncated_wal_is_refused_wherever_it_was_cut)
{
    for (int part = 0; part < 4; part++) {
        struct head_case place;
        killed_after(&place, publish_some);
        cr_assert_eq(truncate(place.wal, size_of(place.wal) * part / 4), 0);

        expect_refused(&place, "to 60 (");
        sqlite_case_deinit(&place.at);
    }
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, one_bit_flipped_in_any_frame_is_refused)
{
    struct head_case place;
    killed_after(&place, publish_some);
    off_t frames = (size_of(place.wal) - WAL_HEADER) / FRAME_BYTES;
    sqlite_case_deinit(&place.at);

    cr_assert_geq(frames, COMMITS);
    for (off_t frame = 0; frame < frames; frame += 3) {
        killed_after(&place, publish_some);
        flip_bit(place.wal, WAL_HEADER + frame * FRAME_BYTES + 24 + frame * 37);
        expect_refused(&place, "that were acknowledged are missing");
        sqlite_case_deinit(&place.at);
    }
    ASSERT_NO_LEAKS();
}

/* No message is behind the place, so that the mark alone says nothing. */
Test(sqlite_head, lost_subscriptions_are_refused_too)
{
    struct head_case place;
    killed_after(&place, subscribe_some);
    flip_bit(place.wal, size_of(place.wal) - 100);

    expect_refused(&place, "no message is missing, but changes of subscriptions");
    place.at.config.accept_loss = true;
    sqlite_case_open(&place.at);
    cr_assert_eq(place.at.opened.state.mark, 6);
    sqlite_case_close(&place.at);
    place.at.config.accept_loss = false;
    expect_quiet_start(&place);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, a_removed_database_is_refused_and_its_wal_left_alone)
{
    struct head_case place;
    killed_after(&place, publish_some);
    cr_assert_eq(truncate(place.at.file, 0), 0);
    expect_refused(&place, "psbroker.db is not there");
    cr_assert_eq(unlink(place.at.file), 0);

    expect_refused(&place, "psbroker.db is not there");
    cr_assert_gt(size_of(place.wal), 0);
    cr_assert_eq(unlink(place.head), 0);
    cr_assert_eq(sqlite_case_try_open(&place.at), PS_DAMAGED);
    cr_assert_not_null(strstr(place.at.error, "though psbroker.db-wal is"), "%s", place.at.error);
    cr_assert_gt(size_of(place.wal), 0);
    cr_assert_eq(truncate(place.wal, 0), 0);
    sqlite_case_open(&place.at);
    cr_assert_eq(place.at.opened.state.mark, 1);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, a_removed_database_that_never_had_a_message_is_begun_anew)
{
    struct head_case place;
    killed_after(&place, publish_nothing);
    sqlite_case_open(&place.at);
    sqlite_case_close(&place.at);
    cr_assert_eq(size_of(place.head), 64);
    cr_assert_eq(unlink(place.at.file), 0);

    sqlite_case_open(&place.at);
    sqlite_case_publish(&place.at, "A", 1);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, one_message_or_one_page_too_many_leads)
{
    const struct head_facts log = {.mark = 7, .wal_salt = 3, .wal_frames = 5};
    struct head_facts head = log;

    cr_assert_eq(head_compare(&head, &log), HEAD_FITS);
    head.mark = 8;
    cr_assert_eq(head_compare(&head, &log), HEAD_LEADS);
    head.mark = 6;
    head.wal_frames = 6;
    cr_assert_eq(head_compare(&head, &log), HEAD_LEADS_IN_WAL);
    head.wal_salt = 4;
    cr_assert_eq(head_compare(&head, &log), HEAD_FITS, "of another WAL");
    head.log_id[0] = 1;
    cr_assert_eq(head_compare(&head, &log), HEAD_OF_ANOTHER_LOG);
}

Test(sqlite_head, an_older_copy_of_the_same_log_is_refused)
{
    struct head_case place;
    char command[300];
    killed_after(&place, publish_some);
    sqlite_case_open(&place.at);
    sqlite_case_close(&place.at);
    snprintf(command, sizeof command, "cp %s %s/older", place.at.file, place.at.directory);
    cr_assert_eq(system(command), 0);
    sqlite_case_open(&place.at);
    sqlite_case_publish(&place.at, "A", 7);
    sqlite_case_close(&place.at);
    snprintf(command, sizeof command, "cp %s/older %s", place.at.directory, place.at.file);
    cr_assert_eq(system(command), 0);

    expect_refused(&place, "messages with seq 61 to 67 (7 messages)");
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------------ acceptance */

Test(sqlite_head, an_accepted_loss_gives_another_log_that_goes_on_behind_it)
{
    struct head_case place;
    uint8_t log_id[LOG_ID_BYTES];
    killed_after(&place, publish_some);
    flip_bit(place.wal, size_of(place.wal) - FRAME_BYTES * 6);
    expect_refused(&place, "to 60 (");
    place.at.config.accept_loss = true;
    place.at.logged[0] = '\0';
    sqlite_case_open(&place.at);
    cr_assert_not_null(strstr(place.at.logged, "event=loss_accepted"), "%s", place.at.logged);
    cr_assert_eq(place.at.opened.state.mark, 61);
    int64_t rows = sqlite_case_number(&place.at, "SELECT count(*) FROM messages");
    cr_assert(rows > 0 && rows < 60, "%lld", (long long)rows);
    memcpy(log_id, place.at.opened.log_id, sizeof log_id);
    sqlite_case_publish(&place.at, "A", 3);
    cr_assert_eq(sqlite_case_number(&place.at, "SELECT max(seq) FROM messages"), 63);
    cr_assert_eq(sqlite_case_number(&place.at, "SELECT count(*) FROM history"), rows + 3);

    /* And what was published then survives both kinds of end, without the option. */
    place.at.config.accept_loss = false;
    cr_assert_eq(store_close(place.at.store), PS_OK, "%s", place.at.logged);
    place.at.store = NULL;
    for (int start = 0; start < 2; start++) {
        sqlite_case_open(&place.at);
        cr_assert_eq(memcmp(place.at.opened.log_id, log_id, sizeof log_id), 0);
        sqlite_case_publish(&place.at, "B", 1);
        sqlite_case_close(&place.at);
    }
    cr_assert_eq(sqlite_case_number(&place.at, "SELECT max(seq) FROM messages"), 65);
    expect_quiet_start(&place);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

static void publish_three(struct sqlite_case *at)
{
    sqlite_case_publish(at, "A", 3);
}

/* Its rows are read as the tail then, behind the hole. */
Test(sqlite_head, what_follows_an_accepted_loss_survives_a_kill)
{
    struct head_case place;
    killed_after(&place, publish_some);
    flip_bit(place.wal, size_of(place.wal) - FRAME_BYTES * 6);
    expect_refused(&place, "to 60 (");

    place.at.config.accept_loss = true;
    sqlite_case_killed_in(&place.at, publish_nothing);
    place.at.config.accept_loss = false;
    sqlite_case_killed_in(&place.at, publish_three);
    expect_quiet_start(&place);
    cr_assert_eq(sqlite_case_number(&place.at, "SELECT max(seq) FROM messages"), 63);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

/* A start that accepts a loss and fails from the call number `n` to the disk on; whether it came to that. */
static bool breaks_off(uint64_t n)
{
    struct head_case place;
    struct head_facts before;
    killed_after(&place, subscribe_some);
    flip_bit(place.wal, size_of(place.wal) - 100);
    cr_assert_eq(head_read(place.head, &before), HEAD_FOUND);
    place.at.config.accept_loss = true;
    fault_vfs_sweep(FAULT_IO_ERROR, n, false);
    bool started = sqlite_case_try_open(&place.at) == PS_OK;
    fault_vfs_sweep(FAULT_IO_ERROR, 0, false);

    place.at.config.accept_loss = false;
    if (started)
        sqlite_case_close(&place.at);
    else if (sqlite_case_try_open(&place.at) == PS_OK)
        cr_assert_neq(memcmp(before.log_id, place.at.opened.log_id, LOG_ID_BYTES), 0, "call %d", (int)n);
    else
        cr_assert_not_null(strstr(place.at.error, "--accept-loss"), "%s", place.at.error);
    sqlite_case_deinit(&place.at);
    return !started;
}

Test(sqlite_head, a_start_that_breaks_off_forgets_no_accepted_loss)
{
    uint64_t n = 1;
    fault_vfs_install();
    while (breaks_off(n))
        n += STRIDE;
    cr_assert_gt(n, 10u * STRIDE);
    ASSERT_NO_LEAKS();
}

static uint8_t id_before[LOG_ID_BYTES];

Test(sqlite_head, the_log_id_is_another_after_a_loss_and_only_then)
{
    struct head_case place;
    killed_after(&place, publish_some);
    sqlite_case_open(&place.at);
    memcpy(id_before, place.at.opened.log_id, sizeof id_before);
    sqlite_case_close(&place.at);

    place.at.config.accept_loss = true; /* left in a script by mistake */
    place.at.logged[0] = '\0';
    sqlite_case_open(&place.at);
    cr_assert_not_null(strstr(place.at.logged, "event=nothing_lost"), "%s", place.at.logged);
    cr_assert_eq(memcmp(id_before, place.at.opened.log_id, sizeof id_before), 0);
    sqlite_case_close(&place.at);

    sqlite_case_outside(&place.at,
                        "DELETE FROM messages WHERE seq > 40; DELETE FROM epochs; DELETE FROM topic_runs;"
                        "DELETE FROM settings WHERE name = 'next_seq';"
                        "UPDATE topics SET next_offset = (SELECT max(offset) + 1 FROM messages m WHERE "
                        "m.topic_id = topics.topic_id), last_seq = (SELECT max(seq) FROM messages m "
                        "WHERE m.topic_id = topics.topic_id)");
    sqlite_case_open(&place.at);
    cr_assert_neq(memcmp(id_before, place.at.opened.log_id, sizeof id_before), 0);
    cr_assert_eq(place.at.opened.state.mark, 61);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------------ warnings */

Test(sqlite_head, a_head_that_proves_nothing_is_a_warning_and_made_anew)
{
    struct head_case place;
    killed_after(&place, publish_some);

    cr_assert_eq(unlink(place.head), 0);
    expect_warning(&place, "4 event=head_missing");
    flip_bit(place.head, 33);
    expect_warning(&place, "4 event=head_damaged");
    cr_assert_eq(truncate(place.head, 20), 0);
    expect_warning(&place, "4 event=head_damaged");
    cr_assert_eq(truncate(place.head, 0), 0);
    expect_warning(&place, "4 event=head_damaged");
    cr_assert_eq(truncate(place.head, 65), 0);
    expect_warning(&place, "4 event=head_damaged");
    sqlite_case_outside(&place.at, "UPDATE settings SET value = randomblob(16) WHERE name = 'log_id'");
    expect_warning(&place, "4 event=head_of_another_log");
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

/* Sound in itself, for all that is known of it here. */
static void write_newer_version(const char *path)
{
    uint8_t bytes[64];
    uint64_t sum;
    int file = open(path, O_RDWR);

    cr_assert_eq(pread(file, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    bytes[4]++;
    sum = XXH3_64bits(bytes, sizeof bytes - sizeof sum);
    memcpy(bytes + sizeof bytes - sizeof sum, &sum, sizeof sum);
    cr_assert_eq(pwrite(file, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    close(file);
}

Test(sqlite_head, a_head_of_a_newer_version_proves_nothing)
{
    struct head_case place;
    killed_after(&place, publish_some);

    write_newer_version(place.head);
    expect_warning(&place, "4 event=head_damaged");
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, a_head_that_lags_is_fine)
{
    struct head_case place;
    char command[300];
    killed_after(&place, publish_some);
    snprintf(command, sizeof command, "cp %s %s.older", place.head, place.head);
    cr_assert_eq(system(command), 0);
    sqlite_case_open(&place.at);
    sqlite_case_publish(&place.at, "A", 7);
    sqlite_case_close(&place.at);
    snprintf(command, sizeof command, "mv %s.older %s", place.head, place.head);
    cr_assert_eq(system(command), 0);

    expect_quiet_start(&place);
    sqlite_case_deinit(&place.at);
    ASSERT_NO_LEAKS();
}

Test(sqlite_head, without_a_head_that_can_be_written_the_store_works)
{
    struct sqlite_case place;
    char head[128];
    sqlite_case_init(&place);
    snprintf(head, sizeof head, "%s/psbroker.head", place.directory);
    cr_assert_eq(mkdir(head, 0700), 0);

    sqlite_case_open(&place);
    cr_assert_not_null(strstr(place.logged, "4 event=head_not_written"), "%s", place.logged);
    sqlite_case_publish(&place, "A", 3);
    sqlite_case_close(&place);
    sqlite_case_open(&place);
    cr_assert_eq(lines_of(&place, "4 event=head_damaged"), 1u, "%s", place.logged);
    cr_assert_eq(lines_of(&place, "event=head_not_written"), 2u, "%s", place.logged);
    sqlite_case_close(&place);
    rmdir(head);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
