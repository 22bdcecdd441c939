/* The writer thread over a store that commits when the test lets it. */
#include "leaks.h"
#include "log_writer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { COMMITS = 64, WRITES = 100 };

struct gated_store {
    struct store store;
    uv_sem_t begun, go;
    bool gated;
    enum ps_status outcome; /* of every commit */
    enum ps_status worked;  /* the outcome of background work */
    size_t sizes[COMMITS];  /* operations of each commit; read when the thread is gone */
    size_t commits;
    size_t after_failure;
    uint64_t mark, indexed;
};

static enum ps_status gated_commit(struct store *base, struct store_op **ops, size_t count,
                                   struct store_state *state)
{
    struct gated_store *store = (struct gated_store *)base;

    if (store->gated) {
        uv_sem_post(&store->begun);
        uv_sem_wait(&store->go);
    }
    if (store->commits > 0 && store->outcome != PS_OK)
        store->after_failure++;
    for (size_t i = 0; i < count; i++)
        ops[i]->status = store->outcome;
    if (store->commits < COMMITS)
        store->sizes[store->commits] = count;
    store->commits++;
    store->mark += count;
    *state = (struct store_state){.mark = store->mark, .indexed_through = store->indexed};
    return store->outcome;
}

/* Each step that is left indexes one message. */
static enum ps_status gated_work(struct store *base, bool *more, struct store_state *state)
{
    struct gated_store *store = (struct gated_store *)base;

    if (store->indexed < store->mark)
        store->indexed++;
    *state = (struct store_state){.mark = store->mark, .indexed_through = store->indexed};
    *more = store->indexed < store->mark;
    return store->worked;
}

static const struct store_vtable gated_vtable = {.commit = gated_commit, .work = gated_work};

struct fixture {
    uv_loop_t loop;
    struct gated_store store;
    struct log_writer *writer;
    struct log_write writes[WRITES];
    unsigned order[WRITES]; /* indices as completed */
    uint64_t marks[WRITES];
    unsigned done, completed, failures, failed_at, worked;
    uint64_t indexed;
    enum ps_status failed;
    bool stopped;
};

static struct fixture *current;

static void done_cb(struct log_write *write, const struct store_state *state)
{
    current->marks[current->done] = state->mark;
    current->order[current->done++] = (unsigned)(write - current->writes);
}

static void completed_cb(void *ctx)
{
    ((struct fixture *)ctx)->completed++;
}

static void failed_cb(void *ctx, enum ps_status status)
{
    struct fixture *fixture = ctx;

    fixture->failures++;
    fixture->failed = status;
    fixture->failed_at = fixture->done;
}

static void worked_cb(void *ctx, const struct store_state *state)
{
    struct fixture *fixture = ctx;

    cr_assert_gt(state->indexed_through, fixture->indexed, "told without a change, or out of order");
    fixture->worked++;
    fixture->indexed = state->indexed_through;
}

static void stopped_cb(void *ctx)
{
    ((struct fixture *)ctx)->stopped = true;
}

static struct fixture *start(bool gated, enum ps_status outcome, uint32_t max_messages)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct log_writer_config config = {.loop = &fixture->loop,
                                       .store = &fixture->store.store,
                                       .max_messages = max_messages,
                                       .completed = completed_cb,
                                       .worked = worked_cb,
                                       .failed = failed_cb,
                                       .ctx = fixture};

    current = fixture;
    fixture->store.store.vtable = &gated_vtable;
    fixture->store.gated = gated;
    fixture->store.outcome = outcome;
    uv_sem_init(&fixture->store.begun, 0);
    uv_sem_init(&fixture->store.go, 0);
    uv_loop_init(&fixture->loop);
    cr_assert_eq(log_writer_start(&config, &fixture->writer), PS_OK);
    return fixture;
}

static void write_one(struct fixture *fixture, unsigned index, uint64_t source)
{
    fixture->writes[index] =
        (struct log_write){.source = source, .bytes = 10, .messages = 1, .done = done_cb};
    log_writer_write(fixture->writer, &fixture->writes[index]);
}

