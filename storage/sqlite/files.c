#include "files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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
