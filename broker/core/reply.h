/* The answer to a request, as long as it is due, and what its errors say. Private to the core. */
#ifndef PSBROKER_REPLY_H
#define PSBROKER_REPLY_H

#include "list.h"
#include "protocol.h"

struct broker;
struct session;

/* Where the answer to one request goes; forgets the session when it is gone. */
struct reply {
    struct list in_session;
    struct session *session; /* NULL: gone */
    struct optional_u64 request_id;
    bool counted; /* against SESSION_MAX_REQUESTS */
};

/* Publications have a window of their own and are not counted. */
void reply_init(struct reply *reply, struct session *session, struct optional_u64 request_id, bool counted);
/* Each ends the reply: no answer can follow. */
void reply_drop(struct reply *reply);
void reply_done(struct reply *reply);
void reply_refuse(struct reply *reply, enum ps_status status);
void reply_error(struct reply *reply, const struct protocol_error *error);

/* What clients are told for outcomes that never travel. */
enum ps_status status_on_wire(enum ps_status status);
struct protocol_error error_with_range(enum ps_status status, uint64_t from, uint64_t to);
struct protocol_error error_with_limit(enum ps_status status, const char *name, uint64_t value);
/* An outcome of the store, with the limit behind it. */
struct protocol_error error_of_store(const struct broker *broker, enum ps_status status);
/* Why a topic, a filter or an id was refused; with the limit when that is its length. */
struct protocol_error error_of_name(const struct broker *broker, enum ps_status status, struct span name);
bool name_is_too_long(const struct broker *broker, struct span name);

#endif
