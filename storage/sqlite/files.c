#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Which file has the name now. It asks for nothing else: a kernel that was asked for a file's times gives the next
 * write a time of its own, and fdatasync then writes the inode as well, which made each commit a third dearer. */
static bool look(const char *path, struct statx *found)
{
    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, found) == 0;
}

bool file_names_init(struct file_names *names, const char *path)
{
    static const char *const suffixes[] = {"", "-wal"};

    *names = (struct file_names){0};
    for (int i = 0; i < 2; i++) {
        struct statx found;

        if (asprintf(&names->files[i].path, "%s%s", path, suffixes[i]) < 0) {
            names->files[i].path = NULL;
            return false;
        }
        if (!look(names->files[i].path, &found))
            return false;
        names->files[i].device = makedev(found.stx_dev_major, found.stx_dev_minor);
        names->files[i].inode = found.stx_ino;
    }
    return true;
}

void file_names_deinit(struct file_names *names)
{
    for (int i = 0; i < 2; i++)
        free(names->files[i].path);
    *names = (struct file_names){0};
}

const char *file_names_lost(const struct file_names *names)
{
    for (int i = 0; i < 2; i++) {
        struct statx found;

        if (!look(names->files[i].path, &found) ||
            makedev(found.stx_dev_major, found.stx_dev_minor) != names->files[i].device ||
            found.stx_ino != names->files[i].inode)
            return names->files[i].path;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ plain files */

static const char *oddity_of(const struct stat *found)
{
    if (S_ISLNK(found->st_mode))
        return "is a symbolic link";
    /* A directory is refused by whoever wants to read or write it. */
    if (!S_ISREG(found->st_mode) && !S_ISDIR(found->st_mode))
        return "is not a regular file";
    return S_ISREG(found->st_mode) && found->st_nlink > 1 ? "has a second name, a hard link" : NULL;
}

const char *file_oddity(const char *path)
{
    struct stat found;

    return lstat(path, &found) == 0 ? oddity_of(&found) : NULL;
}

int file_open_plain(const char *path, int flags)
{
    int file = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct stat found;

    if (file < 0)
        return -1;
    if (fstat(file, &found) == 0 && oddity_of(&found) == NULL)
        return file;
    close(file);
    errno = EINVAL;
    return -1;
}
