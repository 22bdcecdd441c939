/* Three stages: RECORDS in commit order, each against its checksum, the record before it of its topic, and the run that
 * leads to it ─▶ TOPICS: nothing is missing at their ends ─▶ OFFSETS: none is behind its head.
 *
 * Each step sees the log as it is then. A topic that seems to have a gap is looked up again, as it may have been
 * deleted and swept since; what was published since the beginning is left out. A page that does not match its seal is
 * told, and then read all the same, so that records are judged one by one. */
#include "scrub.h"

#include "record.h"
#include "scrub_topics.h"
#include "sqlite_store.h"
#include "topic.h"
#include "vfs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CLOCK_EVERY = 16,
    TOLERATED_ROWS = 1024, /* read without seals behind a page that does not match */
    SKIPPED_ROWS = 64      /* at a time, where SQLite cannot go on */
};

enum stage { STAGE_BEGIN, STAGE_RECORDS, STAGE_TOPICS, STAGE_OFFSETS, STAGE_DONE };

struct store_scrub {
    enum stage stage;
    uint64_t at, end; /* the next seq, and the first that is not checked any more */
    uint64_t previous_seq;
    int64_t published_at;
    uint64_t records, topics_seen; /* looked at; of how many topics */
    uint64_t tolerated_until, unreadable_from;
    bool is_full;     /* who is told has no room for more in this step */
    bool is_tolerant; /* a later stage met a page that does not match */
    bool met_bad_page;
    struct {
        uint64_t number, first_seq, last_seq;
    } epoch;                            /* that holds `at`; number 0: not known */
    uint64_t topic_id, subscription_id; /* where the later stages are */
    struct scrub_topics topics;
};

/* One step. */
struct pass {
    struct store_scrub *scrub;
    struct database *db;
    struct store_verify *verify;
    uint64_t until;
    bool in_tail; /* no epoch behind: no need to look again in this snapshot */
};

enum ps_status scrub_new(struct store_scrub **made)
{
    struct store_scrub *scrub = calloc(1, sizeof(*scrub));

    if (scrub == NULL)
        return PS_NO_MEMORY;
    if (scrub_topics_init(&scrub->topics) != PS_OK) {
        free(scrub);
        return PS_NO_MEMORY;
    }
    *made = scrub;
    return PS_OK;
}

void scrub_free(struct store_scrub *scrub)
{
    if (scrub == NULL)
        return;
    scrub_topics_deinit(&scrub->topics);
    free(scrub);
}

uint64_t scrub_topic_count(const struct store_scrub *scrub)
{
    return scrub->topics_seen;
}

bool scrub_met_bad_page(const struct store_scrub *scrub)
{
    return scrub->met_bad_page;
}

static void tell(const struct pass *pass, struct span topic, struct optional_u64 offset, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

static void tell(const struct pass *pass, struct span topic, struct optional_u64 offset, const char *format,
                 ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (!pass->verify->show(pass->verify->ctx, &(struct store_problem){topic, offset, span_of(text)}))
        pass->scrub->is_full = true;
}

static const struct optional_u64 no_offset;

static struct optional_u64 at_offset(uint64_t offset)
{
    return (struct optional_u64){true, offset};
}

/* ------------------------------------------------------------------------------------------------ records */

static bool is_text_or_blob(sqlite3_stmt *row, int column)
{
    int type = sqlite3_column_type(row, column);

    return type == SQLITE_TEXT || type == SQLITE_BLOB;
}

static bool checksum_fits(sqlite3_stmt *row, const struct scrub_topic *topic)
{
    struct message message = {.offset = column_u64(row, 2),
                              .published_at = sqlite3_column_int64(row, 3),
                              .flags = (uint32_t)sqlite3_column_int64(row, 4),
                              .publisher = column_span(row, 6),
                              .key = column_span(row, 7),
                              .payload = column_span(row, 9)};

    return is_text_or_blob(row, 9) &&
           record_checksum(scrub_topic_name(topic), &message, column_span(row, 8)) ==
               (uint64_t)sqlite3_column_int64(row, 5);
}

static enum ps_status check_order(const struct pass *pass, struct scrub_topic *topic, uint64_t offset)
{
    if (offset > topic->next) {
        enum ps_status status = scrub_topic_look_up(topic, pass->db);

        if (status != PS_OK)
            return status;
        if (topic->next < topic->first)
            topic->next = topic->first;
    }
    if (offset < topic->first)
        return PS_OK; /* deleted, and not yet swept */
    if (offset > topic->next)
        tell(pass, scrub_topic_name(topic), at_offset(topic->next), "offsets %llu to %llu are missing",
             (unsigned long long)topic->next, (unsigned long long)offset - 1);
    else if (offset < topic->next)
        tell(pass, scrub_topic_name(topic), at_offset(offset), "stands twice, or in the wrong place");
    if (offset >= topic->next)
        topic->next = offset + 1;
    return PS_OK;
}

/* The epoch that holds the seq; none behind the last. */
static enum ps_status find_epoch(struct pass *pass, uint64_t seq)
{
    struct store_scrub *scrub = pass->scrub;
    sqlite3_stmt *select;
    int rc;

    if (pass->in_tail || (scrub->epoch.number != 0 && seq <= scrub->epoch.last_seq))
        return PS_OK;
    select = database_statement(pass->db, STATEMENT_SCRUB_EPOCH);
    if (select == NULL)
        return database_error(pass->db);
    bind_u64(select, 1, seq);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        scrub->epoch.number = column_u64(select, 0);
        scrub->epoch.first_seq = column_u64(select, 1);
        scrub->epoch.last_seq = column_u64(select, 2);
    }
    pass->in_tail = rc == SQLITE_DONE;
    sqlite3_reset(select);
    return database_status(rc);
}

