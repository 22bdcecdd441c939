/* One publication object per Publish frame: it owns the frame's arena and a reference of the receive buffer, and
 * embeds one append per topic, so nothing is copied and nothing allocated per message.
 *
 *     receive → validate → charge → log ─┬─ committed → burst: encoded for followers ┐
 *                                        └─ refused ────────────────────────────────┴► answered, freed
 *
 * A publication whose last group completed waits for the flush, because messages are encoded out of its memory.
 * Bytes are charged to the connection and to the broker from receipt to answer; a full budget stops reading. */
#include "publishing.h"

#include "attachment.h"
#include "broker_state.h"
#include "codec.h"
#include "cursor.h"
#include "prefetch.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

enum { TAIL_BATCH_BYTES = 256 * 1024 };

struct group {
    struct log_write write;
    struct publication *publication;
    struct list in_fresh;     /* topic.fresh while committed and not encoded */
    struct topic *topic;      /* referenced while under way and while in_fresh */
    struct publish_group *in; /* as received; status of each message says why it was not sent */
    struct message *sent;     /* those that were sent: in->messages, or a copy without the refused ones */
    size_t bytes;
};

struct publication {
    struct list in_finished;
    struct broker *broker;
    struct reply reply;
    struct arena *arena;
    struct buffer *owner;
    struct message *copies; /* of groups with refused messages; NULL: none */
    uint64_t charge;
    uint32_t message_count;
    uint32_t group_count;
    uint32_t under_way; /* groups */
    struct span publisher;
    struct group groups[]; /* and the publisher's bytes behind them */
};

/* ------------------------------------------------------------------------------------------------ charges */

static void publish_limit(struct broker *broker)
{
    /* While the store's index falls behind, less is let in at a time. */
    uint64_t total = broker->config.publish_total;
    broker->publish.limit = broker->state.falling_behind ? total / 8 : total;
}

static void pause_publishers(struct broker *broker)
{
    broker->publishers_paused = true;
    struct list *at = broker->publishers.next;
    for (; at != &broker->publishers; at = at->next)
        session_pause(LIST_OBJECT(at, struct session, in_publishers), PAUSE_TOTAL);
}

static void resume_publishers(struct broker *broker)
{
    broker->publishers_paused = false;
    struct list *at = broker->sessions.next;
    for (; at != &broker->sessions; at = at->next)
        session_resume(LIST_OBJECT(at, struct session, in_sessions), PAUSE_TOTAL);
}

static void charge(struct publication *publication)
{
    struct broker *broker = publication->broker;
    struct session *session = publication->reply.session;
    quota_charge(&session->window, publication->charge);
    quota_charge(&broker->publish, publication->charge);
    if (list_empty(&session->in_publishers))
        list_append(&broker->publishers, &session->in_publishers);
    if (quota_full(&session->window))
        session_pause(session, PAUSE_WINDOW);
    publish_limit(broker);
    if (broker->publishers_paused)
        session_pause(session, PAUSE_TOTAL);
    else if (quota_full(&broker->publish))
        pause_publishers(broker);
}

static void discharge(struct publication *publication)
{
    struct broker *broker = publication->broker;
    struct session *session = publication->reply.session;
    quota_release(&broker->publish, publication->charge);
    publish_limit(broker);
    if (broker->publishers_paused && !quota_full(&broker->publish))
        resume_publishers(broker);
    if (session == NULL)
        return;
    quota_release(&session->window, publication->charge);
    if (session->window.used == 0)
        list_remove(&session->in_publishers);
    if (!quota_full(&session->window))
        session_resume(session, PAUSE_WINDOW);
}

void publish_session_gone(struct session *session)
{
    list_remove(&session->in_publishers);
}

/* ------------------------------------------------------------------------------------------------ answers */

struct answer {
    struct published_run *runs;
    size_t count;
    uint32_t index; /* of the next message in the frame */
};

static struct protocol_error rate_error(const struct session *session)
{
    uint32_t rate = session->config.topic_rate->per_second;
    struct protocol_error error = error_with_limit(PS_RATE_EXCEEDED, "topic_rate", rate);
    error.text = span_of("this address makes new topics faster than it may");
    error.retry_after_ms = 1000 / rate + 1;
    return error;
}

