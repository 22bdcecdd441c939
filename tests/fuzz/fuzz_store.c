/* Input: a byte that chooses a moment in the life of a small store, then damage done to its files as a list of edits
 * (damage.h). The store is opened on what is left and read whole, takes something more, and is opened again. Each time
 * it works or refuses by a name; no message is shown that was not published, at another offset, or with other bytes;
 * and where one file alone was damaged, each message that was acknowledged is shown or its offset is said to be
 * damaged. */
#include "caller.h"
#include "damage.h"
#include "store_sqlite.h"
#include "tmpdir.h"
#include "topic.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { MOST_READS = 20000, TOPICS = 5, GONE = 3, MORE = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ------------------------------------------------------------------------------- the same files in each run */

static int64_t clock_us;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
ssize_t __wrap_getrandom(void *place, size_t size, unsigned flags);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock != CLOCK_REALTIME)
        return __real_clock_gettime(clock, now);
    clock_us += 10;
    *now = (struct timespec){1700000000 + clock_us / 1000000, clock_us % 1000000 * 1000};
    return 0;
}

ssize_t __wrap_getrandom(void *place, size_t size, unsigned flags)
{
    (void)flags;
    memset(place, 7, size);
    return (ssize_t)size;
}

static enum ps_status open_tiny(const char *directory, const struct store_limits *limits,
                                struct store **store, struct store_opened *opened)
{
    char error[512];
    struct store_sqlite_config config = {.directory = directory,
                                         .limits = *limits,
                                         .epoch_rows = 100,
                                         .slice_runs = 3,
                                         .idle_slice_runs = 7,
                                         .checkpoint_bytes = 256 * 1024,
                                         .sweep_rows = 11};
    return store_sqlite_open(&config, store, opened, error, sizeof error);
}

static const struct body tiny_body = {.name = "tiny", .open = open_tiny, .epoch = 100, .persistent = true};

/* ------------------------------------------------------------------------------------------ what was published */

static const char *const names[TOPICS] = {"a", "a/b", "c", "gone", "later"};

struct said {
    struct shown topics[TOPICS];
};
static struct said said;
static struct moment moments[DAMAGE_MOMENTS];
static uint64_t heads[DAMAGE_MOMENTS][TOPICS]; /* 0: not there, or deleted */

static size_t topic_index(const char *name)
{
    size_t i = 0;
    while (i < TOPICS && strcmp(names[i], name) != 0)
        i++;
    cr_assert(i < TOPICS, "a topic that nobody made: %s", name);
    return i;
}

/* Payloads of all kinds; larger ones reach over several pages. */
static void append_some(struct caller *caller, size_t topic, unsigned count, unsigned seed)
{
    static uint8_t bytes[60000];
    const struct header header = {span_of("name"), span_of("value")};
    for (unsigned i = 0; i < count; i++) {
        struct message message = {.payload = {bytes, (i * 13 + seed) % 90}};
        if (i % 25 == 24)
            message.payload.size = 1000 * (seed % 7) + 9000;
        memset(bytes, (int)(i % 2 == 0 ? 'a' + i % 20 : 200), message.payload.size);
        if (i % 5 == 1)
            message.key = span_of("key");
        if (i % 7 == 2) {
            message.headers = &header;
            message.header_count = 1;
        }
        struct store_op op = append_op(names[topic], &message, 1);
        caller_commit(caller, &op, 1);
        shown_add(&said.topics[topic], &message);
    }
}

static void subscribe_some(struct caller *caller)
{
    struct store_op op = attach_op("s1", "a/#", START_BEGINNING, 0);
    cr_assert_eq(caller_do(caller, &op), PS_OK);
    struct store_offset offset = {op.attach.subscription_id, caller_find(caller, "a")->id, 30};
    struct store_op offsets = offsets_op(&offset, 1);
    cr_assert_eq(caller_do(caller, &offsets), PS_OK);
    op = attach_op("s2", "c", START_OFFSET, 2);
    cr_assert_eq(caller_do(caller, &op), PS_OK);
}

