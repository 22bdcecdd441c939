/* Requests that ask or change something besides messages: lists, info, ping, delete, forget, seek.
 *
 * A list of topics is fetched page by page: the same request is sent again behind the last name it was told.
 * Names have to grow, so a broker cannot keep us going round. */
#include "client.h"
#include "listing.h"
#include "topic.h"

#include <stdlib.h>

/* ------------------------------------------------------------------------------------------------- done */

static enum ps_status ask_done(struct psc_client *client, struct client_frame *frame, psc_done_fn *done,
                               void *data)
{
    struct request *request;
    enum ps_status status =
        request_new(&request_done_type, sizeof(struct request), client->next_id++, &request);

    if (status != PS_OK)
        return status;
    request->done = done;
    request->data = data;
    return client_request(client, request, frame);
}

static enum ps_status check_name(struct psc_bytes durable_id, struct psc_bytes filter)
{
    if (durable_id.data == NULL || id_validate(span_from(durable_id)) != PS_OK)
        return PS_BAD_ID;
    return filter_validate(span_from(filter)) == PS_OK ? PS_OK : PS_BAD_FILTER;
}

enum ps_status psc_forget(struct psc_client *client, struct psc_bytes durable_id, struct psc_bytes filter,
                          psc_done_fn *done, void *data)
{
    struct client_frame frame = {
        .kind = CLIENT_UNSUBSCRIBE,
        .unsubscribe = {.durable_id = span_from(durable_id), .filter = span_from(filter)},
    };
    enum ps_status status = check_name(durable_id, filter);

    return status == PS_OK ? ask_done(client, &frame, done, data) : status;
}

enum ps_status psc_seek(struct psc_client *client, struct psc_bytes durable_id, struct psc_bytes filter,
                        enum psc_start to, uint64_t offset, psc_done_fn *done, void *data)
{
    struct client_frame frame = {.kind = CLIENT_SEEK};
    enum ps_status status = check_name(durable_id, filter);

    if (status != PS_OK)
        return status;
    if (to > PSC_START_OFFSET || offset > INT64_MAX ||
        (to == PSC_START_OFFSET && !filter_is_exact(span_from(filter))))
        return PS_INVALID_ARGUMENT;
    frame.seek = (struct seek){
        .durable_id = span_from(durable_id), .filter = span_from(filter), .to = start_to_wire(to, offset)};
    return ask_done(client, &frame, done, data);
}

enum ps_status psc_delete_topic(struct psc_client *client, struct psc_bytes topic, psc_done_fn *done,
                                void *data)
{
    struct client_frame frame = {.kind = CLIENT_DELETE_TOPIC, .delete_topic = span_from(topic)};

    if (topic_validate(span_from(topic)) != PS_OK)
        return PS_BAD_TOPIC;
    return ask_done(client, &frame, done, data);
}

/* ----------------------------------------------------------------------------------------------- topics */

struct topics_request {
    struct request request;
    psc_topic_fn *each;
    struct psc_bytes filter; /* ours */
    size_t last_size;
    uint8_t last[TOPIC_MAX_BYTES];
};

static void topics_frame(const struct topics_request *topics, struct client_frame *frame)
{
    *frame = (struct client_frame){
        .kind = CLIENT_LIST_TOPICS,
        .list_topics = {.filter = span_from(topics->filter),
                        .after = topics->last_size > 0 ? (struct span){topics->last, topics->last_size}
                                                       : SPAN_ABSENT},
    };
}

/* Byte order, a prefix first. */
static bool is_behind(const struct topics_request *topics, struct span name)
{
    size_t common = name.size < topics->last_size ? name.size : topics->last_size;
    int order = common > 0 ? memcmp(name.data, topics->last, common) : 0;

    return order != 0 ? order > 0 : name.size > topics->last_size;
}

static void topics_fail(struct request *request, const struct psc_error *error)
{
    ((struct topics_request *)request)->each(error, NULL, request->data);
}

static enum request_verdict topics_next_page(struct topics_request *topics)
{
    struct client_frame frame;
    struct error_box box;
    enum ps_status status;