static struct protocol_error run_error(const struct group *group, enum ps_status status)
{
    const struct broker *broker = group->publication->broker;
    switch (status) {
    case PS_MESSAGE_TOO_LARGE:
        return error_with_limit(status, "max_message", broker->config.limits.max_message);
    case PS_LIMIT_EXCEEDED:
        return error_with_limit(status, "max_topics", broker->config.max_topics);
    case PS_BAD_TOPIC:
        return error_of_name(broker, status, group->in->topic);
    case PS_RATE_EXCEEDED:
        return rate_error(group->publication->reply.session);
    default:
        return error_of_store(broker, status);
    }
}

static void answer_message(const struct group *group, struct answer *answer, enum ps_status status,
                           uint64_t offset)
{
    struct published_run *last = answer->count > 0 ? &answer->runs[answer->count - 1] : NULL;
    uint32_t index = answer->index++;
    if (last != NULL && last->status == status) {
        last->count++;
        return;
    }
    struct published_run *run = &answer->runs[answer->count++];
    *run = (struct published_run){.first_index = index, .count = 1, .status = status, .first_offset = offset};
    if (status != PS_OK)
        run->error = run_error(group, status);
}

/* Outcomes in the order of the frame: refused here, or what the store said. A run ends with its topic, in which
 * the offsets of what was accepted follow on each other. */
static void answer_group(struct answer *answer, const struct group *group)
{
    const struct message *sent = group->sent;
    /* The store wrote what became of them into the messages as received, too. */
    const bool all_sent = sent == group->in->messages;
    struct answer own = {answer->runs + answer->count, 0, answer->index};
    for (uint32_t i = 0; i < group->in->count; i++) {
        enum ps_status status = group->in->messages[i].status;
        uint64_t offset = 0;
        if (all_sent || status == PS_OK) {
            enum ps_status op = group->write.op.status;
            status = op == PS_OK ? sent->status : op;
            offset = sent->offset;
            sent++;
        }
        answer_message(group, &own, status, status == PS_OK ? offset : 0);
    }
    answer->count += own.count;
    answer->index = own.index;
}

static void publication_free(struct publication *publication)
{
    reply_drop(&publication->reply);
    for (uint32_t i = 0; i < publication->group_count; i++)
        topic_unref(publication->groups[i].topic);
    free(publication->copies);
    arena_free(publication->arena);
    buffer_unref(publication->owner);
    free(publication);
}

static void answer_publication(struct publication *publication)
{
    struct session *session = publication->reply.session;
    if (session == NULL || !publication->reply.request_id.present)
        return;
    struct answer answer = {.runs = malloc((publication->message_count + 1) * sizeof *answer.runs)};
    if (answer.runs == NULL) {
        session_close(session);
        return;
    }
    for (uint32_t i = 0; i < publication->group_count; i++)
        answer_group(&answer, &publication->groups[i]);
    struct server_frame frame = {.request_id = publication->reply.request_id, .kind = SERVER_PUBLISHED};
    frame.published = (struct published){answer.runs, answer.count};
    session_send(session, &frame);
    free(answer.runs);
}

void publish_answer_finished(struct broker *broker)
{
    while (!list_empty(&broker->finished)) {
        struct publication *publication = LIST_OBJECT(broker->finished.next, struct publication, in_finished);
        list_remove(&publication->in_finished);
        answer_publication(publication);
        discharge(publication);
        publication_free(publication);
    }
}

static void group_finished(struct group *group)
{
    struct publication *publication = group->publication;
    assert(publication->under_way > 0);
    if (--publication->under_way == 0)
        list_append(&publication->broker->finished, &publication->in_finished);
}

/* ------------------------------------------------------------------------------------------------ committing */

static void topic_created_cb(void *ctx, struct router_entry *entry)
{
    attachment_topic_created(LIST_OBJECT(entry, struct attachment, route), ctx);
}

