#include "files.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

bool file_names_init(struct file_names *names, const char *path)
{
    static const char *const suffixes[] = {"", "-wal"};

    *names = (struct file_names){0};
    for (int i = 0; i < 2; i++) {
        struct stat found;

        if (asprintf(&names->files[i].path, "%s%s", path, suffixes[i]) < 0) {
            names->files[i].path = NULL;
            return false;
        }
        if (stat(names->files[i].path, &found) != 0)
            return false;
        names->files[i].device = found.st_dev;
        names->files[i].inode = found.st_ino;
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
        struct stat found;

        if (stat(names->files[i].path, &found) != 0 || found.st_dev != names->files[i].device ||
            found.st_ino != names->files[i].inode)
            return names->files[i].path;
    }
    return NULL;
}
