/* A connection's protocol as a table: which frame is allowed in which state and role, and who handles it.
 *
 *     GREETING ──► OPEN ──► DRAINING
 *         └─────────┴──────────┴───► CLOSING
 *
 * In CLOSING nothing is received and nothing sent: the connection frees the session when its socket is gone. Until
 * then its attachments stay where they are and can be taken over. */
#include "session_state.h"

#include "attachment.h"
#include "history.h"
#include "publishing.h"
#include "requests.h"
#include "topic.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SCARCE_BYTES = 16 * 1024, /* for each socket while all together have too much queued */
    RETRY_MS = 1000
};

/* The broker looks at it in time, now that its state is another. */
static void watch(struct session *session)
{
    struct broker *broker = session->broker;
    uint64_t due = session_keep_alive(session, session->heard_ns);
    if (due >= broker->keepalive_ns)
        return;
    broker->keepalive_ns = due;
    broker_arm(broker, due);
}

struct session *session_new(struct broker *broker, const struct session_config *config)
{
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->broker = broker;
    session->config = *config;
    session->state = SESSION_GREETING;
    session->number = ++broker->next_session;
    session->opened_ns = session->heard_ns = broker_now(broker);
    session->window.limit = broker->config.publish_window;
    session->frame_limit = broker->config.delivery_bytes;
    list_init(&session->in_pumps);
    list_init(&session->in_publishers);
    list_init(&session->attachments);
    list_init(&session->ready);
    list_init(&session->producers);
    list_init(&session->slots_wanted);
    list_init(&session->slices);
    list_init(&session->replies);
    list_append(&broker->sessions, &session->in_sessions);
    watch(session);
    return session;
}

static void forget_requests(struct session *session)
{
    while (!list_empty(&session->replies))
        reply_drop(LIST_OBJECT(session->replies.next, struct reply, in_session));
    while (!list_empty(&session->slices)) {
        struct slice *slice = LIST_OBJECT(session->slices.next, struct slice, in_session);
        list_remove(&slice->in_session);
        slice->session = NULL;
    }
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    session->state = SESSION_CLOSING; /* from here on no effect is called */
    while (!list_empty(&session->attachments))
        attachment_detach(LIST_OBJECT(session->attachments.next, struct attachment, in_session));
    while (!list_empty(&session->producers)) {
        struct producer *producer = LIST_OBJECT(session->producers.next, struct producer, in_session);
        list_remove(&producer->in_session);
        producer->gone(producer);
    }
    forget_requests(session);
    quota_release(&session->broker->output, session->charged);
    publish_session_gone(session);
    backup_session_gone(session);
    list_remove(&session->in_pumps);
    list_remove(&session->in_sessions);
    map_deinit(&session->by_number);
    free(session->id);
    free(session);
}

void session_move(struct session *session, enum session_state state)
{
    static const unsigned successors[] = {
        [SESSION_GREETING] = 1u << SESSION_OPEN | 1u << SESSION_CLOSING,
        [SESSION_OPEN] = 1u << SESSION_DRAINING | 1u << SESSION_CLOSING,
        [SESSION_DRAINING] = 1u << SESSION_CLOSING,
        [SESSION_CLOSING] = 0,
    };
    assert(successors[session->state] & 1u << state);
    session->state = state;
}

void session_close(struct session *session)
{
    if (session->state == SESSION_CLOSING)
        return;
    session_move(session, SESSION_CLOSING);
    session->config.io.close(session->config.io.ctx);
}

/* ------------------------------------------------------------------------------------------------ answers */

void session_send(struct session *session, const struct server_frame *frame)
{
    if (session->state == SESSION_CLOSING)
        return;
    if (!session->config.io.send(session->config.io.ctx, frame))
        session_close(session);
    session_queued(session);
}

void session_error(struct session *session, struct optional_u64 request_id,
                   const struct protocol_error *error)
{
    if (!request_id.present)
        return;
    struct server_frame frame = {.request_id = request_id, .kind = SERVER_ERROR, .error = *error};
    session_send(session, &frame);
}

void session_error_status(struct session *session, struct optional_u64 request_id, enum ps_status status)
{
    struct protocol_error error = error_of_store(session->broker, status);
    session_error(session, request_id, &error);
}

void session_done(struct session *session, struct optional_u64 request_id)
{
    struct server_frame frame = {.request_id = request_id, .kind = SERVER_DONE};
    if (request_id.present)
        session_send(session, &frame);
}

bool session_admits_one(struct session *session, struct optional_u64 request_id, const char *limit,
                        bool is_taken)
{
    struct protocol_error error = error_with_limit(PS_LIMIT_EXCEEDED, limit, 1);
    if (is_taken)
        session_error(session, request_id, &error);
    return request_id.present && !is_taken;
}

