/* Everything there is, read through the broker or with SQLite alone, against the ledger. */
#include "witness.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct witness *witness;
    struct psc_client *client;
    struct psc_subscription *replay;
    struct ledger_view *view;
    enum ledger_reading reading;
    uint64_t shown, bytes; /* since the broker was told */
    uint64_t *stands;      /* cursors × topics: what is committed */
    bool lost;
};

enum { TELL_EVERY = 1024 };

static const char *name_of(enum ledger_reading reading)
{
    return reading == LEDGER_WHOLE ? "replay" : reading == LEDGER_COPY ? "copy" : "rest";
}

static void close_client(struct check *check)
{
    if (check->client != NULL)
        psc_close(check->client, NULL, NULL);
    check->client = NULL;
}

static void disconnected_cb(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                            void *data)
{
    struct check *check = data;

    (void)client, (void)retry_in_ms;
    ledger_complain(check->witness->ledger, "the connection was lost while all was read: %s", error->text);
    check->lost = true;
    close_client(check);
}

/* -------------------------------------------------------------------------------------------------- replay */

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct check *check = data;
    unsigned topic;

    (void)subscription, (void)created;
    for (size_t i = 0; i < count; i++)
        if (ledger_topic_find(check->witness->ledger, starts[i].topic.data, starts[i].topic.size, &topic))
            ledger_view_start(check->view, topic, starts[i].offset, starts[i].first, starts[i].head);
}

static void message_cb(struct psc_subscription *subscription, struct psc_bytes name,
                       const struct psc_message *message, void *data)
{
    struct check *check = data;
    struct ledger_message bytes = witness_bytes(message);
    unsigned topic;

    if (ledger_topic_find(check->witness->ledger, name.data, name.size, &topic))
        ledger_view_show(check->view, topic, message->offset, &bytes);
    check->bytes += bytes.payload_size + bytes.key_size;
    if (++check->shown % TELL_EVERY != 0)
        return;
    psc_consumed(subscription, TELL_EVERY, check->bytes);
    check->bytes = 0;
}

static void gap_cb(struct psc_subscription *subscription, struct psc_bytes name, uint64_t from, uint64_t to,
                   void *data)
{
    struct check *check = data;

    (void)subscription;
    ledger_complain(check->witness->ledger, "replay: a gap in %.*s from %llu to %llu", (int)name.size,
                    (const char *)name.data, (unsigned long long)from, (unsigned long long)to);
}

/* ---------------------------------------------------------------------------------------- committed offsets */

static bool is_of_cursor(const struct psc_subscription_info *info, unsigned cursor)
{
    char name[16];
    struct psc_bytes id = witness_durable_id(cursor, name);

    return info->durable_id.size == id.size && memcmp(info->durable_id.data, id.data, id.size) == 0;
}

static void note_committed(struct check *check, unsigned cursor, const struct psc_subscription_info *info)
{
    struct ledger *ledger = check->witness->ledger;
    unsigned topic;

    for (size_t i = 0; i < info->position_count; i++) {
        const struct psc_position *position = &info->positions[i];

        if (ledger_topic_find(ledger, position->topic.data, position->topic.size, &topic))
            check->stands[(size_t)cursor * ledger_plan_of(ledger)->topics + topic] = position->committed;
    }
}

/* A subscription that is gone stands at 0, and so do topics that are not named. */
static void show_committed(struct check *check)
{
    struct ledger *ledger = check->witness->ledger;
    const struct ledger_plan *plan = ledger_plan_of(ledger);

    for (size_t i = 0; i < (size_t)plan->cursors * plan->topics; i++) {
        unsigned cursor = (unsigned)(i / plan->topics), topic = (unsigned)(i % plan->topics);

        if (check->reading == LEDGER_WHOLE)
            ledger_committed(ledger, cursor, topic, check->stands[i]);
        else
            ledger_copy_committed(check->view, cursor, topic, check->stands[i]);
    }
}

