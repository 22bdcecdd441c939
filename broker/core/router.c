/* All nodes live in one hash table keyed by (parent, level), so a node with 100,000 children costs no more than
 * one with a single child. Matching follows at most two children a level (the literal one and `+`) and never
 * visits a node twice; its depth is the number of levels, at most 256. */
#include "router.h"

#include <assert.h>
#include <stdlib.h>

struct router_node {
    struct map_node in_nodes;
    struct router_node *parent;
    struct list entries; /* filters that end here */
    uint32_t children;
    uint32_t level_size;
    uint8_t level[];
};

/* With its place in the table and what the allocator adds. */
static uint64_t charge(const struct router_node *node)
{
    return sizeof *node + node->level_size + 32;
}

static const struct span plus = {(const uint8_t *)"+", 1};
static const struct span hash = {(const uint8_t *)"#", 1};

static struct router_node *node_new(struct router_node *parent, struct span level)
{
    struct router_node *node = calloc(1, sizeof *node + level.size);
    if (node == NULL)
        return NULL;
    list_init(&node->entries);
    node->parent = parent;
    node->level_size = (uint32_t)level.size;
    if (level.size > 0)
        memcpy(node->level, level.data, level.size);
    return node;
}

bool router_init(struct router *router, uint64_t seed, struct quota *memory)
{
    *router = (struct router){.seed = seed, .memory = memory};
    router->root = node_new(NULL, (struct span){(const uint8_t *)"", 0});
    return router->root != NULL && map_prepare(&router->nodes);
}

void router_deinit(struct router *router)
{
    assert(router->nodes.count == 0);
    free(router->root);
    map_deinit(&router->nodes);
}

static uint64_t key_hash(const struct router *router, const struct router_node *parent, struct span level)
{
    return hash_bytes(level, router->seed ^ hash_number((uint64_t)(uintptr_t)parent));
}

static struct router_node *child(const struct router *router, const struct router_node *parent,
                                 struct span level)
{
    struct map_node *at = map_find(&router->nodes, key_hash(router, parent, level));
    for (; at != NULL; at = map_next(at)) {
        struct router_node *node = LIST_OBJECT(at, struct router_node, in_nodes);
        if (node->parent == parent && span_equal((struct span){node->level, node->level_size}, level))
            return node;
    }
    return NULL;
}

/* Takes the first level off *rest; *rest is absent when it was the last one. */
static struct span next_level(struct span *rest)
{
    const uint8_t *slash = rest->size == 0 ? NULL : memchr(rest->data, '/', rest->size);
    struct span level = *rest;
    if (slash == NULL) {
        *rest = SPAN_ABSENT;
        return level;
    }
    level.size = (size_t)(slash - rest->data);
    *rest = (struct span){slash + 1, rest->size - level.size - 1};
    return level;
}

/* Frees a node that holds nothing any more, and so on upwards. */
static void prune(struct router *router, struct router_node *node)
{
    while (node != router->root && node->children == 0 && list_empty(&node->entries)) {
        struct router_node *parent = node->parent;
        map_remove(&router->nodes, &node->in_nodes);
        quota_release(router->memory, charge(node));
        free(node);
        parent->children--;
        node = parent;
    }
}

bool router_add(struct router *router, struct span filter, struct router_entry *entry)
{
    struct router_node *node = router->root;
    struct span rest = filter;
    while (span_present(rest)) {
        struct span level = next_level(&rest);
        struct router_node *next = child(router, node, level);
        if (next == NULL) {
            next = node_new(node, level);
            if (next == NULL) {
                prune(router, node);
                return false;
            }
            (void)map_insert(&router->nodes, &next->in_nodes, key_hash(router, node, level));
            quota_charge(router->memory, charge(next));
            node->children++;
        }
        node = next;
    }
    entry->node = node;
    list_append(&node->entries, &entry->in_node);
    return true;
}

void router_remove(struct router *router, struct router_entry *entry)
{
    if (entry->node == NULL)
        return;
    list_remove(&entry->in_node);
    prune(router, entry->node);
    entry->node = NULL;
}

struct search {
    const struct router *router;
    router_match_fn *matched;
    void *ctx;
    bool hidden; /* the name starts with $: no wildcard in first place */
};

static void emit(const struct search *search, const struct router_node *node)
{
    struct list *at = node->entries.next;
    for (; at != &node->entries; at = at->next)
        search->matched(search->ctx, LIST_OBJECT(at, struct router_entry, in_node));
}

static void descend(const struct search *search, const struct router_node *node, struct span rest)
{
    bool wild = !(search->hidden && node == search->router->root);
    if (node->children > 0 && wild) {
        const struct router_node *all = child(search->router, node, hash);
        if (all != NULL)
            emit(search, all);
    }
    if (!span_present(rest)) {
        emit(search, node);
        return;
    }
    if (node->children == 0)
        return;
    struct span level = next_level(&rest);
    const struct router_node *next = child(search->router, node, level);
    if (next != NULL)
        descend(search, next, rest);
    next = wild ? child(search->router, node, plus) : NULL;
    if (next != NULL)
        descend(search, next, rest);
}

void router_match(const struct router *router, struct span name, router_match_fn *matched, void *ctx)
{
    struct search search = {router, matched, ctx, name.size > 0 && name.data[0] == '$'};
    descend(&search, router->root, name);
}
