/* What is compared:
 *
 *   topics.next_offset, last_seq   with the topic's last run in the newest epoch, and with the row at last_seq
 *   topics.first_offset            with the row at created_seq: nothing but a deletion moves it, and a topic made
 *                                  again begins where the deletion ended
 *   topic_runs of the newest epoch with the interval of the epoch, with each other, and with the rows
 *
 * Older epochs are checked by readers: what a run leads to must carry the topic, the offset and a checksum. */
#include "verify.h"

#include "sqlite_store.h"
#include "topic.h"
#include "vfs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PROBED_TOPICS = 256,
    EPOCH_MOST_ROWS = 16 * 1024 * 1024 /* far above any setting */
};

/* The newest epoch, and which of its seqs have a run. */
struct coverage {
    uint64_t epoch, first_seq, last_seq;
    uint8_t *seqs; /* a bit each */
};

enum ps_status finding_set(const struct finding *finding, const struct topic *topic, const char *format, ...)
{
    char what[160];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (topic == NULL)
        snprintf(finding->text, finding->size,
                 "psbroker.db is damaged: %s; restore it from a backup, or see storage/README.md on repair",
                 what);
    else
        snprintf(finding->text, finding->size,
                 "the topic %.*s (topic_id %llu) in psbroker.db is damaged: %s; restore the database from a "
                 "backup, or see storage/README.md on repair",
                 (int)topic->name_size, (const char *)topic->name, (unsigned long long)topic->topic_id, what);
    return PS_DAMAGED;
}

/* ----------------------------------------------------------------------------------------- a row by itself */

static bool are_numbers(sqlite3_stmt *row, int from, int to)
{
    for (int column = from; column <= to; column++)
        if (sqlite3_column_type(row, column) != SQLITE_INTEGER || sqlite3_column_int64(row, column) < 0)
            return false;
    return true;
}

enum ps_status verify_topic_row(sqlite3_stmt *row, const struct finding *finding)
{
    unsigned long long topic_id = column_u64(row, 0);
    uint64_t created_seq = column_u64(row, 2);
    uint64_t first_offset = column_u64(row, 3);
    uint64_t next_offset = column_u64(row, 4);
    bool exists = sqlite3_column_int(row, 7) == 0;

    if (topic_id == 0 || topic_id > UINT32_MAX || !are_numbers(row, 0, 0) || !are_numbers(row, 2, 6))
        return finding_set(finding, NULL, "the row of topic_id %llu in `topics` holds no sound numbers",
                           topic_id);
    if (sqlite3_column_type(row, 1) != SQLITE_TEXT || topic_validate(column_span(row, 1)) != PS_OK)
        return finding_set(finding, NULL, "the name of topic_id %llu is no topic name", topic_id);
    if (created_seq == 0 || first_offset > next_offset || column_u64(row, 6) > first_offset ||
        (!exists && first_offset != next_offset) ||
        (exists && first_offset < next_offset && column_u64(row, 5) < created_seq))
        return finding_set(finding, NULL,
                           "the topic %.100s (topic_id %llu) has offsets or seqs that contradict each other",
                           (const char *)sqlite3_column_text(row, 1), topic_id);
    return PS_OK;
}

/* -------------------------------------------------------------------------------------------- newest epoch */

static enum ps_status find_epoch(struct sqlite_store *store, struct coverage *coverage,
                                 const struct finding *finding)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_LAST_TWO_EPOCHS);
    enum ps_status status = PS_OK;
    uint64_t before = 0;
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        if (!are_numbers(select, 0, 2))
            status = finding_set(finding, NULL, "a row of `epochs` holds no sound numbers");
        *coverage =
            (struct coverage){column_u64(select, 0), column_u64(select, 1), column_u64(select, 2), NULL};
        rc = sqlite3_step(select);
        if (rc == SQLITE_ROW)
            before = column_u64(select, 2);
    }
    sqlite3_reset(select);
    if (status != PS_OK || database_status(rc) != PS_OK || coverage->epoch == 0)
        return status != PS_OK ? status : database_status(rc);
    if (coverage->first_seq <= before || coverage->last_seq < coverage->first_seq ||
        coverage->last_seq - coverage->first_seq >= EPOCH_MOST_ROWS || coverage->epoch > coverage->last_seq)
        return finding_set(finding, NULL, "epoch %llu in `epochs` does not follow on the one before",
                           (unsigned long long)coverage->epoch);
    return PS_OK;
}