    topics_frame(topics, &frame);
    status = request_encode(&topics->request, &frame);
    if (status == PS_OK)
        return REQUEST_MORE;
    error_set(&box, status, NULL);
    topics_fail(&topics->request, &box.error);
    return REQUEST_ANSWERED;
}

static enum request_verdict topics_answer(struct request *request, const struct server_frame *frame)
{
    struct topics_request *topics = (struct topics_request *)request;
    const struct topic_list *list = &frame->topic_list;

    if (frame->kind != SERVER_TOPIC_LIST || (list->more && list->topic_count == 0))
        return REQUEST_WRONG;
    for (size_t i = 0; i < list->topic_count; i++) {
        const struct topic_info *topic = &list->topics[i];
        struct psc_topic_info told = {bytes_from(topic->topic), topic->first, topic->head,
                                      topic->subscribers};

        if (topic_validate(topic->topic) != PS_OK || !is_behind(topics, topic->topic))
            return REQUEST_WRONG;
        memcpy(topics->last, topic->topic.data, topic->topic.size);
        topics->last_size = topic->topic.size;
        topics->each(NULL, &told, request->data);
    }
    if (list->more)
        return topics_next_page(topics);
    topics->each(NULL, NULL, request->data);
    return REQUEST_ANSWERED;
}

static void topics_deinit(struct request *request)
{
    free((void *)((struct topics_request *)request)->filter.data);
}

static const struct request_type topics_type = {
    .answer = topics_answer, .fail = topics_fail, .deinit = topics_deinit};

enum ps_status psc_list_topics(struct psc_client *client, struct psc_bytes filter, psc_topic_fn *each,
                               void *data)
{
    struct client_frame frame;
    struct topics_request *topics;
    struct request *request;
    enum ps_status status;

    if (filter.data != NULL && filter_validate(span_from(filter)) != PS_OK)
        return PS_BAD_FILTER;
    status = request_new(&topics_type, sizeof *topics, client->next_id++, &request);
    if (status != PS_OK)
        return status;
    topics = (struct topics_request *)request;
    topics->each = each;
    request->data = data;
    status = bytes_copy(filter, &topics->filter);
    if (status != PS_OK) {
        request_free(request);
        return status;
    }
    topics_frame(topics, &frame);
    return client_request(client, request, &frame);
}

/* ---------------------------------------------------------------------------------------- subscriptions */

struct subscriptions_request {
    struct request request;
    psc_subscription_fn *each;
    struct listing listing;
};

static void subscriptions_fail(struct request *request, const struct psc_error *error)
{
    ((struct subscriptions_request *)request)->each(error, NULL, request->data);
}

static void tell_listed(struct subscriptions_request *subscriptions)
{
    const struct psc_subscription_info *info = listing_info(&subscriptions->listing);

    if (info != NULL)
        subscriptions->each(NULL, info, subscriptions->request.data);
}

static enum request_verdict subscriptions_answer(struct request *request, const struct server_frame *frame)
{
    struct subscriptions_request *subscriptions = (struct subscriptions_request *)request;
    const struct subscription_list *list = &frame->subscription_list;

    if (frame->kind != SERVER_SUBSCRIPTION_LIST)
        return REQUEST_WRONG;
    for (size_t i = 0; i < list->subscription_count; i++) {
        const struct subscription_info *part = &list->subscriptions[i];
        struct error_box box;
        enum ps_status status;

        if (!listing_continues(&subscriptions->listing, part))
            tell_listed(subscriptions);
        status = listing_add(&subscriptions->listing, part);
        if (status == PS_OK)
            continue;
        error_set(&box, status, NULL);
        subscriptions_fail(request, &box.error);
        return REQUEST_ANSWERED;
    }
    if (list->more)
        return REQUEST_MORE;
    tell_listed(subscriptions);
    subscriptions->each(NULL, NULL, request->data);
    return REQUEST_ANSWERED;
}

static void subscriptions_deinit(struct request *request)
{
    listing_deinit(&((struct subscriptions_request *)request)->listing);
}

static const struct request_type subscriptions_type = {
    .answer = subscriptions_answer, .fail = subscriptions_fail, .deinit = subscriptions_deinit};