static void end(struct session *session, struct optional_u64 request_id, const struct protocol_error *error)
{
    struct server_frame frame = {.request_id = request_id, .kind = SERVER_ERROR, .error = *error};
    struct span limit = span_present(error->limit_name) ? error->limit_name : span_of("none");
    if (session->state == SESSION_CLOSING)
        return;
    logger_event(&session->broker->io.logger, LOG_LEVEL_INFO, "connection_refused",
                 "peer=%s status=%s limit=%.*s", session->config.peer, ps_status_name(error->status),
                 (int)limit.size, (const char *)limit.data);
    session_send(session, &frame);
    session_close(session);
}

void session_end(struct session *session, struct optional_u64 request_id, enum ps_status status)
{
    struct protocol_error error = protocol_error_of(status_on_wire(status));
    end(session, request_id, &error);
}

void session_end_error(struct session *session, const struct protocol_error *error)
{
    end(session, (struct optional_u64){0}, error);
}

static void end_by_limit(struct session *session, enum ps_status status, const char *limit, uint64_t value)
{
    struct protocol_error error = error_with_limit(status, limit, value);
    char text[128];
    snprintf(text, sizeof text, "%s: %s is %llu", ps_status_text(status), limit, (unsigned long long)value);
    error.text = span_of(text);
    error.retryable = true;
    error.retry_after_ms = RETRY_MS;
    end(session, (struct optional_u64){0}, &error);
}

/* ------------------------------------------------------------------------------------------ backpressure */

void session_pause(struct session *session, enum session_pause reason)
{
    unsigned before = session->paused;
    session->paused |= reason;
    if (before == 0 && session->state != SESSION_CLOSING)
        session->config.io.pause(session->config.io.ctx, true);
}

void session_resume(struct session *session, enum session_pause reason)
{
    if (!(session->paused & reason))
        return;
    session->paused &= ~(unsigned)reason;
    if (session->paused != 0 || session->state == SESSION_CLOSING)
        return;
    /* Nothing could be heard meanwhile. */
    session->heard_ns = broker_now(session->broker);
    session->config.io.pause(session->config.io.ctx, false);
}

size_t session_queued(struct session *session)
{
    struct quota *output = &session->broker->output;
    size_t queued = session->config.io.queued(session->config.io.ctx);
    quota_release(output, session->charged);
    session->charged = queued + session->slots * broker_slice_bytes(session->broker);
    quota_charge(output, session->charged);
    return queued;
}

uint32_t session_slices(const struct session *session)
{
    return quota_full(&session->broker->output) ? 1 : SESSION_SLICES;
}

/* Answers beyond this are not asked for by anybody who reads them. */
static bool output_full(struct session *session)
{
    const struct broker_config *config = &session->broker->config;
    size_t queued = session_queued(session);
    if (quota_full(&session->broker->output))
        return queued > SCARCE_BYTES;
    return queued > 2 * (size_t)config->delivery_bytes + config->limits.max_frame;
}

/* However many sockets stand still, one that does not is handed something at a time. */
bool session_has_room(struct session *session)
{
    if (session->state == SESSION_CLOSING)
        return false;
    size_t queued = session_queued(session);
    return queued <
           (quota_full(&session->broker->output) ? SCARCE_BYTES : session->broker->config.delivery_bytes);
}

void session_wants_pump(struct session *session)
{
    if (list_empty(&session->in_pumps) && session->state != SESSION_CLOSING)
        list_append(&session->broker->pumps, &session->in_pumps);
}

/* Answers in parts and deliveries take turns. Nothing is delivered once the broker drains, so that it ends. A step may
 * look at every topic and send nothing, so room alone does not bound them: the time of the flush does. */
void session_pump(struct session *session)
{
    struct broker *broker = session->broker;
    bool running = broker->phase == BROKER_RUNNING;
    while (session_has_room(session)) {
        if (running)
            history_next(session);
        bool answers = !list_empty(&session->producers);
        bool deliveries = running && !list_empty(&session->ready);
        if (!answers && !deliveries)
            return;
        session->producers_turn = !session->producers_turn;
        if (answers && (session->producers_turn || !deliveries)) {
            struct producer *producer = LIST_OBJECT(session->producers.next, struct producer, in_session);
            list_remove(&producer->in_session);
            list_append(&session->producers, &producer->in_session);
            producer->step(producer);
        } else {
            attachment_serve(LIST_OBJECT(session->ready.next, struct attachment, in_ready));
        }
        if (broker_now(broker) >= broker->pump_until_ns) {
            session_wants_pump(session);
            return;
        }
    }
}

void session_writable(struct session *session)
{
    if (session->state == SESSION_CLOSING)
        return;
    session->took = true;
    if ((session->paused & PAUSE_OUTPUT) && !output_full(session))
        session_resume(session, PAUSE_OUTPUT);
    session_wants_pump(session);
}

