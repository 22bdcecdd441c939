/* A slice borrows copies of the topic's recent runs and a reference of the topic, so the topic may grow, be
 * deleted or lose its cursor while the read is under way. Offsets come back in order; what the tail overtook
 * meanwhile is simply gone on with. */
#include "history.h"

#include "attachment.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_EMPTY_READS = 8 };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Half of what a socket is handed, so that one slice is read while another is being sent. */
static void fill_read(struct slice *slice, const struct cursor *cursor)
{
    const struct attachment *a = cursor->attachment;
    const struct topic *topic = cursor->topic;
    uint64_t to = least(topic->head, cursor->end);
    if (cursor->offset < tail_start(topic))
        to = least(to, tail_start(topic));
    uint32_t runs = runs_window(&topic->runs, cursor->offset, &to, slice->runs, SLICE_RUNS);
    uint64_t messages = least(a->credit_messages - a->sent_messages, SLICE_MAX_MESSAGES);
    uint64_t bytes = least(a->credit_bytes - a->sent_bytes, slice->broker->config.delivery_bytes / 2);
    struct store_read *read = &slice->read.slice.read;
    read->topic = broker_store_topic(topic);
    read->topic.recent = slice->runs;
    read->topic.recent_count = runs;
    read->from = cursor->offset;
    read->to = to;
    read->max_messages = (uint32_t)messages;
    read->max_bytes = (size_t)bytes;
    read->max_microseconds = SLICE_MICROSECONDS;
    read->hint = cursor->hint;
}

static void hold(struct session *session, struct cursor *cursor, struct batch *batch, uint64_t next)
{
    unsigned i = 0;
    while (session->held[i] != NULL)
        i++;
    assert(i < SESSION_SLICES);
    session->held[i] = cursor;
    cursor->slice = batch;
    cursor->slice_next = next;
}

static void give_up(struct cursor *cursor, enum ps_status status)
{
    struct protocol_error error = protocol_error_of(status_on_wire(status));
    error.topic = topic_name(cursor->topic);
    struct attachment *a = cursor->attachment;
    char name[LOGGER_NAME_BYTES];
    logger_event(&a->session->broker->io.logger, LOG_LEVEL_WARNING, "read_failed", "status=%s topic=%s",
                 ps_status_name(status), logger_quote(name, sizeof name, error.topic));
    attachment_end(a, &error);
}

/* What was read belongs to a cursor that is still there. May end its attachment. */
static void take(struct cursor *cursor, struct log_read *done)
{
    struct session *session = cursor->attachment->session;
    const struct store_read *read = &done->slice.read;
    struct batch *batch = done->slice.batch;
    uint64_t before = cursor->offset;
    cursor->hint = read->hint;
    bool sound = done->status == PS_OK || done->status == PS_DAMAGED;
    cursor_move(cursor, CURSOR_READY);
    if (sound && batch != NULL && batch->count > 0) {
        hold(session, cursor, batch, read->next_offset);
    } else {
        batch_unref(batch);
        session->slots--;
    }
    if (!sound) {
        give_up(cursor, done->status);
        return;
    }
    if (done->status == PS_DAMAGED)
        cursor->damaged_at = read->damaged_offset;
    cursor_skip_gap(cursor, read->first_kept);
    if (cursor->slice == NULL && done->status == PS_OK)
        cursor_skip_gap(cursor, read->next_offset);
    bool moved = cursor->slice != NULL || cursor->offset != before || done->status == PS_DAMAGED;
    cursor->empty_reads = moved ? 0 : (uint8_t)(cursor->empty_reads + 1);
    if (cursor->empty_reads > MAX_EMPTY_READS) {
        give_up(cursor, PS_INTERNAL);
        return;
    }
    cursor_settle(cursor);
    attachment_schedule(cursor->attachment);
}

static void slice_done(struct log_read *read)
{
    struct slice *slice = LIST_OBJECT(read, struct slice, read);
    struct session *session = slice->session;
    broker_read_done(slice->broker);
    list_remove(&slice->in_session);
    if (slice->cursor != NULL) {
        slice->cursor->reading = NULL;
        take(slice->cursor, read);
    } else {
        batch_unref(read->slice.batch);
        if (session != NULL)
            session->slots--;
    }
    if (session != NULL)
        session_wants_pump(session);
    topic_unref(slice->topic);
    free(slice);
}

static void start(struct cursor *cursor)
{
    struct session *session = cursor->attachment->session;
    struct broker *broker = session->broker;
    struct slice *slice = calloc(1, sizeof *slice + SLICE_RUNS * sizeof(struct store_run));
    if (slice == NULL) {
        session_close(session);
        return;
    }
    slice->read.kind = LOG_READ_SLICE;
    slice->read.done = slice_done;
    slice->broker = broker;
    slice->session = session;
    slice->cursor = cursor;
    slice->topic = topic_ref(cursor->topic);
    fill_read(slice, cursor);
    list_init(&slice->in_session);
    list_append(&session->slices, &slice->in_session);
    session->slots++;
    cursor->reading = slice;
    cursor_move(cursor, CURSOR_READING);
    broker_read(broker, &slice->read);
}

void history_want(struct cursor *cursor)
{
    assert(cursor->state == CURSOR_READY && cursor->slice == NULL);
    if (cursor->attachment->session->slots >= SESSION_SLICES)
        cursor_move(cursor, CURSOR_QUEUED);
    else
        start(cursor);
}

void history_next(struct session *session)
{
    while (session->state != SESSION_CLOSING && session->slots < SESSION_SLICES &&
           !list_empty(&session->slots_wanted)) {
        struct cursor *cursor = LIST_OBJECT(session->slots_wanted.next, struct cursor, in_queue);
        struct attachment *a = cursor->attachment;
        cursor_move(cursor, CURSOR_READY);
        cursor_settle(cursor);
        bool wanted =
            cursor->state == CURSOR_READY && a->state == ATTACHMENT_LIVE && attachment_has_credit(a);
        if (wanted && tail_find(cursor->topic, cursor->offset) == NULL)
            start(cursor);
        else
            attachment_schedule(a);
    }
}
