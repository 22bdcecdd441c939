/* The data directory: made if need be, and held by one process at a time. */
#ifndef PSBROKER_DATA_DIRECTORY_H
#define PSBROKER_DATA_DIRECTORY_H

#include "status.h"

#include <stddef.h>

/* Makes the directory (mode 0700, its parent exists) and locks the file LOCK in it, which then holds our
 * process id. *lock is a descriptor; closing it, or the end of the process, lets go. On failure `error` says
 * what is wrong. PS_OK; PS_IN_USE (names the holder); PS_ACCESS_DENIED; PS_IO_ERROR. */
enum ps_status data_directory_lock(const char *path, int *lock, char *error, size_t error_size);

/* Takes -1. */
void data_directory_unlock(int lock);

#endif
