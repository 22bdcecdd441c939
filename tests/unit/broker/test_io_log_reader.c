/* Reader threads over the store in memory. */
#include "leaks.h"
#include "log_reader.h"
#include "store_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct fixture {
    uv_loop_t loop;
    struct store *store;
    struct store_opened opened;
    struct log_reader *reader;
    struct store_topic topic;
    struct store_run runs[64];
    unsigned done, completed;
    bool stopped;
};

static struct fixture *current;

static void completed_cb(void *ctx)
{
    ((struct fixture *)ctx)->completed++;
}

static void stopped_cb(void *ctx)
{
    ((struct fixture *)ctx)->stopped = true;
}

static struct fixture *start(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    current = fixture;
    uv_loop_init(&fixture->loop);
    cr_assert_eq(store_memory_open(NULL, &fixture->store, &fixture->opened), PS_OK);
    struct log_reader_config config = {
        .loop = &fixture->loop, .store = fixture->store, .completed = completed_cb, .ctx = fixture};
    cr_assert_eq(log_reader_start(&config, &fixture->reader), PS_OK);
    fixture->topic.name = span_of("A");
    fixture->topic.recent = fixture->runs;
    return fixture;
}

static void end(struct fixture *fixture)
{
    log_reader_stop(fixture->reader, stopped_cb, fixture);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert(fixture->stopped);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    store_close(fixture->store);
    free(fixture);
    ASSERT_NO_LEAKS();
}

/* `count` messages of `size` bytes, the first of which say their offset. */
static void append(struct fixture *fixture, uint32_t count, size_t size)
{
    struct message *messages = calloc(count, sizeof *messages);
    uint8_t *payloads = calloc(count, size);
    struct store_state state;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset = fixture->topic.next_offset + i;
        memcpy(payloads + i * size, &offset, sizeof offset);
        messages[i].payload = (struct span){payloads + i * size, size};
    }
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = fixture->topic.name, .messages = messages, .count = count}};
    struct store_op *ops[] = {&op};
    cr_assert_eq(store_commit(fixture->store, ops, 1, &state), PS_OK);
    cr_assert_eq(op.status, PS_OK);
    fixture->runs[fixture->topic.recent_count++] =
        (struct store_run){op.append.first_offset, op.append.first_seq, op.append.accepted};
    fixture->topic.topic_id = op.append.topic_id;
    fixture->topic.next_offset = op.append.first_offset + count;
    fixture->topic.last_seq = op.append.first_seq + count - 1;
    if (op.append.topic_created)
        fixture->topic.created_seq = op.append.first_seq;
    free(payloads);
    free(messages);
}

static void done_cb(struct log_read *read)
{
    (void)read;
    current->done++;
}

