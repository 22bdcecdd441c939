/* Pages by themselves ─▶ SQLite's own check ─▶ the schema ─▶ every record (scrub.h) ─▶ psbroker.head.
 *
 * A file with nothing in its WAL is opened as one that never changes, so that not even a -shm is made beside it. With a
 * WAL the pages in the file may be older than those in the WAL, and torn by a crash: only those that SQLite would use
 * are looked at. */
#include "check.h"

#include "loss.h"
#include "migrate.h"
#include "schema.h"
#include "scrub.h"
#include "seal.h"
#include "vfs.h"
#include "wal_match.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_MICROSECONDS = 100 * 1000, PAGES_AT_ONCE = 4096, PAGE_MOST_BYTES = 65536 };

struct checking {
    struct store_check *check;
    struct database db;
    bool has_wal;
    struct wal_facts file_alone; /* with a WAL beside it */
};

static void tell(const struct checking *checking, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct checking *checking, const char *format, ...)
{
    char text[600];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    checking->check->show(checking->check->ctx,
                          &(struct store_problem){.topic = SPAN_ABSENT, .text = span_of(text)});
}

static void say_progress(const struct checking *checking, const char *what, uint64_t done, uint64_t total)
{
    if (checking->check->progress != NULL)
        checking->check->progress(checking->check->ctx, what, done, total);
}

/* ---------------------------------------------------------------------------------------------------- pages */

/* One line for adjacent ones: those before `end`. */
static void tell_pages(const struct checking *checking, uint64_t first, uint64_t end)
{
    if (first == end)
        return;
    checking->check->has_bad_pages = true;
    if (end - first == 1)
        tell(checking, "page %llu does not match its checksum", (unsigned long long)first);
    else
        tell(checking, "pages %llu to %llu do not match their checksums", (unsigned long long)first,
             (unsigned long long)end - 1);
}

/* Page 1 says how large pages are. */
static enum ps_status check_pages_of(const struct checking *checking, int file, uint64_t size, uint8_t *page)
{
    struct seal seal = {0};
    enum ps_status status = PS_OK;
    uint64_t bad = 1; /* the first of those just before this one that do not match */
    uint64_t n = 1;
    uint64_t at = 0;

    if (pread(file, page, 100, 0) != 100)
        return PS_OK; /* SQLite says what is wrong with it */
    seal_check(&seal, page, 100, 0);
    for (; seal.in_use && at + (uint64_t)seal.page_bytes <= size; n++) {
        if (n % PAGES_AT_ONCE == 1)
            say_progress(checking, "pages", n - 1, size / (uint64_t)seal.page_bytes);
        if (pread(file, page, (size_t)seal.page_bytes, (off_t)at) != seal.page_bytes) {
            status = PS_IO_ERROR;
            break;
        }
        if (seal_check(&seal, page, seal.page_bytes, (sqlite3_int64)at) == SQLITE_OK) {
            tell_pages(checking, bad, n);
            bad = n + 1;
        }
        at += (uint64_t)seal.page_bytes;
    }
    tell_pages(checking, bad, n);
    if (status == PS_OK && seal.in_use && at < size)
        tell(checking, "the file ends within a page");
    seal_deinit(&seal);
    return status;
}

static enum ps_status check_pages(const struct checking *checking)
{
    uint8_t *page = malloc(PAGE_MOST_BYTES);
    int file = open(checking->check->path, O_RDONLY | O_CLOEXEC);
    enum ps_status status = PS_IO_ERROR;
    struct stat found;

    if (page == NULL)
        status = PS_NO_MEMORY;
    else if (file >= 0 && fstat(file, &found) == 0)
        status = check_pages_of(checking, file, (uint64_t)found.st_size, page);
    if (file >= 0)
        close(file);
    free(page);
    return status;
}

/* ------------------------------------------------------------------------------------------------- opening */

