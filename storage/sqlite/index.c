/* Within a topic, offsets grow with epochs, so a search is a bisection; an epoch without the topic says
 * nothing, and its neighbours are asked. Runs of topics that were busy in their epoch stand in an index by topic
 * and answer or narrow the search first. */
#include "store.h"

#include "index.h"

enum side { BELOW, HERE, ABOVE, ABSENT };

struct search {
    struct database *db;
    uint64_t topic_id, offset;
    uint64_t low, high; /* epochs, inclusive; low > high: nothing left */
    struct index_place *place;
};

static enum ps_status step_one(sqlite3_stmt *statement, bool *row)
{
    int rc = sqlite3_step(statement);

    *row = rc == SQLITE_ROW;
    return database_status(rc);
}

/* Where the offset lies as seen from one epoch. */
static enum ps_status probe(const struct search *search, uint64_t epoch, enum side *side)
{
    sqlite3_stmt *select = database_statement(search->db, STATEMENT_RUN_AT_OR_BELOW);
    enum ps_status status;
    bool row;

    if (select == NULL)
        return database_error(search->db);
    bind_u64(select, 1, epoch);
    bind_u64(select, 2, search->topic_id);
    bind_u64(select, 3, search->offset);
    status = step_one(select, &row);
    if (row) {
        uint64_t first = column_u64(select, 0);

        *side = search->offset < first + column_u64(select, 2) ? HERE : ABOVE;
        if (*side == HERE)
            *search->place =
                (struct index_place){epoch, first, column_u64(select, 1) + (search->offset - first)};
    }
    sqlite3_reset(select);
    if (row || status != PS_OK)
        return status;

    select = database_statement(search->db, STATEMENT_RUN_ABOVE);
    if (select == NULL)
        return database_error(search->db);
    bind_u64(select, 1, epoch);
    bind_u64(select, 2, search->topic_id);
    bind_u64(select, 3, search->offset);
    status = step_one(select, &row);
    sqlite3_reset(select);
    *side = row ? BELOW : ABSENT;
    return status;
}

static enum ps_status one_number(struct database *db, sqlite3_stmt *select, uint64_t *number)
{
    enum ps_status status;
    bool row;

    if (select == NULL)
        return database_error(db);
    status = step_one(select, &row);
    if (row && sqlite3_column_type(select, 0) != SQLITE_NULL)
        *number = column_u64(select, 0);
    sqlite3_reset(select);
    return status;
}

/* The epochs that can hold the topic at all. */
static enum ps_status bound_by_life(struct search *search, uint64_t created_seq)
{
    sqlite3_stmt *select = database_statement(search->db, STATEMENT_EPOCH_OF_SEQ);
    enum ps_status status;

    search->low = UINT64_MAX;
    search->high = 0;
    if (select != NULL)
        bind_u64(select, 1, created_seq);
    status = one_number(search->db, select, &search->low);
    if (status != PS_OK)
        return status;
    return one_number(search->db, database_statement(search->db, STATEMENT_LAST_EPOCH), &search->high);
}

/* Busy runs are found by topic: either the place itself, or epochs on both sides of it. */
static enum ps_status bound_by_busy_runs(struct search *search, bool *found)
{
    sqlite3_stmt *select = database_statement(search->db, STATEMENT_BUSY_RUN_AT_OR_BELOW);
    uint64_t above = search->high;
    enum ps_status status;
    bool row;

    if (select == NULL)
        return database_error(search->db);
    bind_u64(select, 1, search->topic_id);
    bind_u64(select, 2, search->offset);
    status = step_one(select, &row);
    if (row) {
        uint64_t epoch = column_u64(select, 0);
        uint64_t past = search->offset - column_u64(select, 1);

        *found = epoch <= search->high && past < column_u64(select, 3);
        if (*found)
            *search->place = (struct index_place){epoch, search->offset - past, column_u64(select, 2) + past};
        if (epoch > search->low)
            search->low = epoch;
    }
    sqlite3_reset(select);
    if (status != PS_OK || *found)
        return status;

    select = database_statement(search->db, STATEMENT_BUSY_RUN_ABOVE);
    if (select != NULL) {
        bind_u64(select, 1, search->topic_id);
        bind_u64(select, 2, search->offset);
    }
    status = one_number(search->db, select, &above);
    if (above < search->high)
        search->high = above;
    return status;
}

