/* Requests about topics and the broker as a whole: list, delete, info. */
#include "attachment.h"
#include "requests.h"
#include "topic.h"

#include <stdlib.h>

enum { TOPICS_PER_PAGE = 512, TOPICS_FRAME_BYTES = 60 * 1024 };

/* ------------------------------------------------------------------------------------------------ list */

void request_list_topics(struct session *session, const struct client_frame *frame)
{
    const struct list_topics *list = &frame->list_topics;
    struct topics *topics = &session->broker->topics;
    struct span filter = span_present(list->filter) ? list->filter : span_of("#");
    struct topic_info page[TOPICS_PER_PAGE];
    uint32_t limit = list->limit > 0 && list->limit < TOPICS_PER_PAGE ? list->limit : TOPICS_PER_PAGE;
    if (filter_validate(filter) != PS_OK) {
        session_error_status(session, frame->request_id, PS_BAD_FILTER);
        return;
    }
    if (!frame->request_id.present)
        return;
    uint32_t i, end, count = 0;
    size_t bytes = 0;
    topics_range(topics, filter, &i, &end);
    if (span_present(list->after)) {
        uint32_t behind = topics_behind(topics, list->after);
        i = behind > i ? behind : i;
    }
    bool more = false;
    for (; i < end && !more; i++) {
        const struct topic *topic = topics->sorted[i];
        if (!filter_match(filter, topic_name(topic)))
            continue;
        more = count == limit || bytes > TOPICS_FRAME_BYTES;
        if (more)
            break;
        page[count++] = (struct topic_info){topic_name(topic), topic->first, topic->head, topic->cursors};
        bytes += topic->name_size + 48u;
    }
    struct server_frame answer = {.request_id = frame->request_id, .kind = SERVER_TOPIC_LIST};
    answer.topic_list = (struct topic_list){page, count, more};
    session_send(session, &answer);
}

/* ------------------------------------------------------------------------------------------------ delete */

struct deletion {
    struct log_write write;
    struct broker *broker;
    struct reply reply;
    struct topic *topic; /* referenced */
};

/* Everybody who followed it is told what is gone, and waits for what may come. One who does not read what he is sent
 * already is told when he is served: else deletions would pile up in front of him. */
static void skip_deleted(struct list *cursors, uint64_t first)
{
    struct list *at = cursors->next;
    while (at != cursors) {
        struct cursor *cursor = LIST_OBJECT(at, struct cursor, in_topic);
        at = at->next;
        if (cursor->state == CURSOR_WAITING)
            cursor_settle(cursor);
        if (cursor->state == CURSOR_RESOLVING || cursor->attachment->state != ATTACHMENT_LIVE)
            continue; /* it is told when it is served */
        if (session_has_room(cursor->attachment->session))
            cursor_skip_gap(cursor, first);
        if (cursor->state != CURSOR_READING)
            cursor_settle(cursor);
        attachment_schedule(cursor->attachment);
    }
}

static void topic_deleted(struct broker *broker, struct topic *topic, uint64_t first)
{
    /* Messages of the same commit may still wait to be encoded. */
    while (!list_empty(&topic->fresh))
        list_remove(topic->fresh.next);
    tail_clear(&broker->tail, topic);
    topic->first = topic->head = first;
    runs_trim(&topic->runs, topic->last_seq);
    topic_unlist(topic);
    skip_deleted(&topic->waiting, first);
    skip_deleted(&topic->busy, first);
}

static void deletion_done(struct log_write *write, const struct store_state *state)
{
    struct deletion *deletion = LIST_OBJECT(write, struct deletion, write);
    broker_written(deletion->broker, write, state);
    if (write->op.status == PS_OK) {
        topic_deleted(deletion->broker, deletion->topic, write->op.delete_topic.first_offset);
        reply_done(&deletion->reply);
    } else {
        reply_refuse(&deletion->reply, write->op.status);
    }
    topic_unref(deletion->topic);
    free(deletion);
}

void request_delete_topic(struct session *session, const struct client_frame *frame)
{
    struct broker *broker = session->broker;
    enum ps_status status = topic_validate(frame->delete_topic);
    if (status != PS_OK) {
        session_error_status(session, frame->request_id, status);
        return;
    }
    struct topic *topic = topics_obtain(&broker->topics, frame->delete_topic);
    struct deletion *deletion = topic == NULL ? NULL : calloc(1, sizeof *deletion);
    if (deletion == NULL) {
        topic_unref(topic);
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    deletion->broker = broker;
    deletion->topic = topic;
    deletion->write.done = deletion_done;
    deletion->write.source = session->number; /* behind what this connection published before */
    deletion->write.op = (struct store_op){.kind = STORE_DELETE_TOPIC};
    deletion->write.op.delete_topic = (struct store_delete_topic){.topic = topic_name(topic)};
    reply_init(&deletion->reply, session, frame->request_id, true);
    broker_write(broker, &deletion->write);
}

/* ------------------------------------------------------------------------------------------------ info */

void request_info(struct session *session, const struct client_frame *frame)
{
    const struct broker *broker = session->broker;
    const struct metrics *metrics = &broker->metrics;
    const struct store_state *state = &broker->state;
    struct broker_probe probe = {0};
    if (!frame->request_id.present)
        return;
    broker->io.probe(broker->io.ctx, &probe);
    struct server_frame answer = {.request_id = frame->request_id, .kind = SERVER_INFO};
    answer.info = (struct info){
        .version = span_of(broker->config.server_version),
        .log_id = {broker->log_id, LOG_ID_BYTES},
        .uptime_ms = (broker_now(broker) - broker->started_ns) / 1000000u,
        .connections = probe.connections,
        .queued_bytes = probe.queued_bytes + broker->publish.used,
        .commits = metrics->commits,
        .messages = metrics->messages,
        .messages_per_commit =
            metrics->commits == 0 ? 0 : (double)metrics->messages / (double)metrics->commits,
        .wal_bytes = state->wal_bytes,
        .oldest_reader_ms = probe.oldest_reader_ms,
        .memory_bytes = probe.memory_bytes,
        .free_disk_bytes = state->free_disk_bytes,
        .database_bytes = state->database_bytes,
        .topics = broker->topics.count,
        .subscriptions = metrics->subscriptions,
        .delivered = metrics->delivered,
        .tail_bytes = broker->tail.memory.used,
        .mark = state->mark,
    };
    session_send(session, &answer);
}