static void take(size_t moment, const char *directory, bool gone)
{
    moment_take(&moments[moment], directory);
    for (size_t i = 0; i < TOPICS; i++)
        heads[moment][i] = gone && i == GONE ? 0 : said.topics[i].count;
}

/* Moments: half-way with a WAL, stopped without closing, closed. */
static void live(void)
{
    struct caller caller;
    char directory[TMPDIR_BYTES];
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 42, NULL);
    sqlite3_randomness(0, NULL);
    cr_assert(tmpdir_make(directory));
    cr_assert_eq(caller_open_in(&caller, &tiny_body, directory), PS_OK);
    append_some(&caller, 0, 60, 1);
    append_some(&caller, GONE, 20, 2);
    append_some(&caller, 2, 50, 3);
    subscribe_some(&caller);
    take(0, directory, false);
    append_some(&caller, 1, 120, 4);
    struct store_op op = delete_op(names[GONE]);
    cr_assert_eq(caller_do(&caller, &op), PS_OK);
    caller_work(&caller);
    append_some(&caller, 0, 50, 5);
    append_some(&caller, 4, 30, 6);
    take(1, directory, true);
    caller_leave(&caller);
    take(2, directory, true);
    tmpdir_remove(directory);
}

/* --------------------------------------------------------------------------------------------- what must hold */

static void check_refusal(enum ps_status status)
{
    switch (status) {
    case PS_OK:
    case PS_DAMAGED:
    case PS_FOREIGN_FILE:
    case PS_NEWER_SCHEMA:
    case PS_IO_ERROR:
    case PS_STORAGE_FAILED:
    case PS_FOREIGN_WRITER:
    case PS_UNKNOWN:
    case PS_NO_SUCH_SUBSCRIPTION:
    case PS_NO_SUCH_TOPIC:
    case PS_OUT_OF_RANGE:
    case PS_DISK_FULL:
        return;
    default:
        cr_assert(false, "status %s", ps_status_name(status));
    }
}

static bool same(const struct message *a, const struct message *b)
{
    bool equal = span_equal(a->payload, b->payload) && span_equal(a->key, b->key) &&
                 span_equal(a->publisher, b->publisher) && a->published_at == b->published_at &&
                 a->flags == b->flags && a->header_count == b->header_count;
    for (uint32_t i = 0; equal && i < a->header_count; i++)
        equal = span_equal(a->headers[i].name, b->headers[i].name) &&
                span_equal(a->headers[i].value, b->headers[i].value);
    return equal;
}

/* A topic may have lost its end; what was published behind that later is in `later`. */
static void check_shown(size_t topic, const struct shown *shown, const struct shown *later)
{
    const struct shown *expected = &said.topics[topic];
    for (size_t i = 0; i < shown->count; i++) {
        const struct message *message = &shown->messages[i];
        bool known = message->offset < expected->count && same(message, &expected->messages[message->offset]);
        for (size_t j = 0; !known && later != NULL && j < later->count; j++)
            known = later->messages[j].offset == message->offset && same(message, &later->messages[j]);
        cr_assert(known, "wrong bytes in %s at %llu", names[topic], (unsigned long long)message->offset);
    }
}

static void check_gapless(const struct shown *shown, uint64_t from, uint64_t next)
{
    for (size_t i = 0; i < shown->count; i++)
        cr_assert_eq(shown->messages[i].offset, from + i, "an offset was left out");
    cr_assert_eq(from + shown->count, next, "the end of a read was left out");
}

/* Nothing that was acknowledged at that moment is missing at an end; what lies between is read. */
static void check_whole(struct caller *caller, const uint64_t moment[TOPICS])
{
    for (size_t i = 0; i < TOPICS; i++) {
        const struct known_topic *known = moment[i] > 0 ? caller_find(caller, names[i]) : NULL;
        cr_assert(moment[i] == 0 || (known != NULL && known->live && known->first_offset == 0 &&
                                     known->next_offset == moment[i]),
                  "%s was shortened and nothing was said", names[i]);
    }
}

