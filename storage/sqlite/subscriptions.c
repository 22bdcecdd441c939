#include "subscriptions.h"
#include "sqlite_store.h"

#include "topic.h"

static const char *const start_names[] = {
    [START_NEW] = "new", [START_BEGINNING] = "beginning", [START_OFFSET] = "offset", [START_LAST] = "last"};

struct span start_kind_name(enum start_kind kind)
{
    return span_of(kind <= START_LAST ? start_names[kind] : start_names[START_NEW]);
}

enum start_kind start_kind_of(struct span name)
{
    for (int kind = START_NEW; kind <= START_LAST; kind++)
        if (span_equal(name, span_of(start_names[kind])))
            return (enum start_kind)kind;
    return START_NEW;
}

struct stored {
    bool found;
    uint64_t subscription_id;
    struct start_rule start;
    uint64_t mark, generation;
};

static enum ps_status find(struct sqlite_store *store, struct span id, struct span filter,
                           struct stored *stored)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_FIND_SUBSCRIPTION);
    int rc;

    *stored = (struct stored){0};
    if (select == NULL)
        return database_error(&store->db);
    bind_text(select, 1, id);
    bind_text(select, 2, filter);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        stored->found = true;
        stored->subscription_id = column_u64(select, 0);
        stored->start = (struct start_rule){.kind = start_kind_of(column_span(select, 1)),
                                            .value = column_u64(select, 2)};
        stored->mark = column_u64(select, 3);
        stored->generation = column_u64(select, 4);
    }
    sqlite3_reset(select);
    return database_status(rc);
}

/* The valid range of a start offset. A topic that is not there, or was deleted, begins at its next offset. */
static enum ps_status range_of(struct sqlite_store *store, struct span name, bool *exists, uint64_t *first,
                               uint64_t *head)
{
    const struct topic *topic = sqlite_topics_find(&store->topics, name);
    sqlite3_stmt *select;
    int rc;

    *exists = topic != NULL && topic_facts(topic)->exists;
    if (topic != NULL) {
        *first = topic_facts(topic)->first_offset;
        *head = topic_facts(topic)->next_offset;
        return PS_OK;
    }
    select = database_statement(&store->db, STATEMENT_FIND_TOPIC);
    if (select == NULL)
        return database_error(&store->db);
    bind_text(select, 1, name);
    rc = sqlite3_step(select);
    *first = *head = rc == SQLITE_ROW ? column_u64(select, 1) : 0;
    sqlite3_reset(select);
    return database_status(rc);
}

enum ps_status subscriptions_count(struct sqlite_store *store)
{
    sqlite3_stmt *select = database_statement(&store->db, STATEMENT_COUNT_SUBSCRIPTIONS);
    int rc;

    if (select == NULL)
        return database_error(&store->db);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW)
        store->subscriptions = store->staged_subscriptions = column_u64(select, 0);
    sqlite3_reset(select);
    return database_status(rc);
}

static enum ps_status create(struct sqlite_store *store, struct store_attach *attach)
{
    sqlite3_stmt *insert;
    bool exists;
    enum ps_status status;

    if (store->admitted == PS_STORAGE_BUSY)
        return store->admitted;
    if (store->staged_subscriptions >= store->config.limits.max_durable)
        return PS_LIMIT_EXCEEDED;
    if (attach->start.kind == START_OFFSET && filter_is_exact(attach->filter)) {
        status = range_of(store, attach->filter, &exists, &attach->first, &attach->head);
        if (status != PS_OK)
            return status;
        if (attach->start.value > attach->head)
            return PS_OUT_OF_RANGE;
    }
    insert = database_statement(&store->db, STATEMENT_NEW_SUBSCRIPTION);
    if (insert != NULL) {
        bind_text(insert, 1, attach->id);
        bind_text(insert, 2, attach->filter);
        bind_text(insert, 3, start_kind_name(attach->start.kind));
        bind_u64(insert, 4, attach->start.value);
        bind_u64(insert, 5, store->staged_next_seq);
    }
    status = database_run(&store->db, insert);
    if (status != PS_OK)
        return status;
    store->staged_subscriptions++;
    attach->created = true;
    attach->subscription_id = (uint64_t)sqlite3_last_insert_rowid(store->db.handle);
    attach->generation = 1;
    attach->mark = store->staged_next_seq;
    attach->stored = attach->start;
    return PS_OK;
}

enum ps_status subscription_attach(struct sqlite_store *store, struct store_attach *attach)
{
    struct stored stored;
    sqlite3_stmt *update;
    enum ps_status status = find(store, attach->id, attach->filter, &stored);

    if (status != PS_OK)
        return status;
    if (!stored.found)
        return attach->existing_only ? PS_NO_SUCH_SUBSCRIPTION : create(store, attach);
    update = database_statement(&store->db, STATEMENT_RAISE_GENERATION);
    if (update != NULL)
        bind_u64(update, 1, stored.subscription_id);
    status = database_run(&store->db, update);
    if (status != PS_OK)
        return status;
    attach->created = false;
    attach->subscription_id = stored.subscription_id;
    attach->generation = stored.generation + 1;
    attach->mark = stored.mark;
    attach->stored = stored.start;
    return PS_OK;
}