static bool run_leads_to(const struct scrub_topic *topic, uint64_t epoch, uint64_t offset, uint64_t seq)
{
    return topic->epoch == epoch && offset - topic->run.first_offset < topic->run.count &&
           topic->run.first_seq + (offset - topic->run.first_offset) == seq;
}

static enum ps_status check_run(struct pass *pass, struct scrub_topic *topic, uint64_t offset, uint64_t seq)
{
    uint64_t epoch = pass->scrub->epoch.number;
    sqlite3_stmt *select;
    int rc;

    if (seq < pass->scrub->epoch.first_seq) {
        tell(pass, scrub_topic_name(topic), at_offset(offset), "lies between two epochs of the index");
        return PS_OK;
    }
    if (run_leads_to(topic, epoch, offset, seq))
        return PS_OK;
    select = database_statement(pass->db, STATEMENT_RUN_AT_OR_BELOW);
    if (select == NULL)
        return database_error(pass->db);
    bind_u64(select, 1, epoch);
    bind_u64(select, 2, topic->topic_id);
    bind_u64(select, 3, offset);
    rc = sqlite3_step(select);
    topic->epoch = epoch;
    topic->run = (struct store_run){0};
    if (rc == SQLITE_ROW)
        topic->run = (struct store_run){column_u64(select, 0), column_u64(select, 1), column_u64(select, 2)};
    sqlite3_reset(select);
    if (database_status(rc) == PS_OK && !run_leads_to(topic, epoch, offset, seq))
        tell(pass, scrub_topic_name(topic), at_offset(offset), "is not found by the index (epoch %llu)",
             (unsigned long long)epoch);
    return database_status(rc);
}

/* Behind the last epoch every seq has its record. What is below `next_seq` may have been swept, and its epoch with
 * it. */
static enum ps_status check_tail(const struct pass *pass, uint64_t seq)
{
    uint64_t due = pass->scrub->previous_seq + 1;
    uint64_t first = 1;
    enum ps_status status;

    if (!pass->in_tail || seq == due)
        return PS_OK;
    status = database_number(pass->db, "next_seq", &first);
    if (due < first)
        due = first;
    if (status == PS_OK && due < seq)
        tell(pass, SPAN_ABSENT, no_offset, "records with seq %llu to %llu are missing",
             (unsigned long long)due, (unsigned long long)seq - 1);
    return status;
}

static enum ps_status check_record(struct pass *pass, sqlite3_stmt *row)
{
    struct store_scrub *scrub = pass->scrub;
    uint64_t seq = column_u64(row, 0);
    uint64_t offset = column_u64(row, 2);
    int64_t published_at = sqlite3_column_int64(row, 3);
    struct scrub_topic *topic;
    enum ps_status status = find_epoch(pass, seq);

