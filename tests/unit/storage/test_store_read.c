/* Reading: slices and their limits, hints, the ends of a topic, what is indexed and what is not yet. */
#include "caller.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void assert_numbered(const struct shown *shown, uint64_t from, uint64_t to)
{
    cr_assert_eq(shown->count, (size_t)(to - from), "%zu messages, not %llu", shown->count,
                 (unsigned long long)(to - from));
    for (uint64_t i = from; i < to; i++) {
        char text[24];
        snprintf(text, sizeof text, "%llu", (unsigned long long)i);
        cr_assert_eq(shown->messages[i - from].offset, i);
        cr_assert(span_equal(shown->messages[i - from].payload, span_of(text)), "payload at %s", text);
    }
}

STORE_TEST(a_read_gives_what_lies_between_two_offsets)
{
    caller_publish_many(caller, "A", 50);
    static const uint64_t ranges[][2] = {{0, 50}, {0, 1}, {49, 50}, {10, 20}, {7, 7}, {50, 50}};

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct shown shown = {0};
        struct store_read read = caller_read_of(caller, "A", ranges[i][0], ranges[i][1], &shown);
        cr_assert_eq(store_read(caller->reader, &read), PS_OK);
        cr_assert_eq(read.next_offset, ranges[i][1]);
        cr_assert_eq(read.first_kept, (uint64_t)0);
        assert_numbered(&shown, ranges[i][0], ranges[i][1]);
        shown_clear(&shown);
    }
}

STORE_TEST(a_read_stops_after_so_many_messages)
{
    caller_publish_many(caller, "A", 50);
    struct shown shown = {0};
    struct store_read read = caller_read_of(caller, "A", 5, 50, &shown);
    read.max_messages = 7;

    cr_assert_eq(store_read(caller->reader, &read), PS_OK);

    cr_assert_eq(read.next_offset, (uint64_t)12);
    assert_numbered(&shown, 5, 12);
    shown_clear(&shown);
}

STORE_TEST(a_read_stops_after_so_many_bytes_but_one_message_may_exceed_it)
{
    struct message messages[10];
    uint8_t bytes[1000] = {0};
    for (int i = 0; i < 10; i++)
        messages[i] = (struct message){.payload = {bytes, sizeof bytes}, .key = {bytes, 10}};
    struct store_op op = append_op("A", messages, 10);
    caller_do(caller, &op);
    struct shown shown = {0};
    struct store_read read = caller_read_of(caller, "A", 0, 10, &shown);

    read.max_bytes = 3500;
    cr_assert_eq(store_read(caller->reader, &read), PS_OK);
    cr_assert_eq(read.next_offset, (uint64_t)shown.count);
    cr_assert(shown.count == 3 || shown.count == 4, "%zu messages", shown.count);
    shown_clear(&shown);

    read.max_bytes = 1;
    cr_assert_eq(store_read(caller->reader, &read), PS_OK);
    cr_assert_eq(read.next_offset, (uint64_t)1);
    shown_clear(&shown);
}

STORE_TEST(a_read_without_time_still_gets_on)
{
    caller_publish_many(caller, "A", 300);
    struct shown shown = {0};
    struct store_read read = caller_read_of(caller, "A", 0, 300, &shown);
    read.max_microseconds = 0;

    while (read.from < 300) {
        cr_assert_eq(store_read(caller->reader, &read), PS_OK);
        cr_assert_gt(read.next_offset, read.from);
        read.from = read.next_offset;
    }

    assert_numbered(&shown, 0, 300);
    shown_clear(&shown);
}

STORE_TEST(the_receiver_can_end_a_read)
{
    caller_publish_many(caller, "A", 50);
    struct shown shown = {.stop_after = 4};
    struct store_read read = caller_read_of(caller, "A", 0, 50, &shown);

    cr_assert_eq(store_read(caller->reader, &read), PS_OK);

    cr_assert_eq(read.next_offset, (uint64_t)4);
    assert_numbered(&shown, 0, 4);
    shown_clear(&shown);
}

STORE_TEST(offsets_that_are_not_there_yet_are_not_an_error)
{
    caller_publish_many(caller, "A", 5);
    struct shown shown = {0};
    struct store_read beyond = caller_read_of(caller, "A", 3, 1000, &shown);
    struct store_read behind = caller_read_of(caller, "A", 900, 1000, &shown);

    cr_assert_eq(store_read(caller->reader, &beyond), PS_OK);
    cr_assert_eq(beyond.next_offset, (uint64_t)5);
    cr_assert_eq(store_read(caller->reader, &behind), PS_OK);
    cr_assert_eq(behind.next_offset, (uint64_t)900);

    assert_numbered(&shown, 3, 5);
    shown_clear(&shown);
}

