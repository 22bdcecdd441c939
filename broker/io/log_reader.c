/* Design
 *
 *   loop:     read -> waiting                  done <- drain <- finished
 *                        |                                         ^
 *   threads:             +-> one store_reader each: read / resolve / list
 *
 * Both lists are guarded by one mutex that is never held over a read. A thread wakes the loop for each read;
 * libuv folds the wake-ups of one round into one. A slice is encoded here, so that the loop only sends it.
 *
 * Failure modes: a message that does not fit in memory ends its slice before it; the slice is a failure
 * only when it is empty. Reads that come after stop are cancelled without the store. */
#include "log_reader.h"

#include "codec.h"
#include "uv_status.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Behind the writer and the loop, where processors are short: readers of history take what publishing leaves. */
enum { READER_NICE = 5 };

struct read_list {
    struct log_read *first, *last;
};

struct reader_thread {
    struct log_reader *owner;
    struct store_reader *reader;
    uv_thread_t thread;
    uint64_t since_ns; /* guarded by the owner's mutex; 0: idle */
};

struct log_reader {
    /* loop thread */
    struct log_reader_config config;
    uv_async_t async;
    void (*stopped)(void *ctx);
    void *stopped_ctx;

    /* shared, guarded by mutex */
    uv_mutex_t mutex;
    uv_cond_t work;
    struct read_list waiting, finished;
    bool stopping;
    unsigned running;

    unsigned thread_count;
    struct reader_thread threads[READER_THREADS_MAX];
};

static void list_push(struct read_list *list, struct log_read *read)
{
    read->next = NULL;
    if (list->first == NULL)
        list->first = read;
    else
        list->last->next = read;
    list->last = read;
}

static struct log_read *list_pop(struct read_list *list)
{
    struct log_read *read = list->first;

    if (read != NULL)
        list->first = read->next;
    return read;
}

/* -------------------------------------------------------------------------------------- reader threads */

struct slice_in_work {
    struct batch *batch;
    bool cut; /* the store showed a message that is not in the batch */
    bool no_memory;
};

static bool show_message(void *ctx, const struct message *message)
{
    struct slice_in_work *work = ctx;
    size_t size = codec_message_size(message);

    if (work->batch->count > 0 && work->batch->size + size > LOG_SLICE_BYTES) {
        work->cut = true;
        return false;
    }
    if (batch_append(work->batch, message) != PS_OK) {
        work->cut = work->no_memory = true;
        return false;
    }
    return true;
}

/* Room for what is probably coming: a long read fills its batch, a short one should not pin much. */
static struct batch *batch_for(const struct store_read *read)
{
    bool is_long = read->to - read->from >= 512 && read->max_messages >= 512;

    return batch_new(is_long ? 1024 : 64, is_long ? LOG_SLICE_BYTES : 8 * 1024);
}

static enum ps_status read_slice(struct store_reader *reader, struct log_slice *slice)
{
    struct store_read *read = &slice->read;
    struct slice_in_work work = {.batch = batch_for(read)};
    enum ps_status status;

    slice->batch = NULL;
    if (work.batch == NULL)
        return PS_NO_MEMORY;
    if (read->max_messages == 0 || read->max_messages > LOG_SLICE_MESSAGES)
        read->max_messages = LOG_SLICE_MESSAGES;
    if (read->max_bytes == 0 || read->max_bytes > LOG_SLICE_BYTES)
        read->max_bytes = LOG_SLICE_BYTES;
    read->max_microseconds = LOG_SLICE_MICROSECONDS;
    read->show = show_message;
    read->ctx = &work;
    status = store_read(reader, read);
    if (work.batch->count == 0) {
        batch_unref(work.batch);
        return work.no_memory ? PS_NO_MEMORY : status;
    }
    slice->batch = work.batch;
    if (work.cut) {
        read->next_offset = work.batch->entries[work.batch->count - 1].offset + 1;
        return PS_OK;
    }
    return status;
}

static void carry_out(struct store_reader *reader, struct log_read *read)
{
    switch (read->kind) {
    case LOG_READ_SLICE:
        read->status = read_slice(reader, &read->slice);
        break;
    case LOG_READ_RESOLVE:
        read->status = store_resolve(reader, &read->resolve);
        break;
    case LOG_READ_LIST:
        read->status = store_list(reader, &read->list);
        break;
    case LOG_READ_VERIFY:
        read->status = store_verify(reader, &read->verify);
        break;
    case LOG_READ_BACKUP:
        read->status = store_read_backup(reader, &read->backup);
        break;
    }
}

static void thread_main(void *arg)
{
    struct reader_thread *self = arg;
    struct log_reader *owner = self->owner;

    setpriority(PRIO_PROCESS, 0, READER_NICE); /* on Linux: this thread's */
    uv_mutex_lock(&owner->mutex);
    for (;;) {
        struct log_read *read = list_pop(&owner->waiting);
        if (read != NULL) {
            self->since_ns = uv_hrtime();
            uv_mutex_unlock(&owner->mutex);
            carry_out(self->reader, read);
            uv_mutex_lock(&owner->mutex);
            self->since_ns = 0;
            list_push(&owner->finished, read);
            uv_async_send(&owner->async);
        } else if (owner->stopping) {
            break;
        } else {
            uv_cond_wait(&owner->work, &owner->mutex);
        }
    }
    uv_mutex_unlock(&owner->mutex);
    store_reader_free(self->reader);
    uv_mutex_lock(&owner->mutex);
    owner->running--;
    uv_async_send(&owner->async);
    uv_mutex_unlock(&owner->mutex);
}