/* ------------------------------------------------------------------------------------------------ keep-alive */

void session_heard(struct session *session)
{
    session->heard_ns = broker_now(session->broker);
    session->pinged = false;
}

void session_rest(struct session *session)
{
    if (!session->took && !session_has_room(session))
        history_drop_early(session, NULL);
    session->took = false;
}

static uint64_t await_hello(struct session *session, uint64_t now_ns)
{
    const uint32_t timeout_ms = session->broker->config.hello_timeout_ms;
    uint64_t due = session->opened_ns + timeout_ms * 1000000ull;
    if (now_ns < due)
        return due;
    end_by_limit(session, PS_TIMED_OUT, "hello_timeout_ms", timeout_ms);
    return UINT64_MAX;
}

/* One who is slow has what lies in front of the ping still to take, and takes it. */
static bool is_slow(struct session *session)
{
    uint64_t left, before = session->taken;
    session->taken = session->config.io.taken(session->config.io.ctx, &left);
    return left > 0 && session->taken > before;
}

static void ping(struct session *session, uint64_t now_ns)
{
    struct server_frame frame = {.kind = SERVER_PING, .ping_token = now_ns};
    uint64_t left;
    session->pinged = true;
    session->taken = session->config.io.taken(session->config.io.ctx, &left);
    session_send(session, &frame);
}

uint64_t session_keep_alive(struct session *session, uint64_t now_ns)
{
    const uint32_t interval_ms = session->broker->config.ping_interval_ms;
    const uint64_t interval = interval_ms * 1000000ull;
    if (session->state == SESSION_CLOSING)
        return UINT64_MAX;
    if (session->state == SESSION_GREETING)
        return await_hello(session, now_ns);
    if (session->paused & (PAUSE_WINDOW | PAUSE_TOTAL | PAUSE_REQUESTS))
        return now_ns + interval;
    uint64_t due = session->heard_ns + interval;
    if (!session->pinged && now_ns >= due)
        ping(session, now_ns);
    if (!session->pinged || now_ns < due + interval)
        return session->pinged ? due + interval : due;
    if (is_slow(session)) {
        session->heard_ns = now_ns - interval;
        return now_ns + interval;
    }
    end_by_limit(session, PS_TIMED_OUT, "ping_interval_ms", interval_ms);
    return UINT64_MAX;
}

/* ------------------------------------------------------------------------------------------------ receiving */

size_t session_frame_cap(const struct session *session)
{
    const struct broker_config *config = &session->broker->config;
    return session->state == SESSION_GREETING ? config->hello_frame : config->limits.max_frame;
}

bool session_greeted(const struct session *session)
{
    return session->state == SESSION_OPEN || session->state == SESSION_DRAINING;
}

static void welcome(struct session *session, struct optional_u64 request_id)
{
    const struct broker *broker = session->broker;
    struct server_frame frame = {.request_id = request_id, .kind = SERVER_WELCOME};
    frame.welcome = (struct welcome){.version = PROTOCOL_VERSION,
                                     .log_id = {broker->log_id, LOG_ID_BYTES},
                                     .limits = broker->config.limits,
                                     .publish_window = broker->config.publish_window,
                                     .ping_interval_ms = broker->config.ping_interval_ms,
                                     .server_version = span_of(broker->config.server_version)};
    session_send(session, &frame);
}

static enum ps_status check_hello(struct session *session, const struct hello *hello)
{
    if (hello->min_version > PROTOCOL_VERSION || hello->max_version < PROTOCOL_VERSION)
        return PS_VERSION_MISMATCH;
    if (span_present(hello->credentials))
        return PS_UNSUPPORTED;
    if (!span_present(hello->id))
        return broker_accepts(session->broker);
    if (id_validate(hello->id) != PS_OK || name_is_too_long(session->broker, hello->id))
        return PS_BAD_ID;
    session->id = malloc(hello->id.size);
    if (session->id == NULL)
        return PS_NO_MEMORY;
    memcpy(session->id, hello->id.data, hello->id.size);
    session->id_size = hello->id.size;
    return broker_accepts(session->broker);
}

static void receive_hello(struct session *session, const struct client_frame *frame)
{
    if (session->state != SESSION_GREETING) {
        session_end(session, frame->request_id, PS_PROTOCOL_VIOLATION);
        return;
    }
    enum ps_status status = check_hello(session, &frame->hello);
    if (status != PS_OK) {
        struct protocol_error error = protocol_error_of(status);
        if (status == PS_BAD_ID)
            error = error_of_name(session->broker, status, frame->hello.id);
        end(session, frame->request_id, &error);
        return;
    }
    /* Small enough for what the client said it takes, large enough to make progress. */
    uint32_t asked = frame->hello.max_frame;
    if (asked != 0 && asked < session->frame_limit)
        session->frame_limit = asked < 4096 ? 4096 : asked;
    session_move(session, SESSION_OPEN);
    watch(session);
    welcome(session, frame->request_id);
}

