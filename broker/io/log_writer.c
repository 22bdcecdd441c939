/* Design
 *
 *   loop:    write -> staged --submit--> incoming          done <- drain <- commits[] (ring)
 *                                           |                                  ^
 *   writer:                                 +-> write_queue -> cut -> store_commit
 *
 * Two lists under one mutex, both handed over whole. `staged` and the drained commit belong to the loop, the write
 * queue to the writer, so the mutex is never held over work. A commit carries the state of its own moment: the ring
 * has few places, and a writer that is so far ahead of the loop waits for it. What background work changed goes the
 * same way, as a commit of no writes.
 *
 * Life of the thread:
 *
 *   RUNNING --store failed--> FAILED      FAILED completes without asking the store
 *      |                         |
 *      +---- stop, queue empty --+--> ENDED (joined by the loop)
 *
 * Failure modes: a commit whose outcome is unknown is reported behind its completions and nothing is committed after
 * it; a failure of background work is reported in the same way, behind its state. An idle thread looks every second
 * whether the store has background work, because what delayed it (a long outside reader) ends without telling. */
#include "log_writer.h"

#include "failpoint.h"
#include "uv_status.h"
#include "write_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

enum {
    COMMITS_HELD = 16,
    SUBMIT_BYTES = 512 * 1024, /* staged beyond this does not wait for the end of the burst */
    SUBMIT_MESSAGES = 4096,
    BEHIND_WORK_STEPS = 4,
    BEHIND_PAUSE_NS = 2 * 1000 * 1000
};
#define IDLE_LOOK_NS (1000ull * 1000 * 1000)

/* Writes in order, linked by `next`. */
struct write_list {
    struct log_write *first, *last;
};

static void list_push(struct write_list *list, struct log_write *write)
{
    write->next = NULL;
    if (list->first == NULL)
        list->first = write;
    else
        list->last->next = write;
    list->last = write;
}

static void list_join(struct write_list *list, struct write_list *behind)
{
    if (behind->first == NULL)
        return;
    if (list->first == NULL)
        list->first = behind->first;
    else
        list->last->next = behind->first;
    list->last = behind->last;
    *behind = (struct write_list){0};
}

static struct write_list list_take(struct write_list *list)
{
    struct write_list taken = *list;

    *list = (struct write_list){0};
    return taken;
}

struct commit {
    struct log_write *writes;
    struct store_state state;
    enum ps_status status;
    bool work; /* background work alone */
};

struct log_writer {
    /* loop thread */
    struct log_writer_config config;
    uv_async_t async;
    uv_thread_t thread;
    struct write_list staged;
    size_t staged_bytes;
    uint32_t staged_messages;
    uint64_t under_way; /* writes that are not done */
    bool failure_told;
    struct store_state last_state;
    void (*stopped)(void *ctx);
    void *stopped_ctx;

    /* shared, guarded by mutex */
    uv_mutex_t mutex;
    uv_cond_t work; /* for the writer: something came, or stop */
    uv_cond_t room; /* for the writer: a place in the ring is free */
    struct write_list incoming;
    bool asleep;
    bool stopping;
    bool ended;
    struct commit commits[COMMITS_HELD];
    unsigned commits_first, commits_count;

    /* writer thread */
    enum ps_status failure; /* PS_OK while the store works */
    struct write_queue queue;
    struct store_op **ops;
    struct store_state told; /* the newest that was posted */
};

/* --------------------------------------------------------------------------------------- writer thread */

static void post(struct log_writer *writer, const struct commit *commit)
{
    writer->told = commit->state;
    uv_mutex_lock(&writer->mutex);
    while (writer->commits_count == COMMITS_HELD)
        uv_cond_wait(&writer->room, &writer->mutex);
    unsigned place = (writer->commits_first + writer->commits_count++) % COMMITS_HELD;
    writer->commits[place] = *commit;
    uv_mutex_unlock(&writer->mutex);
    uv_async_send(&writer->async);
}

static void refuse_all(struct log_write *writes, enum ps_status status)
{
    for (struct log_write *write = writes; write != NULL; write = write->next)
        write->op.status = status;
}

static bool same_state(const struct store_state *a, const struct store_state *b)
{
    return a->mark == b->mark && a->indexed_through == b->indexed_through && a->wal_bytes == b->wal_bytes &&
           a->database_bytes == b->database_bytes && a->free_disk_bytes == b->free_disk_bytes &&
           a->checkpoints == b->checkpoints && a->falling_behind == b->falling_behind &&
           a->backup.phase == b->backup.phase && a->backup.copied == b->backup.copied &&
           a->backup.total == b->backup.total;
}

