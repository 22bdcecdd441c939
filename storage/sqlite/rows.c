/* Eponymous read-only virtual tables without any index: a cursor is a position in an array that the writer
 * lends. Bytes are handed to SQLite as static; the array outlives the statement. */
#include "rows.h"
#include "prefetch.h"
#include "record.h"
#include "topics.h"

#include <stdlib.h>

enum { ROWS_AHEAD = 2, FETCHED_BYTES = 256 };

struct table {
    sqlite3_vtab base;
    const struct row_source *source;
};

struct cursor {
    sqlite3_vtab_cursor base;
    size_t at;
};

static int table_connect(sqlite3 *db, void *source, const char *declaration, sqlite3_vtab **table)
{
    struct table *made;
    int rc = sqlite3_declare_vtab(db, declaration);

    if (rc != SQLITE_OK)
        return rc;
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        return SQLITE_NOMEM;
    made->source = source;
    *table = &made->base;
    return SQLITE_OK;
}

static int messages_connect(sqlite3 *db, void *source, int argc, const char *const *argv,
                            sqlite3_vtab **table, char **error)
{
    (void)argc, (void)argv, (void)error;
    return table_connect(
        db, source,
        "CREATE TABLE x (seq, topic_id, offset, flags, checksum, publisher, key, headers, payload)", table);
}

static int runs_connect(sqlite3 *db, void *source, int argc, const char *const *argv, sqlite3_vtab **table,
                        char **error)
{
    (void)argc, (void)argv, (void)error;
    return table_connect(db, source, "CREATE TABLE x (epoch, topic_id, first_offset, first_seq, count, busy)",
                         table);
}

static int table_disconnect(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 1e6;
    return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *table, sqlite3_vtab_cursor **cursor)
{
    struct cursor *made = calloc(1, sizeof(*made));

    (void)table;
    if (made == NULL)
        return SQLITE_NOMEM;
    *cursor = &made->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int argc,
                         sqlite3_value **argv)
{
    (void)number, (void)text, (void)argc, (void)argv;
    ((struct cursor *)cursor)->at = 0;
    return SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *cursor)
{
    ((struct cursor *)cursor)->at++;
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
    *rowid = (sqlite3_int64)((struct cursor *)cursor)->at;
    return SQLITE_OK;
}

static const struct row_source *source_of(sqlite3_vtab_cursor *cursor)
{
    return ((struct table *)cursor->pVtab)->source;
}

static int messages_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct cursor *)cursor)->at >= source_of(cursor)->message_count;
}

static int runs_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct cursor *)cursor)->at >= source_of(cursor)->run_count;
}

static void result_text(sqlite3_context *context, struct span text)
{
    if (span_present(text))
        sqlite3_result_text64(context, (const char *)text.data, text.size, SQLITE_STATIC, SQLITE_UTF8);
}

/* TEXT where a person could read it, else BLOB; the same bytes either way. */
static void result_any(sqlite3_context *context, struct span bytes)
{
    if (record_is_text(bytes))
        result_text(context, bytes);
    else
        sqlite3_result_blob64(context, bytes.data, bytes.size, SQLITE_STATIC);
}

static void fetch_ahead(const struct row_source *source, size_t at)
{
    const struct message_row *next;

    if (at + 2 * ROWS_AHEAD >= source->message_count)
        return;
    next = &source->messages[at + ROWS_AHEAD];
    if (row_is_apart(next + ROWS_AHEAD))
        prefetch(next[ROWS_AHEAD].message, sizeof(struct message));
    if (row_is_apart(next)) {
        struct span payload = next->message->payload;

        prefetch(payload.data, payload.size < FETCHED_BYTES ? payload.size : FETCHED_BYTES);
    }
}

static int messages_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    const struct message_row *row = &source_of(cursor)->messages[((struct cursor *)cursor)->at];
    const struct message *message = row->message;

    switch (column) {
    case 0:
        sqlite3_result_int64(context, (sqlite3_int64)row->seq);
        break;
    case 1:
        sqlite3_result_int64(context, (sqlite3_int64)row->topic->topic_id);
        break;
    case 2:
        sqlite3_result_int64(context, (sqlite3_int64)message->offset);
        break;
    case 3:
        sqlite3_result_int64(context, message->flags);
        break;
    case 4:
        fetch_ahead(source_of(cursor), ((struct cursor *)cursor)->at);
        sqlite3_result_int64(
            context, (sqlite3_int64)record_checksum(topic_name(row->topic), message, span_of(row->headers)));
        break;
    case 5:
        result_text(context, message->publisher);
        break;
    case 6:
        if (span_present(message->key))
            result_any(context, message->key);
        break;
    case 7:
        result_text(context, span_of(row->headers));
        break;
    default:
        result_any(context, message->payload);
    }
    return SQLITE_OK;
}

static int runs_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    const struct run_row *run = &source_of(cursor)->runs[((struct cursor *)cursor)->at];
    const uint64_t values[] = {source_of(cursor)->epoch, run->topic_id, run->first_offset,
                               run->first_seq,           run->count,    run->busy};

    sqlite3_result_int64(context, (sqlite3_int64)values[column]);
    return SQLITE_OK;
}

#define ROWS_MODULE(name)                                                                                    \
    {                                                                                                        \
        .xConnect = name##_connect, .xBestIndex = best_index, .xDisconnect = table_disconnect,               \
        .xOpen = cursor_open, .xClose = cursor_close, .xFilter = cursor_filter, .xNext = cursor_next,        \
        .xEof = name##_eof, .xColumn = name##_column, .xRowid = cursor_rowid                                 \
    }

static const sqlite3_module messages_module = ROWS_MODULE(messages);
static const sqlite3_module runs_module = ROWS_MODULE(runs);

int rows_register(sqlite3 *db, struct row_source *source)
{
    int rc = sqlite3_create_module(db, "message_batch", &messages_module, source);

    return rc == SQLITE_OK ? sqlite3_create_module(db, "run_batch", &runs_module, source) : rc;
}
