/*   WAL n:    wal_id n, before n-1 │ commits …           file alone: n-1, or n while or when it is copied
 *   checkpoint: the file has all of WAL n
 *   WAL n+1:  wal_id n+1, before n │ commits …           file alone: n, or n+1
 *
 * A checkpoint that an outside reader keeps from ending, or a WAL that begins anew by itself behind one, gets no new
 * number: the file may have less than all of it. */
#include "wal_match.h"

#include "sqlite_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

static const char wal_id_name[] = "wal_id";
static const char before_name[] = "wal_id_before";

bool wal_is_beside(const char *path)
{
    struct stat found;
    char *wal;
    bool is_there;

    if (asprintf(&wal, "%s-wal", path) < 0)
        return true;
    is_there = stat(wal, &found) == 0 && found.st_size > 0;
    free(wal);
    return is_there;
}

void wal_match_read(struct database *db, struct wal_facts *facts)
{
    sqlite3_stmt *pragma = database_statement(db, STATEMENT_SCHEMA_VERSION);

    *facts = (struct wal_facts){0};
    if (pragma == NULL)
        return;
    facts->known = sqlite3_step(pragma) == SQLITE_ROW;
    facts->schema_version = sqlite3_column_int64(pragma, 0);
    sqlite3_reset(pragma);
    facts->known = facts->known && database_number(db, wal_id_name, &facts->wal_id) == PS_OK &&
                   database_number(db, before_name, &facts->before) == PS_OK;
}

void wal_match_read_file(const char *path, struct wal_facts *facts)
{
    char *uri = database_uri(path, true);
    struct database db = {0};

    *facts = (struct wal_facts){0};
    if (uri != NULL && database_open(&db, uri, DATABASE_OUTSIDER, NULL, NULL) == SQLITE_OK)
        wal_match_read(&db, facts);
    database_close(&db);
    free(uri);
}

bool wal_match_fits(const struct wal_facts *file, const struct wal_facts *both)
{
    if (!file->known || !both->known || file->wal_id == 0)
        return true;
    /* VACUUM makes other pages of the same rows, and SQLite counts it. */
    if (file->schema_version > both->schema_version)
        return false;
    return file->wal_id == both->wal_id || file->wal_id == both->before;
}

/* ------------------------------------------------------------------------------------------------- writing */

static enum ps_status put_new(struct sqlite_store *store)
{
    uint64_t number = 0;

    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        return PS_IO_ERROR;
    store->wal_match.staged = (number >> 1) | 1;
    return database_put_number(&store->db, wal_id_name, (int64_t)store->wal_match.staged);
}

enum ps_status wal_match_begin(struct sqlite_store *store)
{
    enum ps_status status = database_number(&store->db, wal_id_name, &store->wal_match.current);

    return status == PS_OK && store->wal_match.current == 0 ? put_new(store) : status;
}

enum ps_status wal_match_stamp(struct sqlite_store *store)
{
    enum ps_status status;

    store->wal_match.staged = 0;
    if (!store->wal_match.due)
        return PS_OK;
    status = database_put_number(&store->db, before_name, (int64_t)store->wal_match.current);
    return status == PS_OK ? put_new(store) : status;
}

void wal_match_promote(struct sqlite_store *store)
{
    if (store->wal_match.staged == 0)
        return;
    store->wal_match.current = store->wal_match.staged;
    store->wal_match.staged = 0;
    store->wal_match.due = false;
}
