/* The requests and answers of psbroker.proto as plain structs: what session, client and codec talk in.
 *
 * Spans and arrays in a decoded frame are borrowed: spans from the frame's bytes, arrays from the arena it
 * was decoded with. In a frame to encode they are the caller's, borrowed until the call returns. Field
 * meanings stand in psbroker.proto; only what C adds is said here. */
#ifndef PSBROKER_PROTOCOL_H
#define PSBROKER_PROTOCOL_H

#include "message.h"
#include "span.h"
#include "status.h"

enum {
    PROTOCOL_VERSION = 1,
    PROTOCOL_MAX_MESSAGES_PER_FRAME = 16384,
    LOG_ID_BYTES = 16,
    DEFAULT_PORT = 7420
};

/* A value that may be absent. */
struct optional_u64 {
    bool present;
    uint64_t value;
};

struct protocol_error {
    enum ps_status status; /* may be a number that ps_status_known() does not know */
    struct span text;      /* absent: the table's text is meant */
    bool retryable;
    bool unknown; /* outcome: unknown rather than refused */
    uint32_t retry_after_ms;
    struct span topic;
    struct optional_u64 offset_from, offset_to;
    struct span limit_name;
    uint64_t limit_value;
};

/* An error with the table's text and retryable; everything else absent. */
struct protocol_error protocol_error_of(enum ps_status status);

struct topic_offset {
    struct span topic;
    uint64_t offset;
};

enum start_kind { START_NEW, START_BEGINNING, START_OFFSET, START_LAST, START_RESUME };

/* Where a subscription begins in each topic it matches. */
struct start_rule {
    enum start_kind kind;
    uint64_t value; /* START_OFFSET: the offset; START_LAST: how many; START_RESUME: the mark */
    const struct topic_offset *offsets; /* START_RESUME only */
    size_t offset_count;
};

/* ------------------------------------------------------------------------------------ client to broker */

enum client_frame_kind {
    CLIENT_NONE, /* the frame's member is not known to this version: answer PS_UNSUPPORTED */
    CLIENT_HELLO,
    CLIENT_PING,
    CLIENT_PONG,
    CLIENT_PUBLISH,
    CLIENT_SUBSCRIBE,
    CLIENT_CREDIT,
    CLIENT_ACK,
    CLIENT_DETACH,
    CLIENT_UNSUBSCRIBE,
    CLIENT_SEEK,
    CLIENT_LIST_TOPICS,
    CLIENT_DELETE_TOPIC,
    CLIENT_LIST_SUBSCRIPTIONS,
    CLIENT_GET_INFO,
    CLIENT_VERIFY,
    CLIENT_BACKUP,
    CLIENT_READ_BACKUP
};

struct hello {
    uint32_t min_version, max_version;
    uint32_t max_frame; /* 0: not said */
    struct span id;
    struct span credentials;
};

struct publish_group {
    struct span topic;
    struct message *messages; /* mutable: the store writes offset, time and status into them */
    uint32_t count;
};

struct publish {
    struct publish_group *groups;
    uint32_t group_count;
    uint32_t message_count; /* over all groups */
    bool unsupported;       /* carried a member this version does not know: refuse it as a whole */
};

struct subscribe {
    struct span filter;
    struct span durable_id;
    struct start_rule start;
    bool start_given;
    bool until_end;
    bool existing_only;
    uint64_t credit_messages, credit_bytes;
    struct span log_id;
};

struct credit {
    uint64_t subscription, messages, bytes;
};

struct ack {
    uint64_t subscription;
    struct span topic;
    uint64_t next_offset;
    struct span log_id;
};

struct unsubscribe {
    struct optional_u64 subscription;
    struct span durable_id, filter;
};

struct seek {
    struct span durable_id, filter;
    struct start_rule to;
    struct span log_id;
};

struct list_topics {
    struct span filter, after;
    uint32_t limit; /* 0: the broker's page size */
};

struct client_frame {
    struct optional_u64 request_id;
    enum client_frame_kind kind;
    union {
        struct hello hello;
        uint64_t ping_token; /* CLIENT_PING and CLIENT_PONG */
        struct publish publish;
        struct subscribe subscribe;
        struct credit credit;
        struct ack ack;
        uint64_t detach; /* subscription */
        struct unsubscribe unsubscribe;
        struct seek seek;
        struct list_topics list_topics;
        struct span delete_topic;
        struct span list_subscriptions; /* durable id, absent: all */
        uint64_t read_backup;           /* offset of the first byte */
    };
};

