/* The ready query on `history` costs the same in a small log and in a large one: counted in pages that a fresh
 * connection has to fetch, at 100 thousand and at 5 million rows. The store is closed when it is counted, so that
 * the rows behind the last epoch, which the view reads one by one, are none in both. */
#include "store_sqlite.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SMALL_ROWS = 100000,
    LARGE_ROWS = 5000000,
    BATCH_ROWS = 20000,
    RANGE = 1000,
    /* Fifty times the rows make each b-tree one level deeper: the runs, and the messages that the query goes down
     * to in the range and behind the last epoch. */
    DEEPER_PAGES = 4
};

struct log {
    char directory[64];
    char file[96];
    struct store *store;
    uint64_t rows;   /* of the topic that is asked for */
    unsigned others; /* so many topics besides, one message each in every commit */
    struct message *messages;
};

static void make_log(struct log *log, unsigned others)
{
    *log = (struct log){.others = others, .messages = calloc(BATCH_ROWS, sizeof *log->messages)};
    snprintf(log->directory, sizeof log->directory, "/tmp/psbroker-pages-XXXXXX");
    cr_assert_not_null(mkdtemp(log->directory));
    snprintf(log->file, sizeof log->file, "%s/psbroker.db", log->directory);
}

static void open_store(struct log *log)
{
    struct store_opened opened;
    char error[256] = "";
    struct store_sqlite_config config = {.directory = log->directory};
    enum ps_status status = store_sqlite_open(&config, &log->store, &opened, error, sizeof error);
    cr_assert_eq(status, PS_OK, "%s", error);
}

static void remove_log(struct log *log)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", log->file, endings[i]);
        unlink(path);
    }
    rmdir(log->directory);
    free(log->messages);
}

static void grow(struct log *log, uint64_t rows)
{
    enum { MOST_OTHERS = 32 };
    open_store(log);
    while (log->rows < rows) {
        struct store_op ops[1 + MOST_OTHERS], *pointers[1 + MOST_OTHERS];
        struct message other[MOST_OTHERS];
        char names[MOST_OTHERS][20];
        struct store_state state;
        for (uint32_t i = 0; i < BATCH_ROWS; i++)
            log->messages[i] = (struct message){.payload = span_of("x")};
        ops[0] = (struct store_op){
            .kind = STORE_APPEND,
            .append = {.topic = span_of("A"), .messages = log->messages, .count = BATCH_ROWS}};
        for (unsigned i = 0; i < log->others; i++) {
            snprintf(names[i], sizeof names[i], "other/%u", i);
            other[i] = (struct message){.payload = span_of("y")};
            ops[i + 1] =
                (struct store_op){.kind = STORE_APPEND,
                                  .append = {.topic = span_of(names[i]), .messages = &other[i], .count = 1}};
        }
        for (unsigned i = 0; i <= log->others; i++)
            pointers[i] = &ops[i];
        cr_assert_eq(store_commit(log->store, pointers, 1 + log->others, &state), PS_OK);
        cr_assert_eq(ops[0].status, PS_OK);
        log->rows += BATCH_ROWS;
    }
    store_close(log->store);
}

/* Pages that a fresh connection fetches for the query with ?1 and ?2 bound; it must give RANGE rows. */
static int pages_of(const struct log *log, const char *sql, uint64_t first, uint64_t second)
{
    sqlite3 *db;
    sqlite3_stmt *query;
    int pages = 0, most = 0, rows = 0, rc;
    cr_assert_eq(sqlite3_open_v2(log->file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &query, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_bind_int64(query, 1, (sqlite3_int64)first);
    sqlite3_bind_int64(query, 2, (sqlite3_int64)second);
    while ((rc = sqlite3_step(query)) == SQLITE_ROW)
        rows++;
    cr_assert_eq(rc, SQLITE_DONE, "%s", sqlite3_errmsg(db));
    cr_assert_eq(rows, (int)RANGE);
    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &pages, &most, 0);
    sqlite3_finalize(query);
    sqlite3_close(db);
    return pages;
}

static const char range_query[] = "SELECT offset, payload FROM history WHERE topic = 'A'"
                                  " AND offset BETWEEN ?1 AND ?2 AND run BETWEEN ?1 - 1023 AND ?2";

struct pages {
    int low, middle, high;
};

static struct pages measure(const struct log *log)
{
    uint64_t middle = log->rows / 2 - 300, high = log->rows - RANGE - 5;
    return (struct pages){pages_of(log, range_query, 17, 17 + RANGE - 1),
                          pages_of(log, range_query, middle, middle + RANGE - 1),
                          pages_of(log, range_query, high, high + RANGE - 1)};
}

/* Pages of a log of so many rows that was written and closed once. */
static struct pages pages_at(uint64_t rows, unsigned others)
{
    struct log log;
    make_log(&log, others);
    grow(&log, rows);
    struct pages pages = measure(&log);
    remove_log(&log);
    return pages;
}

static void compare(unsigned others, int more)
{
    struct pages small = pages_at(SMALL_ROWS, others), large = pages_at(LARGE_ROWS, others);
    bool fits = large.low <= small.low + more && large.middle <= small.middle + more &&
                large.high <= small.high + more;
    cr_assert(fits,
              "%d rows at the low end, in the middle, at the high end, %u other topics:"
              " %d, %d, %d pages of %d rows, %d, %d, %d pages of %d rows",
              RANGE, others, small.low, small.middle, small.high, SMALL_ROWS, large.low, large.middle,
              large.high, LARGE_ROWS);
}

Test(history_pages, a_range_of_one_topic_does_not_grow_with_the_log)
{
    compare(0, DEEPER_PAGES);
}

Test(history_pages, a_range_among_other_topics_does_not_grow_either)
{
    compare(20, DEEPER_PAGES);
}
