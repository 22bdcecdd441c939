#include "samples.h"

#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        (const uint8_t *)(literal), sizeof(literal) - 1                                                      \
    }
#define ID(number)                                                                                           \
    {                                                                                                        \
        true, number                                                                                         \
    }
#define LOG_ID TEXT("0123456789abcdef")
#define MOST INT64_MAX

static const struct topic_offset offsets[] = {{TEXT("a/b"), 0}, {TEXT("c"), MOST}};
static const struct header headers[] = {{TEXT("type"), TEXT("text/plain")}, {TEXT("\xc3\xa4"), TEXT("")}};

static struct message published[] = {
    {.payload = TEXT("hello")},
    {.payload = TEXT("")},
    {.payload = TEXT("\0\xff binary"), .key = TEXT(""), .headers = headers, .header_count = 2},
    {.payload = TEXT("x"), .key = TEXT("key"), .headers = headers, .header_count = 1, .flags = 1},
};
static struct publish_group groups[] = {
    {TEXT("A"), published, 4}, {TEXT("b/c"), published + 1, 2}, {TEXT("none"), NULL, 0}};

#define CLIENT(frame_kind, member, ...)                                                                      \
    {                                                                                                        \
        .request_id = ID(7), .kind = frame_kind, .member = __VA_ARGS__                                       \
    }

const struct client_frame sample_client_frames[SAMPLE_CLIENT_FRAMES] = {
    CLIENT(CLIENT_HELLO, hello, {1, 3, 1 << 20, TEXT("me"), TEXT("secret")}),
    {.kind = CLIENT_HELLO, .hello = {.min_version = 1, .max_version = 1}},
    {.kind = CLIENT_PING, .ping_token = UINT64_MAX},
    CLIENT(CLIENT_PONG, ping_token, 0),
    CLIENT(CLIENT_PUBLISH, publish, {groups, 3, 6, false}),
    {.kind = CLIENT_PUBLISH, .publish = {groups, 1, 4, false}},
    {.request_id = ID(UINT64_MAX), .kind = CLIENT_PUBLISH},
    CLIENT(CLIENT_SUBSCRIBE, subscribe,
           {TEXT("a/#"), TEXT("s1"), {START_RESUME, MOST, offsets, 2}, true, true, true, 1, 2, LOG_ID}),
    CLIENT(CLIENT_SUBSCRIBE, subscribe,
           {.filter = TEXT("a"), .start = {.kind = START_OFFSET, .value = 5}, .start_given = true}),
    CLIENT(CLIENT_SUBSCRIBE, subscribe,
           {.filter = TEXT("a"), .start = {.kind = START_LAST, .value = MOST}, .start_given = true}),
    CLIENT(CLIENT_SUBSCRIBE, subscribe,
           {.filter = TEXT("a"), .start = {.kind = START_BEGINNING}, .start_given = true}),
    CLIENT(CLIENT_SUBSCRIBE, subscribe, {.filter = TEXT("a"), .start_given = true}),
    CLIENT(CLIENT_SUBSCRIBE, subscribe, {.filter = TEXT("")}),
    {.kind = CLIENT_CREDIT, .credit = {UINT64_MAX, UINT64_MAX, UINT64_MAX}},
    CLIENT(CLIENT_ACK, ack, {3, TEXT("a/b"), MOST, LOG_ID}),
    {.kind = CLIENT_ACK, .ack = {0, TEXT("a"), 0, {NULL, 0}}},
    CLIENT(CLIENT_DETACH, detach, 12),
    CLIENT(CLIENT_UNSUBSCRIBE, unsubscribe, {ID(4), TEXT("s1"), TEXT("a/+")}),
    CLIENT(CLIENT_SEEK, seek, {TEXT("s1"), TEXT("a"), {.kind = START_OFFSET, .value = 9}, LOG_ID}),
    CLIENT(CLIENT_LIST_TOPICS, list_topics, {TEXT("#"), TEXT("m"), 100}),
    CLIENT(CLIENT_DELETE_TOPIC, delete_topic, TEXT("a")),
    CLIENT(CLIENT_LIST_SUBSCRIPTIONS, list_subscriptions, TEXT("s1")),
    {.request_id = ID(0), .kind = CLIENT_GET_INFO},
    {.request_id = ID(1), .kind = CLIENT_VERIFY},
    {.request_id = ID(2), .kind = CLIENT_BACKUP},
    CLIENT(CLIENT_READ_BACKUP, read_backup, MOST),
};

#define FULL_ERROR                                                                                           \
    {                                                                                                        \
        PS_OUT_OF_RANGE, TEXT("no such \xe2\x82\xac"), true, true, 500, TEXT("a/b"), ID(0), ID(MOST),        \
            TEXT("offset"), UINT64_MAX                                                                       \
    }