/* ------------------------------------------------------------------------------------ broker to client */

enum server_frame_kind {
    SERVER_NONE, /* a member this version does not know: a client skips it */
    SERVER_ERROR,
    SERVER_WELCOME,
    SERVER_PING,
    SERVER_PONG,
    SERVER_PUBLISHED,
    SERVER_SUBSCRIBED,
    SERVER_DELIVERY,
    SERVER_PROGRESS,
    SERVER_GAP,
    SERVER_SUBSCRIPTION_ENDED,
    SERVER_DONE,
    SERVER_TOPIC_LIST,
    SERVER_SUBSCRIPTION_LIST,
    SERVER_INFO,
    SERVER_GOODBYE,
    SERVER_VERIFICATION,
    SERVER_BACKUP_STATE,
    SERVER_BACKUP_CHUNK
};

struct limits {
    uint32_t max_frame, max_message, max_headers, max_header_bytes, max_messages_per_frame, max_subscriptions,
        hard_frame_cap, max_name_bytes;
};

struct welcome {
    uint32_t version;
    struct span log_id;
    struct limits limits;
    uint64_t publish_window;
    uint32_t ping_interval_ms;
    struct span server_version;
};

struct published_run {
    uint32_t first_index, count;
    enum ps_status status; /* PS_OK: accepted at first_offset; else why not */
    uint64_t first_offset;
    struct protocol_error error; /* meaningful when status is not PS_OK */
};

struct published {
    const struct published_run *runs;
    size_t run_count;
};

struct topic_start {
    struct span topic;
    uint64_t offset, head, first;
};

struct subscribed {
    uint64_t subscription, mark, generation;
    bool created, more;
    const struct topic_start *starts;
    size_t start_count;
};

struct delivery {
    uint64_t subscription;
    struct span topic;
    const struct message *messages; /* decoding only: encoding uses codec_put_delivery_header() */
    size_t message_count;
};

struct progress {
    uint64_t subscription, mark;
};

struct gap {
    uint64_t subscription;
    struct span topic;
    uint64_t from, to;
};

struct subscription_ended {
    uint64_t subscription;
    struct protocol_error reason;
};

struct topic_info {
    struct span topic;
    uint64_t first, head;
    uint32_t subscribers;
};

struct topic_list {
    const struct topic_info *topics;
    size_t topic_count;
    bool more;
};

struct topic_position {
    struct span topic;
    uint64_t committed, lag;
};

struct subscription_info {
    struct span durable_id, filter;
    struct start_rule start;
    uint64_t mark, generation;
    bool attached;
    const struct topic_position *positions;
    size_t position_count;
};

struct subscription_list {
    const struct subscription_info *subscriptions;
    size_t subscription_count;
    bool more;
};

struct info {
    struct span version, log_id;
    uint64_t uptime_ms;
    uint32_t connections;
    uint64_t queued_bytes, commits, messages;
    double messages_per_commit;
    uint64_t wal_bytes, oldest_reader_ms, memory_bytes, free_disk_bytes, database_bytes;
    uint64_t topics, subscriptions, delivered, tail_bytes, mark;
};

struct problem {
    struct span topic; /* absent: of no one topic */
    struct optional_u64 offset;
    struct span text;
};

struct verification {
    uint64_t checked, total, found, records;
    const struct problem *problems;
    size_t problem_count;
    bool done;
};

struct backup_state {
    uint64_t copied, total, mark; /* the mark counts once it is ready */
    bool ready;
};

struct backup_chunk {
    uint64_t offset;
    struct span data;
};

struct server_frame {
    struct optional_u64 request_id;
    enum server_frame_kind kind;
    union {
        struct protocol_error error; /* SERVER_ERROR and SERVER_GOODBYE */
        struct welcome welcome;
        uint64_t ping_token; /* SERVER_PING and SERVER_PONG */
        struct published published;
        struct subscribed subscribed;
        struct delivery delivery;
        struct progress progress;
        struct gap gap;
        struct subscription_ended ended;
        struct topic_list topic_list;
        struct subscription_list subscription_list;
        struct info info;
        struct verification verification;
        struct backup_state backup_state;
        struct backup_chunk backup_chunk;
    };
};

#endif