static void receive_ping(struct session *session, const struct client_frame *frame)
{
    struct server_frame pong = {
        .request_id = frame->request_id, .kind = SERVER_PONG, .ping_token = frame->ping_token};
    session_send(session, &pong);
}

static void receive_pong(struct session *session, const struct client_frame *frame)
{
    (void)session, (void)frame; /* that bytes came is all that counts */
}

static void receive_unknown(struct session *session, const struct client_frame *frame)
{
    session_error_status(session, frame->request_id, PS_UNSUPPORTED);
}

struct verb {
    void (*handle)(struct session *session, const struct client_frame *frame); /* NULL: Publish */
    bool publisher, subscriber;                                                /* roles that may use it */
    bool while_draining;
};

static const struct verb verbs[] = {
    [CLIENT_NONE] = {receive_unknown, true, true, true},
    [CLIENT_HELLO] = {receive_hello, true, true, true},
    [CLIENT_PING] = {receive_ping, true, true, true},
    [CLIENT_PONG] = {receive_pong, true, true, true},
    [CLIENT_PUBLISH] = {NULL, true, false, false},
    [CLIENT_SUBSCRIBE] = {request_subscribe, false, true, false},
    [CLIENT_CREDIT] = {request_credit, false, true, true},
    [CLIENT_ACK] = {request_ack, false, true, true},
    [CLIENT_DETACH] = {request_detach, false, true, true},
    [CLIENT_UNSUBSCRIBE] = {request_unsubscribe, false, true, false},
    [CLIENT_SEEK] = {request_seek, false, true, false},
    [CLIENT_LIST_TOPICS] = {request_list_topics, true, true, false},
    [CLIENT_DELETE_TOPIC] = {request_delete_topic, true, false, false},
    [CLIENT_LIST_SUBSCRIPTIONS] = {request_list_subscriptions, true, true, false},
    [CLIENT_GET_INFO] = {request_info, true, true, true},
    [CLIENT_VERIFY] = {request_verify, true, true, false},
    [CLIENT_BACKUP] = {request_backup, true, true, false},
    [CLIENT_READ_BACKUP] = {request_read_backup, true, true, false},
};

static bool role_allows(enum session_role role, const struct verb *verb)
{
    return role == SESSION_ANY || (role == SESSION_PUBLISH ? verb->publisher : verb->subscriber);
}

/* Says which listener would take it. */
static void refuse_role(struct session *session, struct optional_u64 request_id)
{
    struct protocol_error error = protocol_error_of(PS_ROLE_REFUSED);

    error.text = span_of(session->config.role == SESSION_PUBLISH
                             ? "this listener is for publishers only: use one with role=subscribe"
                             : "this listener is for subscribers only: use one with role=publish");
    session_error(session, request_id, &error);
}

void session_receive(struct session *session, struct client_frame *frame, struct buffer *owner,
                     struct arena **arena)
{
    if (session->state == SESSION_CLOSING)
        return;
    const struct verb *verb = &verbs[frame->kind];
    bool failing = session->broker->phase >= BROKER_FAILING;
    if (session->state == SESSION_GREETING && frame->kind != CLIENT_HELLO)
        session_end(session, frame->request_id, PS_PROTOCOL_VIOLATION);
    else if (!role_allows(session->config.role, verb))
        refuse_role(session, frame->request_id);
    else if ((session->state == SESSION_DRAINING || failing) && !verb->while_draining)
        session_error_status(session, frame->request_id, failing ? PS_STORAGE_FAILED : PS_DRAINING);
    else if (verb->handle == NULL)
        publish_receive(session, frame, owner, arena);
    else
        verb->handle(session, frame);
    if (session->state != SESSION_CLOSING && output_full(session))
        session_pause(session, PAUSE_OUTPUT);
}

void session_refuse(struct session *session, enum ps_status status)
{
    if (status == PS_FRAME_TOO_LARGE) {
        const char *name = session_greeted(session) ? "max_frame" : "hello_frame";
        struct protocol_error error = error_with_limit(status, name, session_frame_cap(session));
        end(session, (struct optional_u64){0}, &error);
        return;
    }
    session_end(session, (struct optional_u64){0}, status);
}

void session_refuse_late(struct session *session, uint32_t frame_timeout_ms)
{
    end_by_limit(session, PS_TIMED_OUT, "frame_timeout_ms", frame_timeout_ms);
}

void session_refuse_limit(struct session *session, const char *limit, uint64_t value)
{
    end_by_limit(session, PS_LIMIT_EXCEEDED, limit, value);
}
