/* libpsclient: talk to a psbroker from a program that runs a libuv loop.
 *
 * Everything happens on the caller's loop thread: no threads, no globals, no signals handled. Handles are
 * opaque. A callback is never run from inside the call that asked for it, runs exactly once where it answers
 * a request, and not at all after the client's closed callback. Bytes given to a function are borrowed until
 * it returns; bytes given to a callback are borrowed until the callback returns.
 *
 * Three outcomes, never mixed up: PS_OK, a refusal (its status and text), PS_UNKNOWN (the connection was lost
 * before the answer came). Publications are never sent twice by the library. A request that was not sent when
 * the connection was lost, or that only asks (a list, info, ping, detach), gets PS_CONNECTION_LOST.
 *
 * Every function that asks for something may also return PS_CONNECTION_LOST once the library has given up,
 * PS_CANCELLED after psc_close(), and PS_LIMIT_EXCEEDED for more than 65,536 requests under way. Whatever is not
 * PS_OK: nothing was queued and the callback does not come. */
#ifndef PSCLIENT_H
#define PSCLIENT_H

#include "status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

struct psc_client;
struct psc_subscription;

/* Borrowed bytes. Absent: data == NULL; empty: size == 0 and data != NULL. */
struct psc_bytes {
    const void *data;
    size_t size;
};

struct psc_header {
    struct psc_bytes name, value;
};

struct psc_message {
    uint64_t offset;
    int64_t published_at; /* microseconds since 1970, UTC */
    struct psc_bytes publisher, key, payload;
    const struct psc_header *headers;
    size_t header_count;
};

/* Why a request did not succeed. */
struct psc_error {
    enum ps_status status; /* may be a number this library does not know: branch on retryable then */
    const char *text;      /* a sentence, never NULL, borrowed like all bytes */
    bool retryable;
    uint32_t retry_after_ms;
    struct psc_bytes topic; /* absent unless the error is about one */
    bool has_range;         /* offsets concerned, or the valid range: [offset_from, offset_to) */
    uint64_t offset_from, offset_to;
    struct psc_bytes limit_name;
    uint64_t limit_value;
};

/* ------------------------------------------------------------------------------------------- connection */

struct psc_server {
    uint8_t log_id[16];
    const char *version;
    uint32_t max_message; /* payload + key + headers, bytes */
    uint32_t max_frame;
    uint64_t publish_window; /* bytes */
    uint32_t ping_interval_ms;
};

struct psc_options {
    const char *host;            /* NULL: 127.0.0.1 */
    int port;                    /* 0: 7420 */
    const char *unix_path;       /* when not NULL, instead of host and port */
    struct psc_bytes id;         /* becomes the publisher of what is published; absent: none */
    uint32_t connect_timeout_ms; /* a first connect that is refused is tried again this long; 0: 2000 */
    bool reconnect;              /* after a lost connection: 0.1 to 5 s apart with jitter, for ever */
    /* Connected and welcomed; also after each reconnect, when subscriptions are being attached again. */
    void (*connected)(struct psc_client *client, const struct psc_server *server, void *data);
    /* The connection is gone. `retry_in_ms` is negative when the library does not try again: then the client
     * only waits for psc_close(). Called for a failed first connect too (PS_CONNECT_FAILED), and for every
     * attempt to reconnect that failed; what was queued meanwhile waits on. A Goodbye of a draining broker
     * arrives as PS_DRAINING, bytes that cannot be read as PS_MALFORMED or PS_FRAME_TOO_LARGE, an answer that
     * contradicts what was asked as PS_PROTOCOL_VIOLATION. Requests under way have been answered before, and
     * without another attempt all subscriptions were ended (PS_CONNECTION_LOST). */
    void (*disconnected)(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                         void *data);
    /* There is room in the publish window again after psc_publish() returned PS_LIMIT_EXCEEDED. */
    void (*writable)(struct psc_client *client, void *data);
    void *data;
};

/* Ours to end with psc_close(). Copies the options. PS_OK, PS_NO_MEMORY, PS_BAD_ID, PS_INVALID_ARGUMENT. */
enum ps_status psc_new(uv_loop_t *loop, const struct psc_options *options, struct psc_client **client);

/* Begins to connect. Requests may be made at once; they wait for the connection. Once per client. */
void psc_start(struct psc_client *client);

/* Sends what is queued if connected, closes the socket, answers requests under way (PS_UNKNOWN for
 * publications that were sent, PS_CANCELLED for what was not), calls `closed` and frees the client and its
 * subscriptions: those that were never answered get `ended` (PS_CANCELLED), the others go silently, and no
 * message comes any more. A broker that does not read holds it up for at most 2 s. `closed` may be NULL. Once
 * per client, from anywhere. */
void psc_close(struct psc_client *client, void (*closed)(void *data), void *data);

/* The answer of requests that have nothing else to say; error is NULL on success. */
typedef void psc_done_fn(const struct psc_error *error, void *data);

