#include "map.h"

#include <stdlib.h>
#include <xxhash.h>

enum { MAP_FIRST_ROOM = 4 };

void map_deinit(struct map *map)
{
    free(map->buckets);
    *map = (struct map){0};
}

static void move_nodes(const struct map *from, struct map *to)
{
    for (size_t i = 0; i < from->room; i++) {
        struct map_node *node = from->buckets[i];
        while (node != NULL) {
            struct map_node *next = node->next;
            struct map_node **bucket = &to->buckets[node->hash & (to->room - 1)];
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
}

static bool resize(struct map *map, size_t room)
{
    struct map grown = {.room = room, .count = map->count};
    grown.buckets = calloc(room, sizeof(struct map_node *));
    if (grown.buckets == NULL)
        return false;
    move_nodes(map, &grown);
    free(map->buckets);
    *map = grown;
    return true;
}

bool map_prepare(struct map *map)
{
    return map->room != 0 || resize(map, MAP_FIRST_ROOM);
}

bool map_insert(struct map *map, struct map_node *node, uint64_t hash)
{
    if (!map_prepare(map))
        return false;
    if (map->count >= map->room)
        (void)resize(map, map->room * 2);
    struct map_node **bucket = &map->buckets[hash & (map->room - 1)];
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    map->count++;
    return true;
}

void map_remove(struct map *map, struct map_node *node)
{
    struct map_node **at = &map->buckets[node->hash & (map->room - 1)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    node->next = NULL;
    map->count--;
}

static struct map_node *same_hash(struct map_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct map_node *map_first(const struct map *map, uint64_t hash)
{
    return map->room == 0 ? NULL : map->buckets[hash & (map->room - 1)];
}

struct map_node *map_find(const struct map *map, uint64_t hash)
{
    return same_hash(map_first(map, hash), hash);
}

struct map_node *map_next(const struct map_node *node)
{
    return same_hash(node->next, node->hash);
}

uint64_t hash_bytes(struct span bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

uint64_t hash_number(uint64_t number)
{
    number ^= number >> 32;
    number *= 0x9E3779B97F4A7C15u;
    return number ^ (number >> 29);
}
