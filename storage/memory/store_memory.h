/* The store in memory: reference body of store.h and test double. Nothing survives store_close().
 *
 * It indexes in epochs as a body on disk does, only smaller (STORE_MEMORY_EPOCH messages), and finds what is
 * not indexed yet through store_topic.recent alone: a caller that forgets to lend runs gets PS_DAMAGED here
 * as it would from a file. */
#ifndef PSBROKER_STORE_MEMORY_H
#define PSBROKER_STORE_MEMORY_H

#include "store.h"

enum { STORE_MEMORY_EPOCH = 256 };

/* Ours to close with store_close(). `limits` NULL: none given. PS_OK or PS_NO_MEMORY. */
enum ps_status store_memory_open(const struct store_limits *limits, struct store **store,
                                 struct store_opened *opened);

#endif