/* A step of background work; whether there is more to do. What fails in it fails as in a commit. */
static bool work(struct log_writer *writer)
{
    struct commit commit = {.work = true};
    bool more;

    commit.status = store_work(writer->config.store, &more, &commit.state);
    writer->failure = commit.status;
    if (commit.status != PS_OK || !same_state(&commit.state, &writer->told))
        post(writer, &commit);
    return more && commit.status == PS_OK;
}

/* An index that is behind catches up in the pauses that publishing gets for it. */
static void give_way(struct log_writer *writer)
{
    static const struct timespec pause = {.tv_nsec = BEHIND_PAUSE_NS};

    for (int step = 0; step < BEHIND_WORK_STEPS && work(writer); step++)
        ;
    nanosleep(&pause, NULL);
}

static void commit_once(struct log_writer *writer)
{
    struct commit commit = {.status = writer->failure};
    size_t count;

    commit.writes = write_queue_cut(&writer->queue, writer->config.max_messages, writer->config.max_bytes,
                                    writer->ops, &count);
    if (writer->failure == PS_OK) {
        commit.status = store_commit(writer->config.store, writer->ops, count, &commit.state);
        writer->failure = commit.status;
    } else {
        refuse_all(commit.writes, PS_STORAGE_FAILED);
    }
    FAILPOINT(answer);
    bool behind = commit.state.falling_behind && writer->failure == PS_OK;
    post(writer, &commit);
    if (behind)
        give_way(writer);
}

/* Returns with the mutex held, when something came or the end is wanted. */
static void wait_for_work(struct log_writer *writer)
{
    bool more = true;

    uv_mutex_lock(&writer->mutex);
    while (writer->incoming.first == NULL && !writer->stopping) {
        if (more && writer->failure == PS_OK) {
            uv_mutex_unlock(&writer->mutex);
            more = work(writer);
            uv_mutex_lock(&writer->mutex);
            continue;
        }
        writer->asleep = true;
        more = uv_cond_timedwait(&writer->work, &writer->mutex, IDLE_LOOK_NS) == UV_ETIMEDOUT;
        writer->asleep = false;
    }
}

static void writer_main(void *arg)
{
    struct log_writer *writer = arg;
    bool stopping = false;

    while (!stopping || !write_queue_empty(&writer->queue)) {
        if (write_queue_empty(&writer->queue))
            wait_for_work(writer);
        else
            uv_mutex_lock(&writer->mutex);
        struct write_list incoming = list_take(&writer->incoming);
        stopping = writer->stopping;
        uv_mutex_unlock(&writer->mutex);

        for (struct log_write *write = incoming.first, *next; write != NULL; write = next) {
            next = write->next;
            write_queue_push(&writer->queue, write);
        }
        if (!write_queue_empty(&writer->queue))
            commit_once(writer);
    }
    uv_mutex_lock(&writer->mutex);
    writer->ended = true;
    uv_mutex_unlock(&writer->mutex);
    uv_async_send(&writer->async);
}

/* ----------------------------------------------------------------------------------------- loop thread */

static bool take_commit(struct log_writer *writer, struct commit *commit)
{
    bool found;

    uv_mutex_lock(&writer->mutex);
    found = writer->commits_count > 0;
    if (found) {
        *commit = writer->commits[writer->commits_first];
        writer->commits_first = (writer->commits_first + 1) % COMMITS_HELD;
        writer->commits_count--;
        uv_cond_signal(&writer->room);
    }
    uv_mutex_unlock(&writer->mutex);
    return found;
}

static void deliver(struct log_writer *writer, const struct commit *commit)
{
    if (commit->state.mark != 0)
        writer->last_state = commit->state;
    for (struct log_write *write = commit->writes, *next; write != NULL; write = next) {
        next = write->next; /* `done` may free it */
        writer->under_way--;
        write->done(write, &writer->last_state);
    }
    if (commit->work)
        writer->config.worked(writer->config.ctx, &writer->last_state);
    else
        writer->config.completed(writer->config.ctx);
    if (commit->status != PS_OK && !writer->failure_told) {
        writer->failure_told = true;
        writer->config.failed(writer->config.ctx, commit->status);
    }
}

