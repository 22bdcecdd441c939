/* The broker's life: made, loaded, flushed once per burst, drained or failed.
 *
 *     RUNNING ──► DRAINING ──► DRAINED
 *        └────────────┴──► FAILING ──► FAILED
 *
 * DRAINING and FAILING end when nothing is under way in the log; the floors above are told from a flush or a tick,
 * never from inside the call that asked. */
#include "broker_state.h"

#include "attachment.h"
#include "defaults.h"
#include "publishing.h"
#include "requests.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

#define MIB (1024u * 1024u)
static const uint64_t progress_interval_ns = 100 * 1000000u;
static const uint64_t pump_ns = 1000000u; /* of a flush, for answers and deliveries */

static void put_default32(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void put_default64(uint64_t *value, uint64_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void put_defaults(struct broker_config *config)
{
    struct limits *limits = &config->limits;
    put_default32(&limits->max_message, MESSAGE_MAX_BYTES);
    put_default32(&limits->max_frame, limits->max_message + FRAME_OVERHEAD_BYTES);
    put_default32(&limits->max_headers, MESSAGE_MAX_HEADERS);
    put_default32(&limits->max_header_bytes, MESSAGE_MAX_HEADER_BYTES);
    put_default32(&limits->max_messages_per_frame, PROTOCOL_MAX_MESSAGES_PER_FRAME);
    put_default32(&limits->max_subscriptions, DEFAULT_MAX_SUBSCRIPTIONS);
    put_default32(&limits->hard_frame_cap, FRAME_HARD_CAP);
    put_default32(&limits->max_name_bytes, TOPIC_MAX_BYTES);
    put_default64(&config->publish_window, DEFAULT_PUBLISH_WINDOW_MIB * MIB);
    put_default64(&config->publish_total, DEFAULT_PUBLISH_MIB * MIB);
    put_default64(&config->send_total, DEFAULT_SEND_MIB * MIB);
    put_default64(&config->tail_bytes, DEFAULT_TAIL_MIB * MIB);
    put_default64(&config->cursor_bytes, DEFAULT_CURSOR_MIB * MIB);
    put_default32(&config->ping_interval_ms, DEFAULT_PING_INTERVAL_S * 1000);
    put_default32(&config->delivery_bytes, 2 * LOG_SLICE_BYTES);
    put_default32(&config->max_topics, DEFAULT_MAX_TOPICS);
    put_default32(&config->max_durable, DEFAULT_MAX_DURABLE);
    put_default32(&config->hello_frame, FRAME_CAP_BEFORE_HELLO);
    put_default32(&config->hello_timeout_ms, DEFAULT_HELLO_TIMEOUT_S * 1000);
    if (config->server_version == NULL)
        config->server_version = "";
}

static void init_lists(struct broker *broker)
{
    list_init(&broker->publishers);
    list_init(&broker->sessions);
    list_init(&broker->pumps);
    list_init(&broker->burst);
    list_init(&broker->finished);
    list_init(&broker->progressing);
}

struct broker *broker_new(const struct broker_config *config, const struct broker_io *io,
                          const struct store_opened *opened)
{
    struct broker *broker = calloc(1, sizeof *broker);
    if (broker == NULL)
        return NULL;
    broker->config = *config;
    put_defaults(&broker->config);
    broker->config.server_version = strdup(broker->config.server_version);
    broker->io = *io;
    broker->state = opened->state;
    broker->mark = opened->state.mark;
    memcpy(broker->log_id, opened->log_id, LOG_ID_BYTES);
    broker->started_ns = broker_now(broker);
    broker->armed_ns = broker->progress_ns = broker->keepalive_ns = UINT64_MAX;
    /* Differs from run to run, so that nobody can prepare names that collide. */
    broker->seed =
        hash_bytes((struct span){opened->log_id, LOG_ID_BYTES},
                   opened->start_count ^ hash_number(broker->started_ns ^ (uint64_t)(uintptr_t)broker));
    init_lists(broker);
    offsets_init(&broker->offsets);
    topics_init(&broker->topics, broker->seed);
    tail_init(&broker->tail, broker->config.tail_bytes);
    broker->subscriptions = (struct quota){.limit = broker->config.cursor_bytes};
    broker->publish.limit = broker->config.publish_total;
    broker->output.limit = broker->config.send_total;
    if (broker->config.server_version == NULL ||
        !router_init(&broker->router, broker->seed, &broker->subscriptions) ||
        !map_prepare(&broker->durables)) {
        broker_free(broker);
        return NULL;
    }
    return broker;
}

void broker_free(struct broker *broker)
{
    if (broker == NULL)
        return;
    assert(list_empty(&broker->sessions) && broker->writes == 0 && broker->reads == 0);
    publish_encode_burst(broker);
    publish_answer_finished(broker);
    offsets_refuse_waiters(&broker->offsets.waiters, PS_STORAGE_FAILED); /* there was no memory to write */
    tail_deinit(&broker->tail);
    topics_deinit(&broker->topics);
    router_deinit(&broker->router);
    map_deinit(&broker->durables);
    free((char *)broker->config.server_version);
    free(broker);
}

void broker_load_topic(void *ctx, const struct store_topic *stored)
{
    struct broker *broker = ctx;
    struct topic *topic = topics_obtain(&broker->topics, stored->name);
    if (topic == NULL || stored->recent_count > UINT32_MAX / 2 ||
        !runs_reserve(&topic->runs, (uint32_t)stored->recent_count)) {
        topic_unref(topic);
        broker->load_failed = true;
        return;
    }
    topic->id = stored->topic_id;
    topic->first = stored->first_offset;
    topic->created_seq = stored->created_seq;
    for (size_t i = 0; i < stored->recent_count; i++) {
        const struct store_run *run = &stored->recent[i];
        topic_append(topic, run->first_offset, run->first_seq, run->count);
    }
    topic->head = stored->next_offset;
    topic->last_seq = stored->last_seq;
    topic_load(topic);
    topic_unref(topic);
}

bool broker_loaded(struct broker *broker)
{
    topics_sort(&broker->topics);
    return !broker->load_failed;
}

void broker_move(struct broker *broker, enum broker_phase phase)
{
    static const unsigned successors[] = {
        [BROKER_RUNNING] = 1u << BROKER_DRAINING | 1u << BROKER_FAILING,
        [BROKER_DRAINING] = 1u << BROKER_DRAINED | 1u << BROKER_FAILING,
        [BROKER_DRAINED] = 1u << BROKER_FAILING,
        [BROKER_FAILING] = 1u << BROKER_FAILED,
        [BROKER_FAILED] = 0,
    };
    assert(successors[broker->phase] & 1u << phase);
    broker->phase = phase;
}

uint64_t broker_now(const struct broker *broker)
{
    return clock_now_ns(&broker->io.clock);
}

enum ps_status broker_accepts(const struct broker *broker)
{
    if (broker->phase == BROKER_RUNNING)
        return PS_OK;
    return broker->phase >= BROKER_FAILING ? PS_STORAGE_FAILED : PS_DRAINING;
}

bool broker_takes_more(const struct broker *broker)
{
    return !broker->publishers_paused;
}

void broker_arm(struct broker *broker, uint64_t at_ns)
{
    if (at_ns >= broker->armed_ns)
        return;
    broker->armed_ns = at_ns;
    broker->io.arm(broker->io.ctx, at_ns);
}

uint64_t broker_slice_bytes(const struct broker *broker)
{
    return broker->config.delivery_bytes / 2;
}

struct store_topic broker_store_topic(const struct topic *topic)
{
    return (struct store_topic){.topic_id = topic->id,
                                .name = topic_name(topic),
                                .first_offset = topic->first,
                                .next_offset = topic->head,
                                .created_seq = topic->created_seq,
                                .last_seq = topic->last_seq};
}

/* ------------------------------------------------------------------------------------------------ the log */

void broker_write(struct broker *broker, struct log_write *write)
{
    if (write->op.kind != STORE_OFFSETS)
        offsets_ride(broker);
    broker->writes++;
    broker->io.log.write(broker->io.log.ctx, write);
}

static bool is_fatal(enum ps_status status)
{
    return status == PS_UNKNOWN || status == PS_STORAGE_FAILED || status == PS_FOREIGN_WRITER;
}

static void fail(struct broker *broker, enum ps_status status)
{
    if (broker->phase >= BROKER_FAILING)
        return;
    broker_move(broker, BROKER_FAILING);
    broker->failure = status;
}

void broker_store_worked(struct broker *broker, const struct store_state *state)
{
    bool indexed = state->indexed_through > broker->state.indexed_through;
    broker->state = *state;
    if (indexed)
        topics_trim(&broker->topics, state->indexed_through);
    backup_look(broker);
}

void broker_written(struct broker *broker, const struct log_write *write, const struct store_state *state)
{
    assert(broker->writes > 0);
    broker->writes--;
    broker->commit_seen = true;
    broker_store_worked(broker, state);
    if (is_fatal(write->op.status))
        fail(broker, write->op.status);
}

void broker_read(struct broker *broker, struct log_read *read)
{
    broker->reads++;
    broker->io.log.read(broker->io.log.ctx, read);
}

void broker_read_done(struct broker *broker)
{
    assert(broker->reads > 0);
    broker->reads--;
}

/* ------------------------------------------------------------------------------------------------ bursts */

/* Sessions in turn, until the time is over (true): then those that had none come first in the next flush. */
static bool pump_all(struct broker *broker)
{
    struct list now;
    if (list_empty(&broker->pumps))
        return false;
    broker->pump_until_ns = broker_now(broker) + pump_ns;
    list_init(&now);
    list_splice(&now, &broker->pumps);
    while (!list_empty(&now)) {
        struct session *session = LIST_OBJECT(now.next, struct session, in_pumps);
        list_remove(&session->in_pumps);
        session_pump(session);
        if (broker_now(broker) < broker->pump_until_ns)
            continue;
        list_splice(&now, &broker->pumps);
        list_splice(&broker->pumps, &now);
        return !list_empty(&broker->pumps);
    }
    return false;
}

static void close_all(struct broker *broker)
{
    struct list *at = broker->sessions.next;
    for (; at != &broker->sessions; at = at->next)
        session_close(LIST_OBJECT(at, struct session, in_sessions));
}

/* Draining or failing ends when the last thing under way is done. */
static void settle_phase(struct broker *broker)
{
    if (broker->writes > 0)
        return;
    if (broker->phase == BROKER_FAILING) {
        broker_move(broker, BROKER_FAILED);
        broker->io.failed(broker->io.ctx, broker->failure);
    } else if (broker->phase == BROKER_DRAINING && broker->reads == 0 && offsets_idle(&broker->offsets)) {
        broker_move(broker, BROKER_DRAINED);
        close_all(broker);
        broker->io.drained(broker->io.ctx);
    }
}

struct quota *broker_output(struct broker *broker)
{
    return &broker->output;
}

bool broker_flush(struct broker *broker)
{
    if (broker->commit_seen) {
        broker->commit_seen = false;
        broker->metrics.commits++;
        broker->mark = broker->state.mark;
    }
    publish_encode_burst(broker);
    publish_answer_finished(broker);
    bool more = pump_all(broker);
    if (broker->progress_ns == UINT64_MAX && !list_empty(&broker->progressing)) {
        broker->progress_ns = broker_now(broker) + progress_interval_ns;
        broker_arm(broker, broker->progress_ns);
    }
    /* Answers that are still to be pumped go out before connections are closed. */
    if (broker->phase == BROKER_FAILING || (broker->phase != BROKER_RUNNING && !more))
        settle_phase(broker);
    return more;
}

/* ------------------------------------------------------------------------------------------------ time */

static void tick_progress(struct broker *broker, uint64_t now_ns)
{
    if (now_ns < broker->progress_ns)
        return;
    struct list *at = broker->progressing.next;
    while (at != &broker->progressing) {
        struct attachment *a = LIST_OBJECT(at, struct attachment, in_progressing);
        at = at->next;
        attachment_send_progress(a);
    }
    broker->progress_ns = list_empty(&broker->progressing) ? UINT64_MAX : now_ns + progress_interval_ns;
}

/* Sessions are looked at together, at most a few times in a ping interval and once a second. */
static void tick_keepalive(struct broker *broker, uint64_t now_ns)
{
    if (now_ns < broker->keepalive_ns)
        return;
    uint64_t grain = (uint64_t)broker->config.ping_interval_ms * 1000000u / 8;
    uint64_t next = UINT64_MAX;
    struct list *at = broker->sessions.next;
    for (; at != &broker->sessions; at = at->next) {
        uint64_t due = session_keep_alive(LIST_OBJECT(at, struct session, in_sessions), now_ns);
        next = due < next ? due : next;
    }
    uint64_t soonest = now_ns + (grain < 1000000000u ? grain : 1000000000u);
    broker->keepalive_ns = next != UINT64_MAX && next < soonest ? soonest : next;
}

static void arm_again(struct broker *broker)
{
    uint64_t next = broker->keepalive_ns;
    if (broker->progress_ns < next)
        next = broker->progress_ns;
    if (broker->offsets.due_ns < next)
        next = broker->offsets.due_ns;
    broker->armed_ns = UINT64_MAX;
    if (next != UINT64_MAX)
        broker_arm(broker, next);
}

void broker_tick(struct broker *broker)
{
    uint64_t now_ns = broker_now(broker);
    tick_progress(broker, now_ns);
    offsets_tick(broker, now_ns);
    tick_keepalive(broker, now_ns);
    arm_again(broker);
    broker_flush(broker);
}

void broker_drain(struct broker *broker)
{
    if (broker->phase != BROKER_RUNNING)
        return;
    broker_move(broker, BROKER_DRAINING);
    struct server_frame goodbye = {.kind = SERVER_GOODBYE, .error = protocol_error_of(PS_DRAINING)};
    goodbye.error.retry_after_ms = 1000;
    struct list *at = broker->sessions.next;
    for (; at != &broker->sessions; at = at->next) {
        struct session *session = LIST_OBJECT(at, struct session, in_sessions);
        if (session->state != SESSION_OPEN)
            continue;
        session_send(session, &goodbye);
        if (session->state == SESSION_OPEN)
            session_move(session, SESSION_DRAINING);
    }
    offsets_hurry(broker);
    broker_arm(broker, broker_now(broker));
}
