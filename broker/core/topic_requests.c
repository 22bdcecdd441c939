/* Requests about topics and the broker as a whole: list, delete, info. */
#include "attachment.h"
#include "requests.h"
#include "topic.h"

#include <stdlib.h>

enum { TOPICS_PER_PAGE = 512, TOPICS_FRAME_BYTES = 60 * 1024, TOPIC_EXTRA_BYTES = 48 };

/* ------------------------------------------------------------------------------------------------ list */

/* ListTopics: a page is searched in steps, as a producer of its session. */
struct topics_listing {
    struct producer producer;
    struct reply reply;
    struct topics *topics;
    struct topics_place place;
    uint32_t limit, count;
    size_t bytes;
    struct topic **page; /* referenced; NULL: not begun */
    size_t filter_size;
    uint8_t filter[];
};

static void listing_free(struct topics_listing *listing)
{
    list_remove(&listing->producer.in_session);
    for (uint32_t i = 0; i < listing->count; i++)
        topic_unref(listing->page[i]);
    reply_drop(&listing->reply);
    free(listing->page);
    free(listing);
}

static void listing_gone(struct producer *producer)
{
    listing_free(LIST_OBJECT(producer, struct topics_listing, producer));
}

static void send_page(struct topics_listing *listing, bool more)
{
    struct topic_info page[TOPICS_PER_PAGE];
    for (uint32_t i = 0; i < listing->count; i++) {
        const struct topic *topic = listing->page[i];
        page[i] = (struct topic_info){topic_name(topic), topic->first, topic->head, topic->cursors};
    }
    struct server_frame answer = {.request_id = listing->reply.request_id, .kind = SERVER_TOPIC_LIST};
    answer.topic_list = (struct topic_list){page, listing->count, more};
    session_send(listing->reply.session, &answer);
    listing_free(listing);
}

/* Whether the search came to the end. */
static bool fill_page(struct topics_listing *listing)
{
    const size_t largest = TOPIC_MAX_BYTES + TOPIC_EXTRA_BYTES;
    size_t room = (TOPICS_FRAME_BYTES - listing->bytes) / largest + 1;
    struct topic **found = listing->page + listing->count;
    bool last;
    if (room > listing->limit - listing->count)
        room = listing->limit - listing->count;
    uint32_t count = topics_search(listing->topics, (struct span){listing->filter, listing->filter_size},
                                   &listing->place, found, (uint32_t)room, &last);
    for (uint32_t i = 0; i < count; i++)
        listing->bytes += found[i]->name_size + (size_t)TOPIC_EXTRA_BYTES;
    listing->count += count;
    return last;
}

/* `more` is said where there is one more, not where there may be. */
static void look_for_more(struct topics_listing *listing)
{
    struct topic *next = NULL;
    bool last;
    uint32_t count = topics_search(listing->topics, (struct span){listing->filter, listing->filter_size},
                                   &listing->place, &next, 1, &last);
    topic_unref(next);
    if (count > 0 || last)
        send_page(listing, count > 0);
}

static void listing_step(struct producer *producer)
{
    struct topics_listing *listing = LIST_OBJECT(producer, struct topics_listing, producer);
    struct session *session = listing->reply.session;
    /* To the front: one listing after the other, so that a session has one page at a time. */
    list_remove(&producer->in_session);
    list_append(session->producers.next, &producer->in_session);
    if (listing->page == NULL)
        listing->page = calloc(listing->limit, sizeof(struct topic *));
    if (listing->page == NULL) {
        reply_refuse(&listing->reply, PS_NO_MEMORY);
        listing_free(listing);
    } else if (listing->count == listing->limit || listing->bytes > TOPICS_FRAME_BYTES) {
        look_for_more(listing);
    } else if (fill_page(listing)) {
        send_page(listing, false);
    }
}

void request_list_topics(struct session *session, const struct client_frame *frame)
{
    const struct list_topics *list = &frame->list_topics;
    struct span filter = span_present(list->filter) ? list->filter : span_of("#");
    if (filter_validate(filter) != PS_OK) {
        session_error_status(session, frame->request_id, PS_BAD_FILTER);
        return;
    }
    if (!frame->request_id.present)
        return;
    struct topics_listing *listing = calloc(1, sizeof *listing + filter.size);
    if (listing == NULL) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    listing->topics = &session->broker->topics;
    listing->limit = list->limit > 0 && list->limit < TOPICS_PER_PAGE ? list->limit : TOPICS_PER_PAGE;
    if (span_present(list->after))
        topics_place_set(&listing->place, list->after);
    listing->filter_size = filter.size;
    memcpy(listing->filter, filter.data, filter.size);
    listing->producer.step = listing_step;
    listing->producer.gone = listing_gone;
    list_init(&listing->producer.in_session);
    reply_init(&listing->reply, session, frame->request_id, true);
    list_append(&session->producers, &listing->producer.in_session);
    session_wants_pump(session);
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