/* The newest listed epoch up to `epoch`; 0: none. Numbers of epochs that were swept are skipped. */
static enum ps_status listed_at_or_below(struct database *db, uint64_t epoch, uint64_t *listed)
{
    sqlite3_stmt *select = database_statement(db, STATEMENT_EPOCH_AT_OR_BELOW);

    *listed = 0;
    if (select != NULL)
        bind_u64(select, 1, epoch);
    return one_number(db, select, listed);
}

/* Halves [low, high]. Where the middle epoch lacks the topic, those below it are asked, downwards. */
static enum ps_status halve(struct search *search, bool *found)
{
    uint64_t middle = search->low + (search->high - search->low) / 2;
    uint64_t at = middle;
    enum side side = ABSENT;
    enum ps_status status = listed_at_or_below(search->db, middle, &at);

    while (status == PS_OK && at >= search->low && at > 0) {
        status = probe(search, at, &side);
        if (status != PS_OK || side != ABSENT)
            break;
        status = listed_at_or_below(search->db, at - 1, &at);
    }
    *found = side == HERE;
    if (side == BELOW)
        search->high = at - 1;
    else
        search->low = middle + 1;
    return status;
}

enum ps_status index_find(struct database *db, uint64_t topic_id, uint64_t offset, uint64_t hint,
                          uint64_t created_seq, struct index_place *place)
{
    struct search search = {.db = db, .topic_id = topic_id, .offset = offset, .place = place};
    enum side side = ABSENT;
    bool found = false;
    enum ps_status status;

    *place = (struct index_place){0};
    status = bound_by_life(&search, created_seq);
    if (status != PS_OK || search.low > search.high)
        return status;
    /* A reader that goes on finds its place in the same epoch or in the next one. */
    for (uint64_t epoch = hint; hint != 0 && epoch <= hint + 1 && epoch <= search.high; epoch++) {
        status = probe(&search, epoch, &side);
        if (status != PS_OK || side == HERE)
            return status;
    }
    status = bound_by_busy_runs(&search, &found);
    while (status == PS_OK && !found && search.low <= search.high)
        status = halve(&search, &found);
    return status;
}

/* The topic's first run in `epoch` that reaches `seq` or lies above it. */
static enum ps_status run_past(struct database *db, uint64_t topic_id, uint64_t epoch, uint64_t seq,
                               bool *found, uint64_t *offset)
{
    sqlite3_stmt *select = database_statement(db, STATEMENT_RUN_PAST_SEQ);
    enum ps_status status;

    if (select == NULL)
        return database_error(db);
    bind_u64(select, 1, epoch);
    bind_u64(select, 2, topic_id);
    bind_u64(select, 3, seq);
    status = step_one(select, found);
    if (*found) {
        uint64_t first_seq = column_u64(select, 1);

        *offset = column_u64(select, 0) + (seq > first_seq ? seq - first_seq : 0);
    }
    sqlite3_reset(select);
    return status;
}

/* The first listed epoch in (epoch, last]; UINT64_MAX: none. */
static enum ps_status listed_behind(struct database *db, uint64_t epoch, uint64_t last, uint64_t *listed)
{
    sqlite3_stmt *select = database_statement(db, STATEMENT_NEXT_EPOCH);

    *listed = UINT64_MAX;
    if (select != NULL) {
        bind_u64(select, 1, epoch + 1);
        bind_u64(select, 2, last);
    }
    return one_number(db, select, listed);
}

enum ps_status index_find_seq(struct database *db, uint64_t topic_id, uint64_t seq, bool *found,
                              uint64_t *offset)
{
    sqlite3_stmt *select = database_statement(db, STATEMENT_EPOCH_OF_SEQ);
    uint64_t epoch = UINT64_MAX;
    uint64_t last = 0;
    enum ps_status status;

    *found = false;
    if (select != NULL)
        bind_u64(select, 1, seq);
    status = one_number(db, select, &epoch);
    if (status == PS_OK)
        status = one_number(db, database_statement(db, STATEMENT_LAST_EPOCH), &last);
    while (status == PS_OK && !*found && epoch <= last) {
        status = run_past(db, topic_id, epoch, seq, found, offset);
        if (status == PS_OK && !*found)
            status = listed_behind(db, epoch, last, &epoch);
    }
    return status;
}
