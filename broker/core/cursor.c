/*     RESOLVING ──► WAITING ◄──► READY ◄──► QUEUED ──► READING
 *                                  ▲                      │
 *                                  └──────────────────────┘
 *
 * and from each of them to ENDED. A cursor is in exactly one queue by its state: a RESOLVING one in its
 * attachment's list, a READY one among its attachment's, a QUEUED one in its session's.
 *
 * A cursor that gave all of a topic which was then deleted is freed: should the topic be made again, its router entry
 * brings a new one, which begins where the topic does. An exact filter keeps its only cursor, for it may begin at an
 * offset that the topic has not reached. */
#include "cursor.h"

#include "attachment.h"
#include "history.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

/* With its place in the attachment's map and what the allocator adds. */
enum { CURSOR_CHARGE = sizeof(struct cursor) + 40 };

struct cursor *cursor_new(struct attachment *attachment, struct topic *topic)
{
    struct quota *budget = &attachment->session->broker->subscriptions;
    if (quota_full(budget) || !map_prepare(&attachment->cursors))
        return NULL;
    struct cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL)
        return NULL;
    list_init(&cursor->in_dirty);
    list_init(&cursor->in_queue);
    list_init(&cursor->in_topic);
    list_init(&cursor->in_attachment);
    list_init(&cursor->reads);
    cursor->attachment = attachment;
    cursor->topic = topic_ref(topic);
    cursor->end = attachment->until_end ? topic->head : UINT64_MAX;
    cursor->damaged_at = UINT64_MAX;
    cursor->state = CURSOR_RESOLVING;
    quota_charge(budget, CURSOR_CHARGE);
    topic->cursors++;
    attachment->busy++;
    attachment->open++;
    list_append(&topic->busy, &cursor->in_topic);
    list_append(&attachment->all, &cursor->in_attachment);
    list_append(&attachment->resolving, &cursor->in_queue);
    (void)map_insert(&attachment->cursors, &cursor->by_topic, hash_number((uint64_t)(uintptr_t)topic));
    return cursor;
}

void cursor_free(struct cursor *cursor)
{
    if (cursor->state != CURSOR_ENDED)
        cursor_move(cursor, CURSOR_ENDED);
    offsets_forget(cursor);
    map_remove(&cursor->attachment->cursors, &cursor->by_topic);
    list_remove(&cursor->in_attachment);
    quota_release(&cursor->attachment->session->broker->subscriptions, CURSOR_CHARGE);
    topic_unref(cursor->topic);
    free(cursor);
}

static bool is_busy(enum cursor_state state)
{
    return state != CURSOR_WAITING && state != CURSOR_ENDED;
}

static void enter(struct cursor *cursor, enum cursor_state state)
{
    struct topic *topic = cursor->topic;
    struct attachment *a = cursor->attachment;
    switch (state) {
    case CURSOR_WAITING:
        list_append(&topic->waiting, &cursor->in_topic);
        return;
    case CURSOR_READY:
        list_append(&a->ready, &cursor->in_queue);
        break;
    case CURSOR_QUEUED:
        list_append(&a->session->slots_wanted, &cursor->in_queue);
        break;
    case CURSOR_ENDED:
        a->open--;
        topic->cursors--;
        return;
    case CURSOR_RESOLVING:
    case CURSOR_READING:
        break;
    }
    list_append(&topic->busy, &cursor->in_topic);
}

static void drop_history(struct cursor *cursor)
{
    history_forget(cursor);
    cursor_drop_slice(cursor);
}

void cursor_move(struct cursor *cursor, enum cursor_state state)
{
    static const unsigned successors[] = {
        [CURSOR_RESOLVING] = 1u << CURSOR_WAITING | 1u << CURSOR_READY | 1u << CURSOR_ENDED,
        [CURSOR_WAITING] = 1u << CURSOR_READY | 1u << CURSOR_ENDED,
        [CURSOR_READY] =
            1u << CURSOR_WAITING | 1u << CURSOR_QUEUED | 1u << CURSOR_READING | 1u << CURSOR_ENDED,
        [CURSOR_QUEUED] = 1u << CURSOR_READY | 1u << CURSOR_WAITING | 1u << CURSOR_ENDED,
        [CURSOR_READING] = 1u << CURSOR_READY | 1u << CURSOR_WAITING | 1u << CURSOR_ENDED,
        [CURSOR_ENDED] = 0,
    };
    assert(successors[cursor->state] & 1u << state);
    list_remove(&cursor->in_queue);
    list_remove(&cursor->in_topic);
    cursor->attachment->busy -= is_busy(cursor->state);
    cursor->attachment->busy += is_busy(state);
    cursor->state = state;
    enter(cursor, state);
    if (!is_busy(state))
        drop_history(cursor);
}

void cursor_begin(struct cursor *cursor, uint64_t offset)
{
    cursor->offset = cursor->committed = offset;
    cursor_settle(cursor);
}

static bool is_gone(const struct cursor *cursor)
{
    return !cursor->topic->listed && !filter_is_exact(attachment_filter(cursor->attachment));
}

void cursor_settle(struct cursor *cursor)
{
    enum cursor_state state = CURSOR_READY;
    if (cursor->offset >= cursor->end)
        state = CURSOR_ENDED;
    else if (cursor->offset >= cursor->topic->head)
        state = CURSOR_WAITING;
    if (cursor->state != state)
        cursor_move(cursor, state);
    if (state == CURSOR_WAITING && is_gone(cursor) && list_empty(&cursor->in_queue))
        list_append(&cursor->attachment->gone, &cursor->in_queue);
}

void cursor_skip_gap(struct cursor *cursor, uint64_t first_kept)
{
    if (cursor->offset >= first_kept)
        return;
    struct attachment *a = cursor->attachment;
    struct server_frame frame = {.kind = SERVER_GAP};
    frame.gap = (struct gap){a->number, topic_name(cursor->topic), cursor->offset, first_kept};
    session_send(a->session, &frame);
    cursor->offset = first_kept;
}

void cursor_drop_slice(struct cursor *cursor)
{
    struct session *session = cursor->attachment->session;
    if (cursor->slice == NULL)
        return;
    batch_unref(cursor->slice);
    cursor->slice = NULL;
    for (unsigned i = 0; i < SESSION_SLICES; i++) {
        if (session->held[i] == cursor)
            session->held[i] = NULL;
    }
    session->slots--;
    session_wants_pump(session);
}
