#include "pack.h"

#include <assert.h>

static void pack_hello(const struct hello *hello, Psbroker__Hello *packed)
{
    psbroker__hello__init(packed);
    packed->min_version = hello->min_version;
    packed->max_version = hello->max_version;
    packed->has_max_frame = hello->max_frame != 0;
    packed->max_frame = hello->max_frame;
    packed->has_id = span_present(hello->id);
    packed->id = pack_bytes(hello->id);
    packed->has_credentials = span_present(hello->credentials);
    packed->credentials = pack_bytes(hello->credentials);
}

static void pack_subscribe(const struct subscribe *subscribe, Psbroker__Start *start,
                           Psbroker__Subscribe *packed)
{
    psbroker__subscribe__init(packed);
    packed->filter = pack_bytes(subscribe->filter);
    packed->has_durable_id = span_present(subscribe->durable_id);
    packed->durable_id = pack_bytes(subscribe->durable_id);
    packed->start = subscribe->start_given ? start : NULL;
    packed->has_until_end = subscribe->until_end;
    packed->until_end = subscribe->until_end;
    packed->has_existing_only = subscribe->existing_only;
    packed->existing_only = subscribe->existing_only;
    packed->has_credit_messages = true;
    packed->credit_messages = subscribe->credit_messages;
    packed->has_credit_bytes = true;
    packed->credit_bytes = subscribe->credit_bytes;
    packed->has_log_id = span_present(subscribe->log_id);
    packed->log_id = pack_bytes(subscribe->log_id);
}

static void pack_credit(const struct credit *credit, Psbroker__Credit *packed)
{
    psbroker__credit__init(packed);
    packed->subscription = credit->subscription;
    packed->messages = credit->messages;
    packed->bytes = credit->bytes;
}

static void pack_ack(const struct ack *ack, Psbroker__Ack *packed)
{
    psbroker__ack__init(packed);
    packed->subscription = ack->subscription;
    packed->topic = pack_bytes(ack->topic);
    packed->next_offset = ack->next_offset;
    packed->has_log_id = span_present(ack->log_id);
    packed->log_id = pack_bytes(ack->log_id);
}

static void pack_unsubscribe(const struct unsubscribe *unsubscribe, Psbroker__Unsubscribe *packed)
{
    psbroker__unsubscribe__init(packed);
    packed->has_subscription = unsubscribe->subscription.present;
    packed->subscription = unsubscribe->subscription.value;
    packed->has_durable_id = span_present(unsubscribe->durable_id);
    packed->durable_id = pack_bytes(unsubscribe->durable_id);
    packed->has_filter = span_present(unsubscribe->filter);
    packed->filter = pack_bytes(unsubscribe->filter);
}

static void pack_seek(const struct seek *seek, Psbroker__Start *to, Psbroker__Seek *packed)
{
    psbroker__seek__init(packed);
    packed->durable_id = pack_bytes(seek->durable_id);
    packed->filter = pack_bytes(seek->filter);
    packed->to = to;
    packed->has_log_id = span_present(seek->log_id);
    packed->log_id = pack_bytes(seek->log_id);
}

static void pack_list_topics(const struct list_topics *list, Psbroker__ListTopics *packed)
{
    psbroker__list_topics__init(packed);
    packed->has_filter = span_present(list->filter);
    packed->filter = pack_bytes(list->filter);
    packed->has_after = span_present(list->after);
    packed->after = pack_bytes(list->after);
    packed->has_limit = list->limit != 0;
    packed->limit = list->limit;
}

enum ps_status codec_encode_client(const struct client_frame *frame, struct bytes *out)
{
    if (frame->kind == CLIENT_PUBLISH)
        return encode_publish(&frame->request_id, &frame->publish, out);

