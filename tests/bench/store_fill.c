#include "store_fill.h"

#include "micro.h"
#include "store_sqlite.h"

#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { READ_MESSAGES = 4096, READ_BYTES = 256 * 1024, READ_MICROSECONDS = 5000 }; /* a slice of the broker */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void fill_init(struct fill *fill)
{
    MICRO_REQUIRE(fill->topics > 0 && fill->topics <= FILL_MOST_TOPICS && fill->batch > 0);
    fill->rows = calloc(fill->batch, sizeof *fill->rows);
    fill->ops = calloc(fill->batch, sizeof *fill->ops);
    fill->pointers = calloc(fill->batch, sizeof *fill->pointers);
    fill->names = calloc(fill->topics, sizeof *fill->names);
    fill->payloads = malloc(fill->batch * fill->payload_bytes + 1);
    MICRO_REQUIRE(fill->rows != NULL && fill->ops != NULL && fill->pointers != NULL && fill->names != NULL &&
                  fill->payloads != NULL);
    memset(fill->payloads, 'x', fill->batch * fill->payload_bytes);
    for (size_t i = 0; i < fill->topics; i++)
        snprintf(fill->names[i], sizeof fill->names[i], "topic/%zu", i);
}

void fill_deinit(struct fill *fill)
{
    free(fill->payloads);
    free(fill->names);
    free(fill->pointers);
    free(fill->ops);
    free(fill->rows);
}

static struct store *open_store(const char *directory)
{
    struct store_sqlite_config config = {.directory = directory};
    struct store_opened opened;
    struct store *store = NULL;
    char error[256] = "";

    if (store_sqlite_open(&config, &store, &opened, error, sizeof error) != PS_OK)
        micro_fail(__FILE__, __LINE__, error);
    return store;
}

static void refuse_memory(const char *directory)
{
    struct statfs system;

    MICRO_REQUIRE(statfs(directory, &system) == 0);
    if (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC) {
        fprintf(
            stderr,
            "%s is in memory (tmpfs): a sync there costs nothing and says nothing; set TMPDIR to a directory "
            "on a disk\n",
            directory);
        rmdir(directory);
        exit(1);
    }
}

/* A temporary directory below $TMPDIR, or else where the program lies, which is the build directory. */
static void make_directory(char directory[FILL_DIRECTORY_BYTES])
{
    const char *given = getenv("TMPDIR");
    char program[FILL_DIRECTORY_BYTES / 2] = "";
    int written;

    if (given == NULL || *given == '\0') {
        ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);

        MICRO_REQUIRE(size > 0 && size < (ssize_t)sizeof program - 1);
        *strrchr(program, '/') = '\0';
        given = program;
    }
    written = snprintf(directory, FILL_DIRECTORY_BYTES, "%s/bench_store.XXXXXX", given);
    MICRO_REQUIRE(written < FILL_DIRECTORY_BYTES && mkdtemp(directory) != NULL);
}

void fill_open(struct fill *fill)
{
    if (fill->keep == NULL) {
        make_directory(fill->directory);
    } else {
        snprintf(fill->directory, sizeof fill->directory, "%s/%zu-%zu", fill->keep, fill->topics,
                 fill->batch);
        MICRO_REQUIRE(mkdir(fill->directory, 0700) == 0);
    }
    if (!fill->unmeasured)
        refuse_memory(fill->directory);
    fill->store = open_store(fill->directory);
    fill->slowest = 0;
    fill->dice = dice_of(1);
}

/* One topic is one operation; with more, each message is one, to a topic at random, as they come from the wire. */
static size_t lay_out(struct fill *fill, size_t count)
{
    size_t used = fill->topics == 1 ? 1 : count;

    for (size_t i = 0; i < count; i++)
        fill->rows[i] =
            (struct message){.payload = {fill->payloads + i * fill->payload_bytes, fill->payload_bytes}};
    for (size_t i = 0; i < used; i++) {
        const char *topic = fill->names[dice_below(&fill->dice, fill->topics)];

        fill->ops[i] = (struct store_op){.kind = STORE_APPEND,
                                         .append = {.topic = span_of(topic),
                                                    .messages = fill->rows + i,
                                                    .count = (uint32_t)(count / used)}};
        fill->pointers[i] = &fill->ops[i];
    }
    return used;
}