STORE_TEST(a_read_from_below_what_is_kept_begins_there)
{
    caller_publish_many(caller, "A", 20);
    struct store_op delete_topic = delete_op("A");
    cr_assert_eq(caller_do(caller, &delete_topic), PS_OK);
    caller_publish(caller, "A", "20");
    caller_publish(caller, "A", "21");
    struct shown shown = {0};
    struct store_read read = caller_read_of(caller, "A", 3, 22, &shown);
    struct store_read wholly_below = caller_read_of(caller, "A", 3, 9, &shown);

    cr_assert_eq(store_read(caller->reader, &wholly_below), PS_OK);
    cr_assert_eq(wholly_below.first_kept, (uint64_t)20);
    cr_assert_eq(shown.count, (size_t)0);
    cr_assert_eq(store_read(caller->reader, &read), PS_OK);

    cr_assert_eq(read.first_kept, (uint64_t)20);
    cr_assert_eq(read.next_offset, (uint64_t)22);
    assert_numbered(&shown, 20, 22);
    shown_clear(&shown);
}

/* Three topics taking turns, so that runs are short and of different length. */
static void publish_in_turns(struct caller *caller, uint64_t *counts, uint64_t rounds)
{
    static const char *names[3] = {"A", "B", "C"};
    enum { MOST = 600 };
    struct message messages[3][MOST];
    char texts[3][MOST][24];
    for (uint64_t round = 0; round < rounds; round++) {
        struct store_op ops[3];
        for (uint64_t i = 0; i < 3; i++) {
            uint32_t count = (uint32_t)(i == 2 ? 1 + (round * 131) % MOST : 1 + (round * 7 + i * 3) % 19);
            for (uint32_t j = 0; j < count; j++) {
                snprintf(texts[i][j], sizeof texts[i][j], "%llu", (unsigned long long)counts[i]++);
                messages[i][j] = (struct message){.payload = span_of(texts[i][j])};
            }
            ops[i] = append_op(names[i], messages[i], count);
        }
        caller_commit(caller, ops, 3);
    }
}

STORE_TEST(indexed_and_recent_runs_meet_without_gap_or_duplicate)
{
    uint64_t counts[3] = {0};
    static const char *names[3] = {"A", "B", "C"};
    uint64_t total = caller->body->epoch * 2 + caller->body->epoch / 2;
    while (caller->state.mark < total)
        publish_in_turns(caller, counts, 1);
    caller_work(caller);
    publish_in_turns(caller, counts, 1);
    cr_assert_gt(caller->state.indexed_through, (uint64_t)0);
    cr_assert_lt(caller->state.indexed_through, caller->state.mark - 1);

    for (size_t i = 0; i < 3; i++) {
        struct shown shown = {0};
        caller_read(caller, names[i], 0, counts[i], &shown);
        assert_numbered(&shown, 0, counts[i]);
        shown_clear(&shown);
    }
}

STORE_TEST(small_steps_give_the_same_as_one_whatever_the_hint)
{
    uint64_t counts[3] = {0};
    publish_in_turns(caller, counts, 60);
    struct shown shown = {0};
    struct store_read read = caller_read_of(caller, "A", 0, counts[0], &shown);

    for (uint32_t step = 1; read.from < counts[0]; step++) {
        read.max_messages = 1 + step % 5;
        cr_assert_eq(store_read(caller->reader, &read), PS_OK);
        cr_assert_gt(read.next_offset, read.from);
        read.from = read.next_offset;
    }
    assert_numbered(&shown, 0, counts[0]);
    shown_clear(&shown);

    /* The hint is left from somewhere else in the topic. */
    for (uint64_t from = counts[0]; from-- > 0;) {
        read.from = from * 37 % counts[0];
        read.max_messages = 3;
        cr_assert_eq(store_read(caller->reader, &read), PS_OK);
        assert_numbered(&shown, read.from, read.next_offset);
        shown_clear(&shown);
    }
}