static const struct published_run runs[] = {
    {0, 3, PS_OK, 17, {0}},
    {3, 1, PS_OUT_OF_RANGE, 0, FULL_ERROR},
    {4, 2, PS_UNKNOWN, 0, {.status = PS_UNKNOWN, .unknown = true}},
    {6, 1, (enum ps_status)150, 0, {.status = (enum ps_status)150, .retryable = true}},
};
static const struct topic_start starts[] = {{TEXT("a"), 1, 2, 0}, {TEXT("b"), MOST, MOST, MOST}};
static const struct message delivered[] = {
    {.offset = 0, .published_at = 1767225600000000, .payload = TEXT("hello")},
    {.offset = MOST,
     .published_at = -1,
     .publisher = TEXT("p"),
     .key = TEXT(""),
     .payload = TEXT(""),
     .headers = headers,
     .header_count = 2,
     .flags = 1},
};
static const struct topic_info topics[] = {{TEXT("a"), 0, 9, 2}, {TEXT("b"), 5, 5, 0}};
static const struct topic_position positions[] = {{TEXT("a"), 3, 4}, {TEXT("b"), 0, 0}};
static const struct subscription_info subscriptions[] = {
    {TEXT("s1"), TEXT("a/#"), {.kind = START_LAST, .value = 3}, 77, 2, true, positions, 2},
    {TEXT("s2"), TEXT("b"), {.kind = START_NEW}, 0, 0, false, NULL, 0},
};

#define SERVER(frame_kind, member, ...)                                                                      \
    {                                                                                                        \
        .request_id = ID(7), .kind = frame_kind, .member = __VA_ARGS__                                       \
    }

static const struct problem problems[] = {
    {TEXT("a/b"), ID(7), TEXT("is wrong")},
    {.text = TEXT("a page is damaged")},
};

const struct server_frame sample_server_frames[SAMPLE_SERVER_FRAMES] = {
    SERVER(SERVER_ERROR, error, FULL_ERROR),
    {.kind = SERVER_ERROR, .error = {.status = PS_MALFORMED}},
    SERVER(SERVER_WELCOME, welcome, {1, LOG_ID, {1, 2, 3, 4, 5, 6, 7}, 1 << 24, 30000, TEXT("1.2.3")}),
    SERVER(SERVER_WELCOME, welcome, {.version = 1, .log_id = TEXT("")}),
    {.kind = SERVER_PING, .ping_token = 1},
    SERVER(SERVER_PONG, ping_token, UINT64_MAX),
    SERVER(SERVER_PUBLISHED, published, {runs, 4}),
    SERVER(SERVER_PUBLISHED, published, {NULL, 0}),
    SERVER(SERVER_SUBSCRIBED, subscribed, {1, MOST, 3, true, true, starts, 2}),
    SERVER(SERVER_SUBSCRIBED, subscribed, {UINT64_MAX, 0, 0, false, false, NULL, 0}),
    {.kind = SERVER_DELIVERY, .delivery = {1, TEXT("a/b"), delivered, 2}},
    {.kind = SERVER_DELIVERY, .delivery = {UINT64_MAX, TEXT("a"), delivered, 1}},
    {.kind = SERVER_PROGRESS, .progress = {1, MOST}},
    {.kind = SERVER_GAP, .gap = {1, TEXT("a"), 3, MOST}},
    {.kind = SERVER_SUBSCRIPTION_ENDED, .ended = {1, FULL_ERROR}},
    {.request_id = ID(1), .kind = SERVER_DONE},
    SERVER(SERVER_TOPIC_LIST, topic_list, {topics, 2, true}),
    SERVER(SERVER_TOPIC_LIST, topic_list, {NULL, 0, false}),
    SERVER(SERVER_SUBSCRIPTION_LIST, subscription_list, {subscriptions, 2, true}),
    SERVER(SERVER_INFO, info, {TEXT("1.2"), LOG_ID, 1, 2, 3, 4, 5, 6.5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}),
    SERVER(SERVER_INFO, info, {.mark = MOST}),
    SERVER(SERVER_VERIFICATION, verification, {MOST, MOST, 7, MOST, problems, 2, true}),
    SERVER(SERVER_VERIFICATION, verification, {.checked = 1}),
    SERVER(SERVER_BACKUP_STATE, backup_state, {1, UINT64_MAX, MOST, true}),
    SERVER(SERVER_BACKUP_CHUNK, backup_chunk, {MOST, TEXT("bytes")}),
    SERVER(SERVER_BACKUP_CHUNK, backup_chunk, {0, TEXT("")}),
    {.kind = SERVER_GOODBYE, .error = {.status = PS_DRAINING, .retryable = true, .retry_after_ms = 1}},
};
