#include "known_log.h"

#include "dice.h"
#include "store_sqlite.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    IDLE = 12,
    TOPICS = 6 + IDLE,
    KEEPS = 1200, /* most that a topic gets */
    MOST_BYTES = 40000,
    TURN = 251,
    SUBSCRIPTIONS = 4,
    AT_ONCE = 50
};
enum { BUSY, QUIET, LEVELS, LARGE, GONE, AGAIN, FIRST_IDLE };

struct known_topic {
    char name[32];
    bool live;
    uint64_t first, next;
    uint32_t numbers[KEEPS];
    struct store_topic lent; /* as the store last told; its name and runs are ours */
    struct store_run runs[KEEPS];
};
struct known_subscription {
    const char *id, *filter;
    struct start_rule start;
    uint64_t number, mark, generation;
    uint64_t at[TOPICS]; /* where it stands */
};

static struct known_topic topics[TOPICS];
static struct known_subscription subscriptions[SUBSCRIPTIONS] = {
    {.id = "acks", .filter = "#", .start = {.kind = START_BEGINNING}},
    {.id = "from", .filter = "busy", .start = {.kind = START_OFFSET, .value = 40}},
    {.id = "late", .filter = "#", .start = {.kind = START_NEW}},
    {.id = "tail", .filter = "#", .start = {.kind = START_LAST, .value = 5}}};
static uint32_t made;
static uint64_t extra; /* what a check appended itself */

/* ----------------------------------------------------------------------------------------------- messages */

static struct header headers[2];

static struct span piece(uint32_t number, size_t size)
{
    static uint8_t filler[MOST_BYTES + TURN];
    if (filler[1] == 0)
        for (size_t i = 0; i < sizeof filler; i++)
            filler[i] = (uint8_t)(i * 131 + i / TURN);
    return (struct span){filler + number % TURN, size};
}

/* Spans and headers are valid until the next call. */
static struct message message_of(uint32_t number)
{
    static const char *const keys[] = {"", "k", "\xc3\xa4 key", "\xff\x00 bytes"};
    struct dice dice = {number};
    size_t large = dice_below(&dice, 50) == 0 ? MOST_BYTES : 150;
    struct message message = {.payload = piece(number, dice_below(&dice, large))};
    if (number % 4 == 0)
        message.payload = span_of("{\"text\": true}");
    if (number % 5 != 0)
        message.key = span_of(keys[number % 4]);
    if (number % 5 != 0 && number % 4 == 3)
        message.key.size = 8;
    if (number % 3 == 0)
        message.publisher = span_of("publisher");
    if (number % 7 == 0) {
        headers[0] = (struct header){span_of("kind"), span_of("sample")};
        headers[1] = (struct header){span_of("empty"), span_of("")};
        message.headers = headers;
        message.header_count = 2;
    }
    return message;
}

static bool same_header(const struct message *message, const struct header *wanted)
{
    for (uint32_t i = 0; i < message->header_count; i++)
        if (span_equal(message->headers[i].name, wanted->name))
            return span_equal(message->headers[i].value, wanted->value);
    return false;
}

static bool same_span(struct span left, struct span right)
{
    return span_present(left) == span_present(right) && span_equal(left, right);
}

static bool same_message(const struct message *found, uint32_t number)
{
    struct message wanted = message_of(number);
    bool same = same_span(found->payload, wanted.payload) && same_span(found->key, wanted.key) &&
                same_span(found->publisher, wanted.publisher) && found->flags == wanted.flags &&
                found->header_count == wanted.header_count;
    for (uint32_t i = 0; same && i < wanted.header_count; i++)
        same = same_header(found, &wanted.headers[i]);
    return same;
}

/* ------------------------------------------------------------------------------------------------- making */

static enum ps_status open_store(const char *directory, struct store **store, char *error, size_t size)
{
    struct store_sqlite_config config = {.directory = directory,
                                         .epoch_rows = 300,
                                         .slice_runs = 3,
                                         .idle_slice_runs = 500,
                                         .checkpoint_bytes = 512 * 1024,
                                         .sweep_rows = 50};
    struct store_opened opened;
    return store_sqlite_open(&config, store, &opened, error, size);
}

static bool commit(struct store *store, struct store_op *op)
{
    struct store_op *ops[] = {op};
    struct store_state state;
    return store_commit(store, ops, 1, &state) == PS_OK && op->status == PS_OK;
}