STORE_TEST(an_older_view_of_the_topic_reads_what_it_knew)
{
    uint64_t counts[3] = {0};
    publish_in_turns(caller, counts, 5);
    uint64_t known = counts[1];
    struct shown shown = {0};
    struct store_topic lent = caller_lend(caller, "B");
    struct store_run *runs = calloc(lent.recent_count, sizeof *runs);
    memcpy(runs, lent.recent, lent.recent_count * sizeof *runs);
    lent.recent = runs;
    while (caller->state.mark < caller->body->epoch + 1000)
        publish_in_turns(caller, counts, 5);
    caller_work(caller);
    struct store_read read = caller_read_of(caller, "B", 0, known, &shown);
    read.topic = lent;

    cr_assert_eq(store_read(caller->reader, &read), PS_OK);

    assert_numbered(&shown, 0, known);
    shown_clear(&shown);
    free(runs);
}

/* ---------------------------------------------------------------------------------------- another thread */

enum { THREAD_COMMITS = 400, THREAD_MESSAGES = 3 };

struct shared {
    pthread_mutex_t mutex;
    struct store *store;
    struct store_topic topic; /* as of the newest commit; its runs are a copy of ours */
    struct store_run runs[THREAD_COMMITS];
    bool ended;
    const char *problem;
};

struct follower {
    uint64_t next;
    bool wrong;
};

static bool follow(void *ctx, const struct message *message)
{
    struct follower *follower = ctx;
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)follower->next);
    if (message->offset != follower->next || !span_equal(message->payload, span_of(text)))
        follower->wrong = true;
    follower->next++;
    return true;
}

/* Reads the topic to its known end over and over, each time from an earlier place. */
static void *read_along(void *arg)
{
    struct shared *shared = arg;
    struct store_reader *reader = NULL;
    struct store_run *runs = malloc(sizeof shared->runs);
    struct follower follower = {0};
    if (store_reader_new(shared->store, &reader) != PS_OK)
        shared->problem = "no reader";
    for (bool ended = false; !ended && shared->problem == NULL;) {
        pthread_mutex_lock(&shared->mutex);
        ended = shared->ended;
        struct store_topic topic = shared->topic;
        memcpy(runs, shared->runs, topic.recent_count * sizeof *runs);
        pthread_mutex_unlock(&shared->mutex);
        topic.recent = runs;
        follower.next -= follower.next > 20 ? 20 : follower.next;
        struct store_read read = {.topic = topic,
                                  .from = follower.next,
                                  .to = topic.next_offset,
                                  .max_messages = 1000000,
                                  .max_bytes = 1000000,
                                  .max_microseconds = 1000000,
                                  .show = follow,
                                  .ctx = &follower};
        if (topic.next_offset == 0)
            continue;
        if (store_read(reader, &read) != PS_OK || read.next_offset < topic.next_offset)
            shared->problem = "a committed message was not read";
        if (follower.wrong)
            shared->problem = "a wrong message was read";
    }
    store_reader_free(reader);
    free(runs);
    return NULL;
}

STORE_TEST(readers_on_another_thread_see_whole_commits)
{
    struct shared *shared = calloc(1, sizeof *shared);
    pthread_mutex_init(&shared->mutex, NULL);
    shared->store = caller->store;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_along, shared), 0);

    for (uint32_t i = 0; i < THREAD_COMMITS; i++) {
        struct message messages[THREAD_MESSAGES + 1];
        char texts[THREAD_MESSAGES][24];
        for (uint32_t j = 0; j < THREAD_MESSAGES; j++) {
            snprintf(texts[j], sizeof texts[j], "%u", i * THREAD_MESSAGES + j);
            messages[j] = (struct message){.payload = span_of(texts[j])};
        }
        messages[THREAD_MESSAGES] = (struct message){.payload = span_of("other")};
        struct store_op ops[2] = {append_op("A", messages, THREAD_MESSAGES),
                                  append_op("B", &messages[THREAD_MESSAGES], 1)};
        caller_commit(caller, ops, 2);
        pthread_mutex_lock(&shared->mutex);
        shared->topic = caller_lend(caller, "A");
        memcpy(shared->runs, shared->topic.recent, shared->topic.recent_count * sizeof shared->runs[0]);
        pthread_mutex_unlock(&shared->mutex);
    }
    pthread_mutex_lock(&shared->mutex);
    shared->ended = true;
    pthread_mutex_unlock(&shared->mutex);
    pthread_join(thread, NULL);

    cr_assert_null(shared->problem, "%s", shared->problem);
    pthread_mutex_destroy(&shared->mutex);
    free(shared);
}
