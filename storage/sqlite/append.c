/* Rows are numbered where they are inserted, so that a refused message takes neither an offset nor a seq:
 * a range that SQLite refuses is undone, halved and numbered again, until the culprit stands alone. */
#include "sqlite_store.h"

#include "prefetch.h"
#include "record.h"

#include <stddef.h>
#include <stdlib.h>

enum { APPEND_OP_BYTES = offsetof(struct store_op, append) + sizeof(struct store_append) };

/* The operations of one topic in this flush. */
struct group {
    struct topic *topic;
    size_t first, last; /* in `waiting`, linked by `next` */
};

void appender_deinit(struct appender *appender)
{
    free(appender->waiting);
    free(appender->rows);
    free(appender->runs);
    *appender = (struct appender){0};
}

static void *room_for(void *array, size_t *capacity, size_t needed, size_t size)
{
    size_t wanted = *capacity * 2 > needed ? *capacity * 2 : needed;
    void *grown;

    if (needed <= *capacity)
        return array;
    grown = realloc(array, wanted * size);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

enum ps_status append_queue(struct sqlite_store *store, struct store_op *op)
{
    struct appender *appender = &store->appender;
    struct store_op **waiting = room_for(appender->waiting, &appender->waiting_capacity,
                                         appender->waiting_count + 1, sizeof(*waiting));

    if (waiting == NULL)
        return PS_NO_MEMORY;
    appender->waiting = waiting;
    waiting[appender->waiting_count++] = op;
    return PS_OK;
}

static void refuse(struct store_op *op, enum ps_status status)
{
    op->status = status;
    for (uint32_t i = 0; i < op->append.count; i++)
        op->append.messages[i].status = status;
}

/* A name that memory does not know is new, or was deleted: then its row has its id and next offset. */
static struct topic *stage_unknown(struct sqlite_store *store, struct span name, enum ps_status *status)
{
    sqlite3_stmt *find = database_statement(&store->db, STATEMENT_FIND_TOPIC);
    struct topic_facts absent = {0};
    uint64_t topic_id = 0;
    struct topic *topic;
    int rc;

    *status = PS_NO_MEMORY;
    if (find == NULL) {
        *status = database_error(&store->db);
        return NULL;
    }
    bind_text(find, 1, name);
    rc = sqlite3_step(find);
    if (rc == SQLITE_ROW) {
        topic_id = column_u64(find, 0);
        absent.first_offset = absent.next_offset = column_u64(find, 1);
    }
    sqlite3_reset(find);
    if (database_status(rc) != PS_OK) {
        *status = database_status(rc);
        return NULL;
    }
    topic = sqlite_topics_add(&store->topics, name, topic_id == 0 ? store->topics.staged_next_id : topic_id,
                              &absent);
    if (topic == NULL)
        return NULL;
    if (topic_id == 0)
        store->topics.staged_next_id++;
    return topic;
}

struct topic *append_topic(struct sqlite_store *store, struct span name, enum ps_status *status)
{
    struct topic *topic = sqlite_topics_find(&store->topics, name);

    *status = sqlite_topics_reserve(&store->topics);
    if (*status != PS_OK)
        return NULL;
    if (topic == NULL) {
        if (store->topics.count >= store->config.limits.max_topics) {
            *status = PS_LIMIT_EXCEEDED;
            return NULL;
        }
        topic = stage_unknown(store, name, status);
        if (topic == NULL)
            return NULL;
    }
    sqlite_topics_touch(&store->topics, topic);
    *status = PS_OK;
    return topic;
}

static void add_rows(struct appender *appender, struct topic *topic, struct store_op *op)
{
    struct store_append *append = &op->append;

    append->accepted = 0;
    append->topic_id = topic->topic_id;
    append->topic_created = false;
    op->status = PS_OK;
    for (uint32_t i = 0; i < append->count; i++)
        appender->rows[appender->row_count++] =
            (struct message_row){.message = &append->messages[i], .topic = topic, .op = op};
}

/* What is queued, by topic. */
struct layout {
    struct group *groups;
    size_t *next;
    size_t group_count, messages;
};

static void add_to_group(struct layout *layout, struct topic *topic, size_t i)
{
    struct group *group = topic->group;

    if (group == NULL) {
        topic->group = group = &layout->groups[layout->group_count++];
        *group = (struct group){topic, i, i};
    } else {
        layout->next[group->last] = i;
        group->last = i;
    }
}

/* Links the queued operations of each topic together; those of a topic too many are refused. */
static enum ps_status group_by_topic(struct sqlite_store *store, struct layout *layout)
{
    const struct appender *appender = &store->appender;
    size_t count = appender->waiting_count;
    enum ps_status status;

    for (size_t i = 0; i < count; i++) {
        struct store_op *op = appender->waiting[i];
        struct topic *topic;

        if (i + PREFETCH_AHEAD < count)
            sqlite_topics_prefetch(&store->topics, appender->waiting[i + PREFETCH_AHEAD]->append.topic);
        topic = append_topic(store, op->append.topic, &status);
        layout->next[i] = SIZE_MAX;
        if (topic == NULL && status != PS_LIMIT_EXCEEDED)
            return status;
        if (topic == NULL) {
            refuse(op, status);
            continue;
        }
        layout->messages += op->append.count;
        add_to_group(layout, topic, i);
    }
    return PS_OK;
}

static enum ps_status lay_out_rows(struct appender *appender, const struct layout *layout)
{
    struct message_row *rows =
        room_for(appender->rows, &appender->row_capacity, layout->messages, sizeof(*appender->rows));

    if (rows == NULL && layout->messages > 0)
        return PS_NO_MEMORY;
    appender->rows = rows;
    for (size_t g = 0; g < layout->group_count; g++) {
        if (g + PREFETCH_AHEAD < layout->group_count)
            prefetch(appender->waiting[layout->groups[g + PREFETCH_AHEAD].first], APPEND_OP_BYTES);
        for (size_t i = layout->groups[g].first; i != SIZE_MAX; i = layout->next[i])
            add_rows(appender, layout->groups[g].topic, appender->waiting[i]);
    }
    return PS_OK;
}

/* The queued operations as rows, topic by topic. */
static enum ps_status lay_out(struct sqlite_store *store)
{
    size_t count = store->appender.waiting_count;
    struct layout layout = {.groups = malloc(count * sizeof(*layout.groups)),
                            .next = malloc(count * sizeof(*layout.next))};
    enum ps_status status = PS_NO_MEMORY;

    if (layout.groups != NULL && layout.next != NULL)
        status = group_by_topic(store, &layout);
    if (status == PS_OK)
        status = lay_out_rows(&store->appender, &layout);
    for (size_t g = 0; g < layout.group_count; g++)
        layout.groups[g].topic->group = NULL;
    free(layout.next);
    free(layout.groups);
    return status;
}

static void fetch_ahead(const struct message_row *row, size_t left)
{
    const struct message_row *next;

    if (left <= PREFETCH_AHEAD)
        return;
    next = row + PREFETCH_AHEAD;
    if (!row_is_apart(next))
        return;
    prefetch(next->message, sizeof(struct message));
    prefetch(next->topic, sizeof(struct topic));
    prefetch(next->op, APPEND_OP_BYTES);
}

static enum ps_status render_headers(struct sqlite_store *store)
{
    for (size_t i = 0; i < store->appender.row_count; i++) {
        struct message_row *row = &store->appender.rows[i];
        enum ps_status status;

        fetch_ahead(row, store->appender.row_count - i);
        status = record_headers_to_json(row->message->headers, row->message->header_count, &row->headers);

        row->message->status = status;
        row->refused = status != PS_OK;
        if (status == PS_NO_MEMORY)
            return status;
    }
    return PS_OK;
}

static bool is_plain(const struct message *message)
{
    return message->flags == 0 && message->header_count == 0 && !span_present(message->publisher) &&
           !span_present(message->key);
}

/* Offsets, seqs and time as they will be if the whole range is accepted. Whether all are plain. */
static bool number(struct sqlite_store *store, size_t from, size_t to)
{
    struct message_row *rows = store->appender.rows;
    const struct topic *topic = NULL;
    uint64_t offset = 0;
    bool plain = true;

    for (size_t i = from; i < to; i++) {
        struct message *message = rows[i].message;

        fetch_ahead(&rows[i], to - i);
        if (rows[i].topic != topic) {
            topic = rows[i].topic;
            offset = topic->staged.next_offset;
        }
        message->offset = offset++;
        message->published_at = store->now;
        rows[i].seq = store->staged_next_seq + (i - from);
        plain = plain && is_plain(message);
    }
    return plain;
}

/* The first accepted message of a topic that does not exist creates it. */
static void accept_row(struct sqlite_store *store, const struct message_row *row)
{
    struct topic *topic = row->topic;
    struct store_append *append = &row->op->append;
    struct topic_facts *facts = &topic->staged;

    if (!facts->exists) {
        facts->exists = topic->row_due = true;
        facts->first_offset = facts->next_offset;
        facts->created_seq = row->seq;
        append->topic_created = true;
    }
    if (append->accepted++ == 0) {
        append->first_offset = row->message->offset;
        append->first_seq = row->seq;
    }
    row->message->status = PS_OK;
    facts->next_offset = row->message->offset + 1;
    facts->last_seq = row->seq;
    store->appender.staged_bytes += message_bytes(row->message);
}

static enum ps_status stage_run(struct appender *appender, const struct message_row *row)
{
    struct staged_run *last = appender->run_count > 0 ? &appender->runs[appender->run_count - 1] : NULL;
    struct staged_run *runs;

    if (last != NULL && last->topic_id == row->topic->topic_id &&
        last->run.first_offset + last->run.count == row->message->offset &&
        last->run.first_seq + last->run.count == row->seq) {
        last->run.count++;
        return PS_OK;
    }
    runs = room_for(appender->runs, &appender->run_capacity, appender->run_count + 1, sizeof(*runs));
    if (runs == NULL)
        return PS_NO_MEMORY;
    appender->runs = runs;
    runs[appender->run_count++] =
        (struct staged_run){row->topic->topic_id, {row->message->offset, row->seq, 1}};
    return PS_OK;
}

static enum ps_status accept_range(struct sqlite_store *store, size_t from, size_t to)
{
    enum ps_status status = PS_OK;

    for (size_t i = from; i < to && status == PS_OK; i++) {
        fetch_ahead(&store->appender.rows[i], to - i);
        accept_row(store, &store->appender.rows[i]);
        status = stage_run(&store->appender, &store->appender.rows[i]);
    }
    store->staged_next_seq += to - from;
    store->appender.staged_rows += to - from;
    return status;
}

/* Whether the failure is the fault of a row rather than of the database. */
static bool is_row_fault(enum ps_status status)
{
    return status == PS_MESSAGE_TOO_LARGE || status == PS_INTERNAL || status == PS_NO_MEMORY ||
           status == PS_BAD_HEADER;
}

static enum ps_status insert_by(struct sqlite_store *store, enum statement statement)
{
    sqlite3_stmt *insert = database_statement(&store->db, statement);

    if (insert != NULL)
        sqlite3_bind_int64(insert, 1, store->now);
    return database_run(&store->db, insert);
}

/* SQLite numbers a row one above the last, which saves it a search for each. Where the last one was swept that is not
 * our seq: then, to be seen by the number of the last row, the range is inserted again with its own. */
static enum ps_status insert_rows(struct sqlite_store *store, bool plain, uint64_t last_seq)
{
    enum ps_status status = insert_by(store, plain ? STATEMENT_APPEND_PLAIN : STATEMENT_APPEND_MESSAGES);

    if (status != PS_OK || (uint64_t)sqlite3_last_insert_rowid(store->db.handle) == last_seq)
        return status;
    status = database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK_TO));
    return status == PS_OK ? insert_by(store, STATEMENT_INSERT_MESSAGES) : PS_STORAGE_FAILED;
}

