/* Intrusive chained hash table: the owner embeds nodes, computes hashes and compares keys.
 *
 * Once it holds an array of buckets an insert cannot fail: a table that cannot grow only gets slower. */
#ifndef PSBROKER_MAP_H
#define PSBROKER_MAP_H

#include "span.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **buckets;
    size_t room; /* a power of two, or 0 */
    size_t count;
};

/* The zero state is an empty map. */
void map_deinit(struct map *map);

/* Makes the first array of buckets. False: out of memory. */
bool map_prepare(struct map *map);

/* False: out of memory, only possible when map_prepare() never succeeded. */
bool map_insert(struct map *map, struct map_node *node, uint64_t hash);
void map_remove(struct map *map, struct map_node *node);

/* Where a search for this hash begins, not looked at yet; NULL when nothing is there. */
struct map_node *map_first(const struct map *map, uint64_t hash);

/* First node of this hash, and the next one of the same hash; NULL when there is none. */
struct map_node *map_find(const struct map *map, uint64_t hash);
struct map_node *map_next(const struct map_node *node);

uint64_t hash_bytes(struct span bytes, uint64_t seed);
uint64_t hash_number(uint64_t number);

#endif
