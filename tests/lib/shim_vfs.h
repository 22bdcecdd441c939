/* A SQLite VFS between SQLite and the disk: the default one of its process. What is done to a database, its WAL or
 * its rollback journal goes through hooks, which may read along, fail, or do something else instead; all the rest is
 * passed on. Hooks run on the thread that calls SQLite, several at once. */
#ifndef PSBROKER_TESTS_SHIM_VFS_H
#define PSBROKER_TESTS_SHIM_VFS_H

#include <sqlite3.h>

enum shim_kind { SHIM_DATABASE, SHIM_WAL, SHIM_JOURNAL };

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
    const char *path; /* SQLite's, as long as the file is open */
    enum shim_kind kind;
};

enum shim_operation {
    SHIM_OPEN,
    SHIM_READ,
    SHIM_WRITE,
    SHIM_TRUNCATE,
    SHIM_SYNC,
    SHIM_FILE_SIZE,
    SHIM_LOCK,
    SHIM_SHM_MAP,
    SHIM_REMOVE
};

/* Each gives a result code of SQLite; a member that is NULL stands for passing on. `before` comes first: what it fails
 * is not done. */
struct shim_hooks {
    int (*before)(enum shim_operation operation, enum shim_kind kind);
    int (*write)(struct shim_file *file, const void *bytes, int size, sqlite3_int64 offset);
    int (*sync)(struct shim_file *file, int flags);
    int (*truncate)(struct shim_file *file, sqlite3_int64 size);
    int (*remove)(const char *path, int sync_directory); /* of any file */
    /* How large the file is going to be; it is passed on in any case. */
    void (*size_hint)(struct shim_file *file, sqlite3_int64 size);
};

/* Before the first database is opened, once, for the life of the process. */
void shim_vfs_install(const char *name, const struct shim_hooks *hooks);

/* Passing on, for hooks. */
int shim_write(struct shim_file *file, const void *bytes, int size, sqlite3_int64 offset);
int shim_sync(struct shim_file *file, int flags);
int shim_truncate(struct shim_file *file, sqlite3_int64 size);
int shim_remove(const char *path, int sync_directory);

#endif
