/* The life of a client: connecting, greeting, losing, trying again, closing.
 *
 * Every way in which a connection ends comes through lost(). It first brings all parts into the state without
 * a connection, then runs callbacks: they may ask for anything, psc_close() included. psc_close() itself only
 * changes the state; the work is done by turn_cb(), where no frame of the caller is on the stack. The memory
 * goes when libuv has given back the last handle. */
#include "client.h"

#include "frame.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/un.h>

enum {
    DEFAULT_CONNECT_TIMEOUT_MS = 2000,
    GREETING_TIMEOUT_MS = 10000,
    LEAVING_TIMEOUT_MS = 2000, /* for a broker that does not read any more */
    LEAST_PING_INTERVAL_MS = 10
};

static void connect_now(struct psc_client *client);

/* ----------------------------------------------------------------------------------------------- states */

void client_move(struct psc_client *client, enum client_state state)
{
    static const unsigned successors[] = {
        [PSC_CLIENT_IDLE] = 1U << PSC_CLIENT_CONNECTING | 1U << PSC_CLIENT_CLOSING,
        [PSC_CLIENT_CONNECTING] = 1U << PSC_CLIENT_GREETING | 1U << PSC_CLIENT_WAITING |
                                  1U << PSC_CLIENT_FAILED | 1U << PSC_CLIENT_CLOSING,
        [PSC_CLIENT_GREETING] = 1U << PSC_CLIENT_READY | 1U << PSC_CLIENT_WAITING | 1U << PSC_CLIENT_FAILED |
                                1U << PSC_CLIENT_CLOSING,
        [PSC_CLIENT_READY] = 1U << PSC_CLIENT_WAITING | 1U << PSC_CLIENT_FAILED | 1U << PSC_CLIENT_LEAVING,
        [PSC_CLIENT_WAITING] = 1U << PSC_CLIENT_CONNECTING | 1U << PSC_CLIENT_CLOSING,
        [PSC_CLIENT_FAILED] = 1U << PSC_CLIENT_CLOSING,
        [PSC_CLIENT_LEAVING] = 1U << PSC_CLIENT_CLOSING,
        [PSC_CLIENT_CLOSING] = 1U << PSC_CLIENT_ENDED,
        [PSC_CLIENT_ENDED] = 0,
    };

    assert((successors[client->state] >> state & 1) != 0);
    client->state = state;
}

enum ps_status client_accepts(const struct psc_client *client)
{
    if (client->state == PSC_CLIENT_FAILED)
        return PS_CONNECTION_LOST;
    return client->state >= PSC_CLIENT_LEAVING ? PS_CANCELLED : PS_OK;
}

struct bytes *client_out(struct psc_client *client)
{
    if (client->state != PSC_CLIENT_READY && client->state != PSC_CLIENT_LEAVING)
        return NULL;
    return client->transport != NULL ? transport_out(client->transport) : NULL;
}

/* ------------------------------------------------------------------------------------------ one turn */

static void lost(struct psc_client *client, enum ps_status status, bool refused, const char *text);
static void shut(struct psc_client *client);

static enum ps_status send_publications(struct psc_client *client, struct bytes *out)
{
    enum ps_status status = PS_OK;

    while (status == PS_OK && publisher_has_queued(&client->publisher) && !transport_full(client->transport))
        status = publisher_send(&client->publisher, out, &client->next_id);
    return status;
}

/* Everything that waits for a connection. A full output goes on when it was written. */
static void send_all(struct psc_client *client)
{
    struct bytes *out = client_out(client);
    size_t before;
    enum ps_status status;

    if (out == NULL)
        return;
    before = out->size;
    status = subscriptions_send(client, out);
    if (status == PS_OK)
        status = requests_send(&client->requests, out, uv_hrtime());
    if (status == PS_OK)
        status = send_publications(client, out);
    if (out->size > before)
        client->keepalive.sent = true;
    if (status != PS_OK) {
        client_break(client, status, NULL);
        return;
    }
    transport_flush(client->transport);
    if (publisher_has_queued(&client->publisher) && !transport_full(client->transport))
        client_wake(client);
}

static void tell_later(struct psc_client *client)
{
    struct request *request = client->later;

    client->later = NULL;
    while (request != NULL) {
        struct request *next = request->next;
        struct error_box box;

        error_set(&box, request->ended_with, NULL);
        if (request->done != NULL)
            request->done(request->ended_with == PS_OK ? NULL : &box.error, request->data);
        request_free(request);
        request = next;
    }
}

static void leave(struct psc_client *client)
{
    if (!publisher_has_queued(&client->publisher) && client->transport != NULL)
        transport_finish(client->transport);
}

