/* A commit of the SQLite store returns, and is seen by anybody, only after a sync covers its rows. */
#include "sync_vfs.h"

#include "leaks.h"
#include "store_sqlite.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TOPICS = 3, EACH = 4 };
static const char *const names[TOPICS] = {"A", "B", "C"};

struct opened {
    char directory[64];
    struct store *store;
    uint64_t last[TOPICS]; /* newest marker of each topic */
};

static void open_store(struct opened *opened)
{
    struct store_opened facts;
    char error[256] = "";
    *opened = (struct opened){0};
    cr_assert(tmpdir_make(opened->directory));
    struct store_sqlite_config config = {.directory = opened->directory};
    sync_vfs_install();
    enum ps_status status = store_sqlite_open(&config, &opened->store, &facts, error, sizeof error);
    cr_assert_eq(status, PS_OK, "%s", error);
}

static void close_store(struct opened *opened)
{
    store_close(opened->store);
    tmpdir_remove(opened->directory);
    ASSERT_NO_LEAKS();
}

/* A few marked messages to every topic, in one commit. */
static void commit(struct opened *opened)
{
    struct message messages[TOPICS][EACH];
    char markers[TOPICS][EACH][SYNC_VFS_MARKER_BYTES];
    struct store_op ops[TOPICS], *pointers[TOPICS];
    struct store_state state;
    for (unsigned t = 0; t < TOPICS; t++) {
        for (int i = 0; i < EACH; i++) {
            sync_vfs_marker(markers[t][i], t, ++opened->last[t]);
            messages[t][i] = (struct message){.payload = span_of(markers[t][i])};
        }
        ops[t] =
            (struct store_op){.kind = STORE_APPEND,
                              .append = {.topic = span_of(names[t]), .messages = messages[t], .count = EACH}};
        pointers[t] = &ops[t];
    }
    cr_assert_eq(store_commit(opened->store, pointers, TOPICS, &state), PS_OK);
}

Test(store_sync, a_commit_returns_after_a_sync_that_covers_it)
{
    struct opened opened;
    open_store(&opened);

    for (int i = 0; i < 200; i++) {
        commit(&opened);
        for (unsigned t = 0; t < TOPICS; t++)
            cr_assert_geq(sync_vfs_durable(t), opened.last[t], "commit %d returned before its sync", i);
    }

    close_store(&opened);
}

Test(store_sync, a_commit_waits_for_one_sync_whatever_is_in_it)
{
    struct opened opened;
    open_store(&opened);
    commit(&opened);

    for (int i = 0; i < 10; i++) {
        uint64_t before = sync_vfs_syncs();
        commit(&opened);
        cr_assert_eq(sync_vfs_syncs(), before + 1);
    }

    close_store(&opened);
}

struct watcher {
    const char *directory;
    atomic_bool ended;
    uint64_t seen, unsynced;
};

/* Reads the newest rows over and over, as an outside program would. */
static void *watch(void *arg)
{
    struct watcher *watcher = arg;
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *newest;
    snprintf(path, sizeof path, "%s/psbroker.db", watcher->directory);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "SELECT payload FROM messages ORDER BY seq DESC LIMIT 4", -1, &newest, NULL) !=
            SQLITE_OK)
        abort();
    while (!atomic_load(&watcher->ended)) {
        while (sqlite3_step(newest) == SQLITE_ROW) {
            const char *payload = (const char *)sqlite3_column_text(newest, 0);
            unsigned topic = (unsigned)(payload[5] - '0');
            uint64_t number = sync_vfs_number(payload, strlen(payload), topic);
            watcher->seen++;
            watcher->unsynced += number > sync_vfs_durable(topic);
        }
        sqlite3_reset(newest);
    }
    sqlite3_finalize(newest);
    sqlite3_close(db);
    return NULL;
}

Test(store_sync, nobody_sees_a_row_before_its_sync)
{
    struct opened opened;
    open_store(&opened);
    struct watcher watcher = {.directory = opened.directory};
    pthread_t thread;
    sync_vfs_delay(1);
    cr_assert_eq(pthread_create(&thread, NULL, watch, &watcher), 0);

    for (int i = 0; i < 300; i++)
        commit(&opened);
    atomic_store(&watcher.ended, true);
    pthread_join(thread, NULL);

    cr_assert_gt(watcher.seen, (uint64_t)0);
    cr_assert_eq(watcher.unsynced, (uint64_t)0, "%llu of %llu rows were seen before their sync",
                 (unsigned long long)watcher.unsynced, (unsigned long long)watcher.seen);
    close_store(&opened);
}
