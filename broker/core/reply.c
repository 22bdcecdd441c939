#include "reply.h"

#include "broker_state.h"
#include "session_state.h"

/* Requests are read again when half of them are answered. */
enum { RESUME_REQUESTS = SESSION_MAX_REQUESTS / 2 };

void reply_init(struct reply *reply, struct session *session, struct optional_u64 request_id, bool counted)
{
    *reply = (struct reply){.session = session, .request_id = request_id, .counted = counted};
    list_init(&reply->in_session);
    list_append(&session->replies, &reply->in_session);
    if (counted && ++session->requests >= SESSION_MAX_REQUESTS)
        session_pause(session, PAUSE_REQUESTS);
}

void reply_drop(struct reply *reply)
{
    struct session *session = reply->session;
    if (session == NULL)
        return;
    list_remove(&reply->in_session);
    reply->session = NULL;
    if (reply->counted && --session->requests <= RESUME_REQUESTS)
        session_resume(session, PAUSE_REQUESTS);
}

void reply_done(struct reply *reply)
{
    if (reply->session != NULL)
        session_done(reply->session, reply->request_id);
    reply_drop(reply);
}

void reply_error(struct reply *reply, const struct protocol_error *error)
{
    if (reply->session != NULL)
        session_error(reply->session, reply->request_id, error);
    reply_drop(reply);
}

void reply_refuse(struct reply *reply, enum ps_status status)
{
    if (reply->session != NULL)
        session_error_status(reply->session, reply->request_id, status);
    reply_drop(reply);
}

/* ------------------------------------------------------------------------------------------------- errors */

enum ps_status status_on_wire(enum ps_status status)
{
    if (status == PS_FOREIGN_WRITER)
        return PS_STORAGE_FAILED;
    return status >= PS_IN_USE ? PS_INTERNAL : status;
}

struct protocol_error error_with_range(enum ps_status status, uint64_t from, uint64_t to)
{
    struct protocol_error error = protocol_error_of(status);
    error.offset_from = (struct optional_u64){true, from};
    error.offset_to = (struct optional_u64){true, to};
    return error;
}

struct protocol_error error_with_limit(enum ps_status status, const char *name, uint64_t value)
{
    struct protocol_error error = protocol_error_of(status);
    error.limit_name = span_of(name);
    error.limit_value = value;
    return error;
}

struct protocol_error error_of_store(const struct broker *broker, enum ps_status status)
{
    struct protocol_error error = protocol_error_of(status_on_wire(status));
    if (status == PS_DISK_FULL && broker->config.disk_floor > 0)
        error = error_with_limit(status, "disk_floor", broker->config.disk_floor);
    error.unknown = status == PS_UNKNOWN;
    return error;
}

bool name_is_too_long(const struct broker *broker, struct span name)
{
    return name.size > broker->config.limits.max_name_bytes;
}

struct protocol_error error_of_name(const struct broker *broker, enum ps_status status, struct span name)
{
    if (name_is_too_long(broker, name))
        return error_with_limit(status, "max_name_bytes", broker->config.limits.max_name_bytes);
    return protocol_error_of(status);
}