static void run_until_done(struct fixture *fixture, unsigned count)
{
    while (fixture->done < count)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static void stop(struct fixture *fixture)
{
    log_writer_stop(fixture->writer, stopped_cb, fixture);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    cr_assert(fixture->stopped);
    cr_assert_eq(uv_loop_close(&fixture->loop), 0);
}

static void end(struct fixture *fixture)
{
    uv_sem_destroy(&fixture->store.begun);
    uv_sem_destroy(&fixture->store.go);
    free(fixture);
    ASSERT_NO_LEAKS();
}

Test(io_log_writer, everything_that_queued_during_a_commit_goes_into_the_next)
{
    struct fixture *fixture = start(true, PS_OK, 0);

    write_one(fixture, 0, 1);
    log_writer_submit(fixture->writer);
    uv_sem_wait(&fixture->store.begun);
    for (unsigned i = 1; i < WRITES; i++) {
        write_one(fixture, i, i % 5);
        log_writer_submit(fixture->writer);
    }
    uv_sem_post(&fixture->store.go);
    uv_sem_post(&fixture->store.go);
    run_until_done(fixture, WRITES);
    stop(fixture);
    cr_assert_eq(fixture->store.commits, 2);
    cr_assert_eq(fixture->store.sizes[0], 1);
    cr_assert_eq(fixture->store.sizes[1], (size_t)WRITES - 1);
    cr_assert_eq(fixture->completed, 2);
    end(fixture);
}

Test(io_log_writer, a_write_is_committed_without_waiting_for_others)
{
    struct fixture *fixture = start(false, PS_OK, 0);

    for (unsigned i = 0; i < 5; i++) {
        write_one(fixture, i, 0);
        log_writer_submit(fixture->writer);
        run_until_done(fixture, i + 1);
    }
    stop(fixture);
    cr_assert_eq(fixture->store.commits, 5);
    end(fixture);
}

Test(io_log_writer, completions_keep_the_order_of_a_source_and_the_state_of_their_commit)
{
    struct fixture *fixture = start(false, PS_OK, 7);
    int last[3] = {-1, -1, -1};

    for (unsigned i = 0; i < WRITES; i++) {
        write_one(fixture, i, i % 3);
        if (i % 10 == 9)
            log_writer_submit(fixture->writer);
    }
    cr_assert_not(log_writer_idle(fixture->writer));
    run_until_done(fixture, WRITES);
    cr_assert(log_writer_idle(fixture->writer));
    stop(fixture);
    for (unsigned i = 0; i < WRITES; i++) {
        unsigned index = fixture->order[i];
        cr_assert_gt((int)index, last[index % 3]);
        last[index % 3] = (int)index;
        cr_assert_gt(fixture->marks[i], (uint64_t)i, "a state from before its commit");
        cr_assert_leq(fixture->marks[i], (uint64_t)i + 7, "a state from a later commit");
    }
    end(fixture);
}

Test(io_log_writer, what_background_work_changed_is_told_while_nothing_is_written)
{
    struct fixture *fixture = start(false, PS_OK, 0);

    for (unsigned i = 0; i < 3; i++)
        write_one(fixture, i, 0);
    log_writer_submit(fixture->writer);
    while (fixture->indexed < 3)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    cr_assert_eq(fixture->done, 3);
    cr_assert_eq(fixture->completed, 1);
    cr_assert_eq(fixture->worked, 3);
    stop(fixture);
    end(fixture);
}

Test(io_log_writer, stop_commits_what_is_queued)
{
    struct fixture *fixture = start(false, PS_OK, 3);

    for (unsigned i = 0; i < WRITES; i++)
        write_one(fixture, i, 1);
    stop(fixture);
    cr_assert_eq(fixture->done, (unsigned)WRITES);
    for (unsigned i = 0; i < WRITES; i++)
        cr_assert_eq(fixture->writes[i].op.status, PS_OK);
    end(fixture);
}

Test(io_log_writer, after_an_unknown_outcome_nothing_is_committed_any_more)
{
    struct fixture *fixture = start(true, PS_UNKNOWN, 1);

    for (unsigned i = 0; i < 4; i++)
        write_one(fixture, i, 1);
    log_writer_submit(fixture->writer);
    for (unsigned i = 0; i < 4; i++)
        uv_sem_post(&fixture->store.go);
    run_until_done(fixture, 4);
    cr_assert_eq(fixture->writes[0].op.status, PS_UNKNOWN);
    for (unsigned i = 1; i < 4; i++)
        cr_assert_eq(fixture->writes[i].op.status, PS_STORAGE_FAILED, "it was never tried");
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(fixture->marks[i], 1u, "the newest state, also behind what was never tried");
    cr_assert_eq(fixture->failures, 1);
    cr_assert_eq(fixture->failed, PS_UNKNOWN);
    cr_assert_geq(fixture->failed_at, 1u, "told behind the completions of the commit");
    stop(fixture);
    cr_assert_eq(fixture->store.after_failure, 0);
    end(fixture);
}

Test(io_log_writer, after_background_work_that_failed_nothing_is_committed_any_more)
{
    struct fixture *fixture = start(true, PS_OK, 1);

    write_one(fixture, 0, 1);
    log_writer_submit(fixture->writer);
    uv_sem_wait(&fixture->store.begun);
    fixture->store.worked = PS_FOREIGN_WRITER;
    uv_sem_post(&fixture->store.go);
    while (fixture->failures == 0)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    cr_assert_eq(fixture->failed, PS_FOREIGN_WRITER);
    write_one(fixture, 1, 1);
    log_writer_submit(fixture->writer);
    run_until_done(fixture, 2);
    cr_assert_eq(fixture->writes[1].op.status, PS_STORAGE_FAILED, "it was never tried");
    stop(fixture);
    cr_assert_eq(fixture->failures, 1);
    cr_assert_eq(fixture->store.commits, 1);
    end(fixture);
}

static void write_again_cb(struct log_write *write, const struct store_state *state)
{
    done_cb(write, state);
    write_one(current, 1, 1);
}

Test(io_log_writer, a_write_that_comes_after_the_thread_ended_is_refused_not_lost)
{
    struct fixture *fixture = start(false, PS_OK, 0);

    fixture->writes[0] = (struct log_write){.source = 1, .bytes = 1, .messages = 1, .done = write_again_cb};
    log_writer_write(fixture->writer, &fixture->writes[0]);
    stop(fixture);
    cr_assert_eq(fixture->done, 2);
    cr_assert_eq(fixture->writes[1].op.status, PS_DRAINING);
    end(fixture);
}
