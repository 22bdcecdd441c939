/* Filters → subscriptions: a trie of levels, asked when a topic comes into being. */
#ifndef PSBROKER_ROUTER_H
#define PSBROKER_ROUTER_H

#include "list.h"
#include "map.h"
#include "quota.h"

struct router_node;

/* Embedded in whatever is routed to. */
struct router_entry {
    struct list in_node;
    struct router_node *node; /* NULL: not registered */
};

struct router {
    struct map nodes; /* (parent, level) → node */
    struct router_node *root;
    uint64_t seed;
    struct quota *memory; /* charged for every node below the root */
};

/* Borrows the budget. False: out of memory. */
bool router_init(struct router *router, uint64_t seed, struct quota *memory);
/* Every entry was removed. Takes the zero state. */
void router_deinit(struct router *router);

/* Registers an entry under a valid filter. False: out of memory, nothing changed. */
bool router_add(struct router *router, struct span filter, struct router_entry *entry);
/* Takes an entry out; one that is not registered stays so. */
void router_remove(struct router *router, struct router_entry *entry);

typedef void router_match_fn(void *ctx, struct router_entry *entry);
/* Calls `matched` for each entry whose filter matches this valid name, in no particular order. It must not add or
 * remove entries. */
void router_match(const struct router *router, struct span name, router_match_fn *matched, void *ctx);

#endif