static bool append(struct store *store, size_t number, uint32_t count)
{
    struct known_topic *topic = &topics[number];
    static struct message messages[AT_ONCE];
    static struct header kept[AT_ONCE][2];
    for (uint32_t i = 0; i < count; i++) {
        messages[i] = message_of(made);
        if (messages[i].header_count > 0) {
            memcpy(kept[i], headers, sizeof headers);
            messages[i].headers = kept[i];
        }
        topic->numbers[topic->next + i] = made++;
    }
    struct store_op op = {.kind = STORE_APPEND,
                          .append = {.topic = span_of(topic->name), .messages = messages, .count = count}};
    if (!commit(store, &op) || op.append.accepted != count || op.append.first_offset != topic->next)
        return false;
    topic->live = true;
    topic->next += count;
    topic->lent.topic_id = op.append.topic_id;
    return true;
}

static bool drop(struct store *store, size_t number)
{
    struct store_op op = {.kind = STORE_DELETE_TOPIC,
                          .delete_topic = {.topic = span_of(topics[number].name)}};
    topics[number].live = false;
    topics[number].first = topics[number].next;
    return commit(store, &op);
}

static bool attach(struct store *store, struct known_subscription *subscription)
{
    struct store_op op = {.kind = STORE_ATTACH,
                          .attach = {.id = span_of(subscription->id),
                                     .filter = span_of(subscription->filter),
                                     .start = subscription->start}};
    if (!commit(store, &op))
        return false;
    subscription->number = op.attach.subscription_id;
    subscription->mark = op.attach.mark;
    subscription->generation = op.attach.generation;
    return true;
}

static bool acknowledge(struct store *store, size_t which, size_t topic, uint64_t next)
{
    struct store_offset item = {subscriptions[which].number, topics[topic].lent.topic_id, next};
    struct store_op op = {.kind = STORE_OFFSETS, .offsets = {&item, 1}};
    return commit(store, &op);
}

static void work(struct store *store)
{
    struct store_state state;
    bool more = true;
    while (more && store_work(store, &more, &state) == PS_OK)
        ;
}

static void name_topics(void)
{
    static const char *const names[] = {"busy", "quiet", "a/b/c", "large \xc3\xa4", "gone", "again"};
    for (size_t i = 0; i < TOPICS; i++) {
        topics[i] = (struct known_topic){0};
        if (i < FIRST_IDLE)
            snprintf(topics[i].name, sizeof topics[i].name, "%s", names[i]);
        else
            snprintf(topics[i].name, sizeof topics[i].name, "idle/%zu", i);
    }
}

/* A life in which everything happens that leaves a trace in the file. */
static bool live(struct store *store)
{
    bool done = attach(store, &subscriptions[0]);
    for (size_t i = 0; i < TOPICS && done; i++)
        done = append(store, i, (uint32_t)(3 + i));
    for (int round = 0; round < 16 && done; round++) {
        done = append(store, BUSY, 30) && append(store, (size_t)round % 3, 20) && append(store, GONE, 10) &&
               append(store, AGAIN, 10) && append(store, LARGE, 2);
        if (round == 3)
            done = done && attach(store, &subscriptions[1]) && acknowledge(store, 0, BUSY, 60);
        if (round == 5)
            done = done && drop(store, GONE) && drop(store, AGAIN) && append(store, GONE, 5) &&
                   drop(store, GONE);
        if (round == 7)
            done = done && attach(store, &subscriptions[2]) && attach(store, &subscriptions[3]);
        if (round == 9)
            done = done && acknowledge(store, 0, FIRST_IDLE + 2, 4) && acknowledge(store, 1, BUSY, 200);
        work(store);
    }
    return done && drop(store, GONE);
}

static void note_places(struct store *store);

bool known_log_make(const char *directory, bool closed, void (*at_kill)(void *ctx), void *ctx)
{
    char error[256];
    struct store *store;
    name_topics();
    made = 1;
    extra = 0;
    if (open_store(directory, &store, error, sizeof error) != PS_OK)
        return false;
    bool done = live(store);
    if (done)
        note_places(store);
    if (!closed)
        at_kill(ctx);
    store_close(store);
    return done;
}

/* ------------------------------------------------------------------------------------------------ reading */

struct look {
    struct store *store;
    struct store_reader *reader;
    struct known_topic *topic;
    uint64_t at;
    enum known_outcome outcome;
    char *text;
};

__attribute__((format(printf, 3, 4))) static void say(struct look *look, enum known_outcome outcome,
                                                      const char *format, ...)
{
    va_list arguments;
    if (outcome <= look->outcome)
        return;
    look->outcome = outcome;
    va_start(arguments, format);
    vsnprintf(look->text, KNOWN_TEXT_BYTES, format, arguments);
    va_end(arguments);
}

