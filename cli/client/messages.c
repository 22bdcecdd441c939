/* Messages in both directions between the caller and the parts: queueing one, telling one. */
#include "client.h"

#include <stdlib.h>

/* Full stages only: what is queued in this turn and makes no frame of its own yet stays together. */
static void send_ready(struct psc_client *client)
{
    struct bytes *out = client_out(client);
    enum ps_status status = PS_OK;

    while (status == PS_OK && publisher_ready(&client->publisher) && !transport_full(client->transport))
        status = publisher_send(&client->publisher, out, &client->next_id);
    client->keepalive.sent = true;
    if (status != PS_OK)
        client_break(client, status, NULL);
    else
        transport_flush(client->transport);
}

enum ps_status psc_publish(struct psc_client *client, struct psc_bytes topic,
                           const struct psc_message *message, psc_published_fn *published, void *data)
{
    struct ticket ticket = {.published = published, .data = data};
    enum ps_status status = client_accepts(client);

    if (status == PS_OK)
        status = publisher_put(&client->publisher, topic, message, &ticket);
    if (status != PS_OK)
        return status;
    if (client->state == PSC_CLIENT_READY && publisher_ready(&client->publisher))
        send_ready(client);
    client_wake(client);
    return PS_OK;
}

size_t psc_pending(const struct psc_client *client)
{
    return client->publisher.pending;
}

enum ps_status client_message(struct psc_client *client, const struct message *message,
                              struct psc_message *told)
{
    if (client->header_room < message->header_count) {
        void *grown = realloc(client->headers, message->header_count * sizeof *client->headers);

        if (grown == NULL)
            return PS_NO_MEMORY;
        client->headers = grown;
        client->header_room = message->header_count;
    }
    for (uint32_t i = 0; i < message->header_count; i++) {
        client->headers[i].name = bytes_from(message->headers[i].name);
        client->headers[i].value = bytes_from(message->headers[i].value);
    }
    *told = (struct psc_message){
        .offset = message->offset,
        .published_at = message->published_at,
        .publisher = bytes_from(message->publisher),
        .key = bytes_from(message->key),
        .payload = bytes_from(message->payload),
        .headers = message->header_count > 0 ? client->headers : NULL,
        .header_count = message->header_count,
    };
    if (told->payload.data == NULL)
        told->payload = (struct psc_bytes){"", 0};
    return PS_OK;
}