static void run_read(struct fixture *fixture, struct log_read *read)
{
    unsigned before = fixture->done;

    read->done = done_cb;
    log_reader_read(fixture->reader, read);
    cr_assert_eq(fixture->done, before, "never from inside the call that asked");
    while (fixture->done == before)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static struct log_read slice_of(struct fixture *fixture, uint64_t from, uint64_t to)
{
    return (struct log_read){.kind = LOG_READ_SLICE,
                             .slice.read = {.topic = fixture->topic, .from = from, .to = to}};
}

/* Reads [0, to) slice by slice; returns how many slices it took. */
static unsigned read_all(struct fixture *fixture, uint64_t to)
{
    uint64_t at = 0;
    unsigned slices = 0;

    while (at < to) {
        struct log_read read = slice_of(fixture, at, to);
        run_read(fixture, &read);
        cr_assert_eq(read.status, PS_OK);
        struct batch *batch = read.slice.batch;
        cr_assert_not_null(batch);
        cr_assert(batch->count == 1 || batch->size <= LOG_SLICE_BYTES);
        cr_assert_leq(batch->count, (uint32_t)LOG_SLICE_MESSAGES);
        for (uint32_t i = 0; i < batch->count; i++)
            cr_assert_eq(batch->entries[i].offset, at + i);
        at += batch->count;
        cr_assert_eq(read.slice.read.next_offset, at, "the next slice begins where this one ends");
        batch_unref(batch);
        slices++;
    }
    return slices;
}

Test(io_log_reader, slices_are_bounded_in_messages_and_together_gapless)
{
    struct fixture *fixture = start();

    append(fixture, 10000, 8);
    cr_assert_geq(read_all(fixture, 10000), 3u);
    end(fixture);
}

Test(io_log_reader, slices_are_bounded_in_encoded_bytes_and_together_gapless)
{
    struct fixture *fixture = start();

    append(fixture, 300, 5000);
    cr_assert_geq(read_all(fixture, 300), 6u);
    end(fixture);
}

Test(io_log_reader, what_encoding_adds_counts_too)
{
    struct fixture *fixture = start();

    append(fixture, 8000, 64); /* 4096 of them are within the bound, but not encoded */
    cr_assert_geq(read_all(fixture, 8000), 3u);
    end(fixture);
}

Test(io_log_reader, a_message_larger_than_a_slice_comes_alone)
{
    struct fixture *fixture = start();

    append(fixture, 3, 600 * 1000);
    cr_assert_eq(read_all(fixture, 3), 3u);
    end(fixture);
}

Test(io_log_reader, nothing_in_range_gives_no_batch)
{
    struct fixture *fixture = start();

    append(fixture, 3, 10);
    struct log_read read = slice_of(fixture, 3, 3);
    run_read(fixture, &read);
    cr_assert_eq(read.status, PS_OK);
    cr_assert_null(read.slice.batch);
    end(fixture);
}

Test(io_log_reader, many_reads_at_a_time_complete_exactly_once)
{
    enum { READS = 200 };
    struct fixture *fixture = start();
    struct log_read *reads = calloc(READS, sizeof *reads);

    append(fixture, 1000, 20);
    for (unsigned i = 0; i < READS; i++) {
        reads[i] = slice_of(fixture, i, 1000);
        reads[i].done = done_cb;
        log_reader_read(fixture->reader, &reads[i]);
    }
    while (fixture->done < READS)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    for (unsigned i = 0; i < READS; i++) {
        cr_assert_eq(reads[i].status, PS_OK);
        cr_assert_eq(reads[i].slice.batch->entries[0].offset, (uint64_t)i);
        batch_unref(reads[i].slice.batch);
    }
    cr_assert_eq(log_reader_oldest_ms(fixture->reader), 0u, "nothing is under way");
    cr_assert_geq(fixture->completed, 1u);
    free(reads);
    end(fixture);
}

Test(io_log_reader, a_resolve_and_a_list_run_on_the_threads_too)
{
    struct fixture *fixture = start();
    struct store_position position;

    append(fixture, 5, 10);
    position = (struct store_position){.topic = fixture->topic};
    struct log_read resolve = {
        .kind = LOG_READ_RESOLVE,
        .resolve = {.start = {.kind = START_BEGINNING}, .mark = 100, .positions = &position, .count = 1}};
    run_read(fixture, &resolve);
    cr_assert_eq(resolve.status, PS_OK);
    cr_assert_eq(position.offset, 0u);
    struct log_read list = {.kind = LOG_READ_LIST, .list = {.limit = 10}};
    run_read(fixture, &list);
    cr_assert_eq(list.status, PS_OK);
    end(fixture);
}

static void read_again_cb(struct log_read *read)
{
    current->done++;
    batch_unref(read->slice.batch);
    read->slice.batch = NULL;
    if (read->status == PS_OK)
        log_reader_read(current->reader, read);
}

Test(io_log_reader, a_read_that_comes_after_stop_is_cancelled)
{
    struct fixture *fixture = start();

    append(fixture, 5, 10);
    struct log_read read = slice_of(fixture, 0, 5);
    read.done = read_again_cb;
    log_reader_read(fixture->reader, &read);
    log_reader_stop(fixture->reader, stopped_cb, fixture);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert(fixture->stopped);
    cr_assert_eq(fixture->done, 2u);
    cr_assert_eq(read.status, PS_CANCELLED);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
    store_close(fixture->store);
    free(fixture);
    ASSERT_NO_LEAKS();
}