static void load_topic(void *ctx, const struct store_topic *topic)
{
    struct look *look = ctx;
    for (size_t i = 0; i < TOPICS; i++) {
        struct known_topic *known = &topics[i];
        if (!span_equal(topic->name, span_of(known->name)))
            continue;
        known->lent = *topic;
        known->lent.name = span_of(known->name);
        known->lent.recent = known->runs;
        if (topic->recent_count > KEEPS)
            known->lent.recent_count = 0, say(look, KNOWN_WRONG, "%s has too many runs", known->name);
        else
            memcpy(known->runs, topic->recent, topic->recent_count * sizeof *known->runs);
        return;
    }
    say(look, KNOWN_WRONG, "there is a topic %.*s", (int)topic->name.size, (const char *)topic->name.data);
}

static void load(struct look *look)
{
    for (size_t i = 0; i < TOPICS; i++)
        topics[i].lent = (struct store_topic){0};
    store_load(look->store, load_topic, look);
}

static bool take(void *ctx, const struct message *message)
{
    struct look *look = ctx;
    if (message->offset != look->at || look->at >= look->topic->next ||
        !same_message(message, look->topic->numbers[look->at]))
        say(look, KNOWN_WRONG, "%s shows something else at %llu", look->topic->name,
            (unsigned long long)message->offset);
    look->at++;
    return true;
}

static void read_topic(struct look *look, struct known_topic *topic)
{
    uint64_t hint = 0;
    look->topic = topic;
    look->at = topic->first;
    while (look->at < topic->lent.next_offset && look->outcome != KNOWN_WRONG) {
        struct store_read read = {.topic = topic->lent,
                                  .from = look->at,
                                  .to = topic->lent.next_offset,
                                  .max_messages = 100,
                                  .max_bytes = 1 << 20,
                                  .max_microseconds = 1000000,
                                  .hint = hint,
                                  .show = take,
                                  .ctx = look};
        enum ps_status status = store_read(look->reader, &read);
        hint = read.hint;
        if (status == PS_DAMAGED && read.damaged_offset == look->at) {
            say(look, KNOWN_NAMED, "%s %llu is damaged", topic->name, (unsigned long long)look->at);
            look->at++;
        } else if (status == PS_STORAGE_FAILED) {
            say(look, KNOWN_NAMED, "reading %s failed", topic->name);
            return;
        } else if (status != PS_OK || read.next_offset != look->at || read.first_kept != topic->first) {
            say(look, KNOWN_WRONG, "reading %s gave %s at %llu, kept from %llu", topic->name,
                ps_status_name(status), (unsigned long long)look->at, (unsigned long long)read.first_kept);
        }
    }
}

static void look_at_topics(struct look *look)
{
    for (size_t i = 0; i < TOPICS && look->outcome != KNOWN_WRONG; i++) {
        struct known_topic *topic = &topics[i];
        const struct store_topic *lent = &topic->lent;
        if (topic->live == (lent->topic_id != 0) &&
            (!topic->live || (lent->first_offset == topic->first && lent->next_offset == topic->next))) {
            if (topic->live)
                read_topic(look, topic);
            continue;
        }
        bool behind = lent->topic_id == 0 ? topic->live : lent->next_offset <= topic->next;
        say(look, behind ? KNOWN_SHORTER : KNOWN_WRONG, "%s has offsets %llu to %llu instead of %llu to %llu",
            topic->name, (unsigned long long)lent->first_offset, (unsigned long long)lent->next_offset,
            (unsigned long long)topic->first, (unsigned long long)topic->next);
    }
}

static enum ps_status place(struct look *look, const struct known_subscription *subscription,
                            const struct known_topic *topic, uint64_t *at)
{
    struct store_position position = {.topic = topic->lent};
    struct store_resolve resolve = {.subscription_id = subscription->number,
                                    .start = subscription->start,
                                    .mark = subscription->mark,
                                    .positions = &position,
                                    .count = 1};
    enum ps_status status = store_resolve(look->reader, &resolve);
    *at = position.offset;
    return status;
}

static void note_places(struct store *store)
{
    char text[KNOWN_TEXT_BYTES];
    struct look look = {.store = store, .text = text};
    if (store_reader_new(store, &look.reader) != PS_OK)
        return;
    load(&look);
    for (size_t s = 0; s < SUBSCRIPTIONS; s++)
        for (size_t t = 0; t < TOPICS; t++)
            if (topics[t].live)
                place(&look, &subscriptions[s], &topics[t], &subscriptions[s].at[t]);
    store_reader_free(look.reader);
}

struct listing {
    struct look *look;
    size_t next;
};