enum ps_status psc_list_subscriptions(struct psc_client *client, struct psc_bytes durable_id,
                                      psc_subscription_fn *each, void *data)
{
    struct client_frame frame = {.kind = CLIENT_LIST_SUBSCRIPTIONS,
                                 .list_subscriptions = span_from(durable_id)};
    struct request *request;
    enum ps_status status;

    if (durable_id.data != NULL && id_validate(span_from(durable_id)) != PS_OK)
        return PS_BAD_ID;
    status =
        request_new(&subscriptions_type, sizeof(struct subscriptions_request), client->next_id++, &request);
    if (status != PS_OK)
        return status;
    ((struct subscriptions_request *)request)->each = each;
    request->data = data;
    return client_request(client, request, &frame);
}

/* ------------------------------------------------------------------------------------------------- info */

struct info_request {
    struct request request;
    psc_info_fn *done;
};

static void info_fail(struct request *request, const struct psc_error *error)
{
    ((struct info_request *)request)->done(error, NULL, request->data);
}

static void info_from_wire(const struct info *info, struct psc_info *told)
{
    *told = (struct psc_info){
        .uptime_ms = info->uptime_ms,
        .queued_bytes = info->queued_bytes,
        .commits = info->commits,
        .messages = info->messages,
        .wal_bytes = info->wal_bytes,
        .oldest_reader_ms = info->oldest_reader_ms,
        .memory_bytes = info->memory_bytes,
        .free_disk_bytes = info->free_disk_bytes,
        .database_bytes = info->database_bytes,
        .topics = info->topics,
        .subscriptions = info->subscriptions,
        .delivered = info->delivered,
        .tail_bytes = info->tail_bytes,
        .mark = info->mark,
        .connections = info->connections,
        .messages_per_commit = info->messages_per_commit,
    };
    if (info->log_id.size == LOG_ID_BYTES)
        memcpy(told->log_id, info->log_id.data, LOG_ID_BYTES);
}

static enum request_verdict info_answer(struct request *request, const struct server_frame *frame)
{
    struct psc_bytes version;
    struct psc_info told;

    if (frame->kind != SERVER_INFO)
        return REQUEST_WRONG;
    info_from_wire(&frame->info, &told);
    if (bytes_copy(bytes_from(frame->info.version), &version) != PS_OK)
        version = (struct psc_bytes){NULL, 0};
    told.version = version.data != NULL ? version.data : "";
    ((struct info_request *)request)->done(NULL, &told, request->data);
    free((void *)version.data);
    return REQUEST_ANSWERED;
}

static const struct request_type info_type = {.answer = info_answer, .fail = info_fail};

enum ps_status psc_get_info(struct psc_client *client, psc_info_fn *done, void *data)
{
    struct client_frame frame = {.kind = CLIENT_GET_INFO};
    struct request *request;
    enum ps_status status = request_new(&info_type, sizeof(struct info_request), client->next_id++, &request);

    if (status != PS_OK)
        return status;
    ((struct info_request *)request)->done = done;
    request->data = data;
    return client_request(client, request, &frame);
}

/* ------------------------------------------------------------------------------------------------- ping */

struct ping_request {
    struct request request;
    psc_ping_fn *done;
};

static void ping_fail(struct request *request, const struct psc_error *error)
{
    ((struct ping_request *)request)->done(error, 0, request->data);
}

static enum request_verdict ping_answer(struct request *request, const struct server_frame *frame)
{
    if (frame->kind != SERVER_PONG)
        return REQUEST_WRONG;
    ((struct ping_request *)request)->done(NULL, uv_hrtime() - request->sent_at_ns, request->data);
    return REQUEST_ANSWERED;
}

static const struct request_type ping_type = {.answer = ping_answer, .fail = ping_fail};

enum ps_status psc_ping(struct psc_client *client, psc_ping_fn *done, void *data)
{
    struct client_frame frame = {.kind = CLIENT_PING, .ping_token = client->next_id};
    struct request *request;
    enum ps_status status = request_new(&ping_type, sizeof(struct ping_request), client->next_id++, &request);

    if (status != PS_OK)
        return status;
    ((struct ping_request *)request)->done = done;
    request->data = data;
    return client_request(client, request, &frame);
}
