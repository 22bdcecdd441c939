#include "codec.h"

#include "codec_decode.h"

#include <stddef.h>

static const struct member ping_members[] = {[1] = {.kind = MEMBER_U64, .at = 0}};
const struct shape shape_ping = {sizeof(uint64_t), ping_members, MEMBER_COUNT(ping_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct hello, field)
static const struct member hello_members[] = {
    [1] = {.kind = MEMBER_U32, .required = true, AT(min_version)},
    [2] = {.kind = MEMBER_U32, .required = true, AT(max_version)},
    [3] = {.kind = MEMBER_NUMBERS},
    [4] = {.kind = MEMBER_U32, AT(max_frame)},
    [5] = {.kind = MEMBER_BYTES, AT(id)},
    [6] = {.kind = MEMBER_BYTES, AT(credentials)},
};
#undef AT
static const struct shape shape_hello = {
    sizeof(struct hello), hello_members, MEMBER_COUNT(hello_members), 0, NULL, NULL};

static const struct shape shape_publish = {sizeof(struct publish), NULL, 0, 0, decode_publish, NULL};

static enum ps_status finish_subscribe(void *place, uint32_t seen)
{
    struct subscribe *subscribe = place;
    subscribe->start_given = (seen & 1u << 3) != 0;
    return PS_OK;
}

#define AT(field) .at = offsetof(struct subscribe, field)
static const struct member subscribe_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(filter)},
    [2] = {.kind = MEMBER_BYTES, AT(durable_id)},
    [3] = {.kind = MEMBER_NESTED, AT(start), .shape = &shape_start},
    [4] = {.kind = MEMBER_BOOL, AT(until_end)},
    [5] = {.kind = MEMBER_U64, AT(credit_messages)},
    [6] = {.kind = MEMBER_U64, AT(credit_bytes)},
    [7] = {.kind = MEMBER_BYTES, AT(log_id)},
    [8] = {.kind = MEMBER_BOOL, AT(existing_only)},
};
#undef AT
static const struct shape shape_subscribe = {
    sizeof(struct subscribe), subscribe_members, MEMBER_COUNT(subscribe_members), 0, NULL, finish_subscribe};

#define AT(field) .at = offsetof(struct credit, field)
static const struct member credit_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(subscription)},
    [2] = {.kind = MEMBER_U64, .required = true, AT(messages)},
    [3] = {.kind = MEMBER_U64, .required = true, AT(bytes)},
};
#undef AT
static const struct shape shape_credit = {
    sizeof(struct credit), credit_members, MEMBER_COUNT(credit_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct ack, field)
static const struct member ack_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(subscription)},
    [2] = {.kind = MEMBER_BYTES, .required = true, AT(topic)},
    [3] = {.kind = MEMBER_OFFSET, .required = true, AT(next_offset)},
    [4] = {.kind = MEMBER_BYTES, AT(log_id)},
};
#undef AT
static const struct shape shape_ack = {
    sizeof(struct ack), ack_members, MEMBER_COUNT(ack_members), 0, NULL, NULL};

static const struct member detach_members[] = {[1] = {.kind = MEMBER_U64, .required = true, .at = 0}};
static const struct shape shape_detach = {
    sizeof(uint64_t), detach_members, MEMBER_COUNT(detach_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct unsubscribe, field)
static const struct member unsubscribe_members[] = {
    [1] = {.kind = MEMBER_OPTIONAL_U64, AT(subscription)},
    [2] = {.kind = MEMBER_BYTES, AT(durable_id)},
    [3] = {.kind = MEMBER_BYTES, AT(filter)},
};
#undef AT
static const struct shape shape_unsubscribe = {
    sizeof(struct unsubscribe), unsubscribe_members, MEMBER_COUNT(unsubscribe_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct seek, field)
static const struct member seek_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(durable_id)},
    [2] = {.kind = MEMBER_BYTES, .required = true, AT(filter)},
    [3] = {.kind = MEMBER_NESTED, .required = true, AT(to), .shape = &shape_start},
    [4] = {.kind = MEMBER_BYTES, AT(log_id)},
};
#undef AT
static const struct shape shape_seek = {
    sizeof(struct seek), seek_members, MEMBER_COUNT(seek_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct list_topics, field)
static const struct member list_topics_members[] = {
    [1] = {.kind = MEMBER_BYTES, AT(filter)},
    [2] = {.kind = MEMBER_BYTES, AT(after)},
    [3] = {.kind = MEMBER_U32, AT(limit)},
};
#undef AT
static const struct shape shape_list_topics = {
    sizeof(struct list_topics), list_topics_members, MEMBER_COUNT(list_topics_members), 0, NULL, NULL};

static const struct member delete_topic_members[] = {[1] = {.kind = MEMBER_BYTES, .required = true, .at = 0}};
static const struct shape shape_delete_topic = {
    sizeof(struct span), delete_topic_members, MEMBER_COUNT(delete_topic_members), 0, NULL, NULL};

static const struct member list_subscriptions_members[] = {[1] = {.kind = MEMBER_BYTES, .at = 0}};
static const struct shape shape_list_subscriptions = {
    sizeof(struct span), list_subscriptions_members, MEMBER_COUNT(list_subscriptions_members), 0, NULL, NULL};

static const struct shape shape_empty = {0, NULL, 0, 0, NULL, NULL};

static const struct member read_backup_members[] = {[1] = {.kind = MEMBER_OFFSET, .required = true, .at = 0}};
static const struct shape shape_read_backup = {
    sizeof(uint64_t), read_backup_members, MEMBER_COUNT(read_backup_members), 0, NULL, NULL};

/* Indexed by field number of ClientFrame. All members of the union begin where `hello` does. */
static const struct {
    enum client_frame_kind kind;
    const struct shape *shape;
} bodies[] = {
    [2] = {CLIENT_HELLO, &shape_hello},
    [3] = {CLIENT_PING, &shape_ping},
    [4] = {CLIENT_PONG, &shape_ping},
    [5] = {CLIENT_PUBLISH, &shape_publish},
    [6] = {CLIENT_SUBSCRIBE, &shape_subscribe},
    [7] = {CLIENT_CREDIT, &shape_credit},
    [8] = {CLIENT_ACK, &shape_ack},
    [9] = {CLIENT_DETACH, &shape_detach},
    [10] = {CLIENT_UNSUBSCRIBE, &shape_unsubscribe},
    [11] = {CLIENT_SEEK, &shape_seek},
    [12] = {CLIENT_LIST_TOPICS, &shape_list_topics},
    [13] = {CLIENT_DELETE_TOPIC, &shape_delete_topic},
    [14] = {CLIENT_LIST_SUBSCRIPTIONS, &shape_list_subscriptions},
    [15] = {CLIENT_GET_INFO, &shape_empty},
    [16] = {CLIENT_VERIFY, &shape_empty},
    [17] = {CLIENT_BACKUP, &shape_empty},
    [18] = {CLIENT_READ_BACKUP, &shape_read_backup},
};

enum ps_status codec_decode_client(struct span body, struct arena *arena, struct client_frame *frame)
{
    struct client_frame result;
    struct frame_body found;
    memset(&result, 0, sizeof result);
    enum ps_status status = decode_frame(body, MEMBER_COUNT(bodies), &result.request_id, &found);
    if (status == PS_OK && found.number != 0) {
        result.kind = bodies[found.number].kind;
        status = decode_shape(bodies[found.number].shape, found.bytes, arena, &result.hello);
    }
    if (status == PS_UNSUPPORTED) {
        result.kind = CLIENT_NONE;
        status = PS_OK;
    }
    if (status == PS_OK)
        *frame = result;
    return status;
}
