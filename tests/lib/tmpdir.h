/* A directory of its own for a test; in memory where the system has such a place, because syncs of many tests at
 * once make a disk the slowest part of them. */
#ifndef PSBROKER_TESTS_TMPDIR_H
#define PSBROKER_TESTS_TMPDIR_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TMPDIR_BYTES = 64 };

/* Makes it; false when that is impossible. */
static inline bool tmpdir_make(char path[TMPDIR_BYTES])
{
    static const char in_memory[] = "/dev/shm/psbroker-test-XXXXXX";
    static const char on_disk[] = "/tmp/psbroker-test-XXXXXX";
    memcpy(path, in_memory, sizeof in_memory);
    if (mkdtemp(path) != NULL)
        return true;
    memcpy(path, on_disk, sizeof on_disk);
    return mkdtemp(path) != NULL;
}

/* Removes it with the files in it. */
static inline void tmpdir_remove(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

#endif