    struct scratch scratch = {0};
    Psbroker__ClientFrame packed = PSBROKER__CLIENT_FRAME__INIT;
    Psbroker__Start start;
    Psbroker__Start__Resume resume;
    union {
        Psbroker__Hello hello;
        Psbroker__Ping ping;
        Psbroker__Pong pong;
        Psbroker__Subscribe subscribe;
        Psbroker__Credit credit;
        Psbroker__Ack ack;
        Psbroker__Detach detach;
        Psbroker__Unsubscribe unsubscribe;
        Psbroker__Seek seek;
        Psbroker__ListTopics list_topics;
        Psbroker__DeleteTopic delete_topic;
        Psbroker__ListSubscriptions list_subscriptions;
        Psbroker__GetInfo get_info;
    } body;
    packed.has_request_id = frame->request_id.present;
    packed.request_id = frame->request_id.value;
    switch (frame->kind) {
    case CLIENT_NONE:
    case CLIENT_PUBLISH:
        assert(!"a kind that is encoded here");
        return PS_UNSUPPORTED;
    case CLIENT_HELLO:
        pack_hello(&frame->hello, &body.hello);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_HELLO;
        packed.hello = &body.hello;
        break;
    case CLIENT_PING:
        psbroker__ping__init(&body.ping);
        body.ping.has_token = true;
        body.ping.token = frame->ping_token;
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_PING;
        packed.ping = &body.ping;
        break;
    case CLIENT_PONG:
        psbroker__pong__init(&body.pong);
        body.pong.has_token = true;
        body.pong.token = frame->ping_token;
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_PONG;
        packed.pong = &body.pong;
        break;
    case CLIENT_SUBSCRIBE:
        if (frame->subscribe.start_given)
            pack_start(&scratch, &frame->subscribe.start, &start, &resume);
        pack_subscribe(&frame->subscribe, &start, &body.subscribe);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_SUBSCRIBE;
        packed.subscribe = &body.subscribe;
        break;
    case CLIENT_CREDIT:
        pack_credit(&frame->credit, &body.credit);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_CREDIT;
        packed.credit = &body.credit;
        break;
    case CLIENT_ACK:
        pack_ack(&frame->ack, &body.ack);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_ACK;
        packed.ack = &body.ack;
        break;
    case CLIENT_DETACH:
        psbroker__detach__init(&body.detach);
        body.detach.subscription = frame->detach;
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_DETACH;
        packed.detach = &body.detach;
        break;
    case CLIENT_UNSUBSCRIBE:
        pack_unsubscribe(&frame->unsubscribe, &body.unsubscribe);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_UNSUBSCRIBE;
        packed.unsubscribe = &body.unsubscribe;
        break;
    case CLIENT_SEEK:
        pack_start(&scratch, &frame->seek.to, &start, &resume);
        pack_seek(&frame->seek, &start, &body.seek);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_SEEK;
        packed.seek = &body.seek;
        break;
    case CLIENT_LIST_TOPICS:
        pack_list_topics(&frame->list_topics, &body.list_topics);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_LIST_TOPICS;
        packed.list_topics = &body.list_topics;
        break;
    case CLIENT_DELETE_TOPIC:
        psbroker__delete_topic__init(&body.delete_topic);
        body.delete_topic.topic = pack_bytes(frame->delete_topic);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_DELETE_TOPIC;
        packed.delete_topic = &body.delete_topic;
        break;
    case CLIENT_LIST_SUBSCRIPTIONS:
        psbroker__list_subscriptions__init(&body.list_subscriptions);
        body.list_subscriptions.has_durable_id = span_present(frame->list_subscriptions);
        body.list_subscriptions.durable_id = pack_bytes(frame->list_subscriptions);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_LIST_SUBSCRIPTIONS;
        packed.list_subscriptions = &body.list_subscriptions;
        break;
    case CLIENT_GET_INFO:
        psbroker__get_info__init(&body.get_info);
        packed.body_case = PSBROKER__CLIENT_FRAME__BODY_GET_INFO;
        packed.get_info = &body.get_info;
        break;
    }
    return pack_frame(&scratch, &packed.base, out);
}
