#include "verify.h"

#include "check.h"
#include "data_directory.h"
#include "topic.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SHOW_EVERY_MS = 100, PROBLEMS_SHOWN = 1000 };

struct listing {
    FILE *out;
    bool terminal;
    bool shown; /* a line of progress stands on the terminal */
    uint64_t problems;
    uint64_t shown_at;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void clear_line(struct listing *listing)
{
    if (listing->shown)
        fputs("\r\033[K", stderr);
    listing->shown = false;
}

static void progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    struct listing *listing = ctx;
    uint64_t now = now_ms();

    if (!listing->terminal || now - listing->shown_at < SHOW_EVERY_MS)
        return;
    clear_line(listing);
    if (total == 0)
        fprintf(stderr, "checking: %s", what);
    else
        fprintf(stderr, "checking: %s, %llu of %llu (%llu %%)", what, (unsigned long long)done,
                (unsigned long long)total, (unsigned long long)(done * 100 / total));
    fflush(stderr);
    listing->shown = true;
    listing->shown_at = now;
}

/* What a damaged file calls a name may hold anything: as psctl does, such bytes become \xNN. */
static void put_name(FILE *out, struct span name)
{
    if (topic_validate(name) == PS_OK) {
        fwrite(name.data, 1, name.size, out);
        return;
    }
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] >= 0x20 && name.data[i] < 0x7f)
            fputc(name.data[i], out);
        else
            fprintf(out, "\\x%02x", name.data[i]);
    }
}

static void put_text(FILE *out, struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] >= 0x20 && text.data[i] != 0x7f)
            fputc(text.data[i], out);
        else
            fprintf(out, "\\x%02x", text.data[i]);
    }
}

static bool show(void *ctx, const struct store_problem *problem)
{
    struct listing *listing = ctx;

    if (++listing->problems > PROBLEMS_SHOWN)
        return true;
    clear_line(listing);
    if (span_present(problem->topic)) {
        fputs("topic ", listing->out);
        put_name(listing->out, problem->topic);
        if (problem->offset.present)
            fprintf(listing->out, " offset %llu", (unsigned long long)problem->offset.value);
        fputs(": ", listing->out);
    }
    put_text(listing->out, problem->text);
    fputc('\n', listing->out);
    return true;
}

/* The database of a directory; the caller's to free. */
static char *database_of(const char *path)
{
    struct stat found;
    char *file = NULL;

    if (stat(path, &found) == 0 && S_ISDIR(found.st_mode))
        return asprintf(&file, "%s/psbroker.db", path) < 0 ? NULL : file;
    return strdup(path);
}

/* A broker's directory is held meanwhile, so that none starts in it. */
static enum ps_status hold_directory(const char *file, int *lock, char *error, size_t error_size)
{
    const char *slash = strrchr(file, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(file, (size_t)(slash - file) + 1);
    char *name = NULL;
    enum ps_status status = PS_OK;

    if (directory == NULL || asprintf(&name, "%s/LOCK", directory) < 0)
        status = PS_NO_MEMORY;
    else if (strcmp(slash == NULL ? file : slash + 1, "psbroker.db") == 0 && access(name, F_OK) == 0)
        status = data_directory_lock(directory, lock, error, error_size);
    free(name);
    free(directory);
    return status;
}

static void sum_up(struct listing *listing, const struct store_check *check)
{
    clear_line(listing);
    if (listing->problems > PROBLEMS_SHOWN)
        fprintf(listing->out, "… and %llu more problems\n",
                (unsigned long long)(listing->problems - PROBLEMS_SHOWN));
    fflush(listing->out);
    fprintf(stderr, "%s: %llu records in %llu topics, mark %llu%s: %llu problems\n", check->path,
            (unsigned long long)check->records, (unsigned long long)check->topics,
            (unsigned long long)check->mark, check->is_backup ? ", a backup" : "",
            (unsigned long long)listing->problems);
    if (check->has_bad_pages)
        fputs("psbroker: put a backup in the place of a file whose pages do not match their checksums; if "
              "another "
              "program changed it on purpose while no broker ran, start once with --accept-changes\n",
              stderr);
}

enum ps_status verify_file(const char *path, FILE *out, bool *sound)
{
    struct listing listing = {.out = out, .terminal = isatty(STDERR_FILENO)};
    char *file = database_of(path);
    struct store_check check = {.path = file, .show = show, .progress = progress, .ctx = &listing};
    char error[512] = "out of memory";
    int lock = -1;
    enum ps_status status = file == NULL ? PS_NO_MEMORY : hold_directory(file, &lock, error, sizeof(error));

    if (status == PS_OK)
        status = store_sqlite_check(&check, error, sizeof(error));
    if (status == PS_OK)
        sum_up(&listing, &check);
    else
        fprintf(stderr, "psbroker: %s%s\n", error,
                status == PS_IN_USE ? " (psctl verify checks a log that a broker has open)" : "");
    data_directory_unlock(lock);
    free(file);
    if (status == PS_OK)
        *sound = listing.problems == 0;
    return status;
}

void verify_print_help(FILE *out)
{
    fputs("Usage: psbroker verify FILE|DIR\n\n"
          "Checks a log that no broker has open, a broker's directory or one database file, for instance a "
          "backup. It reads\n"
          "only: every page, every record with its checksum and its place, topics, the index, committed "
          "offsets, and whether\n"
          "the log ends where it ended. Each problem is a line on stdout, with topic and offset where they "
          "are known; the\n"
          "sum is on stderr. psctl verify checks a log that a broker has open.\n\n"
          "Examples:\n"
          "  psbroker verify ./data\n"
          "  psbroker verify 2026-01-31.db\n\n"
          "Exit codes: 0 sound, 9 there are problems, 1 it cannot be read, 2 usage, 3 a broker has the "
          "directory,\n"
          "4 not a log of psbroker, or a newer one.\n",
          out);
}