static void topic_committed(struct broker *broker, struct topic *topic, const struct store_append *append)
{
    bool born = !topic->listed;
    if (born) {
        topic->id = append->topic_id;
        topic->created_seq = append->first_seq;
        topic->first = append->first_offset;
    }
    topic_append(topic, append->first_offset, append->first_seq, append->accepted);
    broker->metrics.messages += append->accepted;
    if (!born)
        return;
    topic_list(topic);
    router_match(&broker->router, topic_name(topic), topic_created_cb, topic);
}

/* Groups of a publication complete in their order. */
static void fetch_ahead(const struct group *group)
{
    const struct publication *publication = group->publication;
    if (publication->groups + publication->group_count - group <= PREFETCH_AHEAD)
        return;
    prefetch(group[PREFETCH_AHEAD].topic, sizeof(struct topic));
    if (group[PREFETCH_AHEAD / 2].topic != NULL)
        runs_prefetch(&group[PREFETCH_AHEAD / 2].topic->runs);
}

/* Without a cursor nobody wants what is new out of memory. */
static void commit_group(struct broker *broker, struct group *group)
{
    struct topic *topic = group->topic;
    topic_committed(broker, topic, &group->write.op.append);
    if (topic->cursors == 0 && list_empty(&topic->fresh)) {
        tail_clear(&broker->tail, topic);
        return;
    }
    list_append(&topic->fresh, &group->in_fresh);
    if (list_empty(&topic->in_burst))
        list_append(&broker->burst, &topic->in_burst);
}

static void group_done(struct log_write *write, const struct store_state *state)
{
    struct group *group = LIST_OBJECT(write, struct group, write);
    struct broker *broker = group->publication->broker;
    struct topic *topic = group->topic;
    fetch_ahead(group);
    broker_written(broker, write, state);
    if (write->op.status == PS_OK)
        commit_group(broker, group);
    topic->pending--; /* the reserved run was used, or is not needed */
    if (list_empty(&group->in_fresh)) {
        group->topic = NULL;
        topic_unref(topic);
    }
    group_finished(group);
}

/* ------------------------------------------------------------------------------------------------ encoding */

/* Closes the batch into the tail; false: out of memory. */
static bool close_batch(struct broker *broker, struct topic *topic, struct batch **batch)
{
    struct batch *full = *batch;
    *batch = NULL;
    if (full == NULL || full->count == 0) {
        batch_unref(full);
        return true;
    }
    return tail_append(&broker->tail, topic, full);
}

static bool encode_group(struct broker *broker, struct topic *topic, const struct group *group,
                         struct batch **batch)
{
    for (uint32_t i = 0; i < group->write.op.append.count; i++) {
        const struct message *message = &group->sent[i];
        if (message->status != PS_OK)
            continue;
        if (*batch != NULL && (*batch)->size + codec_message_size(message) > TAIL_BATCH_BYTES &&
            !close_batch(broker, topic, batch))
            return false;
        if (*batch == NULL) {
            size_t bytes = group->bytes + 48 * (size_t)(group->write.op.append.count - i);
            *batch = batch_new(group->write.op.append.count - i,
                               bytes < TAIL_BATCH_BYTES ? bytes : (size_t)TAIL_BATCH_BYTES);
        }
        if (*batch == NULL || batch_append(*batch, message) != PS_OK)
            return false;
    }
    return true;
}

/* Without memory the tail stays empty and cursors read what they want from history. */
static void encode_topic(struct broker *broker, struct topic *topic)
{
    struct batch *batch = NULL;
    bool follow = topic->cursors > 0;
    while (!list_empty(&topic->fresh)) {
        struct group *group = LIST_OBJECT(topic->fresh.next, struct group, in_fresh);
        list_remove(&group->in_fresh);
        follow = follow && encode_group(broker, topic, group, &batch);
    }
    if (!follow || !close_batch(broker, topic, &batch)) {
        batch_unref(batch);
        tail_clear(&broker->tail, topic);
    }
}

static void wake_cursors(struct topic *topic)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &topic->waiting);
    while (!list_empty(&now)) {
        struct cursor *cursor = LIST_OBJECT(now.next, struct cursor, in_topic);
        list_remove(&cursor->in_topic);
        list_append(&topic->waiting, &cursor->in_topic);
        if (cursor->offset >= topic->head)
            continue;
        cursor_move(cursor, CURSOR_READY);
        attachment_schedule(cursor->attachment);
    }
}