static void turn_cb(uv_idle_t *turn)
{
    struct psc_client *client = turn->data;

    uv_idle_stop(turn);
    if (client->broken != PS_OK) {
        struct transport *transport = client->transport;
        enum ps_status status = client->broken;

        client->broken = PS_OK;
        transport_stop(transport);
        lost(client, status, false, client->broken_text);
    }
    send_all(client);
    tell_later(client);
    if (client->state == PSC_CLIENT_LEAVING)
        leave(client);
    if (client->state == PSC_CLIENT_CLOSING)
        shut(client);
}

void client_wake(struct psc_client *client)
{
    if (client->state != PSC_CLIENT_ENDED)
        uv_idle_start(&client->turn, turn_cb);
}

void client_break(struct psc_client *client, enum ps_status status, const char *text)
{
    bool connected = client->state == PSC_CLIENT_CONNECTING || client->state == PSC_CLIENT_GREETING ||
                     client->state == PSC_CLIENT_READY || client->state == PSC_CLIENT_LEAVING;

    if (client->broken != PS_OK || !connected)
        return;
    client->broken = status;
    client->broken_text = text != NULL ? text : ps_status_text(status);
    client_wake(client);
}

void client_answer_later(struct psc_client *client, struct request *request, enum ps_status status)
{
    struct request **at = &client->later;

    while (*at != NULL)
        at = &(*at)->next;
    request->next = NULL;
    request->ended_with = status;
    *at = request;
    client_wake(client);
}

enum ps_status client_request(struct psc_client *client, struct request *request, struct client_frame *frame)
{
    enum ps_status status = client_accepts(client);

    if (status == PS_OK && client->requests.count >= REQUESTS_MOST)
        status = PS_LIMIT_EXCEEDED;
    if (status == PS_OK)
        status = request_encode(request, frame);
    if (status != PS_OK) {
        request_free(request);
        return status;
    }
    requests_add(&client->requests, request);
    client_wake(client);
    return PS_OK;
}

/* --------------------------------------------------------------------------------------- losing it */

void client_farewell(struct psc_client *client, const struct protocol_error *reason)
{
    error_from_wire(&client->reason, reason);
    error_detach(&client->reason);
    client->reason_given = true;
}

void client_tell_room(struct psc_client *client)
{
    if (client_accepts(client) == PS_OK && publisher_room_again(&client->publisher) &&
        client->options.writable != NULL)
        client->options.writable(client, client->options.data);
}

static uint32_t random_number(void)
{
    uint32_t number = 0;

    /* Without entropy clients only lose their jitter. */
    uv_random(NULL, NULL, &number, sizeof number, 0, NULL);
    return number;
}

static void retry_cb(uv_timer_t *timer)
{
    connect_now(timer->data);
}

/* What the broker said in its farewell tells more than how the socket ended. */
static void choose_reason(struct psc_client *client, enum ps_status status, const char *text,
                          struct error_box *box)
{
    if (!client->reason_given) {
        error_set(box, status, text);
        return;
    }
    error_set(box, client->reason.error.status, client->reason.error.text);
    box->error.retryable = client->reason.error.retryable;
    box->error.retry_after_ms = client->reason.error.retry_after_ms;
}

/* A broker that drains or is full at the moment said so (`told`): it is waited for, as one that is not there yet. */
static enum backoff_cause cause_of(enum client_state state, bool refused, bool told,
                                   const struct psc_error *reason)
{
    if (refused || (told && reason->retryable && state != PSC_CLIENT_READY))
        return BACKOFF_REFUSED;
    if (state == PSC_CLIENT_GREETING && !reason->retryable && reason->status != PS_MALFORMED &&
        reason->status != PS_FRAME_TOO_LARGE)
        return BACKOFF_FATAL;
    return BACKOFF_LOST;
}

static void answer_all(struct psc_client *client, enum ps_status unsent, const char *text)
{
    publisher_lost(&client->publisher, unsent, text, false);
    requests_lost(&client->requests, unsent, text);
}

