/* A bump allocator with a budget, for everything one decoded frame needs.
 *
 * All memory goes at once, with arena_free() or arena_reset(). The budget bounds what a hostile frame can
 * make us allocate, whatever the decoder does. Loop thread only; not shared. */
#ifndef PSBROKER_ARENA_H
#define PSBROKER_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* Ours to free with arena_free(); NULL when out of memory. `budget` is in bytes, blocks included. */
struct arena *arena_new(size_t budget);
void arena_free(struct arena *arena); /* takes NULL */

/* Forgets all allocations, keeps the first block, sets a new budget. */
void arena_reset(struct arena *arena, size_t budget);

/* Aligned for any type, uninitialised; NULL when the budget or memory is exhausted. */
void *arena_alloc(struct arena *arena, size_t size);

/* Whether an allocation was refused because of the budget since the last reset. */
bool arena_exhausted(const struct arena *arena);

/* Bytes held, blocks included: what is charged to a connection while the arena lives. */
size_t arena_size(const struct arena *arena);

#endif