static void commit(struct fill *fill, size_t count)
{
    size_t used = lay_out(fill, count);
    double started = now();

    MICRO_REQUIRE(store_commit(fill->store, fill->pointers, used, &fill->state) == PS_OK);
    for (size_t i = 0; i < used; i++)
        MICRO_REQUIRE(fill->ops[i].status == PS_OK);
    if (now() - started > fill->slowest)
        fill->slowest = now() - started;
}

void fill_append(struct fill *fill, uint64_t count)
{
    for (uint64_t done = 0; done < count;) {
        size_t some = count - done < fill->batch ? (size_t)(count - done) : fill->batch;

        commit(fill, some);
        done += some;
    }
}

void fill_close(struct fill *fill)
{
    store_close(fill->store);
    fill->store = NULL;
}

void fill_remove(struct fill *fill)
{
    static const char *const names[] = {"psbroker.db", "psbroker.db-wal", "psbroker.db-shm", "psbroker.head"};
    char path[FILL_DIRECTORY_BYTES + 16];

    if (fill->keep != NULL)
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", fill->directory, names[i]);
        unlink(path);
    }
    rmdir(fill->directory);
}

/* -------------------------------------------------------------------------------------------- reading */

/* The store was closed cleanly, so every row is indexed and no topic has recent runs. */
static void take_topic(void *ctx, const struct store_topic *topic)
{
    struct fill_reader *reader = ctx;
    struct store_topic *mine = &reader->topics[reader->count];

    MICRO_REQUIRE(reader->count < reader->fill->topics && topic->name.size < FILL_NAME_BYTES);
    memcpy(reader->names[reader->count], topic->name.data, topic->name.size);
    *mine = *topic;
    mine->name.data = (const uint8_t *)reader->names[reader->count++];
    mine->recent = NULL;
    mine->recent_count = 0;
}

void fill_reader_init(struct fill_reader *reader, struct fill *fill)
{
    *reader = (struct fill_reader){.fill = fill,
                                   .topics = calloc(fill->topics, sizeof *reader->topics),
                                   .names = calloc(fill->topics, sizeof *reader->names)};
    MICRO_REQUIRE(reader->topics != NULL && reader->names != NULL);
    fill->store = open_store(fill->directory);
    store_load(fill->store, take_topic, reader);
    MICRO_REQUIRE(reader->count > 0);
    MICRO_REQUIRE(store_reader_new(fill->store, &reader->reader) == PS_OK);
}

void fill_reader_deinit(struct fill_reader *reader)
{
    store_reader_free(reader->reader);
    fill_close(reader->fill);
    free(reader->names);
    free(reader->topics);
}

static bool take_message(void *ctx, const struct message *message)
{
    *(uint64_t *)ctx += message->payload.size;
    return true;
}

uint64_t fill_reader_read(struct fill_reader *reader, uint64_t count)
{
    uint64_t done = 0;

    for (size_t i = 0; done < count; i = (i + 1) % reader->count) {
        struct store_read read = {.topic = reader->topics[i],
                                  .to = reader->topics[i].next_offset,
                                  .max_messages = READ_MESSAGES,
                                  .max_bytes = READ_BYTES,
                                  .max_microseconds = READ_MICROSECONDS,
                                  .show = take_message,
                                  .ctx = &reader->bytes};
        for (; read.from < read.to; read.from = read.next_offset)
            MICRO_REQUIRE(store_read(reader->reader, &read) == PS_OK);
        done += read.to;
    }
    return done;
}
