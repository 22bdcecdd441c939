/* A head that leads is proof: it was written behind a commit that had returned, and in SQLite's order of writes a later
 * commit is never there without the earlier one. Proof are
 *
 *   mark         above that of the database: messages are missing, up to there
 *   wal_frames   above what SQLite recovers of the very same WAL (same salt): it ends early, though perhaps
 *                without messages behind that place
 *
 * Everything else, a head that is missing, unreadable or another log's, proves nothing and is said. */
#include "loss.h"

#include "commit.h"
#include "sqlite_store.h"
#include "transaction.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define ADVICE                                                                                               \
    "keep all files as they are, restore what was removed or a backup, or see 'A log that ends early' in "   \
    "storage/README.md on --accept-loss"

static enum ps_status refuse_or_accept(struct sqlite_store *store, const char *what, char *error, size_t size)
{
    store->loss.found = true;
    if (!store->config.accept_loss) {
        snprintf(error, size, "%s; " ADVICE, what);
        return PS_DAMAGED;
    }
    store_log(store, 4, "event=loss_accepted text=\"%s\"", what);
    return PS_OK;
}

static void say_missing(char *what, size_t size, uint64_t from, uint64_t to)
{
    snprintf(what, size, "messages with seq %llu to %llu (%llu messages) that were acknowledged are missing",
             (unsigned long long)from, (unsigned long long)to - 1, (unsigned long long)(to - from));
}

enum ps_status loss_check_file(struct sqlite_store *store, char *error, size_t error_size)
{
    struct head_facts head;
    struct stat file;
    char missing[192], what[320];

    if (stat(store->path, &file) == 0 && file.st_size > 0)
        return PS_OK;
    if (head_read(store->head_path, &head) != HEAD_FOUND || head.mark <= 1) {
        if (!wal_is_beside(store->path))
            return PS_OK;
        snprintf(error, error_size,
                 "psbroker.db is empty or not there, though psbroker.db-wal is: put psbroker.db back, or "
                 "remove psbroker.db-wal too to begin a new log");
        return PS_DAMAGED;
    }
    say_missing(missing, sizeof(missing), 1, head.mark);
    snprintf(what, sizeof(what),
             "psbroker.db is not there, though psbroker.head is (remove that too to begin a new log): %s",
             missing);
    return refuse_or_accept(store, what, error, error_size);
}

/* Without a log_id it is a backup that nobody started yet. */
enum ps_status loss_look(struct database *db, bool has_wal, struct head_facts *here)
{
    sqlite3_stmt *select = database_statement(db, STATEMENT_HEAD);
    struct span log_id;
    int rc;

    if (select == NULL)
        return database_error(db);
    rc = sqlite3_step(select);
    if (rc == SQLITE_ROW) {
        here->mark = column_u64(select, 0);
        here->start_count = column_u64(select, 1);
        log_id = column_span(select, 2);
        if (log_id.size == LOG_ID_BYTES)
            memcpy(here->log_id, log_id.data, LOG_ID_BYTES);
        if (has_wal)
            head_wal_position(db->handle, here);
    }
    sqlite3_reset(select);
    return database_status(rc);
}

void loss_say(char *what, size_t size, enum head_verdict verdict, const struct head_facts *head,
              const struct head_facts *here)
{
    char missing[192];

    if (verdict == HEAD_LEADS) {
        say_missing(missing, sizeof(missing), here->mark, head->mark);
        snprintf(what, size,
                 "the log ends early: %s; psbroker.db-wal was removed, cut or damaged, or psbroker.db is an "
                 "older copy",
                 missing);
    } else {
        snprintf(
            what, size,
            "the log ends early: no message is missing, but changes of subscriptions, committed offsets or "
            "topics that were acknowledged are: %llu of %llu pages in psbroker.db-wal are not readable",
            (unsigned long long)(head->wal_frames - here->wal_frames), (unsigned long long)head->wal_frames);
    }
}

static enum ps_status judge(struct sqlite_store *store, const struct head_facts *head,
                            const struct head_facts *here, char *error, size_t error_size)
{
    enum head_verdict verdict = head_compare(head, here);
    char what[360];

    if (verdict == HEAD_FITS)
        return PS_OK;
    if (verdict == HEAD_OF_ANOTHER_LOG) {
        store_log(
            store, 4,
            "event=head_of_another_log text=\"psbroker.head is another log's: psbroker.db is a copy that was "
            "put here; whether all of it is there is not known\"");
        return PS_OK;
    }
    store->loss.from = here->mark;
    store->loss.to = verdict == HEAD_LEADS ? head->mark : here->mark;
    loss_say(what, sizeof(what), verdict, head, here);
    return refuse_or_accept(store, what, error, error_size);
}

