/* What the store in SQLite costs for a message of 100 bytes: appending by the number of topics and of messages a commit
 * (each commit is synced), and reading one topic that lies alone or among others. On the disk of
 * $TMPDIR, or of the build directory.
 *
 * One layout of your own, once; with a DIRECTORY the database stays there:
 *
 *     bench_store layout TOPICS BATCH PAYLOAD_BYTES MESSAGES [DIRECTORY] */
#include "micro.h"
#include "store_fill.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAYLOAD_BYTES = 100, READABLE_BATCH = 10000 };

struct append {
    struct fill fill;
    char note[96];
};

static void open_empty(void *ctx)
{
    struct append *append = ctx;

    fill_open(&append->fill);
}

static uint64_t append_all(void *ctx, uint64_t count)
{
    struct append *append = ctx;

    fill_append(&append->fill, count);
    return count;
}

static void close_and_remove(void *ctx)
{
    struct append *append = ctx;

    fill_close(&append->fill);
    fill_remove(&append->fill);
    snprintf(append->note, sizeof append->note, "slowest commit %.0f ms, %llu checkpoints",
             append->fill.slowest * 1e3, (unsigned long long)append->fill.state.checkpoints);
}

static void bench_append(struct micro *micro, struct fill fill, uint64_t count)
{
    struct append append = {.fill = fill};
    char name[64];

    snprintf(name, sizeof name, "store/append/topics %zu/batch %zu", fill.topics, fill.batch);
    if (!micro_wants(micro, name))
        return;
    append.fill.unmeasured = micro->smoke;
    fill_init(&append.fill);
    micro_run(micro, &(struct micro_case){.name = name,
                                          .before = open_empty,
                                          .run = append_all,
                                          .after = close_and_remove,
                                          .ctx = &append,
                                          .count = count,
                                          .bytes = (double)fill.payload_bytes,
                                          .note = append.note});
    fill_deinit(&append.fill);
}

static uint64_t read_all(void *ctx, uint64_t count)
{
    return fill_reader_read(ctx, count);
}

static void bench_read(struct micro *micro, size_t topics, uint64_t rows, uint64_t count)
{
    struct fill fill = {.topics = topics,
                        .batch = READABLE_BATCH,
                        .payload_bytes = PAYLOAD_BYTES,
                        .unmeasured = micro->smoke};
    struct fill_reader reader;
    char name[64];

    snprintf(name, sizeof name, "store/read/one of topics %zu", topics);
    if (!micro_wants(micro, name))
        return;
    fill_init(&fill);
    fill_open(&fill);
    fill_append(&fill, rows);
    fill_close(&fill);
    fill_reader_init(&reader, &fill);
    micro_run(micro,
              &(struct micro_case){
                  .name = name, .run = read_all, .ctx = &reader, .count = count, .bytes = PAYLOAD_BYTES});
    fill_reader_deinit(&reader);
    fill_remove(&fill);
    fill_deinit(&fill);
}

static int bench_layout(int argc, char **argv)
{
    struct micro micro = {.once = true};
    size_t numbers[4];

    if (argc < 6 || argc > 7) {
        fprintf(stderr, "usage: %s layout TOPICS BATCH PAYLOAD_BYTES MESSAGES [DIRECTORY]\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < 4; i++)
        numbers[i] = strtoull(argv[2 + i], NULL, 10);
    bench_append(&micro,
                 (struct fill){.topics = numbers[0],
                               .batch = numbers[1],
                               .payload_bytes = numbers[2],
                               .keep = argc > 6 ? argv[6] : NULL},
                 numbers[3]);
    return micro_end(&micro);
}

int main(int argc, char **argv)
{
    static const size_t topics[] = {1, 1000, 10000};
    static const struct {
        size_t batch;
        uint64_t count;
    } appends[] = {{1, 1000}, {100, 50000}, {1000, 200000}, {10000, 500000}};
    struct micro micro;

    if (argc > 1 && strcmp(argv[1], "layout") == 0)
        return bench_layout(argc, argv);
    micro_init(&micro, argc, argv);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        for (size_t k = 0; k < sizeof appends / sizeof appends[0]; k++)
            bench_append(
                &micro,
                (struct fill){.topics = topics[i], .batch = appends[k].batch, .payload_bytes = PAYLOAD_BYTES},
                appends[k].count);
    }
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
        bench_read(&micro, topics[i], micro.smoke ? 20000 : 500000, topics[i] == 1 ? 500000 : 50000);
    return micro_end(&micro);
}