void publish_encode_burst(struct broker *broker)
{
    while (!list_empty(&broker->burst)) {
        struct topic *topic = topic_ref(LIST_OBJECT(broker->burst.next, struct topic, in_burst));
        list_remove(&topic->in_burst);
        encode_topic(broker, topic);
        wake_cursors(topic);
        topic_unref(topic);
    }
}

/* ------------------------------------------------------------------------------------------------ receiving */

/* Takes from what the address may make. */
static enum ps_status take_new_topic(const struct session *session)
{
    const struct broker *broker = session->broker;
    struct rate *rate = session->config.topic_rate;
    if (broker->topics.count >= broker->config.max_topics)
        return PS_LIMIT_EXCEEDED;
    return rate == NULL || rate_take(rate, broker_now(broker)) ? PS_OK : PS_RATE_EXCEEDED;
}

/* The store neither has it nor is about to. */
static bool is_new(const struct topic *topic)
{
    return topic == NULL || (!topic->listed && topic->pending == 0);
}

/* A known topic has a valid name. */
static enum ps_status check_name(const struct broker *broker, const struct topic *topic, struct span name)
{
    if (!is_new(topic))
        return PS_OK;
    enum ps_status status = topic_validate_publish(name);
    return status == PS_OK && name_is_too_long(broker, name) ? PS_BAD_TOPIC : status;
}

/* Marks every message with why it cannot be sent, or PS_OK. Returns how many can. */
static uint32_t check_messages(struct publication *publication, struct group *group,
                               enum ps_status topic_status)
{
    uint32_t max_bytes = publication->broker->config.limits.max_message;
    uint32_t sound = 0;
    for (uint32_t i = 0; i < group->in->count; i++) {
        struct message *message = &group->in->messages[i];
        message->publisher = publication->publisher;
        message->status = topic_status == PS_OK ? message_validate(message, max_bytes) : topic_status;
        sound += message->status == PS_OK;
        group->bytes += message_bytes(message);
    }
    return sound;
}

/* For a topic that nothing sound was sent to, nothing is taken. Returns how many messages can be sent. */
static uint32_t admit_topic(const struct session *session, struct group *group, const struct topic *topic,
                            uint32_t sound)
{
    enum ps_status status = sound > 0 && is_new(topic) ? take_new_topic(session) : PS_OK;
    if (status == PS_OK)
        return sound;
    for (uint32_t i = 0; i < group->in->count; i++) {
        if (group->in->messages[i].status == PS_OK)
            group->in->messages[i].status = status;
    }
    return 0;
}

/* The sound messages side by side; false: out of memory. */
static bool gather(struct publication *publication, struct group *group, uint32_t sound, uint32_t *copied)
{
    group->sent = group->in->messages;
    if (sound == group->in->count)
        return true;
    if (publication->copies == NULL)
        publication->copies = malloc(publication->message_count * sizeof *publication->copies);
    if (publication->copies == NULL)
        return false;
    group->sent = publication->copies + *copied;
    for (uint32_t i = 0; i < group->in->count; i++) {
        if (group->in->messages[i].status == PS_OK)
            publication->copies[(*copied)++] = group->in->messages[i];
    }
    return true;
}

/* A group is ready to be appended, or has nothing to append (topic == NULL). False: out of memory. */
static bool prepare_group(struct publication *publication, struct group *group, uint32_t *copied)
{
    struct broker *broker = publication->broker;
    struct topic *topic = topics_find(&broker->topics, group->in->topic);
    uint32_t sound = check_messages(publication, group, check_name(broker, topic, group->in->topic));
    sound = admit_topic(publication->reply.session, group, topic, sound);
    group->write.op = (struct store_op){.kind = STORE_APPEND, .status = PS_OK};
    if (sound == 0)
        return true;
    if (!gather(publication, group, sound, copied))
        return false;
    group->topic = topic != NULL ? topic_ref(topic) : topics_obtain(&broker->topics, group->in->topic);
    if (group->topic == NULL || !runs_reserve(&group->topic->runs, group->topic->pending + 1))
        return false;
    group->topic->pending++;
    group->write.op.append =
        (struct store_append){.topic = topic_name(group->topic), .messages = group->sent, .count = sound};
    group->write.source = publication->reply.session->number;
    group->write.bytes = group->bytes;
    group->write.messages = sound;
    group->write.done = group_done;
    publication->under_way++;
    return true;
}