/* ----------------------------------------------------------------------------------------- loop thread */

/* Once the handles and threads are gone. */
static void closed_cb(uv_handle_t *handle)
{
    struct log_reader *reader = handle->data;
    void (*stopped)(void *) = reader->stopped;
    void *ctx = reader->stopped_ctx;

    uv_cond_destroy(&reader->work);
    uv_mutex_destroy(&reader->mutex);
    free(reader);
    if (stopped != NULL)
        stopped(ctx);
}

static void async_cb(uv_async_t *async)
{
    struct log_reader *reader = async->data;
    struct read_list finished;
    bool ended;

    if (uv_is_closing((uv_handle_t *)async))
        return;
    for (;;) {
        uv_mutex_lock(&reader->mutex);
        finished = reader->finished;
        reader->finished = (struct read_list){0};
        ended = reader->stopping && reader->running == 0;
        uv_mutex_unlock(&reader->mutex);
        if (finished.first == NULL)
            break;
        for (struct log_read *read = finished.first, *next; read != NULL; read = next) {
            next = read->next; /* `done` may free it or ask again with it */
            read->done(read);
        }
        reader->config.completed(reader->config.ctx);
    }
    if (!ended)
        return;
    for (unsigned i = 0; i < reader->thread_count; i++)
        uv_thread_join(&reader->threads[i].thread);
    uv_close((uv_handle_t *)async, closed_cb);
}

void log_reader_read(void *ctx, struct log_read *read)
{
    struct log_reader *reader = ctx;

    if (read->kind == LOG_READ_SLICE)
        read->slice.batch = NULL;
    uv_mutex_lock(&reader->mutex);
    if (reader->stopping) {
        read->status = PS_CANCELLED;
        list_push(&reader->finished, read);
        uv_async_send(&reader->async);
    } else {
        list_push(&reader->waiting, read);
        uv_cond_signal(&reader->work);
    }
    uv_mutex_unlock(&reader->mutex);
}

uint64_t log_reader_oldest_ms(struct log_reader *reader)
{
    uint64_t now = uv_hrtime(), oldest = now;

    uv_mutex_lock(&reader->mutex);
    for (unsigned i = 0; i < reader->thread_count; i++) {
        if (reader->threads[i].since_ns != 0 && reader->threads[i].since_ns < oldest)
            oldest = reader->threads[i].since_ns;
    }
    uv_mutex_unlock(&reader->mutex);
    return (now - oldest) / (1000 * 1000);
}

/* Asks the threads to end; the last one's wake-up frees the reader. */
static void stop_threads(struct log_reader *reader)
{
    uv_mutex_lock(&reader->mutex);
    reader->stopping = true;
    uv_cond_broadcast(&reader->work);
    uv_async_send(&reader->async); /* for the case that no thread runs */
    uv_mutex_unlock(&reader->mutex);
}

static enum ps_status start_thread(struct log_reader *reader)
{
    struct reader_thread *self = &reader->threads[reader->thread_count];
    enum ps_status status = store_reader_new(reader->config.store, &self->reader);

    if (status != PS_OK)
        return status;
    self->owner = reader;
    uv_mutex_lock(&reader->mutex);
    reader->running++;
    uv_mutex_unlock(&reader->mutex);
    status = uv_status(uv_thread_create(&self->thread, thread_main, self));
    if (status != PS_OK) {
        store_reader_free(self->reader);
        uv_mutex_lock(&reader->mutex);
        reader->running--;
        uv_mutex_unlock(&reader->mutex);
        return status;
    }
    uv_mutex_lock(&reader->mutex);
    reader->thread_count++;
    uv_mutex_unlock(&reader->mutex);
    return PS_OK;
}

enum ps_status log_reader_start(const struct log_reader_config *config, struct log_reader **result)
{
    unsigned threads = config->threads > 0 ? config->threads : READER_THREADS;
    enum ps_status status = PS_OK;
    int code;
    struct log_reader *reader = calloc(1, sizeof *reader);

    assert(threads <= READER_THREADS_MAX);
    if (reader == NULL)
        return PS_NO_MEMORY;
    reader->config = *config;
    reader->async.data = reader;
    if ((code = uv_mutex_init(&reader->mutex)) != 0)
        goto with_memory;
    if ((code = uv_cond_init(&reader->work)) != 0)
        goto with_mutex;
    if ((code = uv_async_init(config->loop, &reader->async, async_cb)) != 0)
        goto with_cond;
    for (unsigned i = 0; i < threads && status == PS_OK; i++)
        status = start_thread(reader);
    if (status != PS_OK) {
        stop_threads(reader);
        return status;
    }
    *result = reader;
    return PS_OK;

with_cond:
    uv_cond_destroy(&reader->work);
with_mutex:
    uv_mutex_destroy(&reader->mutex);
with_memory:
    free(reader);
    return uv_status(code);
}

void log_reader_stop(struct log_reader *reader, void (*stopped)(void *ctx), void *ctx)
{
    assert(reader->stopped == NULL);
    reader->stopped = stopped;
    reader->stopped_ctx = ctx;
    stop_threads(reader);
}