static void lost(struct psc_client *client, enum ps_status status, bool refused, const char *text)
{
    enum client_state before = client->state;
    bool told = client->reason_given;
    struct error_box reason;
    int64_t wait;

    client->transport = NULL;
    client->broken = PS_OK;
    uv_timer_stop(&client->tick);
    if (before == PSC_CLIENT_LEAVING) {
        client_move(client, PSC_CLIENT_CLOSING);
        client_wake(client);
    }
    if (before >= PSC_CLIENT_LEAVING)
        return;
    choose_reason(client, status, text, &reason);
    client->reason_given = false;
    wait =
        backoff_next(&client->backoff, uv_now(client->loop), cause_of(before, refused, told, &reason.error),
                     reason.error.retry_after_ms, random_number());
    client_move(client, wait < 0 ? PSC_CLIENT_FAILED : PSC_CLIENT_WAITING);
    if (wait >= 0)
        uv_timer_start(&client->retry, retry_cb, (uint64_t)wait, 0);
    /* A first connect that is tried again has lost nothing yet. */
    if (client->backoff.state == BACKOFF_FIRST)
        return;
    if (wait < 0)
        subscriptions_end_all(client, PS_CONNECTION_LOST, reason.error.text, false);
    else
        subscriptions_lost(client, PS_CONNECTION_LOST, reason.error.text);
    if (wait < 0 || before == PSC_CLIENT_READY)
        answer_all(client, PS_CONNECTION_LOST, reason.error.text);
    if (client->options.disconnected != NULL)
        client->options.disconnected(client, &reason.error, wait, client->options.data);
    client_tell_room(client);
}

/* ----------------------------------------------------------------------------------------- connecting */

static void tick_cb(uv_timer_t *timer)
{
    struct psc_client *client = timer->data;
    struct client_frame ping = {.kind = CLIENT_PING, .ping_token = 0};
    struct bytes *out = client_out(client);

    if (out == NULL) {
        client_break(client, client->state == PSC_CLIENT_CONNECTING ? PS_CONNECT_FAILED : PS_TIMED_OUT,
                     client->state == PSC_CLIENT_CONNECTING ? "the connection is not accepted in time"
                                                            : "the broker does not answer the greeting");
        return;
    }
    switch (keepalive_tick(&client->keepalive)) {
    case KEEPALIVE_NOTHING:
        break;
    case KEEPALIVE_PING:
        client_send(client, &ping);
        break;
    case KEEPALIVE_DEAD:
        client_break(client, PS_TIMED_OUT, "the broker was silent for two ping intervals");
        break;
    }
}

void client_send(struct psc_client *client, const struct client_frame *frame)
{
    enum ps_status status = codec_encode_client(frame, transport_out(client->transport));

    if (status != PS_OK)
        client_break(client, status, NULL);
    client->keepalive.sent = true;
    client_wake(client);
}

void client_tick_every(struct psc_client *client, uint32_t interval_ms)
{
    client->keepalive = (struct keepalive){.received = true, .sent = true};
    if (interval_ms == 0) {
        uv_timer_stop(&client->tick);
        return;
    }
    if (interval_ms < LEAST_PING_INTERVAL_MS)
        interval_ms = LEAST_PING_INTERVAL_MS;
    uv_timer_start(&client->tick, tick_cb, interval_ms, interval_ms);
}

static void open_event(void *owner)
{
    struct psc_client *client = owner;
    struct client_frame frame = {
        .request_id = {true, client->next_id++},
        .kind = CLIENT_HELLO,
        .hello = {.min_version = PROTOCOL_VERSION,
                  .max_version = PROTOCOL_VERSION,
                  .max_frame = FRAME_HARD_CAP,
                  .id = span_from(client->options.id)},
    };

    if (client->state != PSC_CLIENT_CONNECTING) /* closed in this turn */
        return;
    client_move(client, PSC_CLIENT_GREETING);
    uv_timer_start(&client->tick, tick_cb, GREETING_TIMEOUT_MS, 0);
    client_send(client, &frame);
    transport_flush(client->transport);
}

static void received_event(void *owner)
{
    ((struct psc_client *)owner)->keepalive.received = true;
}

static void written_event(void *owner)
{
    client_wake(owner);
}

static void lost_event(void *owner, enum ps_status status, bool refused, const char *text)
{
    lost(owner, status, refused, text);
}

static bool frame_event(void *owner, struct span body)
{
    struct psc_client *client = owner;
    struct server_frame frame;
    enum ps_status status;

    if (client->broken != PS_OK)
        return false;
    arena_reset(client->arena, codec_arena_budget(body.size));
    status = codec_decode_server(body, client->arena, &frame);
    if (status != PS_OK) {
        client_break(client, status, "the broker sent a frame that cannot be read");
        return false;
    }
    if (client->state == PSC_CLIENT_GREETING)
        client_greet(client, &frame);
    else if (client_out(client) != NULL)
        client_dispatch(client, &frame);
    return client->broken == PS_OK;
}

static void release(struct psc_client *client)
{
    void (*closed)(void *data) = client->closed;
    void *data = client->closed_data;

    if (--client->handles > 0 || client->state != PSC_CLIENT_ENDED)
        return;
    publisher_deinit(&client->publisher);
    arena_free(client->arena);
    free(client->headers);
    free((void *)client->options.host);
    free((void *)client->options.unix_path);
    free((void *)client->options.id.data);
    free(client);
    if (closed != NULL)
        closed(data);
}

static void gone_event(void *owner)
{
    release(owner);
}

