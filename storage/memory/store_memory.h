/* The store in memory: reference body of store.h and test double. Nothing survives store_close(). */
#ifndef PSBROKER_STORE_MEMORY_H
#define PSBROKER_STORE_MEMORY_H

#include "store.h"

/* Ours to close with store_close(). PS_OK or PS_NO_MEMORY. */
enum ps_status store_memory_open(struct store **store, struct store_opened *opened);

#endif
