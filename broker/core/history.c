/* A slice borrows copies of the topic's recent runs and a reference of the topic, so the topic may grow, be
 * deleted or lose its cursor while the read is under way. Offsets come back in order; what the tail overtook
 * meanwhile is simply gone on with.
 *
 *   offset ─▶ slice, being sent │ reads: the awaited one │ ahead │ ahead │ …
 *
 * The first slice is short. Once it showed how large the messages are, reads end where the next one is expected to
 * begin, so that all threads read for one cursor. One that was cut short leaves a hole, which is read when the cursor
 * comes to it. Only whole slices are kept ahead: whatever else came back is read again when it is awaited, and judged
 * then; so is what came for a session that takes nothing. */
#include "history.h"

#include "attachment.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_EMPTY_READS = 8, CURSOR_READS = 3, FIRST_MESSAGES = 256 };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t history_end(const struct cursor *cursor)
{
    const struct topic *topic = cursor->topic;
    uint64_t end = least(topic->head, cursor->end);
    return cursor->offset < tail_start(topic) ? least(end, tail_start(topic)) : end;
}

static struct slice *first_read(const struct cursor *cursor)
{
    return list_empty(&cursor->reads) ? NULL : LIST_OBJECT(cursor->reads.next, struct slice, in_cursor);
}

static void slice_free(struct slice *slice)
{
    list_remove(&slice->in_session);
    list_remove(&slice->in_cursor);
    topic_unref(slice->topic);
    free(slice);
}

/* With what it read. */
static void discard(struct slice *slice)
{
    batch_unref(slice->read.slice.batch);
    if (slice->session != NULL) {
        slice->session->slots--;
        session_wants_pump(slice->session);
    }
    slice_free(slice);
}

/* A read under way goes on without its cursor. */
static void let_go(struct slice *slice)
{
    list_remove(&slice->in_cursor);
    slice->cursor = NULL;
    if (slice->early)
        discard(slice);
}

void history_forget(struct cursor *cursor)
{
    while (!list_empty(&cursor->reads))
        let_go(first_read(cursor));
}

void history_drop_early(struct session *session, const struct attachment *a)
{
    struct list *slices = &session->slices;
    for (struct list *node = slices->next, *next; node != slices; node = next) {
        struct slice *slice = LIST_OBJECT(node, struct slice, in_session);
        next = node->next;
        if (slice->early && (a == NULL || slice->cursor->attachment == a))
            discard(slice);
    }
}

static void fill_read(struct slice *slice, const struct cursor *cursor, uint64_t from, uint64_t to)
{
    const struct attachment *a = cursor->attachment;
    const struct topic *topic = cursor->topic;
    uint32_t runs = runs_window(&topic->runs, from, &to, slice->runs, SLICE_RUNS);
    uint64_t messages = least(a->credit_messages - a->sent_messages, LOG_SLICE_MESSAGES);
    uint64_t bytes = least(a->credit_bytes - a->sent_bytes, broker_slice_bytes(slice->broker));
    struct store_read *read = &slice->read.slice.read;
    read->topic = broker_store_topic(topic);
    read->topic.recent = slice->runs;
    read->topic.recent_count = runs;
    read->from = from;
    read->to = to;
    read->max_messages = (uint32_t)messages;
    read->max_bytes = (size_t)bytes;
    read->max_microseconds = LOG_SLICE_MICROSECONDS;
    read->hint = cursor->hint;
}