/* In byte order of their ids, as above. */
static bool expect_subscription(void *ctx, const struct store_subscription *found)
{
    struct listing *listing = ctx;
    const struct known_subscription *wanted = &subscriptions[listing->next++];
    if (listing->next > SUBSCRIPTIONS || !span_equal(found->id, span_of(wanted->id)) ||
        !span_equal(found->filter, span_of(wanted->filter)) || found->subscription_id != wanted->number ||
        found->start.kind != wanted->start.kind || found->start.value != wanted->start.value ||
        found->mark != wanted->mark || found->generation != wanted->generation)
        say(listing->look, KNOWN_WRONG, "another subscription %.*s", (int)found->id.size,
            (const char *)found->id.data);
    return listing->look->outcome != KNOWN_WRONG;
}

static void look_at_subscriptions(struct look *look)
{
    struct listing listing = {look, 0};
    struct store_list list = {.limit = 100, .show = expect_subscription, .ctx = &listing};
    enum ps_status status = store_list(look->reader, &list);
    if (status != PS_OK)
        say(look, KNOWN_NAMED, "listing subscriptions: %s", ps_status_name(status));
    else if (listing.next != SUBSCRIPTIONS)
        say(look, KNOWN_WRONG, "%zu subscriptions", listing.next);
    for (size_t s = 0; s < SUBSCRIPTIONS; s++) {
        for (size_t t = 0; t < TOPICS && look->outcome != KNOWN_WRONG; t++) {
            uint64_t at;
            if (!topics[t].live || extra > 0)
                continue;
            status = place(look, &subscriptions[s], &topics[t], &at);
            if (status != PS_OK)
                say(look, KNOWN_NAMED, "resolving %s: %s", subscriptions[s].id, ps_status_name(status));
            else if (at != subscriptions[s].at[t])
                say(look, KNOWN_WRONG, "%s stands at %llu of %s instead of %llu", subscriptions[s].id,
                    (unsigned long long)at, topics[t].name, (unsigned long long)subscriptions[s].at[t]);
        }
    }
}

/* False: it does not open, which is said. */
static bool look_at_all(struct look *look, const char *directory)
{
    char error[KNOWN_TEXT_BYTES - 40];
    enum ps_status status = open_store(directory, &look->store, error, sizeof error);
    if (status != PS_OK) {
        bool named = error[0] != '\0' && status != PS_INTERNAL && status != PS_NO_MEMORY;
        say(look, named ? KNOWN_REFUSED : KNOWN_WRONG, "%s: %s", ps_status_name(status), error);
        return false;
    }
    status = store_reader_new(look->store, &look->reader);
    if (status != PS_OK) {
        say(look, KNOWN_REFUSED, "no reader: %s", ps_status_name(status));
        store_close(look->store);
        return false;
    }
    load(look);
    look_at_topics(look);
    if (look->outcome != KNOWN_SHORTER)
        look_at_subscriptions(look);
    return true;
}

static void leave(struct look *look)
{
    store_reader_free(look->reader);
    store_close(look->store);
}

/* Offsets go on where they ended, or the publication is refused. */
static void go_on(struct look *look)
{
    for (size_t i = 0; i < TOPICS && look->outcome != KNOWN_WRONG; i++) {
        struct message message = message_of(made);
        struct store_op op = {.kind = STORE_APPEND,
                              .append = {.topic = span_of(topics[i].name), .messages = &message, .count = 1}};
        struct store_op *ops[] = {&op};
        struct store_state state;
        enum ps_status status = store_commit(look->store, ops, 1, &state);
        if (status != PS_OK || op.status != PS_OK) {
            say(look, KNOWN_NAMED, "publishing to %s: %s", topics[i].name, ps_status_name(op.status));
            return;
        }
        if (op.append.first_offset != topics[i].next)
            say(look, KNOWN_WRONG, "%s goes on at %llu instead of %llu", topics[i].name,
                (unsigned long long)op.append.first_offset, (unsigned long long)topics[i].next);
        topics[i].numbers[topics[i].next++] = made++;
        topics[i].live = true;
        extra++;
    }
}

static void look_twice(struct look *look, const char *directory)
{
    if (!look_at_all(look, directory))
        return;
    if (look->outcome < KNOWN_SHORTER)
        go_on(look);
    leave(look);
    if (look->outcome < KNOWN_SHORTER && look_at_all(look, directory))
        leave(look);
}

enum known_outcome known_log_check(const char *directory, char text[KNOWN_TEXT_BYTES])
{
    struct look look = {.text = text};
    text[0] = '\0';
    look_twice(&look, directory);
    return look.outcome;
}