/* False when a seq has a run already. */
static bool cover(struct coverage *coverage, uint64_t first_seq, uint64_t count)
{
    for (uint64_t seq = first_seq; seq < first_seq + count; seq++) {
        uint64_t bit = seq - coverage->first_seq;

        if ((coverage->seqs[bit / 8] >> (bit % 8) & 1) != 0)
            return false;
        coverage->seqs[bit / 8] |= (uint8_t)(1u << (bit % 8));
    }
    return true;
}

/* One run, and its topic, which knows at least as much as its runs. */
static enum ps_status verify_run(struct coverage *coverage, sqlite3_stmt *row, const struct roster *roster,
                                 const struct finding *finding)
{
    uint64_t offset = column_u64(row, 1);
    uint64_t seq = column_u64(row, 2);
    uint64_t count = column_u64(row, 3);
    const struct listed_topic *listed = roster_find(roster, column_u64(row, 0));
    const struct topic_facts *facts = listed == NULL ? NULL : &listed->topic->committed;

    if (!are_numbers(row, 0, 3) || facts == NULL || count == 0 || count > RUN_MAX ||
        seq < coverage->first_seq || seq > coverage->last_seq || count > coverage->last_seq - seq + 1 ||
        !cover(coverage, seq, count))
        return finding_set(
            finding, NULL,
            "a run of topic_id %llu at seq %llu in epoch %llu overlaps another or lies outside",
            (unsigned long long)column_u64(row, 0), (unsigned long long)seq,
            (unsigned long long)coverage->epoch);
    if (offset + count > facts->next_offset || seq + count - 1 > facts->last_seq ||
        (seq + count - 1 == facts->last_seq && offset + count != facts->next_offset))
        return finding_set(finding, listed->topic,
                           "next_offset %llu or last_seq %llu is not what its runs say",
                           (unsigned long long)facts->next_offset, (unsigned long long)facts->last_seq);
    return PS_OK;
}

static enum ps_status verify_runs(struct sqlite_store *store, struct coverage *coverage,
                                  const struct roster *roster, const struct finding *finding)
{
    sqlite3_stmt *runs = database_statement(&store->db, STATEMENT_RUNS_OF_EPOCH);
    enum ps_status status = PS_OK;
    int rc = SQLITE_DONE;

    if (runs == NULL)
        return database_error(&store->db);
    bind_u64(runs, 1, coverage->epoch);
    while (status == PS_OK && (rc = sqlite3_step(runs)) == SQLITE_ROW)
        status = verify_run(coverage, runs, roster, finding);
    sqlite3_reset(runs);
    return status == PS_OK ? database_status(rc) : status;
}

static enum ps_status find_row_between(struct sqlite_store *store, uint64_t from, uint64_t to,
                                       uint64_t *found)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_FIRST_ROW_BETWEEN);
    int rc;

    *found = 0;
    if (select == NULL)
        return database_error(&store->db);
    bind_u64(select, 1, from);
    bind_u64(select, 2, to);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        *found = column_u64(select, 0);
    sqlite3_reset(select);
    return database_status(rc);
}

/* Runs leave together with their rows, so where there is no run there is no row. */
static enum ps_status verify_gaps(struct sqlite_store *store, const struct coverage *coverage,
                                  const struct finding *finding)
{
    uint64_t count = coverage->last_seq - coverage->first_seq + 1;
    enum ps_status status = PS_OK;

    for (uint64_t bit = 0; bit < count && status == PS_OK; bit++) {
        uint64_t from = bit;
        uint64_t found;

        while (bit < count && (coverage->seqs[bit / 8] >> (bit % 8) & 1) == 0)
            bit++;
        if (bit == from)
            continue;
        status = find_row_between(store, coverage->first_seq + from, coverage->first_seq + bit - 1, &found);
        if (status == PS_OK && found != 0)
            status = finding_set(finding, NULL, "the record with seq %llu is in no run of epoch %llu",
                                 (unsigned long long)found, (unsigned long long)coverage->epoch);
    }
    return status;
}