/* In `inserted` what became of the range; when it is not PS_OK nothing of it is left. A savepoint that cannot be set,
 * undone or released is no row's fault: the transaction has to be rolled back, for rows that nobody was told of may be
 * in it. */
static enum ps_status try_range(struct sqlite_store *store, size_t from, size_t to, enum ps_status *inserted)
{
    enum ps_status status = database_run(&store->db, database_statement(&store->db, STATEMENT_SAVEPOINT));
    bool plain;

    if (status != PS_OK)
        return status;
    plain = number(store, from, to);
    store->source.messages = store->appender.rows + from;
    store->source.message_count = to - from;
    *inserted = insert_rows(store, plain, store->appender.rows[to - 1].seq);
    if (*inserted != PS_OK) {
        if (sqlite3_get_autocommit(store->db.handle))
            return *inserted == PS_NO_MEMORY || *inserted == PS_DISK_FULL ? *inserted : PS_STORAGE_FAILED;
        if (database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK_TO)) != PS_OK)
            return PS_STORAGE_FAILED;
    }
    return database_run(&store->db, database_statement(&store->db, STATEMENT_RELEASE));
}

/* Recursion is as deep as the logarithm of the batch. */
static enum ps_status insert_range(struct sqlite_store *store, size_t from, size_t to)
{
    enum ps_status inserted = PS_OK;
    enum ps_status status = try_range(store, from, to, &inserted);