static void hold(struct session *session, struct cursor *cursor, struct batch *batch, uint64_t next)
{
    unsigned i = 0;
    while (i < SESSION_SLICES && session->held[i] != NULL)
        i++;
    assert(i < SESSION_SLICES);
    session->held[i] = cursor;
    cursor->slice = batch;
    cursor->slice_next = next;
    /* A little less than would fit, for messages are not all of one size. */
    uint64_t bytes = broker_slice_bytes(session->broker) / 16 * 15;
    cursor->stride = least(batch->count * bytes / batch->size, LOG_SLICE_MESSAGES);
    if (cursor->stride == 0)
        cursor->stride = 1;
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

/* Has all that was asked for up to a limit, from its first offset on. */
static bool is_whole(const struct log_read *done)
{
    const struct batch *batch = done->slice.batch;
    return done->status == PS_OK && batch != NULL && batch->count > 0 &&
           batch->entries[0].offset == done->slice.read.from;
}

static void slice_done(struct log_read *read)
{
    struct slice *slice = LIST_OBJECT(read, struct slice, read);
    struct cursor *cursor = slice->cursor;
    broker_read_done(slice->broker);
    if (cursor == NULL) {
        discard(slice);
    } else if (cursor->state == CURSOR_READING && first_read(cursor) == slice) {
        struct session *session = slice->session;
        list_remove(&slice->in_session);
        list_remove(&slice->in_cursor);
        take(cursor, read);
        session_wants_pump(session);
        slice_free(slice);
    } else if (is_whole(read) && attachment_has_credit(cursor->attachment)) {
        slice->early = true;
    } else {
        discard(slice);
    }
}

/* Behind the cursor's other reads, or in the hole in front of them. */
static bool start(struct cursor *cursor, uint64_t from, uint64_t to)
{
    struct session *session = cursor->attachment->session;
    struct broker *broker = session->broker;
    struct slice *slice = calloc(1, sizeof *slice + SLICE_RUNS * sizeof(struct store_run));
    if (slice == NULL) {
        session_close(session);
        return false;
    }
    slice->read.kind = LOG_READ_SLICE;
    slice->read.done = slice_done;
    slice->broker = broker;
    slice->session = session;
    slice->cursor = cursor;
    slice->topic = topic_ref(cursor->topic);
    fill_read(slice, cursor, from, to);
    list_init(&slice->in_session);
    list_append(&session->slices, &slice->in_session);
    list_init(&slice->in_cursor);
    list_append(from == cursor->offset ? cursor->reads.next : &cursor->reads, &slice->in_cursor);
    session->slots++;
    broker_read(broker, &slice->read);
    return true;
}

/* Slots and credit that nobody else waits for. */
static bool may_read_ahead(const struct cursor *cursor, uint64_t from, unsigned reads)
{
    const struct attachment *a = cursor->attachment;
    const struct session *session = a->session;
    const uint64_t end = history_end(cursor);
    return session->slots < session_slices(session) && list_empty(&session->slots_wanted) && from < end &&
           end - from >= cursor->stride &&
           from + cursor->stride - cursor->offset <= a->credit_messages - a->sent_messages &&
           (reads + 2) * broker_slice_bytes(session->broker) <= a->credit_bytes - a->sent_bytes;
}

static void read_ahead(struct cursor *cursor)
{
    unsigned reads = 0;
    for (const struct list *node = cursor->reads.next; node != &cursor->reads; node = node->next)
        reads++;
    for (; reads < CURSOR_READS; reads++) {
        uint64_t from = cursor->slice_next;
        if (reads > 0)
            from = LIST_OBJECT(cursor->reads.prev, struct slice, in_cursor)->read.slice.read.to;
        if (!may_read_ahead(cursor, from, reads) || !start(cursor, from, from + cursor->stride))
            return;
    }
}

/* The read that the cursor cannot go on without: up to where the next one begins or is going to begin. */
static void start_awaited(struct cursor *cursor)
{
    const struct slice *next = first_read(cursor);
    uint64_t messages = cursor->stride > 0 ? cursor->stride : FIRST_MESSAGES;
    uint64_t to = least(history_end(cursor), cursor->offset + messages);
    if (next != NULL)
        to = least(to, next->read.slice.read.from);
    if (start(cursor, cursor->offset, to)) {
        cursor_move(cursor, CURSOR_READING);
        read_ahead(cursor);
    }
}

/* True: the next slice came already or is under way. */
static bool was_read_ahead(struct cursor *cursor)
{
    struct slice *slice;
    while ((slice = first_read(cursor)) != NULL && slice->read.slice.read.to <= cursor->offset)
        let_go(slice);
    if (slice == NULL || slice->read.slice.read.from > cursor->offset)
        return false;
    if (slice->early) {
        hold(slice->session, cursor, slice->read.slice.batch, slice->read.slice.read.next_offset);
        cursor->hint = slice->read.slice.read.hint;
        slice_free(slice);
    } else {
        cursor_move(cursor, CURSOR_READING);
    }
    read_ahead(cursor);
    return true;
}

void history_want(struct cursor *cursor)
{
    const struct session *session = cursor->attachment->session;
    assert(cursor->state == CURSOR_READY && cursor->slice == NULL);
    if (was_read_ahead(cursor))
        return;
    if (session->slots >= session_slices(session))
        history_forget(cursor);
    if (session->slots >= session_slices(session))
        cursor_move(cursor, CURSOR_QUEUED);
    else
        start_awaited(cursor);
}

void history_next(struct session *session)
{
    while (session->state != SESSION_CLOSING && session->slots < session_slices(session) &&
           !list_empty(&session->slots_wanted)) {
        struct cursor *cursor = LIST_OBJECT(session->slots_wanted.next, struct cursor, in_queue);
        struct attachment *a = cursor->attachment;
        cursor_move(cursor, CURSOR_READY);
        cursor_settle(cursor);
        bool wanted =
            cursor->state == CURSOR_READY && a->state == ATTACHMENT_LIVE && attachment_has_credit(a);
        if (wanted && tail_find(cursor->topic, cursor->offset) == NULL)
            start_awaited(cursor);
        else
            attachment_schedule(a);
    }
}
