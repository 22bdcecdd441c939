/* The store while others use the file, and its housekeeping. */
#include "leaks.h"
#include "sqlite_case.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store_op append_of(struct message *message)
{
    return (struct store_op){.kind = STORE_APPEND,
                             .append = {.topic = span_of("A"), .messages = message, .count = 1}};
}

static struct store_op attach_of(const char *id)
{
    return (struct store_op){
        .kind = STORE_ATTACH,
        .attach = {.id = span_of(id), .filter = span_of("A"), .start = {.kind = START_NEW}}};
}

/* ------------------------------------------------------------------------------------------------ outsiders */

/* Longer than the second after which a wait is logged. */
static void *release_lock(void *db)
{
    usleep(1500 * 1000);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return NULL;
}

Test(sqlite_running, an_outside_lock_is_waited_for_and_logged)
{
    struct sqlite_case place;
    sqlite3 *db;
    pthread_t thread;
    sqlite_case_start(&place);
    cr_assert_eq(sqlite3_open(place.file, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(pthread_create(&thread, NULL, release_lock, db), 0);

    sqlite_case_publish(&place, "A", 1);
    pthread_join(thread, NULL);
    sqlite3_close(db);

    cr_assert_not_null(strstr(place.logged, "event=database_locked"), "%s", place.logged);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, a_foreign_commit_stops_the_store_with_nothing_done)
{
    struct sqlite_case place;
    struct message message = {.payload = span_of("never")};
    struct store_op op = append_of(&message);
    sqlite_case_start(&place);
    sqlite_case_publish(&place, "A", 1);
    sqlite_case_outside(&place, "CREATE TABLE user_surprise (a)");

    cr_assert_eq(sqlite_case_commit(&place, &op), PS_FOREIGN_WRITER);
    cr_assert_eq(op.status, PS_FOREIGN_WRITER);
    cr_assert_eq(message.status, PS_FOREIGN_WRITER);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages"), 1);
    cr_assert_eq(sqlite_case_commit(&place, &op), PS_STORAGE_FAILED);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

static void lose(const struct sqlite_case *place, const char *suffix, bool replace)
{
    char path[512], other[512];

    snprintf(path, sizeof path, "%s%s", place->file, suffix);
    snprintf(other, sizeof other, "%s-other", place->file);
    cr_assert_eq(rename(path, other), 0);
    if (replace)
        cr_assert_eq(symlink("/dev/null", path), 0);
}

Test(sqlite_running, a_removed_or_replaced_file_stops_the_store_with_nothing_acknowledged)
{
    for (int i = 0; i < 4; i++) {
        struct sqlite_case place;
        struct message message = {.payload = span_of("never")};
        struct store_op op = append_of(&message);
        sqlite_case_init(&place);
        sqlite_case_open(&place);
        sqlite_case_publish(&place, "A", 1);
        lose(&place, i < 2 ? "" : "-wal", i % 2 != 0);

        cr_assert_eq(sqlite_case_commit(&place, &op), PS_STORAGE_FAILED);
        cr_assert_eq(message.status, PS_STORAGE_FAILED);
        cr_assert_not_null(strstr(place.logged, "event=file_lost"));
        sqlite_case_deinit(&place);
    }
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, our_own_commits_and_checkpoints_are_not_foreign)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 1;
    place.config.epoch_rows = 10;
    sqlite_case_open(&place);

    for (int i = 0; i < 200; i++)
        sqlite_case_publish(&place, "A", 3);
    cr_assert_gt(place.state.checkpoints, 100u);
    sqlite_case_deinit(&place);
}

Test(sqlite_running, an_outside_reader_stops_checkpoints_but_not_publishing_until_the_hard_bound)
{
    struct sqlite_case place;
    struct message message = {.payload = span_of("late")};
    struct store_op op = append_of(&message);
    struct store_op attach = attach_of("s"), another = attach_of("another");
    sqlite3 *reader;
    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 64 * 1024;
    place.config.wal_hard_bytes = 1024 * 1024;
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 1);
    cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    struct store_offset item = {attach.attach.subscription_id, 1, 1};
    struct store_op offsets = {.kind = STORE_OFFSETS, .offsets = {&item, 1}};
    struct store_op seek = {.kind = STORE_SEEK, .seek = {.id = span_of("s"), .filter = span_of("A")}};
    cr_assert_eq(sqlite3_open_v2(place.file, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM messages", NULL, NULL, NULL), SQLITE_OK);

    while (place.state.wal_bytes <= 1024 * 1024)
        sqlite_case_publish(&place, "A", 1000);
    cr_assert_eq(sqlite_case_commit(&place, &op), PS_OK);
    cr_assert_eq(op.status, PS_STORAGE_BUSY);
    cr_assert_eq(sqlite_case_commit(&place, &another), PS_OK);
    cr_assert_eq(another.status, PS_STORAGE_BUSY, "nothing new is stored");
    cr_assert_eq(sqlite_case_commit(&place, &offsets), PS_OK);
    cr_assert_eq(offsets.status, PS_STORAGE_BUSY);
    cr_assert_eq(sqlite_case_commit(&place, &seek), PS_OK);
    cr_assert_eq(seek.status, PS_STORAGE_BUSY);
    for (int i = 0; i < 2000 && attach.status == PS_OK; i++)
        cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    cr_assert_eq(attach.status, PS_STORAGE_BUSY, "what is there is attached to, but not without end");
    cr_assert_gt(attach.attach.generation, 10u);
    cr_assert_lt(place.state.wal_bytes, 1400u * 1024);
    cr_assert_not_null(strstr(place.logged, "event=checkpoint_busy"), "%s", place.logged);

    sqlite3_close(reader);
    for (int i = 0; i < 2000 && op.status == PS_STORAGE_BUSY; i++) {
        usleep(1000);
        cr_assert_eq(sqlite_case_commit(&place, &op), PS_OK);
    }
    cr_assert_eq(op.status, PS_OK, "service resumes by itself");
    cr_assert_eq(sqlite_case_commit(&place, &offsets), PS_OK);
    cr_assert_eq(offsets.status, PS_OK);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, an_outside_reader_does_not_fill_a_disk_that_is_nearly_full)
{
    struct sqlite_case place;
    struct message message = {.payload = span_of("x")};
    struct store_op op = append_of(&message), attach = attach_of("s"), another = attach_of("another");
    sqlite3 *reader;
    sqlite_case_init(&place);
    place.config.disk_floor_bytes = UINT64_MAX;
    place.config.checkpoint_bytes = 64 * 1024;
    place.config.wal_hard_bytes = 1024 * 1024;
    sqlite_case_open(&place);
    cr_assert_eq(sqlite3_open_v2(place.file, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM messages", NULL, NULL, NULL), SQLITE_OK);

    for (int i = 0; i < 500 && attach.status == PS_OK; i++)
        cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    cr_assert_eq(attach.status, PS_STORAGE_BUSY, "the WAL has its end also where the reserve is in use");
    cr_assert_lt(place.state.wal_bytes, 1400u * 1024);
    cr_assert_eq(sqlite_case_commit(&place, &another), PS_OK);
    cr_assert_eq(another.status, PS_STORAGE_BUSY);

    sqlite3_close(reader);
    for (int i = 0; i < 2000 && attach.status != PS_OK; i++) {
        usleep(1000);
        cr_assert_eq(sqlite_case_commit(&place, &attach), PS_OK);
    }
    cr_assert_eq(attach.status, PS_OK, "service resumes by itself");
    cr_assert_eq(sqlite_case_commit(&place, &op), PS_OK);
    cr_assert_eq(op.status, PS_DISK_FULL);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

static void close_under_a_reader(struct sqlite_case *place)
{
    struct store_reader *reader;

    sqlite_case_open(place);
    if (store_reader_new(place->store, &reader) == PS_OK)
        sqlite_case_close(place);
    _exit(0);
}

Test(sqlite_running, a_store_must_outlive_its_readers)
{
    struct sqlite_case place;
    int ended;
    sqlite_case_init(&place);
    pid_t child = fork();
    if (child == 0)
        close_under_a_reader(&place);
    cr_assert_eq(waitpid(child, &ended, 0), child);
    cr_assert(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGABRT, "it was closed");
    sqlite_case_deinit(&place);
}

struct endless_reader {
    pthread_t thread;
    struct store *store;
    atomic_bool *stop;
    struct store_topic topic;
    unsigned steps;
};

/* Slow enough, with more readers than the WAL has marks, that without the gate no moment comes when its newest part
 * is free of them. */
static bool take(void *ctx, const struct message *message)
{
    (void)ctx, (void)message;
    usleep(500);
    return true;
}

static void *read_on(void *ctx)
{
    struct endless_reader *self = ctx;
    struct store_reader *reader;

    if (store_reader_new(self->store, &reader) != PS_OK)
        return NULL;
    while (!atomic_load(self->stop)) {
        struct store_read read = {.topic = self->topic,
                                  .to = self->topic.next_offset,
                                  .max_messages = 16,
                                  .max_bytes = 1024 * 1024,
                                  .max_microseconds = 5000,
                                  .show = take};

        if (store_read(reader, &read) == PS_OK)
            self->steps++;
    }
    store_reader_free(reader);
    return NULL;
}

Test(sqlite_running, the_wal_stays_small_under_continuous_readers)
{
    enum { READERS = 12 };
    struct endless_reader readers[READERS];
    struct store_run run = {0, 1, 2000};
    atomic_bool stop = false;
    struct sqlite_case place;
    uint64_t most = 0;
    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 1024 * 1024;
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 2000);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct endless_reader){.store = place.store,
                                             .stop = &stop,
                                             .topic = {.topic_id = 1,
                                                       .name = span_of("A"),
                                                       .next_offset = 2000,
                                                       .created_seq = 1,
                                                       .last_seq = 2000,
                                                       .recent = &run,
                                                       .recent_count = 1}};
        cr_assert_eq(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }

    for (int i = 0; i < 300; i++) {
        sqlite_case_publish(&place, "B", 2000);
        most = place.state.wal_bytes > most ? place.state.wal_bytes : most;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        cr_assert_gt(readers[i].steps, 0u);
    }

    cr_assert_gt(place.state.checkpoints, 3u);
    cr_assert_lt(most, 8u * 1024 * 1024, "%llu bytes", (unsigned long long)most);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------------ refusals */

Test(sqlite_running, one_message_that_sqlite_refuses_is_refused_alone)
{
    enum { HUGE_BYTES = 21 * 1024 * 1024, COUNT = 9, CULPRIT = 5 };
    struct sqlite_case place;
    struct message messages[COUNT];
    uint8_t *huge = calloc(1, HUGE_BYTES);
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of("A"), .messages = messages, .count = COUNT}};
    sqlite_case_start(&place);
    for (int i = 0; i < COUNT; i++)
        messages[i] = (struct message){.payload = span_of("fine")};
    messages[CULPRIT].payload = (struct span){huge, HUGE_BYTES};

    cr_assert_eq(sqlite_case_commit(&place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
    cr_assert_eq(op.append.accepted, COUNT - 1);
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(messages[i].status, i == CULPRIT ? PS_MESSAGE_TOO_LARGE : PS_OK);
    cr_assert_eq(messages[CULPRIT + 1].offset, CULPRIT, "the refused one takes no offset");
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history WHERE topic = 'A'"), COUNT - 1);
    free(huge);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, below_the_disk_floor_only_publications_are_refused)
{
    struct sqlite_case place;
    struct message message = {.payload = span_of("x")};
    struct store_op ops[2] = {append_of(&message), attach_of("s")};
    struct store_op *both[2] = {&ops[0], &ops[1]};
    sqlite_case_init(&place);
    place.config.disk_floor_bytes = UINT64_MAX;
    sqlite_case_open(&place);

    cr_assert_eq(store_commit(place.store, both, 2, &place.state), PS_OK);
    cr_assert_eq(ops[0].status, PS_DISK_FULL);
    cr_assert_eq(message.status, PS_DISK_FULL);
    cr_assert_eq(ops[1].status, PS_OK);
    cr_assert_eq(store_commit(place.store, both, 2, &place.state), PS_OK);
    const char *told = strstr(place.logged, "event=disk_low ");
    cr_assert_not_null(told, "%s", place.logged);
    cr_assert_null(strstr(told + 1, "event=disk_"), "once: %s", place.logged);
    sqlite_case_deinit(&place);
}

/* -------------------------------------------------------------------------------------------- time, sweeping */

Test(sqlite_running, time_does_not_go_back_when_the_clock_does)
{
    struct sqlite_case place;
    sqlite_case_start(&place);
    sqlite_case_publish(&place, "A", 1);
    sqlite_case_close(&place);
    sqlite_case_outside(&place,
                        "UPDATE settings SET value = 9000000000000000 WHERE name = 'last_published_at'");

    sqlite_case_open(&place);
    sqlite_case_publish(&place, "A", 2);
    cr_assert_eq(sqlite_case_number(&place, "SELECT min(published_at) FROM messages WHERE seq > 1"),
                 9000000000000000);
    cr_assert_not_null(strstr(place.logged, "event=clock_behind"), "%s", place.logged);
    sqlite_case_deinit(&place);
}

static void delete_topic(struct sqlite_case *place, const char *topic)
{
    struct store_op op = {.kind = STORE_DELETE_TOPIC, .delete_topic = {.topic = span_of(topic)}};

    cr_assert_eq(sqlite_case_commit(place, &op), PS_OK);
    cr_assert_eq(op.status, PS_OK);
}

Test(sqlite_running, a_deleted_topic_is_swept_in_bounded_steps)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    place.config.epoch_rows = 100;
    place.config.sweep_rows = 10;
    sqlite_case_open(&place);
    for (int i = 0; i < 100; i++) {
        sqlite_case_publish(&place, "dead", 5);
        sqlite_case_publish(&place, "alive", 5);
    }
    sqlite_case_work(&place);

    delete_topic(&place, "dead");
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history WHERE topic = 'dead'"), 0,
                 "at once");
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages WHERE topic_id = 1") >= 490, 1);
    for (int64_t left, before = 500; sqlite_case_step(&place); before = left) {
        left = sqlite_case_number(&place, "SELECT count(*) FROM messages WHERE topic_id = 1");
        cr_assert_leq(before - left, 15);
        cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history WHERE topic = 'alive'"), 500);
    }
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages"), 500);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM topic_runs WHERE topic_id = 1"), 0);
    cr_assert_eq(sqlite_case_number(&place, "SELECT swept_offset FROM topics WHERE topic_id = 1"), 500);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, a_payload_with_nothing_beside_it_but_flags_keeps_them)
{
    struct sqlite_case place;
    sqlite_case_start(&place);
    struct message messages[2] = {{.payload = span_of("x")}, {.payload = span_of("y"), .flags = 1}};
    struct store_op op = {.kind = STORE_APPEND, .append = {span_of("A"), messages, 2}};

    cr_assert_eq(sqlite_case_commit(&place, &op), PS_OK);

    cr_assert_eq(sqlite_case_number(&place, "SELECT flags FROM messages WHERE payload = 'x'"), 0);
    cr_assert_eq(sqlite_case_number(&place, "SELECT flags FROM messages WHERE payload = 'y'"), 1);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* SQLite would number from the last row that is left. */
Test(sqlite_running, no_seq_is_used_again_after_the_last_rows_were_swept)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    place.config.epoch_rows = 100;
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "alive", 40);
    sqlite_case_publish(&place, "dead", 60);
    sqlite_case_work(&place);
    delete_topic(&place, "dead");
    sqlite_case_work(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT max(seq) FROM messages"), 40);

    sqlite_case_publish(&place, "alive", 3);
    cr_assert_eq(sqlite_case_number(&place, "SELECT seq FROM messages WHERE offset = 40"), 101);
    cr_assert_eq(sqlite_case_number(&place, "SELECT seq FROM messages WHERE offset = 42"), 103);

    sqlite_case_publish(&place, "alive", 97);
    sqlite_case_work(&place);
    delete_topic(&place, "alive");
    sqlite_case_work(&place);
    sqlite_case_close(&place);
    sqlite_case_open(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages"), 0);
    sqlite_case_publish(&place, "new", 2);
    cr_assert_eq(sqlite_case_number(&place, "SELECT min(seq) FROM messages"), 201);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM history WHERE topic = 'new'"), 2);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, appends_are_grouped_by_topic_over_operations_that_do_not_see_them)
{
    struct sqlite_case place;
    sqlite_case_start(&place);
    struct message messages[5] = {{.payload = span_of("x")}};
    struct store_op ops[8], *all[8];
    static const char *const topics[] = {"A", "B", NULL, "A", NULL, "B", NULL, "A"};
    unsigned message = 0;
    for (unsigned i = 0; i < 8; i++) {
        all[i] = &ops[i];
        ops[i] = (struct store_op){.kind = i == 4 ? STORE_FORGET : STORE_OFFSETS};
        if (i == 4)
            ops[i].forget = (struct store_forget){.id = span_of("s1"), .filter = span_of("A")};
        if (i == 6)
            ops[i] = (struct store_op){.kind = STORE_ATTACH,
                                       .attach = {.id = span_of("s1"), .filter = span_of("A")}};
        if (topics[i] == NULL)
            continue;
        messages[message].payload = span_of("x");
        ops[i] =
            (struct store_op){.kind = STORE_APPEND, .append = {span_of(topics[i]), &messages[message++], 1}};
    }
    cr_assert_eq(store_commit(place.store, all, 8, &place.state), PS_OK);

    cr_assert_eq(ops[0].append.first_seq, 1);
    cr_assert_eq(ops[3].append.first_seq, 2);
    cr_assert_eq(ops[1].append.first_seq, 3);
    cr_assert_eq(ops[5].append.first_seq, 4);
    cr_assert_eq(ops[4].status, PS_NO_SUCH_SUBSCRIPTION);
    cr_assert_eq(ops[6].attach.mark, 5); /* lies between the appends on its two sides */
    cr_assert_eq(ops[7].append.first_seq, 5);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, sweeping_goes_on_after_a_restart_and_drops_empty_epochs)
{
    struct sqlite_case place;
    sqlite_case_init(&place);
    place.config.epoch_rows = 100;
    place.config.sweep_rows = 50;
    sqlite_case_open(&place);
    sqlite_case_publish(&place, "dead", 1000);
    sqlite_case_publish(&place, "alive", 50);
    sqlite_case_work(&place);
    delete_topic(&place, "dead");
    sqlite_case_step(&place);
    sqlite_case_close(&place);
    cr_assert_gt(sqlite_case_number(&place, "SELECT count(*) FROM messages"), 50);

    sqlite_case_open(&place);
    sqlite_case_work(&place);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM messages"), 50);
    cr_assert_eq(sqlite_case_number(&place, "SELECT count(*) FROM epochs"), 1);
    sqlite_case_publish(&place, "dead", 1);
    cr_assert_eq(sqlite_case_number(&place, "SELECT offset FROM history WHERE topic = 'dead'"), 1000);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, an_idle_store_empties_a_wal_that_is_due)
{
    struct sqlite_case place;
    uint64_t before;

    sqlite_case_init(&place);
    place.config.checkpoint_bytes = 1 << 20;
    sqlite_case_open(&place);
    while (place.state.wal_bytes < place.config.checkpoint_bytes)
        sqlite_case_publish(&place, "A", 1000);
    before = place.state.checkpoints;
    sqlite_case_step(&place);
    cr_assert_eq(place.state.checkpoints, before + 1);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

Test(sqlite_running, a_backup_that_is_refused_does_not_begin)
{
    struct sqlite_case place;
    struct store_op backup = {.kind = STORE_BACKUP};

    sqlite_case_init(&place);
    place.config.disk_floor_bytes = (uint64_t)1 << 60;
    sqlite_case_open(&place);
    cr_assert_eq(sqlite_case_commit(&place, &backup), PS_OK);
    cr_assert_eq(backup.status, PS_DISK_FULL);
    cr_assert_eq(place.state.backup.phase, STORE_BACKUP_NONE);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}

/* ------------------------------------------------------------------------------------------------- backups */

enum { LARGE = 1000000, LARGE_AT_ONCE = 8 };

static void publish_large(struct sqlite_case *place, const void *payload)
{
    struct message messages[LARGE_AT_ONCE];
    struct store_op op = append_of(messages), *ops[] = {&op};

    for (int i = 0; i < LARGE_AT_ONCE; i++)
        messages[i] = (struct message){.payload = {payload, LARGE}};
    op.append.count = LARGE_AT_ONCE;
    cr_assert_eq(store_commit(place->store, ops, 1, &place->state), PS_OK);
    cr_assert_eq(op.status, PS_OK);
}

Test(sqlite_running, a_backup_ends_though_each_commit_adds_more_than_a_moment_copies)
{
    struct sqlite_case place;
    struct store_op begin = {.kind = STORE_BACKUP}, *ops[] = {&begin};
    void *payload = calloc(1, LARGE);
    int commits = 0;

    sqlite_case_start(&place);
    publish_large(&place, payload);
    publish_large(&place, payload);
    cr_assert_eq(store_commit(place.store, ops, 1, &place.state), PS_OK);
    while (place.state.backup.phase == STORE_BACKUP_COPYING && commits++ < 40)
        publish_large(&place, payload);
    cr_assert_eq(place.state.backup.phase, STORE_BACKUP_READY, "%llu of %llu bytes after %d commits",
                 (unsigned long long)place.state.backup.copied, (unsigned long long)place.state.backup.total,
                 commits);
    free(payload);
    sqlite_case_deinit(&place);
    ASSERT_NO_LEAKS();
}