enum ps_status verify_last_epoch(struct sqlite_store *store, const struct roster *roster,
                                 const struct finding *finding)
{
    struct coverage coverage = {0};
    enum ps_status status = find_epoch(store, &coverage, finding);

    if (status != PS_OK || coverage.epoch == 0)
        return status;
    coverage.seqs = calloc(1, (size_t)(coverage.last_seq - coverage.first_seq) / 8 + 1);
    if (coverage.seqs == NULL)
        return PS_NO_MEMORY;
    status = verify_runs(store, &coverage, roster, finding);
    if (status == PS_OK)
        status = verify_gaps(store, &coverage, finding);
    free(coverage.seqs);
    return status;
}

/* ------------------------------------------------------------------------------------------------- topics */

/* Whether the row at `seq` is that offset of the topic. */
static enum ps_status probe(struct sqlite_store *store, const struct topic *topic, uint64_t seq,
                            uint64_t offset, const struct finding *finding)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_ROW_AT);
    bool same = false;
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    bind_u64(select, 1, seq);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        same = column_u64(select, 0) == topic->topic_id && column_u64(select, 1) == offset;
    sqlite3_reset(select);
    if (database_status(rc) != PS_OK || same)
        return database_status(rc);
    return finding_set(finding, topic, "the record with seq %llu is not its offset %llu",
                       (unsigned long long)seq, (unsigned long long)offset);
}

/* Rows are compared with what stands elsewhere, so those on a damaged page prove as much as others. Where such a page
 * would be written it is met before: the last row is asked for. */
static void believe_rows(struct sqlite_store *store, bool believed)
{
    vfs_tolerate(store->db.handle, believed || store->config.accept_changes);
    if (!believed)
        sqlite3_db_release_memory(store->db.handle);
}

static int by_last_seq(const void *left, const void *right)
{
    const struct topic *const *a = left;
    const struct topic *const *b = right;

    return (*a)->committed.last_seq > (*b)->committed.last_seq
               ? -1
               : (*a)->committed.last_seq < (*b)->committed.last_seq;
}

static enum ps_status probe_latest(struct sqlite_store *store, const struct topic **topics, size_t count,
                                   const struct finding *finding)
{
    enum ps_status status = PS_OK;

    qsort(topics, count, sizeof(*topics), by_last_seq);
    for (size_t i = 0; i < count && i < PROBED_TOPICS && status == PS_OK; i++) {
        const struct topic_facts *facts = &topics[i]->committed;

        status = probe(store, topics[i], facts->last_seq, facts->next_offset - 1, finding);
        if (status == PS_OK)
            status = probe(store, topics[i], facts->created_seq, facts->first_offset, finding);
    }
    return status;
}

/* Where the next slice of the index will write: its right edges, and behind the runs of the topics written to last. */
static enum ps_status visit_index(struct sqlite_store *store, const struct topic **topics, size_t count)
{
    enum ps_status status = database_run(&store->db, database_statement(&store->db, STATEMENT_RIGHT_EDGES));

    for (size_t i = 0; i < count && i < PROBED_TOPICS && status == PS_OK; i++) {
        sqlite3_stmt *select = database_statement(&store->db, STATEMENT_BUSY_RUN_AT_OR_BELOW);

        if (select != NULL) {
            bind_u64(select, 1, topics[i]->topic_id);
            bind_u64(select, 2, topics[i]->committed.next_offset);
        }
        status = database_run(&store->db, select);
    }
    return status;
}

enum ps_status verify_topics(struct sqlite_store *store, const struct roster *roster,
                             const struct finding *finding)
{
    const struct topic **topics = calloc(roster->count + 1, sizeof(*topics));
    enum ps_status status = PS_OK;
    size_t count = 0;

    if (topics == NULL)
        return PS_NO_MEMORY;
    for (size_t i = 0; i < roster->count && status == PS_OK; i++) {
        const struct topic *topic = roster->items[i].topic;
        const struct topic_facts *facts = &topic->committed;

        /* Each offset took a seq. */
        if (facts->created_seq >= store->next_seq || facts->last_seq >= store->next_seq ||
            facts->next_offset >= store->next_seq)
            status = finding_set(finding, topic, "it is ahead of the log, which ends before seq %llu",
                                 (unsigned long long)store->next_seq);
        if (facts->exists && facts->first_offset < facts->next_offset)
            topics[count++] = topic;
    }
    believe_rows(store, true);
    if (status == PS_OK)
        status = probe_latest(store, topics, count, finding);
    believe_rows(store, false);
    if (status == PS_OK)
        status = visit_index(store, topics, count);
    free(topics);
    return status;
}
