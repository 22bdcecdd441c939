/* A SQLite VFS on a disk with a volatile cache: it knows what a power cut at any moment could leave behind. The
 * default one of its process; everything is passed on as well, so the program under test notices nothing.
 *
 * Model: a write is certain once a later xSync of the same file has returned. Of what is not certain, each 512-byte
 * sector of each write is there or not, independently of all others and of their order; so is a change of size. A
 * hint of the size to come counts as one, for the store's VFS reserves the blocks past this one, by a descriptor of
 * its own: after a cut the file may be that large, and zeros behind what was written. A file that was removed is
 * there again, or not, until SQLite syncs the directory. */
#ifndef PSBROKER_TESTS_POWER_VFS_H
#define PSBROKER_TESTS_POWER_VFS_H

#include "dice.h"

#include <stdbool.h>
#include <stdint.h>

void power_vfs_install(void);

/* From here on the disk is the log in that directory, and a copy of it under way: databases with their WAL and journal.
 * What they hold counts as certain, unless it is what power_vfs_kill() left. No database may be open. With NULL it
 * forgets all. */
void power_vfs_begin(const char *directory);

/* `moment` is called before each operation that changes something or makes it certain, on the thread that does it, one
 * at a time, until it is set to NULL. */
void power_vfs_watch(void (*moment)(void *ctx), void *ctx);

/* From within `moment`: writes into the directory what a cut now could leave;
 * false when that failed. `kept`, in 256ths, is how probable each sector is. */
bool power_vfs_image(const char *directory, struct dice *dice, unsigned kept);

/* From within `moment`: writes into the directory what the death of the process alone would leave now, which is all
 * that was written. The next power_vfs_begin() goes on with it, and what was not certain still is not. */
bool power_vfs_kill(const char *directory);

#endif
