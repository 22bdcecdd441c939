/* The greeting: what the broker announces, and what it means for what is already queued. */
#include "client.h"

#include "frame.h"

#include <stdlib.h>

enum { LEAST_PING_INTERVAL_MS = 10 };

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static void take_limits(struct psc_client *client, const struct welcome *welcome)
{
    struct limits *limits = &client->limits;

    *limits = welcome->limits;
    limits->max_frame = or_default(limits->max_frame, MESSAGE_MAX_BYTES + FRAME_OVERHEAD_BYTES);
    limits->max_message = or_default(limits->max_message, MESSAGE_MAX_BYTES);
    limits->max_messages_per_frame =
        or_default(limits->max_messages_per_frame, PROTOCOL_MAX_MESSAGES_PER_FRAME);
}

static void tell_connected(struct psc_client *client, const struct welcome *welcome)
{
    struct psc_server server = {
        .max_message = client->limits.max_message,
        .max_frame = client->limits.max_frame,
        .publish_window = welcome->publish_window,
        .ping_interval_ms = welcome->ping_interval_ms,
    };
    struct psc_bytes version;

    if (bytes_copy(bytes_from(welcome->server_version), &version) != PS_OK) {
        client_break(client, PS_NO_MEMORY, NULL);
        return;
    }
    memcpy(server.log_id, client->log_id, LOG_ID_BYTES);
    server.version = version.data != NULL ? version.data : "";
    if (client->options.connected != NULL)
        client->options.connected(client, &server, client->options.data);
    free((void *)version.data);
}

static void welcomed(struct psc_client *client, const struct welcome *welcome)
{
    bool other_log = client->log_known && memcmp(client->log_id, welcome->log_id.data, LOG_ID_BYTES) != 0;

    memcpy(client->log_id, welcome->log_id.data, LOG_ID_BYTES);
    client->log_known = true;
    take_limits(client, welcome);
    transport_set_cap(client->transport, FRAME_HARD_CAP);
    backoff_connected(&client->backoff);
    client_tick_every(client, welcome->ping_interval_ms);
    publisher_limit(&client->publisher, &client->limits, welcome->publish_window);
    if (client->state != PSC_CLIENT_GREETING)
        return;
    client_move(client, PSC_CLIENT_READY);
    client_wake(client);
    if (other_log)
        subscriptions_log_changed(client);
    tell_connected(client, welcome);
    client_tell_room(client);
}

void client_greet(struct psc_client *client, const struct server_frame *frame)
{
    switch (frame->kind) {
    case SERVER_WELCOME:
        if (frame->welcome.version != PROTOCOL_VERSION)
            client_break(client, PS_VERSION_MISMATCH, NULL);
        else if (frame->welcome.log_id.size != LOG_ID_BYTES)
            client_break(client, PS_MALFORMED, "the broker's log id has not 16 bytes");
        else
            welcomed(client, &frame->welcome);
        break;
    case SERVER_ERROR:
    case SERVER_GOODBYE:
        client_farewell(client, &frame->error);
        client_break(client, PS_CONNECTION_LOST, NULL);
        break;
    default:
        client_break(client, PS_PROTOCOL_VIOLATION, "the broker does not answer the greeting with a Welcome");
        break;
    }
}