/* Reads on behind what is damaged, as a subscriber that begins there. */
static void read_topic(struct caller *caller, struct known_topic *known, const struct shown *later)
{
    size_t topic = topic_index(known->name);
    uint64_t from = known->first_offset;
    for (unsigned reads = 0; known->live && from < known->next_offset; reads++) {
        struct shown shown = {0};
        struct store_read read = caller_read_of(caller, known->name, from, known->next_offset, &shown);
        read.max_messages = 200;
        enum ps_status status = store_read(caller->reader, &read);
        check_refusal(status);
        check_shown(topic, &shown, later);
        check_gapless(&shown, from, status == PS_DAMAGED ? read.damaged_offset : read.next_offset);
        shown_clear(&shown);
        if (status != PS_OK && status != PS_DAMAGED)
            return;
        uint64_t next = status == PS_DAMAGED ? read.damaged_offset + 1 : read.next_offset;
        if (next <= from)
            return;
        cr_assert(reads < MOST_READS, "%s has no end", known->name);
        from = next;
    }
}

static bool show_subscription(void *ctx, const struct store_subscription *subscription)
{
    (void)ctx;
    return id_validate(subscription->id) == PS_OK && filter_validate(subscription->filter) == PS_OK;
}

static void read_subscriptions(struct caller *caller)
{
    struct store_list list = {.limit = 100, .show = show_subscription};
    check_refusal(store_list(caller->reader, &list));
    for (size_t i = 0; i < caller->topic_count; i++) {
        if (!caller->topics[i].live)
            continue;
        struct store_position position = {.topic = caller_lend(caller, caller->topics[i].name)};
        struct store_resolve resolve = {.subscription_id = 1, .positions = &position, .count = 1};
        check_refusal(store_resolve(caller->reader, &resolve));
    }
}

static void read_all(struct caller *caller, const struct shown later[TOPICS])
{
    for (size_t i = 0; i < caller->topic_count; i++)
        read_topic(caller, &caller->topics[i],
                   later != NULL ? &later[topic_index(caller->topics[i].name)] : NULL);
    read_subscriptions(caller);
}

/* What is acknowledged is kept. */
static void go_on(struct caller *caller, struct shown later[TOPICS])
{
    bool takes = true;
    for (size_t topic = 0; takes && topic < TOPICS; topic++) {
        struct message messages[MORE] = {{.payload = span_of("x")},
                                         {.payload = span_of("yy"), .key = span_of("k")},
                                         {.payload = span_of("")}};
        struct store_op op = append_op(names[topic], messages, MORE);
        enum ps_status status = caller_try_commit(caller, &op, 1);
        check_refusal(status);
        takes = status == PS_OK;
        for (size_t i = 0; op.status == PS_OK && i < MORE; i++)
            shown_add(&later[topic], &messages[i]);
    }
    bool more = takes;
    for (unsigned i = 0; more && i < 20; i++)
        more = store_work(caller->store, &more, &caller->state) == PS_OK && more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    if (!is_ready)
        live();
    is_ready = true;
    clock_us = 3600000000;
    char directory[TMPDIR_BYTES];
    struct shown later[TOPICS] = {0};
    struct caller caller;
    cr_assert(tmpdir_make(directory));
    bool would_tell = damage_write(moments, data, size, directory);
    enum ps_status status = caller_open_in(&caller, &tiny_body, directory);
    check_refusal(status);
    if (status == PS_OK) {
        if (would_tell)
            check_whole(&caller, heads[damage_moment(data, size)]);
        read_all(&caller, NULL);
        go_on(&caller, later);
        read_all(&caller, later);
        caller_leave(&caller);
        status = caller_open_in(&caller, &tiny_body, directory);
        check_refusal(status);
        if (status == PS_OK) {
            read_all(&caller, later);
            caller_leave(&caller);
        }
    }
    for (size_t i = 0; i < TOPICS; i++)
        shown_clear(&later[i]);
    tmpdir_remove(directory);
    return 0;
}