/* ------------------------------------------------------------------------------------------- publishing */

/* One publication's outcome: error == NULL, and the offset it got; else error->status is the refusal, or
 * PS_UNKNOWN, or PS_CONNECTION_LOST / PS_CANCELLED for one that was never sent. Answers for one topic come in
 * the order of publication. */
typedef void psc_published_fn(const struct psc_error *error, uint64_t offset, void *data);

/* Queues one publication; what is queued in one turn of the loop travels together. Offset, time and publisher
 * of `message` are ignored; key, headers and payload are copied.
 * PS_OK: `published` will be called. PS_LIMIT_EXCEEDED: the publish window is full, nothing was queued, the
 * `writable` callback comes. PS_BAD_TOPIC, PS_RESERVED_TOPIC, PS_BAD_HEADER, PS_MESSAGE_TOO_LARGE (limits as
 * announced by the broker, before the first connect the defaults), PS_NO_MEMORY: nothing was queued. */
enum ps_status psc_publish(struct psc_client *client, struct psc_bytes topic,
                           const struct psc_message *message, psc_published_fn *published, void *data);

/* Publications queued or sent and not yet answered. */
size_t psc_pending(const struct psc_client *client);

/* ------------------------------------------------------------------------------------------ subscribing */

enum psc_start { PSC_START_NEW, PSC_START_BEGINNING, PSC_START_OFFSET, PSC_START_LAST };

/* Where a topic of a subscription begins. */
struct psc_topic_start {
    struct psc_bytes topic;
    uint64_t offset; /* first offset that will come */
    uint64_t head;   /* offset of the next publication */
    uint64_t first;  /* first offset kept */
};

struct psc_subscribe_options {
    struct psc_bytes filter;
    struct psc_bytes durable_id; /* absent: temporary */
    enum psc_start start;        /* counts for a temporary one, and when a durable one is created */
    uint64_t value;              /* PSC_START_OFFSET: offset; PSC_START_LAST: how many */
    bool until_end;              /* ended with PS_END_REACHED at the heads of the moment of subscribing */
    bool existing_only;          /* a durable one must be stored already */
    /* Credit: how much may be delivered beyond what psc_consumed() was told. 0: 65,536 messages and 4 MiB. */
    uint64_t window_messages, window_bytes;
    /* Stored (when durable) and attached. `created` is false for a durable one that existed: the start option
     * was ignored. Called again after each reconnect. May be NULL. `starts` lists every matching topic. */
    void (*subscribed)(struct psc_subscription *subscription, bool created,
                       const struct psc_topic_start *starts, size_t count, void *data);
    /* One message, in offset order per topic, no offset twice (also over reconnects). Only a durable subscription
     * that somebody moved, took over or made anew while the connection was gone begins again where it stands
     * then: `subscribed` tells the places, and what was not committed or is asked for again comes again. */
    void (*message)(struct psc_subscription *subscription, struct psc_bytes topic,
                    const struct psc_message *message, void *data);
    /* Offsets [from, to) are no longer kept. May be NULL. */
    void (*gap)(struct psc_subscription *subscription, struct psc_bytes topic, uint64_t from, uint64_t to,
                void *data);
    /* Refused, or over: PS_END_REACHED, PS_REPLACED, PS_REMOVED, PS_DAMAGED (topic and offset), … The last
     * callback of the subscription; the handle is freed when it returns. PS_MOVED is handled by the library:
     * it attaches again and says so with another `subscribed`. */
    void (*ended)(struct psc_subscription *subscription, const struct psc_error *reason, void *data);
    void *data;
};

/* PS_OK: `subscribed` or `ended` will be called. PS_BAD_FILTER, PS_BAD_ID, PS_INVALID_ARGUMENT, PS_NO_MEMORY. */
enum ps_status psc_subscribe(struct psc_client *client, const struct psc_subscribe_options *options,
                             struct psc_subscription **subscription);

/* The caller is done with `messages` messages of `bytes` bytes (key + headers + payload): the broker may send
 * as many more. A caller that never says so gets one window full and no more. */
void psc_consumed(struct psc_subscription *subscription, uint64_t messages, uint64_t bytes);

/* Everything below next_offset of the topic was processed. With a callback it is answered after its commit;
 * with NULL it travels when convenient. Durable subscriptions only. The library tells the broker again after
 * a reconnect what was acknowledged last.
 * PS_OK; anything else (PS_INVALID_ARGUMENT for a temporary one, PS_BAD_TOPIC, PS_NO_MEMORY, PS_CONNECTION_LOST,
 * PS_CANCELLED): nothing was queued, `done` is not called. */
enum ps_status psc_ack(struct psc_subscription *subscription, struct psc_bytes topic, uint64_t next_offset,
                       psc_done_fn *done, void *data);

/* Stops delivery; a durable subscription stays stored. No callback of the subscription comes any more; `done`
 * may be NULL. The handle is freed. */