    if (status != PS_OK)
        return status;
    if (inserted == PS_OK)
        return accept_range(store, from, to);
    if (!is_row_fault(inserted))
        return inserted;
    if (to - from == 1) {
        store->appender.rows[from].message->status = inserted;
        return PS_OK;
    }
    status = insert_range(store, from, from + (to - from) / 2);
    return status == PS_OK ? insert_range(store, from + (to - from) / 2, to) : status;
}

/* Between messages that were refused before they reached SQLite. */
static enum ps_status insert_all(struct sqlite_store *store)
{
    const struct appender *appender = &store->appender;
    enum ps_status status = PS_OK;
    size_t from = 0;

    while (from < appender->row_count && status == PS_OK) {
        size_t to = from;

        while (to < appender->row_count && !appender->rows[to].refused)
            to++;
        if (to > from)
            status = insert_range(store, from, to);
        from = to + 1;
    }
    return status;
}

static enum ps_status write_topics(struct sqlite_store *store)
{
    enum ps_status status = PS_OK;

    for (size_t i = 0; i < store->topics.touched_count && status == PS_OK; i++) {
        struct topic *topic = store->topics.touched[i];
        sqlite3_stmt *put;

        if (!topic->row_due)
            continue;
        put = database_statement(&store->db, STATEMENT_PUT_TOPIC);
        if (put != NULL) {
            bind_u64(put, 1, topic->topic_id);
            bind_text(put, 2, topic_name(topic));
            bind_u64(put, 3, topic->staged.created_seq);
            bind_u64(put, 4, topic->staged.first_offset);
        }
        status = database_run(&store->db, put);
        topic->row_due = false;
    }
    return status;
}

