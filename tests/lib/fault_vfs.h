/* A SQLite VFS whose disk can fail: the default one of its process, it passes everything on until told otherwise. The
 * first part of an operation that fails is not carried out. Any thread. */
#ifndef PSBROKER_TESTS_FAULT_VFS_H
#define PSBROKER_TESTS_FAULT_VFS_H

#include <stdbool.h>
#include <stdint.h>

enum fault_place { FAULT_WAL_WRITE, FAULT_WAL_SYNC, FAULT_DATABASE_WRITE, FAULT_DATABASE_SYNC, FAULT_PLACES };

/* Becomes the default VFS; before the first database is opened, for the life of the process. */
void fault_vfs_install(void);

/* From the operation number `after` + 1 on, every one there fails with this result code of SQLite, until it is called
 * with SQLITE_OK. Also forgets what was counted. */
void fault_vfs_set(enum fault_place place, uint64_t after, int code);

/* Operations there since it was set last, failed ones included, and how many failed. */
uint64_t fault_vfs_count(enum fault_place place);
uint64_t fault_vfs_failed(enum fault_place place);

/* What a sweep lets fail. */
enum fault_flavour {
    FAULT_IO_ERROR,    /* every operation, with the code that belongs to it */
    FAULT_FULL,        /* writes */
    FAULT_SHORT_WRITE, /* writes, after half of the bytes */
    FAULT_FLAVOURS
};

/* From operation number n (1: the next) of that flavour on, on any file, each one fails, or only that one. 0: none. */
void fault_vfs_sweep(enum fault_flavour flavour, uint64_t n, bool once);
/* Whether it came to that. */
bool fault_vfs_has_swept(void);

#endif