    if (status == PS_OK)
        status = scrub_topics_obtain(&scrub->topics, pass->db, column_u64(row, 1), &topic);
    if (status == PS_OK)
        status = check_tail(pass, seq);
    if (status != PS_OK)
        return status;
    if (!topic->known) {
        tell(pass, SPAN_ABSENT, no_offset,
             "the record with seq %llu is of topic_id %llu, which does not exist", (unsigned long long)seq,
             (unsigned long long)topic->topic_id);
        return PS_OK;
    }
    status = check_order(pass, topic, offset);
    if (status != PS_OK || offset < topic->first)
        return status;
    scrub->topics_seen += topic->last_seq == 0;
    topic->last_seq = seq;
    scrub->records++;
    if (!checksum_fits(row, topic))
        tell(pass, scrub_topic_name(topic), at_offset(offset), "does not match its checksum (seq %llu)",
             (unsigned long long)seq);
    else if (published_at < scrub->published_at)
        tell(pass, scrub_topic_name(topic), at_offset(offset),
             "is older than the record before it (seq %llu)", (unsigned long long)seq);
    else
        scrub->published_at = published_at;
    return pass->in_tail ? PS_OK : check_run(pass, topic, offset, seq);
}

static void end_unreadable(const struct pass *pass, uint64_t seq)
{
    struct store_scrub *scrub = pass->scrub;

    if (scrub->unreadable_from != 0)
        tell(pass, SPAN_ABSENT, no_offset,
             "records with seq %llu to %llu cannot be read: the file is damaged there",
             (unsigned long long)scrub->unreadable_from, (unsigned long long)seq - 1);
    scrub->unreadable_from = 0;
}

/* A page that was read without its seal must not stay where others would find it. */
static void set_tolerance(const struct pass *pass, bool tolerated)
{
    vfs_tolerate(pass->db->handle, tolerated);
    if (!tolerated)
        sqlite3_db_release_memory(pass->db->handle);
}

/* `mismatch` for SQLite's "disk I/O error", which a page gives that does not match its seal. */
static const char *reason(const struct pass *pass, const char *mismatch)
{
    sqlite3 *db = pass->db->handle;

    return sqlite3_extended_errcode(db) == SQLITE_IOERR_DATA ? mismatch : sqlite3_errmsg(db);
}

/* Damage on the way: what of it is readable is read the next time, else it is passed over. */
static void go_around(const struct pass *pass)
{
    struct store_scrub *scrub = pass->scrub;

    if (scrub->tolerated_until <= scrub->at) {
        tell(pass, SPAN_ABSENT, no_offset, "a page behind seq %llu is damaged: %s",
             (unsigned long long)scrub->at - 1, reason(pass, "it does not match its checksum"));
        scrub->tolerated_until = scrub->at + TOLERATED_ROWS;
        return;
    }
    if (scrub->unreadable_from == 0)
        scrub->unreadable_from = scrub->at;
    scrub->at += SKIPPED_ROWS;
    scrub->tolerated_until = scrub->at + TOLERATED_ROWS;
}

/* Damage that the check goes on behind. */
static bool meets_damage(struct store_scrub *scrub, int rc)
{
    scrub->met_bad_page |= rc == SQLITE_IOERR_DATA;
    return rc == SQLITE_IOERR_DATA || (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_TOOBIG;
}

/* Up to `end`, or as long as there is time, and room for what is found. */
static enum ps_status check_records(struct pass *pass, sqlite3_stmt *rows, uint64_t end)
{
    struct store_scrub *scrub = pass->scrub;
    unsigned count = 0;
    int rc;

    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        uint64_t seq = column_u64(rows, 0);
        enum ps_status status;

        end_unreadable(pass, seq);
        status = check_record(pass, rows);
        if (status != PS_OK)
            return status;
        scrub->previous_seq = seq;
        scrub->at = seq + 1;
        if (scrub->is_full || (++count % CLOCK_EVERY == 0 && monotonic_us() >= pass->until))
            return PS_OK;
    }
    if (rc == SQLITE_DONE)
        scrub->at = end;
    return database_status(rc);
}