void psc_detach(struct psc_subscription *subscription, psc_done_fn *done, void *data);

/* As psc_detach(), and a durable subscription is forgotten. */
void psc_unsubscribe(struct psc_subscription *subscription, psc_done_fn *done, void *data);

void *psc_subscription_data(const struct psc_subscription *subscription);
/* The filter it was made with; valid as long as the handle. */
struct psc_bytes psc_subscription_filter(const struct psc_subscription *subscription);

/* ----------------------------------------------------------------------------------------- administering */

/* Forgets a stored subscription by name. */
enum ps_status psc_forget(struct psc_client *client, struct psc_bytes durable_id, struct psc_bytes filter,
                          psc_done_fn *done, void *data);

/* Moves a stored subscription: PSC_START_OFFSET (exact filters), PSC_START_BEGINNING or PSC_START_NEW (the end). */
enum ps_status psc_seek(struct psc_client *client, struct psc_bytes durable_id, struct psc_bytes filter,
                        enum psc_start to, uint64_t offset, psc_done_fn *done, void *data);

enum ps_status psc_delete_topic(struct psc_client *client, struct psc_bytes topic, psc_done_fn *done,
                                void *data);

struct psc_topic_info {
    struct psc_bytes topic;
    uint64_t first, head;
    uint32_t subscribers;
};
/* One call per topic in byte order of names (topic != NULL), then a last one: topic == NULL, error == NULL or
 * why it failed. */
typedef void psc_topic_fn(const struct psc_error *error, const struct psc_topic_info *topic, void *data);
/* `filter` absent: all topics. Pages are fetched as needed. */
enum ps_status psc_list_topics(struct psc_client *client, struct psc_bytes filter, psc_topic_fn *each,
                               void *data);

struct psc_position {
    struct psc_bytes topic;
    uint64_t committed, lag;
};
struct psc_subscription_info {
    struct psc_bytes durable_id, filter;
    enum psc_start start;
    uint64_t value, generation;
    bool attached;
    const struct psc_position *positions;
    size_t position_count;
};
/* One call per stored subscription in byte order of (id, filter), then a last one with NULL. */
typedef void psc_subscription_fn(const struct psc_error *error,
                                 const struct psc_subscription_info *subscription, void *data);
/* `durable_id` absent: of all ids. As new as everything acknowledged before. */
enum ps_status psc_list_subscriptions(struct psc_client *client, struct psc_bytes durable_id,
                                      psc_subscription_fn *each, void *data);

struct psc_info {
    const char *version;
    uint8_t log_id[16];
    uint64_t uptime_ms, queued_bytes, commits, messages, wal_bytes, oldest_reader_ms, memory_bytes,
        free_disk_bytes, database_bytes, topics, subscriptions, delivered, tail_bytes, mark;
    uint32_t connections;
    double messages_per_commit;
};
typedef void psc_info_fn(const struct psc_error *error, const struct psc_info *info, void *data);
enum ps_status psc_get_info(struct psc_client *client, psc_info_fn *done, void *data);

/* A check of everything in the log, while the broker works. `each` is called until one says `done` or an error ends
 * it. */
struct psc_problem {
    struct psc_bytes topic; /* data NULL: of no one topic */
    bool has_offset;
    uint64_t offset;
    struct psc_bytes text;
};
struct psc_verification {
    uint64_t checked, total;            /* places in commit order; some have no record any more */
    uint64_t records;                   /* looked at so far */
    uint64_t found;                     /* problems in all; more than were told if there are very many */
    const struct psc_problem *problems; /* since the last call */
    size_t problem_count;
    bool done;
};
typedef void psc_verification_fn(const struct psc_error *error, const struct psc_verification *verification,
                                 void *data);
enum ps_status psc_verify(struct psc_client *client, psc_verification_fn *each, void *data);

/* Has the broker copy its log; `each` is called until one says `ready` or an error ends it. Then psc_read_backup()
 * gives the copy's bytes, one call after the other, until one gives none. The broker keeps the copy until the
 * connection ends. */
struct psc_backup_state {
    uint64_t copied, total; /* bytes; total is the copy's size once it is ready */
    uint64_t mark;          /* the copy holds everything before this place in commit order */
    bool ready;
};
typedef void psc_backup_fn(const struct psc_error *error, const struct psc_backup_state *state, void *data);
enum ps_status psc_backup(struct psc_client *client, psc_backup_fn *each, void *data);
typedef void psc_backup_chunk_fn(const struct psc_error *error, struct psc_bytes bytes, void *data);
enum ps_status psc_read_backup(struct psc_client *client, uint64_t offset, psc_backup_chunk_fn *done,
                               void *data);

/* Round trip to the broker, in nanoseconds. */
typedef void psc_ping_fn(const struct psc_error *error, uint64_t round_trip_ns, void *data);
enum ps_status psc_ping(struct psc_client *client, psc_ping_fn *done, void *data);

#ifdef __cplusplus
}
#endif

#endif
