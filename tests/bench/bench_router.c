/* What routing costs with 100,000 filters: finding those that match a topic (an operation is a topic; each is matched
 * by exactly one filter), subscribing and unsubscribing. Topics are site/S/room/R/device/D; filters name one exactly,
 * have `+` for the level "room", or end in `#`; `mix` is a third of each. */
#include "dice.h"
#include "micro.h"
#include "router.h"

#include <stdio.h>

enum {
    SITES = 2500,
    ROOMS = 10,
    DEVICES = 4,
    FILTERS = SITES * ROOMS * DEVICES,
    NAME_BYTES = 48,
    TOPICS = 4096
};

enum kind { EXACT, PLUS, HASH, MIX };

struct filters {
    struct router router;
    struct quota memory;
    struct router_entry *entries;
    char (*names)[NAME_BYTES];
    char (*topics)[NAME_BYTES]; /* those that are asked for */
    uint64_t matches;
};

static void name_of(size_t number, enum kind kind, char name[NAME_BYTES])
{
    static const char *const forms[] = {
        [EXACT] = "site/%zu/room/%zu/device/%zu",
        [PLUS] = "site/%zu/+/%zu/device/%zu",
        [HASH] = "site/%zu/room/%zu/device/%zu/#",
    };

    snprintf(name, NAME_BYTES, forms[kind == MIX ? number % 3 : kind], number % SITES, number / SITES % ROOMS,
             number / SITES / ROOMS);
}

static void init_router(void *ctx)
{
    struct filters *filters = ctx;

    MICRO_REQUIRE(router_init(&filters->router, 1, &filters->memory));
}

static uint64_t subscribe(void *ctx, uint64_t count)
{
    struct filters *filters = ctx;

    for (size_t i = 0; i < FILTERS; i++)
        MICRO_REQUIRE(router_add(&filters->router, span_of(filters->names[i]), &filters->entries[i]));
    (void)count;
    return FILTERS;
}

static uint64_t unsubscribe(void *ctx, uint64_t count)
{
    struct filters *filters = ctx;

    for (size_t i = 0; i < FILTERS; i++)
        router_remove(&filters->router, &filters->entries[i]);
    (void)count;
    return FILTERS;
}

static void deinit_router(void *ctx)
{
    struct filters *filters = ctx;

    router_deinit(&filters->router);
}

static void init_and_subscribe(void *ctx)
{
    init_router(ctx);
    subscribe(ctx, FILTERS);
}

static void unsubscribe_and_deinit(void *ctx)
{
    unsubscribe(ctx, FILTERS);
    deinit_router(ctx);
}

static void matched(void *ctx, struct router_entry *entry)
{
    struct filters *filters = ctx;

    (void)entry;
    filters->matches++;
}

static uint64_t match(void *ctx, uint64_t count)
{
    struct filters *filters = ctx;

    filters->matches = 0;
    for (uint64_t i = 0; i < count; i++)
        router_match(&filters->router, span_of(filters->topics[i % TOPICS]), matched, filters);
    MICRO_REQUIRE(filters->matches == count);
    return count;
}

static void bench_match(struct micro *micro, struct filters *filters, const char *name, enum kind kind)
{
    if (!micro_wants(micro, name))
        return;
    for (size_t i = 0; i < FILTERS; i++)
        name_of(i, kind, filters->names[i]);
    init_and_subscribe(filters);
    micro_run(micro, &(struct micro_case){.name = name, .run = match, .ctx = filters});
    unsubscribe_and_deinit(filters);
}

static void bench_change(struct micro *micro, struct filters *filters)
{
    for (size_t i = 0; i < FILTERS; i++)
        name_of(i, MIX, filters->names[i]);
    micro_run(micro, &(struct micro_case){.name = "router/subscribe/mix",
                                          .before = init_router,
                                          .run = subscribe,
                                          .after = unsubscribe_and_deinit,
                                          .ctx = filters,
                                          .count = FILTERS});
    micro_run(micro, &(struct micro_case){.name = "router/unsubscribe/mix",
                                          .before = init_and_subscribe,
                                          .run = unsubscribe,
                                          .after = deinit_router,
                                          .ctx = filters,
                                          .count = FILTERS});
}

int main(int argc, char **argv)
{
    struct dice dice = dice_of(1);
    struct filters filters = {.entries = calloc(FILTERS, sizeof *filters.entries),
                              .names = calloc(FILTERS, NAME_BYTES),
                              .topics = calloc(TOPICS, NAME_BYTES)};
    struct micro micro;

    micro_init(&micro, argc, argv);
    MICRO_REQUIRE(filters.entries != NULL && filters.names != NULL && filters.topics != NULL);
    for (size_t i = 0; i < TOPICS; i++)
        name_of(dice_below(&dice, FILTERS), EXACT, filters.topics[i]);
    bench_match(&micro, &filters, "router/match/exact", EXACT);
    bench_match(&micro, &filters, "router/match/+", PLUS);
    bench_match(&micro, &filters, "router/match/#", HASH);
    bench_match(&micro, &filters, "router/match/mix", MIX);
    bench_change(&micro, &filters);
    free(filters.topics);
    free(filters.names);
    free(filters.entries);
    return micro_end(&micro);
}
