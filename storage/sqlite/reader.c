/* A step through a topic:
 *
 *   gate ─▶ BEGIN ─▶ first kept offset ─▶ from there: the run that holds the next offset, in the caller's
 *   recent runs or in the listed epochs ─▶ its rows by seq, each verified ─▶ … ─▶ COMMIT ─▶ gate
 *
 * The snapshot may be newer than what the caller knows: rows from `to` on are not shown, and runs that were
 * indexed meanwhile are found in either place. It is never older, so a row below the head that the caller knows
 * and that cannot be found is damage. */
#include "reader.h"

#include "backup.h"
#include "database.h"
#include "gate.h"
#include "index.h"
#include "record.h"
#include "scrub.h"
#include "sqlite_store.h"
#include "subscriptions.h"
#include "vfs.h"

#include <stdlib.h>

enum {
    BUSY_WAIT_MS = 5000, /* only recovery by another process can make a reader wait */
    BUSY_PAUSE_MS = 10,
    RESOLVE_AT_ONCE = 256, /* positions in one transaction */
    CLOCK_EVERY = 16       /* rows between looks at the clock */
};

/* Arguments of show_row(), as in MESSAGE_COLUMNS. */
enum {
    ROW_TOPIC_ID,
    ROW_OFFSET,
    ROW_PUBLISHED_AT,
    ROW_FLAGS,
    ROW_CHECKSUM,
    ROW_PUBLISHER,
    ROW_KEY,
    ROW_HEADERS,
    ROW_PAYLOAD,
    ROW_COLUMNS
};

struct sqlite_reader {
    struct store_reader base; /* first */
    struct database db;
    struct gate *gate;
    const char *backup_path;
    struct record_headers headers;
    struct step *step; /* under way */
};

/* What one step has done so far. */
struct step {
    struct sqlite_reader *reader;
    struct store_read *read;
    uint64_t at; /* the next offset */
    uint32_t messages;
    size_t bytes;
    uint64_t until; /* monotonic microseconds */
    bool stopped;   /* by a limit, by damage, or by the one it is shown to */
    enum ps_status status;
};

static void show_row(sqlite3_context *context, int count, sqlite3_value **row);

static int wait_a_moment(void *ctx, int times)
{
    (void)ctx;
    sqlite3_sleep(BUSY_PAUSE_MS);
    return times < BUSY_WAIT_MS / BUSY_PAUSE_MS;
}

enum ps_status reader_open(const struct store_vtable *vtable, const char *path, const char *backup_path,
                           struct gate *gate, struct store_reader **opened)
{
    struct sqlite_reader *reader = calloc(1, sizeof(*reader));
    int rc;