enum ps_status subscription_offsets(struct sqlite_store *store, const struct store_offsets *offsets)
{
    enum ps_status status = PS_OK;

    for (size_t i = 0; i < offsets->count && status == PS_OK; i++) {
        sqlite3_stmt *put = database_statement(&store->db, STATEMENT_PUT_OFFSET);

        if (put != NULL) {
            bind_u64(put, 1, offsets->items[i].topic_id);
            bind_u64(put, 2, offsets->items[i].subscription_id);
            bind_u64(put, 3, offsets->items[i].next_offset);
        }
        status = database_run(&store->db, put);
    }
    return status;
}

static enum ps_status run_with_id(struct sqlite_store *store, enum statement statement,
                                  uint64_t subscription_id)
{
    sqlite3_stmt *prepared = database_statement(&store->db, statement);

    if (prepared != NULL)
        bind_u64(prepared, 1, subscription_id);
    return database_run(&store->db, prepared);
}

static enum ps_status check_seek(struct sqlite_store *store, struct store_seek *seek)
{
    bool exists;
    enum ps_status status;

    if (seek->to.kind != START_OFFSET)
        return PS_OK;
    status = range_of(store, seek->filter, &exists, &seek->first, &seek->head);
    if (status != PS_OK)
        return status;
    if (!exists)
        return PS_NO_SUCH_TOPIC;
    return seek->to.value > seek->head ? PS_OUT_OF_RANGE : PS_OK;
}

enum ps_status subscription_seek(struct sqlite_store *store, struct store_seek *seek)
{
    struct stored stored;
    sqlite3_stmt *update;
    enum ps_status status = find(store, seek->id, seek->filter, &stored);

    if (status != PS_OK)
        return status;
    if (!stored.found)
        return PS_NO_SUCH_SUBSCRIPTION;
    status = check_seek(store, seek);
    if (status != PS_OK)
        return status;
    update = database_statement(&store->db, STATEMENT_MOVE_SUBSCRIPTION);
    if (update != NULL) {
        bind_u64(update, 1, stored.subscription_id);
        bind_text(update, 2, start_kind_name(seek->to.kind));
        bind_u64(update, 3, seek->to.value);
        bind_u64(update, 4, store->staged_next_seq);
    }
    status = database_run(&store->db, update);
    if (status == PS_OK)
        status = run_with_id(store, STATEMENT_DELETE_OFFSETS, stored.subscription_id);
    if (status != PS_OK)
        return status;
    seek->subscription_id = stored.subscription_id;
    seek->generation = stored.generation + 1;
    seek->mark = store->staged_next_seq;
    return PS_OK;
}

enum ps_status subscription_forget(struct sqlite_store *store, struct store_forget *forget)
{
    struct stored stored;
    enum ps_status status = find(store, forget->id, forget->filter, &stored);

    if (status != PS_OK)
        return status;
    if (!stored.found)
        return PS_NO_SUCH_SUBSCRIPTION;
    status = run_with_id(store, STATEMENT_DELETE_OFFSETS, stored.subscription_id);
    if (status == PS_OK)
        status = run_with_id(store, STATEMENT_DELETE_SUBSCRIPTION, stored.subscription_id);
    if (status != PS_OK)
        return status;
    store->staged_subscriptions--;
    forget->subscription_id = stored.subscription_id;
    return PS_OK;
}

enum ps_status topic_delete(struct sqlite_store *store, struct store_delete_topic *deletion)
{
    struct topic *topic = sqlite_topics_find(&store->topics, deletion->topic);
    enum ps_status status;
    sqlite3_stmt *update;

    if (topic == NULL || !topic_facts(topic)->exists)
        return PS_NO_SUCH_TOPIC;
    status = sqlite_topics_reserve(&store->topics);
    if (status != PS_OK)
        return status;
    sqlite_topics_touch(&store->topics, topic);
    update = database_statement(&store->db, STATEMENT_DELETE_TOPIC);
    if (update != NULL) {
        bind_u64(update, 1, topic->topic_id);
        bind_u64(update, 2, topic->staged.next_offset);
        bind_u64(update, 3, topic->staged.last_seq);
        sqlite3_bind_int64(update, 4, store->now);
    }
    status = database_run(&store->db, update);
    if (status == PS_OK)
        status =
            sweeper_note(&store->sweeper, topic->topic_id, topic->staged.next_offset, topic->staged.last_seq);
    if (status != PS_OK)
        return status;
    topic->staged.exists = false;
    topic->staged.first_offset = topic->staged.next_offset;
    deletion->topic_id = topic->topic_id;
    deletion->first_offset = topic->staged.first_offset;
    return PS_OK;
}
