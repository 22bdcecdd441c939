/* A SQLite VFS that knows what is durable: the default one of its process, it passes everything on and reads
 * along what is written to the WAL.
 *
 * Payloads carry markers "mark-T-NNNNNN;": a topic digit and a number that grows within the topic, from 1 on.
 * A marker is written when a page with it is in the WAL, committed when the commit frame behind it is, and
 * durable when an xSync that began after that has returned. Any thread. */
#ifndef PSBROKER_TESTS_SYNC_VFS_H
#define PSBROKER_TESTS_SYNC_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYNC_VFS_TOPICS = 10, SYNC_VFS_MARKER_BYTES = 16 };

/* Becomes the default VFS; before the first database is opened, for the life of the process. */
void sync_vfs_install(void);

/* The payload of a message. */
void sync_vfs_marker(char text[SYNC_VFS_MARKER_BYTES], unsigned topic, uint64_t number);
/* The number in a payload; fails the test when it is not a marker of that topic. */
uint64_t sync_vfs_number(const void *payload, size_t size, unsigned topic);

/* The highest durable number of the topic; 0: none. */
uint64_t sync_vfs_durable(unsigned topic);

/* Completed syncs of the WAL, and commit frames written to it. */
uint64_t sync_vfs_syncs(void);
uint64_t sync_vfs_commits(void);

/* Each sync of the WAL takes so much longer. */
void sync_vfs_delay(unsigned milliseconds);
/* Syncs of the WAL do not begin until it is called again with false; `held` is called once when the first one
 * is held, on the thread that syncs. */
void sync_vfs_hold(bool hold, void (*held)(void *ctx), void *ctx);

#endif
