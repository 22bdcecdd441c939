#include "codec_pack.h"

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

static void pack_detach(uint64_t subscription, Psbroker__Detach *packed)
{
    psbroker__detach__init(packed);
    packed->subscription = subscription;
}

static void pack_delete_topic(struct span topic, Psbroker__DeleteTopic *packed)
{
    psbroker__delete_topic__init(packed);
    packed->topic = pack_bytes(topic);
}

static void pack_list_subscriptions(struct span durable_id, Psbroker__ListSubscriptions *packed)
{
    psbroker__list_subscriptions__init(packed);
    packed->has_durable_id = span_present(durable_id);
    packed->durable_id = pack_bytes(durable_id);
}

/* What the packed frame points to. */
struct parts {
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
        Psbroker__Verify verify;
        Psbroker__Backup backup;
        Psbroker__ReadBackup read_backup;
    };
};

/* False for a kind that is not packed here. */
static bool pack_body(const struct client_frame *frame, struct scratch *scratch, struct parts *parts,
                      Psbroker__ClientFrame *packed)
{
#define BODY(member, kind)                                                                                   \
    packed->body_case = PSBROKER__CLIENT_FRAME__BODY_##kind, packed->member = &parts->member
    switch (frame->kind) {
    case CLIENT_HELLO:
        pack_hello(&frame->hello, &parts->hello);
        BODY(hello, HELLO);
        return true;
    case CLIENT_PING:
        pack_ping(frame->ping_token, &parts->ping);
        BODY(ping, PING);
        return true;
    case CLIENT_PONG:
        pack_pong(frame->ping_token, &parts->pong);
        BODY(pong, PONG);
        return true;
    case CLIENT_SUBSCRIBE:
        if (frame->subscribe.start_given)
            pack_start(scratch, &frame->subscribe.start, &parts->start, &parts->resume);
        pack_subscribe(&frame->subscribe, &parts->start, &parts->subscribe);
        BODY(subscribe, SUBSCRIBE);
        return true;
    case CLIENT_CREDIT:
        pack_credit(&frame->credit, &parts->credit);
        BODY(credit, CREDIT);
        return true;
    case CLIENT_ACK:
        pack_ack(&frame->ack, &parts->ack);
        BODY(ack, ACK);
        return true;
    case CLIENT_DETACH:
        pack_detach(frame->detach, &parts->detach);
        BODY(detach, DETACH);
        return true;
    case CLIENT_UNSUBSCRIBE:
        pack_unsubscribe(&frame->unsubscribe, &parts->unsubscribe);
        BODY(unsubscribe, UNSUBSCRIBE);
        return true;
    case CLIENT_SEEK:
        pack_start(scratch, &frame->seek.to, &parts->start, &parts->resume);
        pack_seek(&frame->seek, &parts->start, &parts->seek);
        BODY(seek, SEEK);
        return true;
    case CLIENT_LIST_TOPICS:
        pack_list_topics(&frame->list_topics, &parts->list_topics);
        BODY(list_topics, LIST_TOPICS);
        return true;
    case CLIENT_DELETE_TOPIC:
        pack_delete_topic(frame->delete_topic, &parts->delete_topic);
        BODY(delete_topic, DELETE_TOPIC);
        return true;
    case CLIENT_LIST_SUBSCRIPTIONS:
        pack_list_subscriptions(frame->list_subscriptions, &parts->list_subscriptions);
        BODY(list_subscriptions, LIST_SUBSCRIPTIONS);
        return true;
    case CLIENT_GET_INFO:
        psbroker__get_info__init(&parts->get_info);
        BODY(get_info, GET_INFO);
        return true;
    case CLIENT_VERIFY:
        psbroker__verify__init(&parts->verify);
        BODY(verify, VERIFY);
        return true;
    case CLIENT_BACKUP:
        psbroker__backup__init(&parts->backup);
        BODY(backup, BACKUP);
        return true;
    case CLIENT_READ_BACKUP:
        psbroker__read_backup__init(&parts->read_backup);
        parts->read_backup.offset = frame->read_backup;
        BODY(read_backup, READ_BACKUP);
        return true;
    case CLIENT_NONE:
    case CLIENT_PUBLISH:
        break;
    }
#undef BODY
    return false;
}

enum ps_status codec_encode_client(const struct client_frame *frame, struct bytes *out)
{
    if (frame->kind == CLIENT_PUBLISH)
        return encode_publish(&frame->request_id, &frame->publish, out);

    struct scratch scratch = {0};
    struct parts parts;
    Psbroker__ClientFrame packed = PSBROKER__CLIENT_FRAME__INIT;
    packed.has_request_id = frame->request_id.present;
    packed.request_id = frame->request_id.value;
    bool known = pack_body(frame, &scratch, &parts, &packed);
    assert(known);
    (void)known;
    return pack_frame(&scratch, &packed.base, out);
}
