/* Blocks in a list. The first lies inside the arena itself, so that an ordinary frame costs one malloc();
 * later ones double up to BLOCK_MAX_BYTES. A request larger than a quarter of the next block gets a block of
 * its own and the current one goes on being filled, so at most about a quarter of the memory is wasted. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

enum { FIRST_BYTES = 4096, BLOCK_MIN_BYTES = 8 * 1024, BLOCK_MAX_BYTES = 256 * 1024 };

struct block {
    struct block *next;
    alignas(max_align_t) uint8_t data[];
};

struct arena {
    size_t budget;
    size_t held;      /* all blocks and this struct */
    size_t next_size; /* of the next ordinary block */
    struct block *blocks;
    uint8_t *at, *end; /* what is free in the current block */
    bool exhausted;
    alignas(max_align_t) uint8_t first[FIRST_BYTES];
};

static void start_over(struct arena *arena, size_t budget)
{
    arena->budget = budget;
    arena->held = sizeof *arena;
    arena->next_size = BLOCK_MIN_BYTES;
    arena->blocks = NULL;
    arena->at = arena->first;
    arena->end = arena->first + (budget < FIRST_BYTES ? budget : FIRST_BYTES);
    arena->exhausted = false;
}

static void free_blocks(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
}

struct arena *arena_new(size_t budget)
{
    struct arena *arena = malloc(sizeof *arena);
    if (arena != NULL)
        start_over(arena, budget);
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    free_blocks(arena);
    free(arena);
}

void arena_reset(struct arena *arena, size_t budget)
{
    free_blocks(arena);
    start_over(arena, budget);
}

/* A block with `size` bytes of data, or NULL when the budget or memory is exhausted. */
static struct block *add_block(struct arena *arena, size_t size)
{
    size_t left = arena->held < arena->budget ? arena->budget - arena->held : 0;
    if (left < sizeof(struct block) || size > left - sizeof(struct block)) {
        arena->exhausted = true;
        return NULL;
    }
    struct block *block = malloc(sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->held += sizeof *block + size;
    return block;
}

static void *alloc_alone(struct arena *arena, size_t size)
{
    struct block *block = add_block(arena, size);
    return block != NULL ? block->data : NULL;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t unit = alignof(max_align_t);
    if (size > SIZE_MAX - unit) {
        arena->exhausted = true;
        return NULL;
    }
    size = size == 0 ? unit : (size + unit - 1) / unit * unit;
    if (size <= (size_t)(arena->end - arena->at)) {
        void *place = arena->at;
        arena->at += size;
        return place;
    }
    size_t left = arena->held < arena->budget ? arena->budget - arena->held : 0;
    if (size > arena->next_size / 4 || left < arena->next_size + sizeof(struct block))
        return alloc_alone(arena, size);
    struct block *block = add_block(arena, arena->next_size);
    if (block == NULL)
        return NULL;
    arena->at = block->data + size;
    arena->end = block->data + arena->next_size;
    if (arena->next_size < BLOCK_MAX_BYTES)
        arena->next_size *= 2;
    return block->data;
}

bool arena_exhausted(const struct arena *arena)
{
    return arena->exhausted;
}

size_t arena_size(const struct arena *arena)
{
    return arena->held;
}