static int open_file(struct checking *checking)
{
    char *uri = database_uri(checking->check->path, !checking->has_wal);
    int rc = uri == NULL ? SQLITE_NOMEM : database_open(&checking->db, uri, DATABASE_OUTSIDER, NULL, NULL);

    free(uri);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- content */

/* What SQLite finds is a finding also where it cannot go on. PS_OK or PS_NO_MEMORY. */
static enum ps_status check_structure(const struct checking *checking)
{
    sqlite3_stmt *pragma = NULL;
    int rc = sqlite3_prepare_v2(checking->db.handle, "PRAGMA quick_check(50)", -1, &pragma, NULL);

    say_progress(checking, "structure", 0, 0);
    while (rc == SQLITE_OK && (rc = sqlite3_step(pragma)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(pragma, 0);

        if (text != NULL && strcmp(text, "ok") != 0)
            tell(checking, "SQLite: %.500s", text);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE && database_status(rc) != PS_NO_MEMORY)
        tell(checking, "SQLite cannot read the file: %s", sqlite3_errmsg(checking->db.handle));
    sqlite3_finalize(pragma);
    return database_status(rc) == PS_NO_MEMORY ? PS_NO_MEMORY : PS_OK;
}

/* A schema that cannot be read was told with the structure. PS_OK or PS_NO_MEMORY. */
static enum ps_status check_schema(const struct checking *checking)
{
    sqlite3 *db = checking->db.handle;
    int application_id = 0;
    int version = 0;
    char error[512] = "";
    enum ps_status status = database_status(migrate_identify(db, &application_id, &version));

    if (status == PS_OK && version == migration_count)
        status = schema_check(db, error, sizeof(error));
    if (status == PS_FOREIGN_FILE)
        tell(checking, "%s", error);
    return status == PS_NO_MEMORY ? PS_NO_MEMORY : PS_OK;
}

static enum ps_status check_records(struct checking *checking)
{
    struct store_verify verify = {
        .max_microseconds = STEP_MICROSECONDS, .show = checking->check->show, .ctx = checking->check->ctx};
    enum ps_status status = scrub_new(&verify.scrub);

    while (status == PS_OK && !verify.done) {
        status = scrub_step(verify.scrub, &checking->db, &verify);
        say_progress(checking, "records", verify.checked, verify.total);
    }
    if (verify.scrub != NULL) {
        checking->check->topics = scrub_topic_count(verify.scrub);
        checking->check->has_bad_pages |= scrub_met_bad_page(verify.scrub);
    }
    scrub_free(verify.scrub);
    checking->check->records = verify.records;
    if (status == PS_STORAGE_FAILED) {
        tell(checking, "the check of records ended: %s", sqlite3_errmsg(checking->db.handle));
        return PS_OK;
    }
    return status;
}

static void compare_head(const struct checking *checking, const char *path, const struct head_facts *here)
{
    struct head_facts head;
    enum head_verdict verdict;
    char what[360];

    switch (head_read(path, &head)) {
    case HEAD_FOUND:
        verdict = head_compare(&head, here);
        if (verdict == HEAD_LEADS || verdict == HEAD_LEADS_IN_WAL) {
            loss_say(what, sizeof(what), verdict, &head, here);
            tell(checking, "%s", what);
        }
        break;
    case HEAD_DAMAGED:
        tell(checking, "psbroker.head is not readable");
        break;
    case HEAD_MISSING:
        break;
    }
}

/* A log that cannot be asked was told with its records. PS_OK or PS_NO_MEMORY. */
static enum ps_status check_head(struct checking *checking)
{
    static const uint8_t none[LOG_ID_BYTES];
    const char *slash = strrchr(checking->check->path, '/');
    const char *name = slash == NULL ? checking->check->path : slash + 1;
    struct head_facts here = {0};
    char *path = NULL;
    enum ps_status status = loss_look(&checking->db, checking->has_wal, &here);

    if (status != PS_OK)
        return status == PS_NO_MEMORY ? PS_NO_MEMORY : PS_OK;
    checking->check->mark = here.mark;
    checking->check->is_backup = memcmp(here.log_id, none, LOG_ID_BYTES) == 0;
    if (strcmp(name, "psbroker.db") != 0 || checking->check->is_backup)
        return PS_OK;
    if (asprintf(&path, "%.*spsbroker.head", (int)(name - checking->check->path), checking->check->path) < 0)
        return PS_NO_MEMORY;
    compare_head(checking, path, &here);
    free(path);
    return PS_OK;
}

static void check_wal(struct checking *checking)
{
    struct wal_facts both;

    wal_match_read(&checking->db, &both);
    if (checking->has_wal && !wal_match_fits(&checking->file_alone, &both))
        tell(checking, WAL_IS_ANOTHERS);
}

static enum ps_status check_content(struct checking *checking, char *error, size_t error_size)
{
    sqlite3 *db = checking->db.handle;
    bool fresh = false;
    enum ps_status status = schema_identify(db, &fresh, error, error_size);

    if (fresh)
        tell(checking, "the file is empty: it holds no log");
    if (status != PS_OK || fresh)
        return status;
    check_wal(checking);
    vfs_tolerate(db, true);
    status = check_structure(checking);
    vfs_tolerate(db, false);
    sqlite3_db_release_memory(db);
    if (status == PS_OK)
        status = check_schema(checking);
    if (status == PS_OK)
        status = check_records(checking);
    if (status == PS_OK)
        status = check_head(checking);
    return status;
}

static bool is_damage(int rc)
{
    return database_status(rc) == PS_DAMAGED;
}

enum ps_status store_sqlite_check(struct store_check *check, char *error, size_t error_size)
{
    struct checking checking = {.check = check, .has_wal = wal_is_beside(check->path)};
    enum ps_status status = PS_OK;
    struct stat found;
    int rc;

    error[0] = '\0';
    if (stat(check->path, &found) == 0 && !S_ISREG(found.st_mode)) {
        snprintf(error, error_size, "%s is not a regular file", check->path);
        return PS_FOREIGN_FILE;
    }
    if (access(check->path, R_OK) != 0) {
        snprintf(error, error_size, "%s cannot be read: %s", check->path, strerror(errno));
        return PS_ACCESS_DENIED;
    }
    if (checking.has_wal)
        wal_match_read_file(check->path, &checking.file_alone);
    else
        status = check_pages(&checking);
    if (status == PS_OK) {
        rc = open_file(&checking);
        status = database_status(rc);
        if (status == PS_OK)
            status = check_content(&checking, error, error_size);
        if (is_damage(rc) || status == PS_DAMAGED) {
            tell(&checking, "the file cannot be opened: %s", sqlite3_errmsg(checking.db.handle));
            status = PS_OK;
        }
    }
    database_close(&checking.db);
    if (status != PS_OK && error[0] == '\0')
        snprintf(error, error_size, "%s cannot be checked: %s", check->path, ps_status_text(status));
    return status;
}