enum ps_status loss_check(struct sqlite_store *store, char *error, size_t error_size)
{
    static const uint8_t no_log_id[LOG_ID_BYTES];
    struct head_facts head, here = {0};
    enum head_state state = head_read(store->head_path, &head);
    enum ps_status status;

    status = database_run(&store->db, database_statement(&store->db, STATEMENT_BEGIN_READ));
    if (status != PS_OK)
        return status;
    status = loss_look(&store->db, true, &here);
    if (!sqlite3_get_autocommit(store->db.handle))
        database_run(&store->db, database_statement(&store->db, STATEMENT_ROLLBACK));
    /* Tables that are not ours are named by the check of the schema. */
    if (status == PS_INTERNAL)
        return PS_OK;
    if (status != PS_OK || (state == HEAD_MISSING && memcmp(here.log_id, no_log_id, LOG_ID_BYTES) == 0))
        return status; /* a backup comes alone */
    if (state == HEAD_FOUND)
        return judge(store, &head, &here, error, error_size);
    store_log(
        store, 4,
        "event=head_%s text=\"psbroker.head, which tells a log that ends early, is %s; it is made anew\"",
        state == HEAD_MISSING ? "missing" : "damaged", state == HEAD_MISSING ? "not there" : "not readable");
    return PS_OK;
}

/* ----------------------------------------------------------------------------------------------- accepting */

/* An epoch without runs ends behind the lost seqs, so that the hole lies in what is indexed. */
static enum ps_status skip_lost(struct sqlite_store *store)
{
    sqlite3_stmt *insert = database_statement(&store->db, STATEMENT_INSERT_EPOCH);
    enum ps_status status;

    if (insert != NULL) {
        bind_u64(insert, 1, store->epochs.next_number);
        bind_u64(insert, 2, store->loss.to - 1);
        bind_u64(insert, 3, store->loss.to - 1);
        bind_u64(insert, 4, 0);
        sqlite3_bind_int64(insert, 5, store->now);
    }
    status = database_run(&store->db, insert);
    return status == PS_OK ? database_put_number(&store->db, "next_seq", (int64_t)store->loss.to) : status;
}

bool loss_is_unmarked(const struct sqlite_store *store)
{
    return store->loss.found && store->loss.to == store->loss.from;
}

enum ps_status loss_accept(struct sqlite_store *store)
{
    uint8_t log_id[LOG_ID_BYTES];
    enum ps_status status;

    if (!store->loss.found) {
        store_log(store, 4,
                  "event=nothing_lost text=\"there is no loss to accept; start without --accept-loss\"");
        return PS_OK;
    }
    if (loss_is_unmarked(store))
        return PS_OK;
    if (getrandom(log_id, LOG_ID_BYTES, 0) != LOG_ID_BYTES)
        return PS_IO_ERROR;
    commit_index(store);
    if (store->failure != PS_OK || epochs_due(&store->epochs))
        return PS_IO_ERROR;
    status = transaction_begin(store);
    if (status == PS_OK)
        status = database_put_bytes(&store->db, "log_id", (struct span){log_id, LOG_ID_BYTES});
    if (status == PS_OK)
        status = skip_lost(store);
    if (status == PS_OK)
        status = transaction_end(store);
    if (status != PS_OK) {
        transaction_roll_back(store);
        return status == PS_UNKNOWN ? PS_IO_ERROR : status;
    }
    memcpy(store->log_id, log_id, LOG_ID_BYTES);
    store->next_seq = store->staged_next_seq = store->loss.to;
    store->epochs.indexed_through = store->loss.to - 1;
    store->epochs.next_number++;
    return PS_OK;
}

/* ------------------------------------------------------------------------------------------------ keeping */

static void say_stale(struct sqlite_store *store)
{
    if (!store->head_is_stale)
        store_log(store, 4, "event=head_not_written code=%d text=\"psbroker.head cannot be written: %s\"",
                  errno, strerror(errno));
    store->head_is_stale = true;
}

void loss_note(struct sqlite_store *store)
{
    struct head_facts facts = {.start_count = store->start_count, .mark = store->next_seq};

    if (store->head_file < 0)
        return;
    memcpy(facts.log_id, store->log_id, LOG_ID_BYTES);
    head_wal_position(store->db.handle, &facts);
    if (head_write(store->head_file, &facts))
        store->head_is_stale = false;
    else
        say_stale(store);
}

void loss_watch(struct sqlite_store *store)
{
    store->head_file = head_open(store->head_path);
    if (store->head_file < 0)
        say_stale(store);
    loss_note(store);
}