static const struct transport_events events = {
    .open = open_event,
    .frame = frame_event,
    .received = received_event,
    .written = written_event,
    .lost = lost_event,
    .gone = gone_event,
};

static void connect_now(struct psc_client *client)
{
    struct transport_address address = {
        .host = client->options.host, .unix_path = client->options.unix_path, .port = client->options.port};
    enum ps_status status;

    client_move(client, PSC_CLIENT_CONNECTING);
    uv_timer_start(&client->tick, tick_cb, client->options.connect_timeout_ms, 0);
    status = transport_start(client->loop, &address, &events, client, &client->transport);
    if (status == PS_OK)
        client->handles++;
    else
        client_break(client, status, NULL);
}

/* ------------------------------------------------------------------------------------- begin and end */

static bool options_are_possible(const struct psc_options *options)
{
    struct sockaddr_un address;

    if (options->unix_path != NULL)
        return strlen(options->unix_path) < sizeof address.sun_path;
    return options->port >= 0 && options->port <= 65535;
}

static enum ps_status copy_options(struct psc_client *client, const struct psc_options *options)
{
    const char *host = options->host != NULL ? options->host : "127.0.0.1";

    client->options = *options;
    client->options.id = (struct psc_bytes){NULL, 0};
    client->options.unix_path = NULL;
    client->options.host = strdup(host);
    if (client->options.host == NULL || bytes_copy(options->id, &client->options.id) != PS_OK)
        return PS_NO_MEMORY;
    if (options->unix_path != NULL) {
        client->options.unix_path = strdup(options->unix_path);
        if (client->options.unix_path == NULL)
            return PS_NO_MEMORY;
    }
    if (options->port == 0)
        client->options.port = DEFAULT_PORT;
    if (options->connect_timeout_ms == 0)
        client->options.connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS;
    return PS_OK;
}

static void init_handles(struct psc_client *client)
{
    uv_idle_init(client->loop, &client->turn);
    uv_timer_init(client->loop, &client->retry);
    uv_timer_init(client->loop, &client->tick);
    client->turn.data = client;
    client->retry.data = client;
    client->tick.data = client;
    client->handles = 3;
}

enum ps_status psc_new(uv_loop_t *loop, const struct psc_options *options, struct psc_client **client)
{
    struct psc_client *made;

    if (options->id.data != NULL && id_validate(span_from(options->id)) != PS_OK)
        return PS_BAD_ID;
    if (!options_are_possible(options))
        return PS_INVALID_ARGUMENT;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return PS_NO_MEMORY;
    made->loop = loop;
    made->next_id = 1;
    publisher_init(&made->publisher);
    requests_init(&made->requests);
    made->arena = arena_new(codec_arena_budget(FRAME_OVERHEAD_BYTES));
    if (made->arena == NULL || copy_options(made, options) != PS_OK) {
        made->handles = 1;
        made->state = PSC_CLIENT_ENDED;
        release(made);
        return PS_NO_MEMORY;
    }
    init_handles(made);
    *client = made;
    return PS_OK;
}

void psc_start(struct psc_client *client)
{
    uv_update_time(client->loop); /* it may have stood still for longer than a connect may take */
    backoff_init(&client->backoff, uv_now(client->loop), client->options.connect_timeout_ms,
                 client->options.reconnect);
    connect_now(client);
}

static void handle_closed_cb(uv_handle_t *handle)
{
    release(handle->data);
}

/* Answers what is left, then gives everything back. */
static void shut(struct psc_client *client)
{
    client_move(client, PSC_CLIENT_ENDED);
    transport_stop(client->transport);
    client->transport = NULL;
    answer_all(client, PS_CANCELLED, NULL);
    subscriptions_end_all(client, PS_CANCELLED, NULL, true);
    tell_later(client);
    uv_close((uv_handle_t *)&client->turn, handle_closed_cb);
    uv_close((uv_handle_t *)&client->retry, handle_closed_cb);
    uv_close((uv_handle_t *)&client->tick, handle_closed_cb);
}

static void leaving_too_long_cb(uv_timer_t *timer)
{
    client_break(timer->data, PS_TIMED_OUT, "the broker does not read what is left to send");
}

void psc_close(struct psc_client *client, void (*closed)(void *data), void *data)
{
    client->closed = closed;
    client->closed_data = data;
    if (client->state == PSC_CLIENT_READY) {
        client_move(client, PSC_CLIENT_LEAVING);
        uv_timer_start(&client->retry, leaving_too_long_cb, LEAVING_TIMEOUT_MS, 0);
    } else {
        uv_timer_stop(&client->retry); /* timers come before the turn */
        client_move(client, PSC_CLIENT_CLOSING);
    }
    client_wake(client);
}