static void subscription_cb(const struct psc_error *error, const struct psc_subscription_info *info,
                            void *data)
{
    struct check *check = data;
    struct ledger *ledger = check->witness->ledger;

    for (unsigned i = 0; info != NULL && i < ledger_plan_of(ledger)->cursors; i++)
        if (is_of_cursor(info, i))
            note_committed(check, i, info);
    if (info != NULL)
        return;
    if (error == NULL) {
        show_committed(check);
        ledger_view_end(check->view);
        check->view = NULL;
    } else if (error->status != PS_CONNECTION_LOST) {
        ledger_complain(ledger, "listing the subscriptions: %s", error->text);
    }
    close_client(check);
}

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    struct check *check = data;

    (void)subscription;
    if (reason->status == PS_END_REACHED &&
        psc_list_subscriptions(check->client, (struct psc_bytes){0}, subscription_cb, check) == PS_OK)
        return;
    /* What is left of a log may have damage, where it is named. */
    if (reason->status != PS_CONNECTION_LOST &&
        !(check->reading == LEDGER_REST && reason->status == PS_DAMAGED && reason->has_range))
        ledger_complain(check->witness->ledger, "%s: the replay ended with %s: %s", name_of(check->reading),
                        ps_status_name(reason->status), reason->text);
    close_client(check);
}

bool witness_check(struct witness *witness, const char *socket, enum ledger_reading reading)
{
    const struct ledger_plan *plan = ledger_plan_of(witness->ledger);
    struct check check = {.witness = witness, .reading = reading};
    struct psc_options options = {.unix_path = socket, .disconnected = disconnected_cb, .data = &check};
    struct psc_subscribe_options replay = {.filter = {"#", 1},
                                           .start = PSC_START_BEGINNING,
                                           .until_end = true,
                                           .subscribed = subscribed_cb,
                                           .message = message_cb,
                                           .gap = gap_cb,
                                           .ended = ended_cb,
                                           .data = &check};

    check.view = ledger_view_new(witness->ledger, name_of(reading), reading);
    check.stands = calloc((size_t)plan->cursors * plan->topics + 1, sizeof *check.stands);
    if (check.stands == NULL || psc_new(&witness->loop, &options, &check.client) != PS_OK ||
        psc_subscribe(check.client, &replay, &check.replay) != PS_OK)
        abort();
    psc_start(check.client);
    uv_run(&witness->loop, UV_RUN_DEFAULT);
    ledger_view_abandon(check.view);
    free(check.stands);
    return !check.lost;
}

/* --------------------------------------------------------------------------------------------- with SQLite */

static struct ledger_message row_bytes(sqlite3_stmt *row)
{
    struct ledger_message bytes = {.payload = sqlite3_column_blob(row, 3),
                                   .payload_size = (size_t)sqlite3_column_bytes(row, 3)};

    if (sqlite3_column_type(row, 2) == SQLITE_NULL)
        return bytes;
    bytes.key = sqlite3_column_blob(row, 2);
    bytes.key_size = (size_t)sqlite3_column_bytes(row, 2);
    if (bytes.key == NULL) /* empty */
        bytes.key = (const uint8_t *)"";
    return bytes;
}

static void show_rows(struct ledger *ledger, struct ledger_view *view, sqlite3_stmt *rows)
{
    unsigned topic;

    while (sqlite3_step(rows) == SQLITE_ROW) {
        struct ledger_message bytes = row_bytes(rows);
        const void *name = sqlite3_column_text(rows, 0);

        if (ledger_topic_find(ledger, name, (size_t)sqlite3_column_bytes(rows, 0), &topic))
            ledger_view_show(view, topic, (uint64_t)sqlite3_column_int64(rows, 1), &bytes);
    }
}

static void check_database(struct ledger *ledger, sqlite3 *db)
{
    sqlite3_stmt *rows = NULL;
    struct ledger_view *view = ledger_view_new(ledger, "sqlite3", LEDGER_WHOLE);

    if (sqlite3_prepare_v2(db,
                           "SELECT topic, offset, CAST(key AS BLOB), CAST(payload AS BLOB) FROM history "
                           "ORDER BY topic, offset",
                           -1, &rows, NULL) == SQLITE_OK)
        show_rows(ledger, view, rows);
    if (sqlite3_finalize(rows) != SQLITE_OK)
        ledger_complain(ledger, "sqlite3: %s", sqlite3_errmsg(db));
    ledger_view_end(view);
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &rows, NULL) != SQLITE_OK ||
        sqlite3_step(rows) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(rows, 0), "ok") != 0)
        ledger_complain(ledger, "sqlite3: integrity_check is not ok");
    sqlite3_finalize(rows);
}

void witness_check_file(struct witness *witness, const char *path)
{
    sqlite3 *db;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK)
        check_database(witness->ledger, db);
    else
        ledger_complain(witness->ledger, "sqlite3: %s does not open: %s", path, sqlite3_errmsg(db));
    sqlite3_close(db);
}
