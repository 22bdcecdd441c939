/* Recent runs are gathered once and sorted by topic: a topic's own are then found by bisection. */
#include "load.h"
#include "sqlite_store.h"

#include <stdlib.h>

struct loaded_run {
    uint64_t topic_id;
    struct store_run run;
};

static int by_topic_and_seq(const void *left, const void *right)
{
    const struct loaded_run *a = left;
    const struct loaded_run *b = right;

    if (a->topic_id != b->topic_id)
        return a->topic_id < b->topic_id ? -1 : 1;
    return a->run.first_seq < b->run.first_seq ? -1 : a->run.first_seq > b->run.first_seq;
}

/* Every run that is not indexed yet, by topic. NULL with `*count` 0 when there is none; a start without memory
 * for a few megabytes ends the process. */
static struct loaded_run *gather_runs(const struct sqlite_store *store, size_t *count)
{
    struct loaded_run *runs;
    size_t total = 0;

    for (const struct epoch *epoch = store->epochs.oldest; epoch != NULL; epoch = epoch->next)
        total += epoch->count;
    *count = 0;
    runs = calloc(total + 1, sizeof(*runs));
    if (runs == NULL)
        abort();
    for (const struct epoch *epoch = store->epochs.oldest; epoch != NULL; epoch = epoch->next)
        for (size_t i = 0; i < epoch->count; i++)
            runs[(*count)++] = (struct loaded_run){
                epoch->runs[i].topic_id,
                {epoch->runs[i].first_offset, epoch->runs[i].first_seq, epoch->runs[i].count}};
    qsort(runs, *count, sizeof(*runs), by_topic_and_seq);
    return runs;
}

/* The first run of a topic; `count` when it has none. */
static size_t first_run_of(const struct loaded_run *runs, size_t count, uint64_t topic_id)
{
    size_t low = 0;

    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (runs[middle].topic_id < topic_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void load_show(struct store *base, store_topic_fn *show, void *ctx)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    size_t count;
    struct loaded_run *runs = gather_runs(store, &count);
    struct store_run *recent = calloc(count + 1, sizeof(*recent));

    if (recent == NULL)
        abort();
    for (size_t bucket = 0; bucket < store->topics.bucket_count; bucket++) {
        for (const struct topic *topic = store->topics.buckets[bucket]; topic != NULL; topic = topic->next) {
            const struct topic_facts *facts = &topic->committed;
            size_t at = first_run_of(runs, count, topic->topic_id);
            struct store_topic shown = {.topic_id = topic->topic_id,
                                        .name = topic_name(topic),
                                        .first_offset = facts->first_offset,
                                        .next_offset = facts->next_offset,
                                        .created_seq = facts->created_seq,
                                        .last_seq = facts->last_seq,
                                        .recent = recent};

            for (; at < count && runs[at].topic_id == topic->topic_id; at++)
                recent[shown.recent_count++] = runs[at].run;
            show(ctx, &shown);
        }
    }
    free(recent);
    free(runs);
}
