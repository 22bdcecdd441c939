/* A caller of the store as the broker is one: it remembers what its own commits told it (topics, runs that
 * are not indexed yet, the state) and lends that to each read. */
#ifndef PSBROKER_TESTS_CALLER_H
#define PSBROKER_TESTS_CALLER_H

#include "body.h"

enum { CALLER_TOPICS = 1100 };

struct known_topic {
    uint64_t id;
    char name[256];
    bool live;
    uint64_t first_offset, next_offset, created_seq, last_seq;
    struct store_run *recent;
    size_t recent_count, recent_capacity;
};

struct caller {
    const struct body *body;
    char directory[64];
    struct store_limits limits;
    struct store *store;
    struct store_reader *reader;
    struct store_opened opened;
    struct store_state state;
    struct known_topic *topics;
    size_t topic_count;
};

/* Goes into the message of whatever fails: a seed. Criterion keeps what a case prints to itself. */
extern char test_note[64];
#define HOLDS(condition, format, ...) cr_assert(condition, format " %s", ##__VA_ARGS__, test_note)

/* Opens a new store of that body in a directory of its own; closing removes it. */
void caller_open(struct caller *caller, const struct body *body, struct store_limits limits);
void caller_close(struct caller *caller);
/* Opens what is in that directory. When that fails there is nothing to close. */
enum ps_status caller_open_in(struct caller *caller, const struct body *body, const char *directory);
/* Closes the store and leaves its directory. */
void caller_leave(struct caller *caller);
/* Closes the store, opens it again and learns everything from it. */
void caller_reopen(struct caller *caller);

/* Commits, expects the commit itself to work, and learns from the results. */
void caller_commit(struct caller *caller, struct store_op *ops, size_t count);
/* The same, and the commit itself may fail. */
enum ps_status caller_try_commit(struct caller *caller, struct store_op *ops, size_t count);
/* With one operation that the commit itself takes; returns its status. */
enum ps_status caller_do(struct caller *caller, struct store_op *op);
/* Works until there is nothing left to do. */
void caller_work(struct caller *caller);
enum ps_status caller_try_work(struct caller *caller);

/* NULL when the caller never saw it. */
struct known_topic *caller_find(struct caller *caller, const char *name);
/* As lent to a read; the topic is known. */
struct store_topic caller_lend(struct caller *caller, const char *name);

/* One message with that text as payload; its offset. Expects it to be accepted. */
uint64_t caller_publish(struct caller *caller, const char *topic, const char *payload);
/* `count` messages with the payloads "0", "1", … in one commit; the offset of the first. */
uint64_t caller_publish_many(struct caller *caller, const char *topic, uint32_t count);

/* Operations of which only the usual fields are wanted. */
struct store_op append_op(const char *topic, struct message *messages, uint32_t count);
struct store_op attach_op(const char *id, const char *filter, enum start_kind kind, uint64_t value);
struct store_op seek_op(const char *id, const char *filter, enum start_kind kind, uint64_t value);
struct store_op forget_op(const char *id, const char *filter);
struct store_op delete_op(const char *topic);
struct store_op offsets_op(const struct store_offset *items, size_t count);

/* What a read showed: messages copied with all they point to. */
struct shown {
    struct message *messages;
    size_t count, capacity;
    size_t stop_after; /* end the read behind so many; 0: never */
};
bool shown_add(void *ctx, const struct message *message); /* a store_message_fn; ctx is a struct shown */
void shown_clear(struct shown *shown);

/* Everything in [from, to) with generous limits; expects PS_OK. */
void caller_read(struct caller *caller, const char *topic, uint64_t from, uint64_t to, struct shown *shown);
/* A read with these offsets and generous limits, to be run with store_read(). */
struct store_read caller_read_of(struct caller *caller, const char *topic, uint64_t from, uint64_t to,
                                 struct shown *shown);

/* Offset at which that start rule begins in the topic, never below its first kept offset. */
uint64_t caller_resolve(struct caller *caller, uint64_t subscription_id, struct start_rule start,
                        uint64_t mark, const char *topic, bool *committed);

/* Fails the running case unless both are the same, byte for byte; times are compared when both are set. */
void assert_same_message(const struct message *actual, const struct message *expected);

/* Defines one case for each body that keeps what it was given. */
#define PERSISTENT_TEST(case_name)                                                                           \
    static void case_name##_case(struct caller *caller);                                                     \
    Test(sqlite, case_name)                                                                                  \
    {                                                                                                        \
        caller_run(&sqlite_body, case_name##_case);                                                          \
    }                                                                                                        \
    Test(sqlite_small, case_name)                                                                            \
    {                                                                                                        \
        caller_run(&sqlite_small_body, case_name##_case);                                                    \
    }                                                                                                        \
    static void case_name##_case(struct caller *caller)

/* Defines one case for each body. */
#define STORE_TEST(case_name)                                                                                \
    static void case_name##_case(struct caller *caller);                                                     \
    Test(memory, case_name)                                                                                  \
    {                                                                                                        \
        caller_run(&memory_body, case_name##_case);                                                          \
    }                                                                                                        \
    PERSISTENT_TEST(case_name)

/* Runs a case with a fresh store and looks for leaks behind it. */
void caller_run(const struct body *body, void (*run)(struct caller *caller));

#endif
