/* The database and its WAL as names in the directory: a commit into files that were removed or replaced would be
 * acknowledged and lost. Only names are looked at, since opening and closing would drop SQLite's locks. */
#ifndef PSBROKER_FILES_H
#define PSBROKER_FILES_H

#include <stdbool.h>
#include <sys/types.h>

struct file_names {
    struct {
        char *path;
        dev_t device;
        ino_t inode;
    } files[2];
};

/* Remembers which files `path` and its WAL are now. False: out of memory or one is not there; to be deinited in
 * any case. */
bool file_names_init(struct file_names *names, const char *path);
void file_names_deinit(struct file_names *names);

/* The path that is not the same file any more; NULL: none. */
const char *file_names_lost(const struct file_names *names);

/* Why another program, or another broker, may have the file under another name: "is a symbolic link", …; NULL: there
 * is nothing odd about it, or it is not there. */
const char *file_oddity(const char *path);

/* open() that waits for nobody and follows nothing, mode 0600; for files beside the database only. -1 with errno,
 * EINVAL where file_oddity() has words. */
int file_open_plain(const char *path, int flags);

#endif