    if (reader == NULL)
        return PS_NO_MEMORY;
    reader->base.vtable = vtable;
    reader->gate = gate;
    reader->backup_path = backup_path;
    gate->readers++;
    gate_enter(gate);
    rc = database_open(&reader->db, path, DATABASE_READER, wait_a_moment, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(reader->db.handle, "show_row", ROW_COLUMNS,
                                     SQLITE_UTF8 | SQLITE_DIRECTONLY, reader, show_row, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = database_prepare_ends(&reader->db);
    gate_leave(gate);
    if (rc != SQLITE_OK) {
        reader_close(&reader->base);
        return database_status(rc) == PS_NO_MEMORY ? PS_NO_MEMORY : PS_STORAGE_FAILED;
    }
    *opened = &reader->base;
    return PS_OK;
}

void reader_close(struct store_reader *base)
{
    struct sqlite_reader *reader = (struct sqlite_reader *)base;

    record_headers_deinit(&reader->headers);
    database_close(&reader->db);
    reader->gate->readers--;
    free(reader);
}

static enum ps_status enter(struct sqlite_reader *reader)
{
    enum ps_status status;

    gate_enter(reader->gate);
    status = database_run(&reader->db, database_statement(&reader->db, STATEMENT_BEGIN_READ));
    if (status != PS_OK)
        gate_leave(reader->gate);
    return status;
}

static void leave(struct sqlite_reader *reader)
{
    database_run(&reader->db, database_statement(&reader->db, STATEMENT_COMMIT));
    if (!sqlite3_get_autocommit(reader->db.handle))
        database_run(&reader->db, database_statement(&reader->db, STATEMENT_ROLLBACK));
    gate_leave(reader->gate);
}

/* Only what store.h lists. */
static enum ps_status outcome(enum ps_status status)
{
    return status == PS_OK || status == PS_DAMAGED || status == PS_NO_MEMORY ? status : PS_STORAGE_FAILED;
}

/* ------------------------------------------------------------------------------------------------ one row */

/* What a value holds, absent when NULL; PS_DAMAGED: a number. */
static enum ps_status get_bytes(sqlite3_value *value, struct span *bytes)
{
    static const uint8_t nothing;
    int type = sqlite3_value_type(value);
    const uint8_t *data;

    *bytes = SPAN_ABSENT;
    if (type == SQLITE_NULL)
        return PS_OK;
    if (type != SQLITE_TEXT && type != SQLITE_BLOB)
        return PS_DAMAGED;
    data = sqlite3_value_blob(value);
    *bytes = (struct span){data == NULL ? &nothing : data, (size_t)sqlite3_value_bytes(value)};
    return data == NULL && bytes->size > 0 ? PS_NO_MEMORY : PS_OK;
}

/* The row as a message, or PS_DAMAGED when it is not what was written there. */
static enum ps_status take_row(const struct step *step, sqlite3_value **row, struct message *message)
{
    struct record_headers *headers = &step->reader->headers;
    const struct store_topic *topic = &step->read->topic;
    struct span json;
    enum ps_status status;

    if (sqlite3_value_int64(row[ROW_TOPIC_ID]) != (int64_t)topic->topic_id ||
        sqlite3_value_int64(row[ROW_OFFSET]) != (int64_t)step->at)
        return PS_DAMAGED;
    *message = (struct message){.offset = step->at,
                                .published_at = sqlite3_value_int64(row[ROW_PUBLISHED_AT]),
                                .flags = (uint32_t)sqlite3_value_int64(row[ROW_FLAGS])};
    if ((status = get_bytes(row[ROW_PUBLISHER], &message->publisher)) != PS_OK ||
        (status = get_bytes(row[ROW_KEY], &message->key)) != PS_OK ||
        (status = get_bytes(row[ROW_HEADERS], &json)) != PS_OK ||
        (status = get_bytes(row[ROW_PAYLOAD], &message->payload)) != PS_OK)
        return status;
    if (!span_present(message->payload))
        return PS_DAMAGED;
    if (record_checksum(topic->name, message, json) != (uint64_t)sqlite3_value_int64(row[ROW_CHECKSUM]))
        return PS_DAMAGED;
    status = record_headers_set(headers, json);
    message->headers = headers->items;
    message->header_count = headers->count;
    return status;
}

static bool has_room(struct step *step, const struct message *message)
{
    const struct store_read *read = step->read;
    size_t size = message_bytes(message);

    if (step->messages > 0 && (step->messages >= read->max_messages || size > read->max_bytes - step->bytes ||
                               step->bytes > read->max_bytes))
        return false;
    if (step->messages > 0 && step->messages % CLOCK_EVERY == 0 && monotonic_us() >= step->until)
        return false;
    step->messages++;
    step->bytes += size;
    return true;
}

/* The SQL function behind STATEMENT_READ_…, called for each row: false when the caller has to look at what happened.
 * SQLite hands a function the values themselves; to fetch them from a statement costs a call with checks for each. */
static void show_row(sqlite3_context *context, int count, sqlite3_value **row)
{
    struct step *step = ((struct sqlite_reader *)sqlite3_user_data(context))->step;
    struct message message;

    (void)count;
    step->status = take_row(step, row, &message);
    if (step->status == PS_OK && has_room(step, &message)) {
        step->at++;
        step->stopped = !step->read->show(step->read->ctx, &message);
    } else {
        step->stopped = true;
    }
    sqlite3_result_int(context, !step->stopped && step->at < step->read->to);
}

/* Shows rows until the statement ends, a limit is met or something is wrong. */
static enum ps_status show_rows(struct step *step, sqlite3_stmt *rows)
{
    int rc;

    step->reader->step = step;
    rc = sqlite3_step(rows);
    sqlite3_reset(rows);
    return step->status == PS_OK ? database_status(rc) : step->status;
}

/* ------------------------------------------------------------------------------------------------- places */

/* The recent run that holds the offset, or NULL. */
static const struct store_run *find_recent(const struct store_topic *topic, uint64_t offset)
{
    size_t low = 0;
    size_t high = topic->recent_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (topic->recent[middle].first_offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || offset - topic->recent[low - 1].first_offset >= topic->recent[low - 1].count)
        return NULL;
    return &topic->recent[low - 1];
}

static enum ps_status read_recent(struct step *step, const struct store_run *run)
{
    struct database *db = &step->reader->db;
    sqlite3_stmt *rows = database_statement(db, STATEMENT_READ_ROWS);

    if (rows == NULL)
        return database_error(db);
    bind_u64(rows, 1, run->first_seq + (step->at - run->first_offset));
    bind_u64(rows, 2, run->first_seq + run->count - 1);
    return show_rows(step, rows);
}

static enum ps_status read_indexed(struct step *step)
{
    struct database *db = &step->reader->db;
    const struct store_topic *topic = &step->read->topic;
    struct index_place place;
    sqlite3_stmt *rows;
    enum ps_status status =
        index_find(db, topic->topic_id, step->at, step->read->hint, topic->created_seq, &place);

    if (status != PS_OK || place.epoch == 0)
        return status;
    step->read->hint = place.epoch;
    rows = database_statement(db, STATEMENT_READ_EPOCH);
    if (rows == NULL)
        return database_error(db);
    bind_u64(rows, 1, place.epoch);
    bind_u64(rows, 2, topic->topic_id);
    bind_u64(rows, 3, place.run_offset);
    bind_u64(rows, 4, place.seq);
    return show_rows(step, rows);
}

static enum ps_status first_kept(struct step *step)
{
    struct database *db = &step->reader->db;
    struct store_read *read = step->read;
    sqlite3_stmt *select = database_statement(db, STATEMENT_KEPT_FROM);
    int rc;

    if (select == NULL)
        return database_error(db);
    bind_u64(select, 1, read->topic.topic_id);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        read->first_kept = column_u64(select, 0);
    sqlite3_reset(select);
    return rc == SQLITE_DONE ? PS_DAMAGED : database_status(rc);
}

static enum ps_status walk(struct step *step)
{
    const struct store_read *read = step->read;
    enum ps_status status = PS_OK;

    while (status == PS_OK && !step->stopped && step->at < read->to) {
        const struct store_run *run = find_recent(&read->topic, step->at);
        uint64_t before = step->at;

        status = run != NULL ? read_recent(step, run) : read_indexed(step);
        if (status == PS_OK && !step->stopped && step->at == before)
            return before < read->topic.next_offset ? PS_DAMAGED : PS_OK;
    }
    return status;
}

/* Around a page that does not match its checksum: each row is verified by itself, so those that are whole are given,
 * and the first that is not is named. Nothing else of such a page is believed. */
static enum ps_status walk_damaged(struct step *step)
{
    enum ps_status status;

    step->status = PS_OK;
    step->stopped = false;
    vfs_tolerate(step->reader->db.handle, true);
    status = walk(step);
    vfs_tolerate(step->reader->db.handle, false);
    return status;
}

enum ps_status reader_read(struct store_reader *base, struct store_read *read)
{
    struct step step = {.reader = (struct sqlite_reader *)base,
                        .read = read,
                        .at = read->from,
                        .until = monotonic_us() + read->max_microseconds};
    enum ps_status status = enter(step.reader);
    bool harmed = false;

    if (status != PS_OK)
        return outcome(status);
    status = first_kept(&step);
    if (status == PS_OK) {
        if (step.at < read->first_kept)
            step.at = read->first_kept;
        status = walk(&step);
        harmed = status == PS_DAMAGED;
        if (harmed)
            status = walk_damaged(&step);
    }
    leave(step.reader);
    if (harmed)
        sqlite3_db_release_memory(step.reader->db.handle);
    record_headers_deinit(&step.reader->headers);
    read->next_offset = step.at;
    if (status == PS_DAMAGED)
        read->damaged_offset = step.at;
    return outcome(status);
}

/* ------------------------------------------------------------------------------------------------ resolve */

/* The first offset of the topic that was published at the mark or later. */
static enum ps_status offset_at_mark(struct sqlite_reader *reader, const struct store_topic *topic,
                                     uint64_t mark, uint64_t *offset)
{
    bool found = false;
    enum ps_status status = PS_OK;

    if (topic->last_seq < mark || topic->next_offset == topic->first_offset) {
        *offset = topic->next_offset;
        return PS_OK;
    }
    if (topic->recent_count == 0 || topic->recent[0].first_seq >= mark)
        status = index_find_seq(&reader->db, topic->topic_id, mark, &found, offset);
    for (size_t i = 0; i < topic->recent_count && !found; i++) {
        const struct store_run *run = &topic->recent[i];

        found = run->first_seq + run->count > mark;
        if (found)
            *offset = run->first_offset + (mark > run->first_seq ? mark - run->first_seq : 0);
    }
    if (!found)
        *offset = topic->next_offset;
    return status;
}

static enum ps_status by_rule(struct sqlite_reader *reader, const struct store_resolve *resolve,
                              struct store_position *position)
{
    const struct store_topic *topic = &position->topic;
    uint64_t mark = resolve->start.kind == START_RESUME ? resolve->start.value : resolve->mark;
    enum ps_status status;

    position->offset = topic->first_offset;
    if (resolve->start.kind == START_OFFSET)
        position->offset = resolve->start.value;
    if (resolve->start.kind == START_OFFSET || resolve->start.kind == START_BEGINNING ||
        topic->created_seq >= mark)
        return PS_OK;
    status = offset_at_mark(reader, topic, mark, &position->offset);
    if (status == PS_OK && resolve->start.kind == START_LAST)
        position->offset = position->offset - topic->first_offset > resolve->start.value
                               ? position->offset - resolve->start.value
                               : topic->first_offset;
    return status;
}

static enum ps_status resolve_one(struct sqlite_reader *reader, const struct store_resolve *resolve,
                                  struct store_position *position)
{
    enum ps_status status = PS_OK;

    position->committed = false;
    if (resolve->subscription_id != 0) {
        sqlite3_stmt *select = database_statement(&reader->db, STATEMENT_GET_OFFSET);
        int rc;

        if (select == NULL)
            return database_error(&reader->db);
        bind_u64(select, 1, position->topic.topic_id);
        bind_u64(select, 2, resolve->subscription_id);
        rc = sqlite3_step(select);
        position->committed = rc == SQLITE_ROW;
        if (position->committed)
            position->offset = column_u64(select, 0);
        sqlite3_reset(select);
        status = database_status(rc);
    }
    if (status == PS_OK && !position->committed)
        status = by_rule(reader, resolve, position);
    return status;
}

enum ps_status reader_resolve(struct store_reader *base, struct store_resolve *resolve)
{
    struct sqlite_reader *reader = (struct sqlite_reader *)base;
    enum ps_status status = PS_OK;

    for (size_t i = 0; i < resolve->count && status == PS_OK;) {
        status = enter(reader);
        if (status != PS_OK)
            break;
        for (size_t n = 0; n < RESOLVE_AT_ONCE && i < resolve->count && status == PS_OK; n++, i++)
            status = resolve_one(reader, resolve, &resolve->positions[i]);
        leave(reader);
    }
    return outcome(status);
}

/* --------------------------------------------------------------------------------------------------- list */

static bool show_subscription(struct store_list *list, sqlite3_stmt *row)
{
    struct store_subscription subscription = {
        .subscription_id = column_u64(row, 0),
        .id = column_span(row, 1),
        .filter = column_span(row, 2),
        .start = {.kind = start_kind_of(column_span(row, 3)), .value = column_u64(row, 4)},
        .mark = column_u64(row, 5),
        .generation = column_u64(row, 6)};

    return list->show(list->ctx, &subscription);
}

static struct span or_empty(struct span span)
{
    return span_present(span) ? span : span_of("");
}

enum ps_status reader_list(struct store_reader *base, struct store_list *list)
{
    struct sqlite_reader *reader = (struct sqlite_reader *)base;
    bool of_one = span_present(list->id);
    enum ps_status status = enter(reader);
    int rc = SQLITE_DONE;
    sqlite3_stmt *rows;

    if (status != PS_OK)
        return outcome(status);
    rows = database_statement(&reader->db,
                              of_one ? STATEMENT_LIST_SUBSCRIPTIONS_OF : STATEMENT_LIST_SUBSCRIPTIONS);
    if (rows == NULL) {
        status = database_error(&reader->db);
    } else {
        bind_text(rows, 1, of_one ? list->id : or_empty(list->after_id));
        bind_text(rows, 2, or_empty(list->after_filter));
        bind_u64(rows, 3, list->limit);
        while ((rc = sqlite3_step(rows)) == SQLITE_ROW && show_subscription(list, rows))
            ;
        sqlite3_reset(rows);
        status = database_status(rc);
    }
    leave(reader);
    return outcome(status);
}

/* ------------------------------------------------------------------------------------------------- verify */

enum ps_status reader_verify(struct store_reader *base, struct store_verify *verify)
{
    struct sqlite_reader *reader = (struct sqlite_reader *)base;
    enum ps_status status = verify->scrub == NULL ? scrub_new(&verify->scrub) : PS_OK;

    verify->free_scrub = scrub_free;
    if (status == PS_OK)
        status = enter(reader);
    if (status != PS_OK)
        return outcome(status);
    status = scrub_step(verify->scrub, &reader->db, verify);
    leave(reader);
    return outcome(status);
}

enum ps_status reader_read_backup(struct store_reader *base, struct store_backup_read *read)
{
    return backup_read(((struct sqlite_reader *)base)->backup_path, read);
}
