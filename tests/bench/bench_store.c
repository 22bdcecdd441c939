/* Messages a second that the SQLite store appends, and reads back one topic:
 *
 *     bench_store [MESSAGES [BATCH [PAYLOAD_BYTES [TOPICS [DIRECTORY]]]]]
 *
 * for 1, 1000 and 10,000 topics, or for TOPICS when that is not 0. Messages go to the topics in turn, as from
 * many publishers; a commit holds a batch, grouped by topic. With a DIRECTORY the databases stay there. Figures
 * on stdout, one line for each number of topics; the processor's time tells runs apart on a machine with other
 * work. */
#include "store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_TOPICS = 10000, NAME_BYTES = 16 };

struct bench {
    size_t messages, batch, payload_bytes, topics;
    char directory[256];
    struct store *store;
    struct store_state state;
    struct message *rows;
    struct store_op *ops;
    struct store_op **pointers;
    char (*names)[NAME_BYTES];
    uint8_t *payload;
    double slowest;
    size_t turn; /* the topic that is next */
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Processor time of this process. */
static double worked(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what, enum ps_status status)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, ps_status_name(status));
    exit(1);
}

static void commit_batch(struct bench *bench, size_t count)
{
    size_t used = count < bench->topics ? count : bench->topics;
    size_t row = 0;
    double started = now();
    enum ps_status status;

    for (size_t i = 0; i < used; i++) {
        size_t share = count / used + (i < count % used);

        for (size_t k = 0; k < share; k++)
            bench->rows[row + k] = (struct message){.payload = {bench->payload, bench->payload_bytes}};
        bench->ops[i] = (struct store_op){.kind = STORE_APPEND,
                                          .append = {.topic = span_of(bench->names[bench->turn]),
                                                     .messages = bench->rows + row,
                                                     .count = (uint32_t)share}};
        bench->pointers[i] = &bench->ops[i];
        bench->turn = (bench->turn + 1) % bench->topics;
        row += share;
    }
    status = store_commit(bench->store, bench->pointers, used, &bench->state);
    if (status != PS_OK || bench->ops[0].status != PS_OK)
        die("commit", status == PS_OK ? bench->ops[0].status : status);
    if (now() - started > bench->slowest)
        bench->slowest = now() - started;
}

static struct store *open_store(const char *directory)
{
    struct store_sqlite_config config = {.directory = directory};
    struct store_opened opened;
    struct store *store = NULL;
    char error[256] = "";

    if (store_sqlite_open(&config, &store, &opened, error, sizeof(error)) != PS_OK) {
        fprintf(stderr, "bench_store: %s\n", error);
        exit(1);
    }
    return store;
}

struct topic_zero {
    struct store_topic topic;
};

static void take_topic(void *ctx, const struct store_topic *topic)
{
    struct topic_zero *zero = ctx;

    if (span_equal(topic->name, span_of("topic/0")))
        zero->topic = *topic;
}

static bool take_message(void *ctx, const struct message *message)
{
    *(size_t *)ctx += message->payload.size;
    return true;
}

/* One topic from its beginning to its end, in steps as a reader thread makes them. */
static double read_back(struct bench *bench)
{
    struct topic_zero zero = {0};
    struct store_reader *reader = NULL;
    size_t bytes = 0;
    double started;
    double seconds;

    bench->store = open_store(bench->directory);
    store_load(bench->store, take_topic, &zero);
    zero.topic.name = span_of("topic/0");
    zero.topic.recent_count = 0; /* the store was closed cleanly: all is indexed */
    if (store_reader_new(bench->store, &reader) != PS_OK)
        die("reader", PS_STORAGE_FAILED);
    struct store_read read = {.topic = zero.topic,
                              .to = zero.topic.next_offset,
                              .max_messages = 500,
                              .max_bytes = 1024 * 1024,
                              .max_microseconds = 5000,
                              .show = take_message,
                              .ctx = &bytes};
    started = now();
    while (read.from < read.to) {
        enum ps_status status = store_read(reader, &read);

        if (status != PS_OK)
            die("read", status);
        read.from = read.next_offset;
    }
    seconds = now() - started;
    store_reader_free(reader);
    store_close(bench->store);
    return (double)zero.topic.next_offset / seconds;
}