static struct publication *publication_new(struct session *session, const struct client_frame *frame)
{
    const struct publish *publish = &frame->publish;
    struct publication *publication =
        calloc(1, sizeof *publication + publish->group_count * sizeof(struct group) + session->id_size);
    if (publication == NULL)
        return NULL;
    publication->broker = session->broker;
    publication->group_count = publish->group_count;
    publication->message_count = publish->message_count;
    list_init(&publication->in_finished);
    if (session->id_size > 0) {
        uint8_t *place = (uint8_t *)&publication->groups[publish->group_count];
        memcpy(place, session->id, session->id_size);
        publication->publisher = (struct span){place, session->id_size};
    }
    reply_init(&publication->reply, session, frame->request_id, false);
    for (uint32_t i = 0; i < publish->group_count; i++) {
        struct group *group = &publication->groups[i];
        group->publication = publication;
        group->in = &publish->groups[i];
        list_init(&group->in_fresh);
    }
    return publication;
}

static bool prepare(struct publication *publication)
{
    uint32_t copied = 0;
    for (uint32_t i = 0; i < publication->group_count; i++) {
        if (publication->group_count - i > PREFETCH_AHEAD)
            topics_prefetch(&publication->broker->topics, publication->groups[i + PREFETCH_AHEAD].in->topic);
        if (!prepare_group(publication, &publication->groups[i], &copied))
            return false;
    }
    return true;
}

/* Nothing was submitted yet. */
static void give_up(struct publication *publication)
{
    for (uint32_t i = 0; i < publication->group_count; i++) {
        if (publication->groups[i].write.done != NULL)
            publication->groups[i].topic->pending--;
    }
    reply_refuse(&publication->reply, PS_NO_MEMORY);
    publication_free(publication);
}

static void submit(struct publication *publication)
{
    struct broker *broker = publication->broker;
    if (publication->under_way == 0) {
        list_append(&broker->finished, &publication->in_finished);
        return;
    }
    for (uint32_t i = 0; i < publication->group_count; i++) {
        if (publication->groups[i].write.done != NULL)
            broker_write(broker, &publication->groups[i].write);
    }
}

/* The receive buffer is charged whole to the first publication in it: a few bytes of it pin all of it. Those of
 * one connection are answered in order, so the others do not outlast it; but one with nothing to store is answered
 * at once and must leave the charge to the next. */
static uint64_t memory_pinned(const struct publication *publication)
{
    bool charged = publication->owner->charged || publication->under_way == 0;
    uint64_t buffer = charged ? 0 : publication->owner->size;
    publication->owner->charged |= publication->under_way > 0;
    return buffer + arena_size(publication->arena) + sizeof *publication +
           publication->group_count * sizeof(struct group);
}

void publish_receive(struct session *session, struct client_frame *frame, struct buffer *owner,
                     struct arena **arena)
{
    const struct limits *limits = &session->broker->config.limits;
    if (frame->publish.unsupported) {
        session_error_status(session, frame->request_id, PS_UNSUPPORTED);
        return;
    }
    if (frame->publish.message_count > limits->max_messages_per_frame) {
        struct protocol_error error =
            error_with_limit(PS_LIMIT_EXCEEDED, "max_messages_per_frame", limits->max_messages_per_frame);
        session_error(session, frame->request_id, &error);
        return;
    }
    struct publication *publication = publication_new(session, frame);
    if (publication == NULL) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    /* The messages lie in the arena, their bytes in the buffer: both now go with the publication. */
    publication->arena = *arena;
    *arena = NULL;
    publication->owner = buffer_ref(owner);
    if (!prepare(publication)) {
        give_up(publication);
        return;
    }
    publication->charge = memory_pinned(publication);
    charge(publication);
    submit(publication);
}
