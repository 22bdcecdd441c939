/* What is dirty goes into one write. A cursor that is acknowledged while its write is under way gets dirty again, so
 * a write carries each offset once and nothing is forgotten.
 *
 * Failure modes: a write that is refused (a full disk) is tried again after a second with everything acknowledged,
 * and its waiters are refused; without memory what is dirty stays so for another round; a broker that fails or
 * drains does not try again, and what was acknowledged is delivered once more. */
#include "offsets.h"

#include "attachment.h"

#include <assert.h>
#include <stdlib.h>

static const uint64_t delay_ns = 100 * 1000000u;
static const uint64_t retry_ns = 1000 * 1000000u;

struct waiting_reply {
    struct offsets_waiter waiter;
    struct reply reply;
};

struct offsets_write {
    struct log_write write;
    struct list in_writes;
    struct broker *broker;
    struct list waiters;
    struct store_offset items[];
};

void offsets_init(struct offsets *offsets)
{
    list_init(&offsets->dirty);
    list_init(&offsets->waiters);
    list_init(&offsets->writes);
    offsets->due_ns = UINT64_MAX;
    offsets->urgent = false;
}

static void wait_for(struct broker *broker, uint64_t time_ns)
{
    if (broker->offsets.due_ns != UINT64_MAX)
        return;
    broker->offsets.due_ns = broker_now(broker) + time_ns;
    broker_arm(broker, broker->offsets.due_ns);
}

void offsets_touch(struct broker *broker, struct cursor *cursor)
{
    if (list_empty(&cursor->in_dirty))
        list_append(&broker->offsets.dirty, &cursor->in_dirty);
    wait_for(broker, delay_ns);
}

void offsets_forget(struct cursor *cursor)
{
    list_remove(&cursor->in_dirty);
}

/* ------------------------------------------------------------------------------------------------ waiters */

static void answer(struct offsets_waiter *waiter, enum ps_status status)
{
    struct waiting_reply *waiting = LIST_OBJECT(waiter, struct waiting_reply, waiter);
    if (status == PS_OK)
        reply_done(&waiting->reply);
    else
        reply_refuse(&waiting->reply, status);
    free(waiting);
}

bool offsets_hold_waiter(struct list *list, struct session *session, struct optional_u64 request_id)
{
    struct waiting_reply *waiting = malloc(sizeof *waiting);
    if (waiting == NULL)
        return false;
    waiting->waiter.done = answer;
    list_init(&waiting->waiter.link);
    list_append(list, &waiting->waiter.link);
    reply_init(&waiting->reply, session, request_id, true);
    return true;
}

static void answer_waiters(struct list *list, enum ps_status status)
{
    while (!list_empty(list)) {
        struct offsets_waiter *waiter = LIST_OBJECT(list->next, struct offsets_waiter, link);
        list_remove(&waiter->link);
        waiter->done(waiter, status);
    }
}

void offsets_refuse_waiters(struct list *list, enum ps_status status)
{
    answer_waiters(list, status);
}

void offsets_release_waiters(struct broker *broker, struct list *list)
{
    if (list_empty(list))
        return;
    list_splice(&broker->offsets.waiters, list);
    offsets_hurry(broker);
}

void offsets_answer(struct broker *broker, struct session *session, struct optional_u64 request_id)
{
    if (!offsets_hold_waiter(&broker->offsets.waiters, session, request_id)) {
        session_close(session);
        return;
    }
    offsets_hurry(broker);
}

void offsets_wait(struct broker *broker, struct offsets_waiter *waiter)
{
    assert(!offsets_idle(&broker->offsets));
    list_init(&waiter->link);
    list_append(&broker->offsets.waiters, &waiter->link);
    offsets_hurry(broker);
}

/* ------------------------------------------------------------------------------------------------ writing */