static void remove_database(const char *directory)
{
    static const char *const names[] = {"psbroker.db", "psbroker.db-wal", "psbroker.db-shm"};
    char path[300];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
}

static void run(struct bench *bench, const char *keep)
{
    size_t done = 0;
    struct rusage usage;
    double seconds;
    double started;
    double work;

    if (keep != NULL)
        snprintf(bench->directory, sizeof(bench->directory), "%s/%zu", keep, bench->topics);
    else
        snprintf(bench->directory, sizeof(bench->directory), "/tmp/bench_store.XXXXXX");
    if (keep != NULL ? mkdir(bench->directory, 0700) != 0 : mkdtemp(bench->directory) == NULL)
        die("directory", PS_ACCESS_DENIED);
    bench->store = open_store(bench->directory);
    bench->slowest = 0;
    bench->turn = 0;
    started = now();
    work = worked();
    while (done < bench->messages) {
        size_t count = bench->messages - done < bench->batch ? bench->messages - done : bench->batch;

        commit_batch(bench, count);
        done += count;
    }
    seconds = now() - started;
    work = worked() - work;
    store_close(bench->store);
    getrusage(RUSAGE_SELF, &usage);
    printf("%6zu topics: append %4.0fk msg/s, %.2f us of work a message, %llu checkpoints, slowest commit "
           "%3.0f ms, read one topic %5.0fk msg/s, peak %ld MB\n",
           bench->topics, (double)bench->messages / seconds / 1e3, work / (double)bench->messages * 1e6,
           (unsigned long long)bench->state.checkpoints, bench->slowest * 1e3, read_back(bench) / 1e3,
           usage.ru_maxrss / 1024);
    fflush(stdout);
    if (keep == NULL) {
        remove_database(bench->directory);
        rmdir(bench->directory);
    }
}

static size_t argument(int argc, char **argv, int index, size_t otherwise)
{
    return argc > index ? (size_t)strtoull(argv[index], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static const size_t topics[] = {1, 1000, MOST_TOPICS};
    size_t only = argument(argc, argv, 4, 0);
    struct bench bench = {.messages = argument(argc, argv, 1, 1000000),
                          .batch = argument(argc, argv, 2, 10000),
                          .payload_bytes = argument(argc, argv, 3, 100)};

    bench.rows = calloc(bench.batch, sizeof(*bench.rows));
    bench.ops = calloc(bench.batch, sizeof(*bench.ops));
    bench.pointers = calloc(bench.batch, sizeof(*bench.pointers));
    bench.names = calloc(MOST_TOPICS, sizeof(*bench.names));
    bench.payload = malloc(bench.payload_bytes + 1);
    if (bench.rows == NULL || bench.ops == NULL || bench.pointers == NULL || bench.names == NULL ||
        bench.payload == NULL)
        die("memory", PS_NO_MEMORY);
    memset(bench.payload, 'x', bench.payload_bytes);
    for (size_t i = 0; i < MOST_TOPICS; i++)
        snprintf(bench.names[i], NAME_BYTES, "topic/%zu", i);
    if (only > MOST_TOPICS)
        die("topics", PS_OUT_OF_RANGE);
    for (size_t i = 0; i < (only > 0 ? 1 : sizeof(topics) / sizeof(topics[0])); i++) {
        bench.topics = only > 0 ? only : topics[i];
        run(&bench, argc > 5 ? argv[5] : NULL);
    }
    free(bench.payload);
    free(bench.names);
    free(bench.pointers);
    free(bench.ops);
    free(bench.rows);
    return 0;
}