static enum ps_status step_records(struct pass *pass)
{
    struct store_scrub *scrub = pass->scrub;
    bool tolerated = scrub->tolerated_until > scrub->at;
    uint64_t end = tolerated && scrub->tolerated_until < scrub->end ? scrub->tolerated_until : scrub->end;
    sqlite3_stmt *rows = database_statement(pass->db, STATEMENT_SCRUB_ROWS);
    enum ps_status status;

    if (rows == NULL)
        return database_error(pass->db);
    bind_u64(rows, 1, scrub->at);
    bind_u64(rows, 2, end);
    if (tolerated)
        set_tolerance(pass, true);
    status = check_records(pass, rows, end);
    if (status != PS_OK && meets_damage(scrub, sqlite3_extended_errcode(pass->db->handle))) {
        go_around(pass);
        status = PS_OK;
    }
    sqlite3_reset(rows);
    if (tolerated)
        set_tolerance(pass, false);
    if (status == PS_OK && scrub->at >= scrub->end) {
        end_unreadable(pass, scrub->end);
        scrub->stage = STAGE_TOPICS;
    }
    return status;
}

/* -------------------------------------------------------------------------------------------------- ends */

static void check_end(const struct pass *pass, sqlite3_stmt *row)
{
    const struct store_scrub *scrub = pass->scrub;
    uint64_t first = column_u64(row, 2);
    uint64_t next = column_u64(row, 3);
    struct span name = column_span(row, 1);
    const struct scrub_topic *topic = scrub_topics_find(&scrub->topics, column_u64(row, 0));
    uint64_t seen = topic != NULL && topic->next > first ? topic->next : first;

    if (topic_validate(name) != PS_OK) {
        tell(pass, SPAN_ABSENT, no_offset, "the name of topic_id %llu is no topic name",
             (unsigned long long)column_u64(row, 0));
        return;
    }
    if (first > next)
        tell(pass, name, no_offset, "first_offset %llu lies behind next_offset %llu",
             (unsigned long long)first, (unsigned long long)next);
    /* Rows behind the end of the check are newer than what was seen. */
    if (column_u64(row, 4) < scrub->end && seen < next)
        tell(pass, name, at_offset(seen), "offsets %llu to %llu are missing at its end",
             (unsigned long long)seen, (unsigned long long)next - 1);
    else if (seen > next && topic != NULL && topic->last_seq != 0 && topic->last_seq <= scrub->epoch.last_seq)
        tell(pass, name, at_offset(next), "next_offset %llu is behind its records", (unsigned long long)next);
}

/* Each of the later stages shows 256 rows a step; fewer were the last. */
static enum ps_status step_topics(struct pass *pass)
{
    struct store_scrub *scrub = pass->scrub;
    sqlite3_stmt *rows = database_statement(pass->db, STATEMENT_SCRUB_TOPICS);
    unsigned count = 0;
    int rc;

    if (rows == NULL)
        return database_error(pass->db);
    bind_u64(rows, 1, scrub->topic_id);
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        scrub->topic_id = column_u64(rows, 0);
        check_end(pass, rows);
        count++;
    }
    sqlite3_reset(rows);
    if (rc == SQLITE_DONE && count == 0) {
        scrub->stage = STAGE_OFFSETS;
        scrub->is_tolerant = false;
        scrub->topic_id = 0;
    }
    return database_status(rc);
}

static void check_committed(const struct pass *pass, sqlite3_stmt *row, uint64_t newer)
{
    const struct store_scrub *scrub = pass->scrub;
    uint64_t topic_id = column_u64(row, 0);
    uint64_t offset = column_u64(row, 2);
    uint64_t head = column_u64(row, 4);
    const struct scrub_topic *topic = scrub_topics_find(&scrub->topics, topic_id);
    struct span id = column_span(row, 5);

    if (topic != NULL && topic->next > head)
        head = topic->next;
    if (!span_present(column_span(row, 3)))
        tell(pass, SPAN_ABSENT, no_offset,
             "there is a committed offset for topic_id %llu, which does not exist",
             (unsigned long long)topic_id);
    else if (!span_present(id))
        tell(pass, column_span(row, 3), at_offset(offset),
             "is committed for subscription_id %llu, which does not exist",
             (unsigned long long)column_u64(row, 1));
    else if (offset > head + newer)
        tell(pass, column_span(row, 3), at_offset(offset),
             "is committed for the subscriber %.*s, though the topic ends before offset %llu",
             (int)(id.size < 100 ? id.size : 100), (const char *)id.data, (unsigned long long)head);
}

