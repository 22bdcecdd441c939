/* What a subscription is given next: from a slice of history it holds, from the tail, or after another read.
 *
 * One call of attachment_serve() hands over at most one frame of one cursor, then the attachment and the cursor
 * go to the ends of their queues: so nobody starves, whatever else is ready. */
#include "attachment.h"
#include "history.h"

bool attachment_has_credit(const struct attachment *a)
{
    return a->sent_messages < a->credit_messages && a->sent_bytes < a->credit_bytes;
}

/* Slots are for those who can use them; what is dropped is read again when there is credit. */
static void drop_held(struct attachment *a)
{
    for (unsigned i = 0; i < SESSION_SLICES; i++) {
        struct cursor *cursor = a->session->held[i];
        if (cursor != NULL && cursor->attachment == a) {
            cursor->damaged_at = UINT64_MAX;
            cursor_drop_slice(cursor);
        }
    }
    history_drop_early(a->session, a);
}

/* What was acknowledged of them is written first: the write names the topic, not the cursor. A topic that was made
 * again before its cursor could go has a use for it. */
static void free_gone(struct attachment *a)
{
    while (!list_empty(&a->gone)) {
        struct cursor *cursor = LIST_OBJECT(a->gone.next, struct cursor, in_queue);
        if (cursor->topic->listed) {
            list_remove(&cursor->in_queue);
            continue;
        }
        if (!list_empty(&cursor->in_dirty) && !offsets_submit(a->session->broker))
            return;
        cursor_free(cursor);
    }
}

void attachment_schedule(struct attachment *a)
{
    if (a->state != ATTACHMENT_LIVE)
        return;
    free_gone(a);
    if (a->until_end && a->open == 0) {
        attachment_end_status(a, PS_END_REACHED);
        return;
    }
    bool credit = attachment_has_credit(a);
    if (!credit || list_empty(&a->ready)) {
        list_remove(&a->in_ready);
        if (!credit)
            drop_held(a);
        return;
    }
    if (list_empty(&a->in_ready))
        list_append(&a->session->ready, &a->in_ready);
    session_wants_pump(a->session);
}

/* How many entries from `begin` on fit: credit, frame, and the end of what may be seen. */
static uint32_t fitting(const struct attachment *a, const struct cursor *cursor, const struct batch *batch,
                        uint32_t begin, uint64_t *credit_bytes)
{
    const uint64_t limit = cursor->end < cursor->topic->head ? cursor->end : cursor->topic->head;
    const uint64_t bytes_left = a->credit_bytes - a->sent_bytes;
    const uint64_t messages_left = a->credit_messages - a->sent_messages;
    const size_t start = batch_begin_of(batch, begin);
    uint64_t bytes = 0;
    uint32_t i = begin;
    for (; i < batch->count && i - begin < messages_left && bytes < bytes_left; i++) {
        const struct batch_entry *entry = &batch->entries[i];
        if (entry->offset >= limit || (i > begin && entry->end - start > a->session->frame_limit))
            break;
        bytes += entry->credit;
    }
    *credit_bytes = bytes;
    return i;
}

static void deliver(struct attachment *a, struct cursor *cursor, struct batch *batch, uint32_t begin)
{
    struct session *session = a->session;
    struct broker *broker = session->broker;
    uint64_t bytes;
    uint32_t end = fitting(a, cursor, batch, begin, &bytes);
    if (end == begin) {
        /* What is left of the batch lies behind the end: nothing in between is kept. */
        cursor->offset = batch->entries[begin].offset;
        return;
    }
    cursor->offset = batch->entries[end - 1].offset + 1;
    a->sent_messages += end - begin;
    a->sent_bytes += bytes;
    broker->metrics.delivered += end - begin;
    if (list_empty(&a->in_progressing))
        list_append(&broker->progressing, &a->in_progressing);
    if (!session->config.io.deliver(session->config.io.ctx, a->number, topic_name(cursor->topic),
                                    batch_ref(batch), begin, end))
        session_close(session);
}

static void end_damaged(struct attachment *a, const struct cursor *cursor)
{
    struct protocol_error reason = error_with_range(PS_DAMAGED, cursor->damaged_at, cursor->damaged_at + 1);
    reason.topic = topic_name(cursor->topic);
    char name[LOGGER_NAME_BYTES];
    logger_event(&a->session->broker->io.logger, LOG_LEVEL_ERROR, "damaged", "topic=%s offset=%llu",
                 logger_quote(name, sizeof name, reason.topic), (unsigned long long)cursor->damaged_at);
    attachment_end(a, &reason);
}

/* From the held slice, which goes when it is used up. False: it had nothing for the cursor. */
static bool serve_slice(struct attachment *a, struct cursor *cursor)
{
    const struct batch *slice = cursor->slice;
    if (slice == NULL)
        return false;
    uint32_t index = batch_find(slice, cursor->offset);
    bool given = index < slice->count;
    if (given)
        deliver(a, cursor, cursor->slice, index);
    if (cursor->offset > slice->entries[slice->count - 1].offset) {
        if (cursor->offset < cursor->slice_next && cursor->slice_next <= cursor->damaged_at)
            cursor->offset = cursor->slice_next;
        cursor_drop_slice(cursor);
    }
    return given;
}

/* Hands over something or asks for it. */
static void serve_cursor(struct attachment *a, struct cursor *cursor)
{
    if (serve_slice(a, cursor))
        return;
    const struct tail_entry *entry = tail_find(cursor->topic, cursor->offset);
    if (entry != NULL)
        deliver(a, cursor, entry->batch, batch_find(entry->batch, cursor->offset));
    else if (cursor->offset != cursor->damaged_at)
        history_want(cursor);
}

void attachment_serve(struct attachment *a)
{
    struct cursor *cursor = LIST_OBJECT(a->ready.next, struct cursor, in_queue);
    list_remove(&a->in_ready);
    list_append(&a->session->ready, &a->in_ready);
    list_remove(&cursor->in_queue);
    list_append(&a->ready, &cursor->in_queue);
    cursor_skip_gap(cursor, cursor->topic->first);
    cursor_settle(cursor);
    if (cursor->offset > cursor->damaged_at)
        cursor->damaged_at = UINT64_MAX;
    if (cursor->state == CURSOR_READY && cursor->offset == cursor->damaged_at) {
        end_damaged(a, cursor);
        return;
    }
    if (cursor->state == CURSOR_READY)
        serve_cursor(a, cursor);
    if (cursor->state == CURSOR_READY)
        cursor_settle(cursor);
    attachment_schedule(a);
}

void attachment_send_progress(struct attachment *a)
{
    if (a->state == ATTACHMENT_LIVE && a->busy > 0)
        return;
    list_remove(&a->in_progressing);
    struct server_frame frame = {.kind = SERVER_PROGRESS};
    frame.progress = (struct progress){a->number, a->session->broker->mark};
    if (a->state == ATTACHMENT_LIVE)
        session_send(a->session, &frame);
}