/* A write was refused, the disk is full say: what was acknowledged waits to be written again. */
static void touch_all(struct broker *broker)
{
    struct list *s = broker->sessions.next;
    for (; s != &broker->sessions; s = s->next) {
        struct session *session = LIST_OBJECT(s, struct session, in_sessions);
        struct list *at = session->attachments.next;
        for (; at != &session->attachments; at = at->next)
            attachment_touch_acked(LIST_OBJECT(at, struct attachment, in_session));
    }
}

/* A broker that drains does not wait for room: what was acknowledged is delivered once more. */
static void refused(struct broker *broker, enum ps_status status)
{
    logger_event(&broker->io.logger, LOG_LEVEL_WARNING, "offsets_refused", "status=%s",
                 ps_status_name(status));
    if (broker->phase != BROKER_RUNNING)
        return;
    broker->offsets.due_ns = UINT64_MAX;
    wait_for(broker, retry_ns);
    touch_all(broker);
}

static void offsets_done(struct log_write *write, const struct store_state *state)
{
    struct offsets_write *done = LIST_OBJECT(write, struct offsets_write, write);
    struct broker *broker = done->broker;
    struct offsets *offsets = &broker->offsets;
    broker_written(broker, write, state);
    list_remove(&done->in_writes);
    if (write->op.status != PS_OK && broker->phase < BROKER_FAILING)
        refused(broker, write->op.status);
    answer_waiters(&done->waiters, write->op.status);
    free(done);
    if (offsets->urgent && list_empty(&offsets->writes))
        offsets_submit(broker);
}

static void fill(struct offsets_write *write, struct offsets *offsets)
{
    size_t count = 0;
    while (!list_empty(&offsets->dirty)) {
        struct cursor *cursor = LIST_OBJECT(offsets->dirty.next, struct cursor, in_dirty);
        list_remove(&cursor->in_dirty);
        write->items[count++] =
            (struct store_offset){cursor->attachment->subscription_id, cursor->topic->id, cursor->committed};
    }
    write->write.op = (struct store_op){.kind = STORE_OFFSETS, .offsets = {write->items, count}};
}

static size_t dirty_count(const struct offsets *offsets)
{
    size_t count = 0;
    for (struct list *at = offsets->dirty.next; at != &offsets->dirty; at = at->next)
        count++;
    return count;
}

bool offsets_submit(struct broker *broker)
{
    struct offsets *offsets = &broker->offsets;
    size_t count = dirty_count(offsets);
    if (count == 0 || broker->phase >= BROKER_FAILING) {
        enum ps_status status = broker->phase >= BROKER_FAILING ? PS_STORAGE_FAILED : PS_OK;
        if (list_empty(&offsets->writes)) {
            offsets->urgent = false;
            answer_waiters(&offsets->waiters, status);
        }
        return true;
    }
    struct offsets_write *write = calloc(1, sizeof *write + count * sizeof(struct store_offset));
    offsets->due_ns = UINT64_MAX;
    if (write == NULL) {
        wait_for(broker, delay_ns);
        return false;
    }
    write->broker = broker;
    write->write.done = offsets_done;
    list_init(&write->in_writes);
    list_init(&write->waiters);
    fill(write, offsets);
    list_splice(&write->waiters, &offsets->waiters);
    list_append(&offsets->writes, &write->in_writes);
    offsets->urgent = false;
    broker_write(broker, &write->write);
    return true;
}

void offsets_ride(struct broker *broker)
{
    if (!list_empty(&broker->offsets.dirty) && list_empty(&broker->offsets.writes))
        offsets_submit(broker);
}

void offsets_hurry(struct broker *broker)
{
    if (list_empty(&broker->offsets.writes))
        offsets_submit(broker);
    else
        broker->offsets.urgent = true;
}

void offsets_tick(struct broker *broker, uint64_t now_ns)
{
    if (now_ns < broker->offsets.due_ns)
        return;
    broker->offsets.due_ns = UINT64_MAX;
    offsets_hurry(broker);
}