static enum ps_status read_mark(const struct pass *pass, uint64_t *mark)
{
    sqlite3_stmt *select = database_statement(pass->db, STATEMENT_HEAD);
    int rc;

    if (select == NULL)
        return database_error(pass->db);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        *mark = column_u64(select, 0);
    sqlite3_reset(select);
    return database_status(rc);
}

/* A topic cannot have grown by more than all of them together since its records were seen. */
static enum ps_status step_offsets(struct pass *pass)
{
    struct store_scrub *scrub = pass->scrub;
    sqlite3_stmt *rows;
    uint64_t mark = scrub->end;
    enum ps_status status = read_mark(pass, &mark);
    unsigned count = 0;
    int rc;

    if (status != PS_OK)
        return status;
    rows = database_statement(pass->db, STATEMENT_SCRUB_OFFSETS);
    if (rows == NULL)
        return database_error(pass->db);
    bind_u64(rows, 1, scrub->topic_id);
    bind_u64(rows, 2, scrub->subscription_id);
    while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
        scrub->topic_id = column_u64(rows, 0);
        scrub->subscription_id = column_u64(rows, 1);
        check_committed(pass, rows, mark - scrub->end);
        count++;
    }
    sqlite3_reset(rows);
    if (rc == SQLITE_DONE && count == 0)
        scrub->stage = STAGE_DONE;
    return database_status(rc);
}

/* -------------------------------------------------------------------------------------------------- steps */

static enum ps_status begin(const struct pass *pass)
{
    enum ps_status status = read_mark(pass, &pass->scrub->end);

    pass->scrub->at = 1;
    if (status == PS_OK)
        pass->scrub->stage = STAGE_RECORDS;
    return status;
}

static enum ps_status run_stage(struct pass *pass)
{
    switch (pass->scrub->stage) {
    case STAGE_BEGIN:
        return begin(pass);
    case STAGE_RECORDS:
        return step_records(pass);
    case STAGE_TOPICS:
        return step_topics(pass);
    case STAGE_OFFSETS:
        return step_offsets(pass);
    default:
        return PS_OK;
    }
}

static enum ps_status carry_out(struct pass *pass)
{
    bool tolerated = pass->scrub->is_tolerant;
    enum ps_status status;

    if (tolerated)
        set_tolerance(pass, true);
    status = run_stage(pass);
    if (tolerated)
        set_tolerance(pass, false);
    return status;
}

/* Damage in the small tables: they are read on without seals, and given up where that does not help. */
static enum ps_status go_on(const struct pass *pass)
{
    struct store_scrub *scrub = pass->scrub;

    tell(pass, SPAN_ABSENT, no_offset, "%s %s: %s",
         scrub->stage == STAGE_TOPICS ? "the table of topics" : "the table of committed offsets",
         scrub->is_tolerant ? "cannot be read" : "is damaged",
         reason(pass, "a page does not match its checksum"));
    if (scrub->is_tolerant)
        scrub->stage++;
    scrub->is_tolerant = !scrub->is_tolerant;
    return PS_OK;
}

enum ps_status scrub_step(struct store_scrub *scrub, struct database *db, struct store_verify *verify)
{
    struct pass pass = {
        .scrub = scrub, .db = db, .verify = verify, .until = monotonic_us() + verify->max_microseconds};
    enum ps_status status;

    scrub->is_full = false;
    do {
        status = carry_out(&pass);
        if (status != PS_OK && scrub->stage > STAGE_RECORDS &&
            meets_damage(scrub, sqlite3_extended_errcode(db->handle)))
            status = go_on(&pass);
    } while (status == PS_OK && scrub->stage != STAGE_DONE && !scrub->is_full && monotonic_us() < pass.until);
    verify->checked = scrub->at > 0 ? scrub->at - 1 : 0;
    verify->records = scrub->records;
    verify->total = scrub->end > 0 ? scrub->end - 1 : 0;
    verify->done = scrub->stage == STAGE_DONE;
    return status == PS_OK || status == PS_NO_MEMORY ? status : PS_STORAGE_FAILED;
}
