/* One table for every outcome: symbol, wire number, name, retryable, text.
 *
 * The numbers are the wire's (proto/README.md lists them) and never change their meaning. Numbers from 200
 * to 299 never travel: they are local to a process. Clients branch on the number and on `retryable`, so a number
 * they do not know still tells them what to do. */
#ifndef PSBROKER_STATUS_H
#define PSBROKER_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* X(symbol, number, name, retryable, text) */
#define PS_STATUS_MAP(X)                                                                                     \
    X(OK, 0, "ok", false, "ok")                                                                              \
    /* the bytes and the protocol */                                                                         \
    X(MALFORMED, 1, "malformed", false, "the bytes are not a valid frame")                                   \
    X(FRAME_TOO_LARGE, 2, "frame_too_large", false, "the frame is larger than the announced limit")          \
    X(UNSUPPORTED, 3, "unsupported", false, "this broker does not know what was asked for")                  \
    X(VERSION_MISMATCH, 4, "version_mismatch", false, "no protocol version in common")                       \
    X(PROTOCOL_VIOLATION, 5, "protocol_violation", false,                                                    \
      "a valid frame at a moment that does not allow it")                                                    \
    X(TIMED_OUT, 6, "timed_out", true, "the peer did not answer in time")                                    \
    /* names and values */                                                                                   \
    X(BAD_TOPIC, 10, "bad_topic", false, "not a topic name")                                                 \
    X(BAD_FILTER, 11, "bad_filter", false, "not a topic filter")                                             \
    X(RESERVED_TOPIC, 12, "reserved_topic", false, "topics that start with $ belong to the broker")          \
    X(BAD_HEADER, 13, "bad_header", false, "too many or too large headers, a name twice, or not UTF-8")      \
    X(BAD_ID, 14, "bad_id", false, "an id is 1 to 255 bytes of UTF-8 without control characters")            \
    X(MESSAGE_TOO_LARGE, 15, "message_too_large", false, "payload, key and headers exceed the limit")        \
    X(INVALID_ARGUMENT, 16, "invalid_argument", false, "a value is outside of what is allowed")              \
    /* what was named */                                                                                     \
    X(NO_SUCH_TOPIC, 20, "no_such_topic", false, "no such topic")                                            \
    X(NO_SUCH_SUBSCRIPTION, 21, "no_such_subscription", false, "no such subscription")                       \
    X(OUT_OF_RANGE, 22, "out_of_range", false, "no such offset")                                             \
    X(LOG_CHANGED, 23, "log_changed", false, "the broker serves another log than the one named")             \
    X(STALE_GENERATION, 24, "stale_generation", false, "another connection has taken over or it was moved")  \
    X(ALREADY_SUBSCRIBED, 25, "already_subscribed", false, "this connection already holds it")               \
    /* why a subscription ended */                                                                           \
    X(END_REACHED, 30, "end_reached", false, "everything up to the requested end was sent")                  \
    X(REPLACED, 31, "replaced", false, "a newer connection attached the same subscription")                  \
    X(REMOVED, 32, "removed", false, "the subscription was removed")                                         \
    X(MOVED, 33, "moved", true, "the subscription was moved to another offset")                              \
    /* refusals by limit, role, state */                                                                     \
    X(LIMIT_EXCEEDED, 40, "limit_exceeded", false, "a limit was reached")                                    \
    X(DISK_FULL, 41, "disk_full", true, "the broker's disk is nearly full")                                  \
    X(STORAGE_BUSY, 42, "storage_busy", true, "the store is held by a long outside reader")                  \
    X(DRAINING, 43, "draining", true, "the broker is shutting down")                                         \
    X(ROLE_REFUSED, 44, "role_refused", false, "this listener does not take such requests")                  \
    X(NOT_ALLOWED, 45, "not_allowed", false, "credentials or rights do not allow it")                        \
    X(NO_MEMORY, 46, "no_memory", true, "out of memory")                                                     \
    X(RATE_EXCEEDED, 47, "rate_exceeded", true, "more often in a short time than is allowed")                \
    /* storage */                                                                                            \
    X(UNKNOWN, 60, "outcome_unknown", false, "it is not known whether this took effect")                     \
    X(STORAGE_FAILED, 61, "storage_failed", false, "the store failed")                                       \
    X(DAMAGED, 62, "damaged", false, "a stored record does not match its checksum")                          \
    X(INTERNAL, 99, "internal", false, "a defect in the broker")                                             \
    /* local, never on the wire */                                                                           \
    X(IN_USE, 200, "in_use", false, "another process holds the data directory")                              \
    X(FOREIGN_FILE, 201, "foreign_file", false, "not a database of psbroker")                                \
    X(NEWER_SCHEMA, 202, "newer_schema", false, "the database was written by a newer psbroker")              \
    X(FOREIGN_WRITER, 203, "foreign_writer", false, "another program wrote to the database")                 \
    X(ACCESS_DENIED, 204, "access_denied", false, "the operating system refused access")                     \
    X(IO_ERROR, 205, "io_error", false, "an input or output operation failed")                               \
    X(CONNECT_FAILED, 210, "connect_failed", true, "cannot connect")                                         \
    X(CONNECTION_LOST, 211, "connection_lost", true, "the connection was lost")                              \
    X(CANCELLED, 212, "cancelled", false, "closed by the caller")

enum ps_status {
#define PS_STATUS_ENUM(symbol, number, name, retryable, text) PS_##symbol = number,
    PS_STATUS_MAP(PS_STATUS_ENUM)
#undef PS_STATUS_ENUM
};

/* Static texts; a number that is not in the table gives "status_unknown" / "unknown status". */
const char *ps_status_name(enum ps_status status);
const char *ps_status_text(enum ps_status status);
bool ps_status_retryable(enum ps_status status);
/* Whether the number stands in the table. */
bool ps_status_known(uint32_t number);
/* Whether the number is one of those that never travel, 200 to 299. */
bool ps_status_local(uint32_t number);

#endif