/* An operation without one accepted message is refused with the reason of its first. */
static void conclude(struct appender *appender)
{
    for (size_t i = 0; i < appender->waiting_count; i++) {
        struct store_op *op = appender->waiting[i];

        if (op->status == PS_OK && op->append.accepted == 0 && op->append.count > 0)
            op->status = op->append.messages[0].status;
    }
}

static void drop_rows(struct appender *appender)
{
    for (size_t i = 0; i < appender->row_count; i++)
        record_free_json(appender->rows[i].headers);
    appender->row_count = 0;
    appender->waiting_count = 0;
}

enum ps_status append_flush(struct sqlite_store *store)
{
    struct appender *appender = &store->appender;
    enum ps_status status;

    if (appender->waiting_count == 0)
        return PS_OK;
    status = lay_out(store);
    if (status == PS_OK)
        status = render_headers(store);
    if (status == PS_OK)
        status = insert_all(store);
    if (status == PS_OK)
        status = write_topics(store);
    if (status == PS_OK)
        status = epochs_reserve(&store->epochs, appender->staged_rows, appender->run_count);
    conclude(appender);
    drop_rows(appender);
    return status;
}

void append_promote(struct sqlite_store *store)
{
    struct appender *appender = &store->appender;

    for (size_t i = 0; i < appender->run_count; i++)
        epochs_add(&store->epochs, &appender->runs[i].run, appender->runs[i].topic_id);
    if (appender->staged_rows > 0) {
        store->last_published = store->now;
        epochs_add_bytes(&store->epochs, appender->staged_bytes);
    }
    store->next_seq = store->staged_next_seq;
    appender->run_count = 0;
    appender->staged_rows = appender->staged_bytes = 0;
}

void append_discard(struct sqlite_store *store)
{
    struct appender *appender = &store->appender;

    drop_rows(appender);
    store->staged_next_seq = store->next_seq;
    appender->run_count = 0;
    appender->staged_rows = appender->staged_bytes = 0;
}
