/* psctl backup: the broker copies its log, the copy is fetched piece by piece into FILE.partial, which becomes FILE
 * when it is whole and on stable storage. */
#include "command.h"
#include "json.h"
#include "progress.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct backup {
    struct run *run;
    const char *name;
    char *partial;
    int file; /* -1: not made, or given up */
    uint64_t got, total, mark;
};

static void give_up(struct backup *backup)
{
    if (backup->file < 0)
        return;
    close(backup->file);
    unlink(backup->partial);
    backup->file = -1;
}

static void fail(struct backup *backup, const char *what, int code)
{
    progress_clear();
    report("cannot %s %s: %s", what, backup->partial, strerror(code));
    give_up(backup);
    run_end(backup->run, EXIT_OTHER);
}

static bool sync_directory(const char *name)
{
    const char *slash = strrchr(name, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(name, (size_t)(slash - name) + 1);
    int fd = directory == NULL ? -1 : open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    free(directory);
    return synced;
}

static void print(struct backup *backup)
{
    struct text *text = &backup->run->out.text;

    if (backup->run->style.json) {
        struct json json = json_object(text);
        json_string(&json, "file", bytes_of(backup->name));
        json_u64(&json, "bytes", backup->got);
        json_u64(&json, "mark", backup->mark);
        json_end(&json);
    } else {
        text_put(text, "bytes\t");
        text_u64(text, backup->got);
        text_put(text, "\nmark\t");
        text_u64(text, backup->mark);
    }
    text_char(text, '\n');
    writer_appended(&backup->run->out);
}

/* Overwrites nothing, also where the file system knows no flags of renaming. */
static bool take_name(const struct backup *backup)
{
    if (renameat2(AT_FDCWD, backup->partial, AT_FDCWD, backup->name, RENAME_NOREPLACE) == 0)
        return true;
    if ((errno != EINVAL && errno != ENOSYS) || link(backup->partial, backup->name) != 0)
        return false;
    unlink(backup->partial);
    return true;
}

static void finish(struct backup *backup)
{
    progress_clear();
    if (fsync(backup->file) != 0) {
        fail(backup, "sync", errno);
        return;
    }
    if (!take_name(backup)) {
        fail(backup, "rename", errno);
        return;
    }
    close(backup->file);
    backup->file = -1;
    if (!sync_directory(backup->name))
        report("the directory of %s cannot be synced: a power cut may take the new name away", backup->name);
    print(backup);
    run_end(backup->run, EXIT_OK);
}

static bool write_all(int file, const char *from, size_t size)
{
    while (size > 0) {
        ssize_t took = write(file, from, size);

        if (took < 0 && errno == EINTR)
            continue;
        if (took < 0)
            return false;
        from += took;
        size -= (size_t)took;
    }
    return true;
}

static void fetch(struct backup *backup);

static void chunk_cb(const struct psc_error *error, struct psc_bytes bytes, void *data)
{
    struct backup *backup = data;

    if (run_over(backup->run))
        return;
    if (error != NULL) {
        progress_clear();
        run_fail(backup->run, NULL, error);
    } else if (!write_all(backup->file, bytes.data, bytes.size)) {
        fail(backup, "write", errno);
    } else {
        backup->got += bytes.size;
        if (bytes.size > 0)
            fetch(backup);
        else if (backup->got == backup->total)
            finish(backup);
        else
            fail(backup, "fetch", EPROTO);
    }
}

static void fetch(struct backup *backup)
{
    enum ps_status status = psc_read_backup(backup->run->client, backup->got, chunk_cb, backup);

    if (!backup->run->args->quiet)
        progress_show("fetched bytes", backup->got, backup->total);
    if (status != PS_OK)
        run_fail_status(backup->run, NULL, status);
}

static void state_cb(const struct psc_error *error, const struct psc_backup_state *state, void *data)
{
    struct backup *backup = data;

    if (run_over(backup->run))
        return;
    if (error != NULL) {
        progress_clear();
        run_fail(backup->run, NULL, error);
        return;
    }
    if (!state->ready) {
        if (!backup->run->args->quiet)
            progress_show("copied bytes", state->copied, state->total);
        return;
    }
    backup->total = state->total;
    backup->mark = state->mark;
    fetch(backup);
}

static void begin(struct run *run)
{
    struct backup *backup = run->command;
    enum ps_status status;

    backup->run = run;
    status = psc_backup(run->client, state_cb, backup);
    if (status != PS_OK)
        run_fail_status(run, NULL, status);
}

static void closing(struct run *run)
{
    give_up(run->command);
}

int cmd_backup(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = begin, .closing = closing};
    struct backup backup = {.name = args->operands[0], .file = -1};
    int code = EXIT_OTHER;

    if (access(backup.name, F_OK) == 0) {
        report("%s exists already; a backup overwrites nothing", backup.name);
        return EXIT_USAGE;
    }
    if (asprintf(&backup.partial, "%s.partial", backup.name) < 0) {
        report("out of memory");
        return EXIT_OTHER;
    }
    backup.file = open(backup.partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (backup.file < 0)
        report("cannot make %s: %s%s", backup.partial, strerror(errno),
               errno == EEXIST ? "; a backup is being made there, or one was killed: then remove it" : "");
    else
        code = run_command(args, &hooks, &backup, false);
    give_up(&backup);
    free(backup.partial);
    return code;
}
