/* What a subscription remembers of each topic: how far it has come. Topics are kept in the order they were
 * first heard of. One allocation a topic, none a message. */
#ifndef PSCLIENT_TOPIC_TABLE_H
#define PSCLIENT_TOPIC_TABLE_H

#include "span.h"
#include "status.h"

struct topic_place {
    uint64_t next;       /* the caller was told of everything below, in any attachment */
    uint64_t floor;      /* the caller never wanted what lies below */
    uint64_t received;   /* the same for this attachment: what may be acknowledged in it */
    uint64_t end;        /* head when first subscribed */
    uint64_t acked;      /* everything below was processed, says the caller */
    uint64_t acked_sent; /* in this attachment */
    uint64_t committed;  /* the least place the broker can resume at, unless it was moved */
    uint64_t named;      /* the attempt whose answer named the topic last */
    uint64_t touched; /* era in which it moved last: a resume names those of the subscription's present one */
    bool ack_waits;   /* stands in the list of acknowledgements to send */
    struct topic_place *ack_next;
    size_t name_size;
    uint8_t name[];
};

struct topic_table {
    struct topic_place **places;
    size_t count, room;
    size_t *slots;     /* by name: index + 1, 0 for none */
    size_t slot_count; /* a power of two */
    struct topic_place *recent;
};

static inline struct span topic_place_name(const struct topic_place *place)
{
    return (struct span){place->name, place->name_size};
}

void topic_table_deinit(struct topic_table *table); /* takes the zero state, leaves it */

/* First offset that is new to the caller. */
static inline uint64_t topic_place_wanted(const struct topic_place *place)
{
    return place->next > place->floor ? place->next : place->floor;
}

/* NULL when it was never heard of. */
struct topic_place *topic_table_find(struct topic_table *table, struct span name);

/* Finds or adds. PS_OK or PS_NO_MEMORY. The place stays where it is until deinit. */
enum ps_status topic_table_get(struct topic_table *table, struct span name, struct topic_place **place);

#endif