static void closed_cb(uv_handle_t *handle)
{
    struct log_writer *writer = handle->data;
    void (*stopped)(void *) = writer->stopped;
    void *ctx = writer->stopped_ctx;

    uv_cond_destroy(&writer->room);
    uv_cond_destroy(&writer->work);
    uv_mutex_destroy(&writer->mutex);
    free(writer->ops);
    free(writer);
    stopped(ctx);
}

/* The thread is gone: completions may have brought more writes. */
static void finish(struct log_writer *writer)
{
    while (writer->staged.first != NULL) {
        struct commit commit = {.writes = list_take(&writer->staged).first};
        refuse_all(commit.writes, PS_DRAINING);
        deliver(writer, &commit);
    }
    uv_thread_join(&writer->thread);
    uv_close((uv_handle_t *)&writer->async, closed_cb);
}

static void async_cb(uv_async_t *async)
{
    struct log_writer *writer = async->data;
    struct commit commit;

    uv_mutex_lock(&writer->mutex);
    bool ended = writer->ended;
    uv_mutex_unlock(&writer->mutex);
    while (take_commit(writer, &commit))
        deliver(writer, &commit);
    if (ended && !uv_is_closing((uv_handle_t *)async))
        finish(writer);
}

void log_writer_write(void *ctx, struct log_write *write)
{
    struct log_writer *writer = ctx;

    list_push(&writer->staged, write);
    writer->under_way++;
    writer->staged_bytes += write->bytes;
    writer->staged_messages += write->messages;
    if (writer->staged_bytes >= SUBMIT_BYTES || writer->staged_messages >= SUBMIT_MESSAGES)
        log_writer_submit(writer);
}

void log_writer_submit(struct log_writer *writer)
{
    if (writer->staged.first == NULL || writer->stopped != NULL)
        return;
    uv_mutex_lock(&writer->mutex);
    list_join(&writer->incoming, &writer->staged);
    if (writer->asleep)
        uv_cond_signal(&writer->work);
    uv_mutex_unlock(&writer->mutex);
    writer->staged_bytes = 0;
    writer->staged_messages = 0;
}

bool log_writer_idle(const struct log_writer *writer)
{
    return writer->under_way == 0;
}

static void ignore_stopped(void *ctx)
{
    (void)ctx;
}

enum ps_status log_writer_start(const struct log_writer_config *config, struct log_writer **result)
{
    int code = UV_ENOMEM;
    struct log_writer *writer = calloc(1, sizeof *writer);

    if (writer == NULL)
        return PS_NO_MEMORY;
    writer->config = *config;
    writer->last_state = writer->told = config->state;
    if (writer->config.max_messages == 0)
        writer->config.max_messages = COMMIT_MAX_MESSAGES;
    if (writer->config.max_bytes == 0)
        writer->config.max_bytes = COMMIT_MAX_BYTES;
    write_queue_init(&writer->queue);
    writer->ops = calloc((size_t)writer->config.max_messages + 1, sizeof(struct store_op *));
    if (writer->ops == NULL || (code = uv_mutex_init(&writer->mutex)) != 0)
        goto with_memory;
    if ((code = uv_cond_init(&writer->work)) != 0)
        goto with_mutex;
    if ((code = uv_cond_init(&writer->room)) != 0)
        goto with_work;
    /* Once the handle is there, only its close callback may free the rest. */
    writer->async.data = writer;
    if ((code = uv_async_init(config->loop, &writer->async, async_cb)) != 0)
        goto with_room;
    if ((code = uv_thread_create(&writer->thread, writer_main, writer)) != 0)
        goto with_async;
    *result = writer;
    return PS_OK;

with_async:
    writer->stopped = ignore_stopped;
    uv_close((uv_handle_t *)&writer->async, closed_cb);
    return uv_status(code);
with_room:
    uv_cond_destroy(&writer->room);
with_work:
    uv_cond_destroy(&writer->work);
with_mutex:
    uv_mutex_destroy(&writer->mutex);
with_memory:
    free(writer->ops);
    free(writer);
    return uv_status(code);
}

void log_writer_stop(struct log_writer *writer, void (*stopped)(void *ctx), void *ctx)
{
    assert(writer->stopped == NULL);
    log_writer_submit(writer);
    writer->stopped = stopped;
    writer->stopped_ctx = ctx;
    uv_mutex_lock(&writer->mutex);
    writer->stopping = true;
    uv_cond_signal(&writer->work);
    uv_mutex_unlock(&writer->mutex);
}
