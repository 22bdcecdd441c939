/* Random operations against a plain model. The seed stands in every failure; STORE_TEST_SEED=N runs it again.
 *
 * The model keeps, for each topic, the number from which each message was made, and for each subscription
 * its rule, mark and committed offsets. What a commit returns and what reads show must agree with it. */
#include "caller.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    OPERATIONS = 20000,
    TOPICS = 12,
    IDS = 4,
    FILTERS = 5,
    SUBSCRIPTIONS = IDS * FILTERS,
    MOST_OPS = 8,
    MOST_MESSAGES = 24,
    MOST_KEPT = 100000
};

static const char *const topic_names[TOPICS] = {"a",  "b", "a/b", "a/b/c", "007", "7",
                                                "x/", "/", "ä",   "long",  "t1",  "t2"};
static const char *const id_names[IDS] = {"s", "s1", "t", "\xc3\xa4"};
static const char *const filter_names[FILTERS] = {"a", "b", "long", "a/#", "#"};

struct model_message {
    uint64_t number, seq;
    int64_t published_at;
};
struct model_topic {
    bool live;
    uint64_t id, first, next, created_seq;
    struct model_message *messages; /* by offset */
};
struct model_subscription {
    bool exists;
    uint64_t id, generation, mark;
    struct start_rule rule;
    bool committed[TOPICS];
    uint64_t offsets[TOPICS];
};
struct model {
    uint64_t random;
    uint64_t numbers; /* messages made so far */
    uint64_t next_seq;
    int64_t last_time;
    struct model_topic topics[TOPICS];
    struct model_subscription subscriptions[SUBSCRIPTIONS];
    uint64_t messages_read;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t below(struct model *model, uint64_t limit)
{
    return next_random(&model->random) % limit;
}

/* ----------------------------------------------------------------------------- messages made from a number */

struct made {
    struct message message;
    struct header headers[4];
    char names[4][12];
    uint8_t payload[6000], key[40];
    char publisher[12];
};

static struct span made_payload(struct made *made, uint64_t *random)
{
    size_t size = next_random(random) % 40;
    if (next_random(random) % 50 == 0)
        size = next_random(random) % sizeof made->payload;
    bool binary = next_random(random) % 3 == 0;
    for (size_t i = 0; i < size; i++)
        made->payload[i] = (uint8_t)(binary ? next_random(random) : 'a' + next_random(random) % 26);
    return (struct span){made->payload, size};
}

static struct span made_key(struct made *made, uint64_t *random)
{
    static const char *const keys[] = {NULL, NULL, "", "k", "007", "\xff", "\xc3\xa4"};
    uint64_t kind = next_random(random) % 8;
    if (kind < 7)
        return span_of(keys[kind]);
    for (size_t i = 0; i < sizeof made->key; i++)
        made->key[i] = (uint8_t)next_random(random);
    return (struct span){made->key, sizeof made->key};
}

static void make(struct made *made, uint64_t number)
{
    uint64_t random = number * 77 + 1;
    made->message = (struct message){.payload = made_payload(made, &random), .key = made_key(made, &random)};
    if (next_random(&random) % 2 == 0) {
        snprintf(made->publisher, sizeof made->publisher, "p%u", (unsigned)(number % 7));
        made->message.publisher = span_of(made->publisher);
    }
    made->message.header_count = (uint32_t)(next_random(&random) % 16 == 0 ? 1 + number % 4 : 0);
    for (uint32_t i = 0; i < made->message.header_count; i++) {
        snprintf(made->names[i], sizeof made->names[i], "h%u", (unsigned)((number + i * 3) % 11));
        made->headers[i] = (struct header){span_of(made->names[i]), span_of(number % 2 == 0 ? "" : "v\"\\")};
    }
    made->message.headers = made->message.header_count > 0 ? made->headers : NULL;
}

/* -------------------------------------------------------------------------------------------- one commit */

/* The operations of one commit and all they borrow. */
struct planned {
    struct store_op ops[MOST_OPS];
    size_t topic[MOST_OPS], subscription[MOST_OPS];
    size_t count;
    struct made made[MOST_OPS][MOST_MESSAGES];
    struct message messages[MOST_OPS][MOST_MESSAGES];
    uint64_t first_number[MOST_OPS];
    struct store_offset offsets[MOST_OPS][4];
};

static struct start_rule any_rule(struct model *model, bool seek, const char *filter)
{
    static const enum start_kind kinds[] = {START_NEW, START_BEGINNING, START_OFFSET, START_LAST};
    enum start_kind kind = kinds[below(model, seek ? 3 : 4)];
    if (kind == START_OFFSET && (strchr(filter, '#') != NULL || below(model, 2) == 0))
        kind = START_NEW;
    return (struct start_rule){.kind = kind, .value = kind >= START_OFFSET ? below(model, 200) : 0};
}

static void plan_append(struct model *model, struct planned *planned, size_t at)
{
    size_t topic = below(model, TOPICS);
    uint32_t count = 1 + (uint32_t)below(model, below(model, 4) == 0 ? MOST_MESSAGES : 3);
    planned->topic[at] = topic;
    planned->first_number[at] = model->numbers;
    for (uint32_t i = 0; i < count; i++) {
        make(&planned->made[at][i], model->numbers++);
        planned->messages[at][i] = planned->made[at][i].message;
    }
    planned->ops[at] = append_op(topic_names[topic], planned->messages[at], count);
}

static void plan_offsets(struct model *model, struct planned *planned, size_t at)
{
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        const struct model_subscription *subscription = &model->subscriptions[below(model, SUBSCRIPTIONS)];
        const struct model_topic *topic = &model->topics[below(model, TOPICS)];
        if (subscription->id != 0 && topic->id != 0)
            planned->offsets[at][count++] =
                (struct store_offset){subscription->id, topic->id, below(model, topic->next + 1)};
    }
    planned->ops[at] = offsets_op(planned->offsets[at], count);
}

static void plan(struct model *model, struct planned *planned)
{
    planned->count = 1 + below(model, MOST_OPS);
    for (size_t i = 0; i < planned->count; i++) {
        size_t subscription = below(model, SUBSCRIPTIONS);
        const char *id = id_names[subscription / FILTERS], *filter = filter_names[subscription % FILTERS];
        uint64_t kind = below(model, 100);
        struct start_rule rule = any_rule(model, kind >= 90, filter);
        planned->subscription[i] = subscription;
        planned->topic[i] = below(model, TOPICS);
        if (kind < 55) {
            plan_append(model, planned, i);
        } else if (kind < 72) {
            plan_offsets(model, planned, i);
        } else if (kind < 90) {
            planned->ops[i] = attach_op(id, filter, rule.kind, rule.value);
            planned->ops[i].attach.existing_only = below(model, 4) == 0;
        } else if (kind < 95) {
            planned->ops[i] = seek_op(id, filter, rule.kind, rule.value);
        } else if (kind < 97) {
            planned->ops[i] = forget_op(id, filter);
        } else {
            planned->ops[i] = delete_op(topic_names[planned->topic[i]]);
        }
    }
}

/* ------------------------------------------------------------------------- what a commit must have returned */

static void check_append(struct model *model, struct planned *planned, size_t at)
{
    const struct store_append *append = &planned->ops[at].append;
    struct model_topic *topic = &model->topics[planned->topic[at]];
    HOLDS(planned->ops[at].status == PS_OK, "planned->ops[at].status == PS_OK");
    HOLDS(append->accepted == append->count, "append->accepted == append->count");
    HOLDS(append->first_offset == topic->next, "append->first_offset == topic->next");
    HOLDS(append->topic_created == !topic->live, "append->topic_created == !topic->live");
    if (topic->id != 0)
        HOLDS(append->topic_id == topic->id, "append->topic_id == topic->id");
    topic->id = append->topic_id;
    if (!topic->live)
        topic->created_seq = append->first_seq;
    topic->live = true;
    for (uint32_t i = 0; i < append->count; i++) {
        const struct message *message = &append->messages[i];
        HOLDS(message->status == PS_OK, "message->status == PS_OK");
        HOLDS(message->offset == topic->next, "message->offset == topic->next");
        HOLDS(message->published_at >= model->last_time, "message->published_at >= model->last_time");
        model->last_time = message->published_at;
        HOLDS(topic->next < (uint64_t)MOST_KEPT, "topic->next < (uint64_t)MOST_KEPT");
        topic->messages[topic->next++] = (struct model_message){planned->first_number[at] + i,
                                                                append->first_seq + i, message->published_at};
    }
}

/* Whether the operation looks at what the appends before it did. */
static bool sees_appends(const struct store_op *op)
{
    return op->kind == STORE_ATTACH || op->kind == STORE_SEEK || op->kind == STORE_DELETE_TOPIC;
}

/* Appends share a stretch of seqs up to the next operation that sees them: in any order of topics, without gap
 * or overlap. Takes the whole stretch into the model's count and returns where it ends. */
static size_t check_stretch(struct model *model, const struct planned *planned, size_t at)
{
    size_t end = at;
    uint64_t total = 0;
    bool taken[MOST_OPS * MOST_MESSAGES] = {false};
    for (; end < planned->count && !sees_appends(&planned->ops[end]); end++)
        total += planned->ops[end].kind == STORE_APPEND ? planned->ops[end].append.count : 0;
    for (size_t i = at; i < end; i++) {
        const struct store_append *append = &planned->ops[i].append;
        uint64_t count = planned->ops[i].kind == STORE_APPEND ? append->count : 0;
        for (uint64_t place = append->first_seq - model->next_seq; count > 0; place++, count--) {
            HOLDS(place < total, "seq %llu", (unsigned long long)(model->next_seq + place));
            HOLDS(!taken[place], "seq %llu twice", (unsigned long long)(model->next_seq + place));
            taken[place] = true;
        }
    }
    model->next_seq += total;
    return end;
}

static const struct model_topic *topic_named(const struct model *model, const char *name)
{
    for (size_t i = 0; i < TOPICS; i++) {
        if (strcmp(topic_names[i], name) == 0)
            return &model->topics[i];
    }
    return NULL;
}

static void set_rule(struct model *model, struct model_subscription *subscription, struct start_rule rule)
{
    subscription->rule = rule;
    subscription->mark = model->next_seq;
    memset(subscription->committed, 0, sizeof subscription->committed);
}

static void check_attach(struct model *model, struct planned *planned, size_t at)
{
    const struct store_attach *attach = &planned->ops[at].attach;
    enum ps_status status = planned->ops[at].status;
    struct model_subscription *subscription = &model->subscriptions[planned->subscription[at]];
    const struct model_topic *topic = topic_named(model, filter_names[planned->subscription[at] % FILTERS]);
    uint64_t head = topic != NULL ? topic->next : 0;
    if (!subscription->exists && attach->existing_only) {
        HOLDS(status == PS_NO_SUCH_SUBSCRIPTION, "status == PS_NO_SUCH_SUBSCRIPTION");
        return;
    }
    if (!subscription->exists && attach->start.kind == START_OFFSET && attach->start.value > head) {
        HOLDS(status == PS_OUT_OF_RANGE, "status == PS_OUT_OF_RANGE");
        HOLDS(attach->head == head, "attach->head == head");
        return;
    }
    HOLDS(status == PS_OK, "attach: %s", ps_status_name(status));
    HOLDS(attach->created == !subscription->exists, "attach->created == !subscription->exists");
    if (!subscription->exists) {
        for (size_t i = 0; i < SUBSCRIPTIONS; i++)
            HOLDS(model->subscriptions[i].id != attach->subscription_id,
                  "model->subscriptions[i].id != attach->subscription_id");
        *subscription = (struct model_subscription){.exists = true, .id = attach->subscription_id};
        set_rule(model, subscription, attach->start);
        subscription->generation = attach->generation - 1;
    }
    HOLDS(attach->subscription_id == subscription->id, "attach->subscription_id == subscription->id");
    HOLDS(attach->generation == ++subscription->generation,
          "attach->generation == ++subscription->generation");
    HOLDS(attach->mark == subscription->mark, "attach->mark == subscription->mark");
    HOLDS(attach->stored.kind == subscription->rule.kind, "attach->stored.kind == subscription->rule.kind");
    HOLDS(attach->stored.value == subscription->rule.value,
          "attach->stored.value == subscription->rule.value");
}

static void check_seek(struct model *model, struct planned *planned, size_t at)
{
    const struct store_seek *seek = &planned->ops[at].seek;
    enum ps_status status = planned->ops[at].status;
    struct model_subscription *subscription = &model->subscriptions[planned->subscription[at]];
    const struct model_topic *topic = topic_named(model, filter_names[planned->subscription[at] % FILTERS]);
    if (!subscription->exists) {
        HOLDS(status == PS_NO_SUCH_SUBSCRIPTION, "status == PS_NO_SUCH_SUBSCRIPTION");
        return;
    }
    if (seek->to.kind == START_OFFSET && !topic->live) {
        HOLDS(status == PS_NO_SUCH_TOPIC, "status == PS_NO_SUCH_TOPIC");
        return;
    }
    if (seek->to.kind == START_OFFSET && seek->to.value > topic->next) {
        HOLDS(status == PS_OUT_OF_RANGE, "status == PS_OUT_OF_RANGE");
        HOLDS(seek->first == topic->first, "seek->first == topic->first");
        HOLDS(seek->head == topic->next, "seek->head == topic->next");
        return;
    }
    HOLDS(status == PS_OK, "status == PS_OK");
    set_rule(model, subscription, seek->to);
    HOLDS(seek->subscription_id == subscription->id, "seek->subscription_id == subscription->id");
    HOLDS(seek->generation == ++subscription->generation, "seek->generation == ++subscription->generation");
    HOLDS(seek->mark == subscription->mark, "seek->mark == subscription->mark");
}

static void check_offsets(struct model *model, const struct store_op *op)
{
    HOLDS(op->status == PS_OK, "op->status == PS_OK");
    for (size_t i = 0; i < op->offsets.count; i++) {
        const struct store_offset *item = &op->offsets.items[i];
        for (size_t s = 0; s < SUBSCRIPTIONS; s++) {
            struct model_subscription *subscription = &model->subscriptions[s];
            if (!subscription->exists || subscription->id != item->subscription_id)
                continue;
            for (size_t t = 0; t < TOPICS; t++) {
                if (model->topics[t].id != item->topic_id)
                    continue;
                if (!subscription->committed[t] || subscription->offsets[t] < item->next_offset)
                    subscription->offsets[t] = item->next_offset;
                subscription->committed[t] = true;
            }
        }
    }
}

static void check_forget(struct model *model, struct planned *planned, size_t at)
{
    struct model_subscription *subscription = &model->subscriptions[planned->subscription[at]];
    if (!subscription->exists) {
        HOLDS(planned->ops[at].status == PS_NO_SUCH_SUBSCRIPTION,
              "planned->ops[at].status == PS_NO_SUCH_SUBSCRIPTION");
        return;
    }
    HOLDS(planned->ops[at].status == PS_OK, "planned->ops[at].status == PS_OK");
    HOLDS(planned->ops[at].forget.subscription_id == subscription->id,
          "planned->ops[at].forget.subscription_id == subscription->id");
    subscription->exists = false;
}

static void check_delete(struct model *model, struct planned *planned, size_t at)
{
    struct model_topic *topic = &model->topics[planned->topic[at]];
    if (!topic->live) {
        HOLDS(planned->ops[at].status == PS_NO_SUCH_TOPIC, "planned->ops[at].status == PS_NO_SUCH_TOPIC");
        return;
    }
    HOLDS(planned->ops[at].status == PS_OK, "planned->ops[at].status == PS_OK");
    HOLDS(planned->ops[at].delete_topic.topic_id == topic->id,
          "planned->ops[at].delete_topic.topic_id == topic->id");
    HOLDS(planned->ops[at].delete_topic.first_offset == topic->next,
          "planned->ops[at].delete_topic.first_offset == topic->next");
    topic->live = false;
    topic->first = topic->next;
}

static void check_one(struct model *model, struct planned *planned, size_t at)
{
    switch (planned->ops[at].kind) {
    case STORE_APPEND:
        check_append(model, planned, at);
        break;
    case STORE_ATTACH:
        check_attach(model, planned, at);
        break;
    case STORE_OFFSETS:
        check_offsets(model, &planned->ops[at]);
        break;
    case STORE_SEEK:
        check_seek(model, planned, at);
        break;
    case STORE_FORGET:
        check_forget(model, planned, at);
        break;
    case STORE_DELETE_TOPIC:
        check_delete(model, planned, at);
        break;
    case STORE_BACKUP:
        break; /* not planned here */
    }
}

static void check_commit(struct model *model, struct planned *planned)
{
    size_t stretch_end = 0;
    for (size_t at = 0; at < planned->count; at++) {
        if (at >= stretch_end && !sees_appends(&planned->ops[at]))
            stretch_end = check_stretch(model, planned, at);
        check_one(model, planned, at);
    }
}

/* -------------------------------------------------------------------------------------- what reads must show */

static void check_read(struct caller *caller, struct model *model, size_t at)
{
    const struct model_topic *topic = &model->topics[at];
    struct shown shown = {0};
    uint64_t from = below(model, topic->next + 1);
    uint64_t to = from + below(model, topic->next - from + 1);
    struct store_read read = caller_read_of(caller, topic_names[at], from, to, &shown);
    read.max_messages = 1 + (uint32_t)below(model, 60);
    read.max_bytes = 1 + below(model, 3000);
    read.hint = 0;
    for (uint64_t next = from > topic->first ? from : topic->first; next < to; next = read.from) {
        HOLDS(store_read(caller->reader, &read) == PS_OK, "store_read(caller->reader, &read) == PS_OK");
        HOLDS(read.first_kept == topic->first, "read.first_kept == topic->first");
        HOLDS(read.next_offset == next + shown.count, "read.next_offset == next + shown.count");
        HOLDS(shown.count > (size_t)0, "shown.count > (size_t)0");
        for (size_t i = 0; i < shown.count; i++) {
            const struct model_message *expected = &topic->messages[next + i];
            struct made made;
            make(&made, expected->number);
            made.message.offset = next + i;
            made.message.published_at = expected->published_at;
            assert_same_message(&shown.messages[i], &made.message);
        }
        model->messages_read += shown.count;
        shown_clear(&shown);
        read.from = read.next_offset;
    }
}

static uint64_t expected_start(const struct model_topic *topic, const struct model_subscription *subscription)
{
    struct start_rule rule = subscription->rule;
    uint64_t new = topic->first;
    while (new < topic->next && topic->messages[new].seq < subscription->mark)
        new ++;
    if (rule.kind == START_OFFSET)
        return rule.value;
    if (rule.kind == START_BEGINNING || topic->created_seq >= subscription->mark)
        return topic->first;
    if (rule.kind == START_LAST)
        return new > rule.value ? new - rule.value : 0;
    return new;
}

static void check_resolve(struct caller *caller, struct model *model, size_t at)
{
    const struct model_subscription *subscription = &model->subscriptions[below(model, SUBSCRIPTIONS)];
    const struct model_topic *topic = &model->topics[at];
    if (!subscription->exists)
        return;
    bool committed;
    uint64_t expected =
        subscription->committed[at] ? subscription->offsets[at] : expected_start(topic, subscription);
    if (expected < topic->first)
        expected = topic->first;
    uint64_t start = caller_resolve(caller, subscription->id, subscription->rule, subscription->mark,
                                    topic_names[at], &committed);
    HOLDS(committed == subscription->committed[at], "committed == subscription->committed[at]");
    HOLDS(start == expected, "%s starts at %llu, not %llu (rule %d)", topic_names[at],
          (unsigned long long)start, (unsigned long long)expected, (int)subscription->rule.kind);
}

static bool count_one(void *ctx, const struct store_subscription *subscription)
{
    (void)subscription;
    ++*(size_t *)ctx;
    return true;
}

static void check_list(struct caller *caller, const struct model *model)
{
    size_t listed = 0, expected = 0;
    struct store_list list = {.limit = 1000, .show = count_one, .ctx = &listed};
    HOLDS(store_list(caller->reader, &list) == PS_OK, "store_list(caller->reader, &list) == PS_OK");
    for (size_t i = 0; i < SUBSCRIPTIONS; i++)
        expected += model->subscriptions[i].exists;
    HOLDS(listed == expected, "listed == expected");
}

static void check_loaded(struct caller *caller, const struct model *model)
{
    HOLDS(caller->state.mark == model->next_seq, "caller->state.mark == model->next_seq");
    for (size_t i = 0; i < TOPICS; i++) {
        const struct known_topic *known = caller_find(caller, topic_names[i]);
        const struct model_topic *topic = &model->topics[i];
        HOLDS((known != NULL) == topic->live, "%s", topic_names[i]);
        if (known == NULL)
            continue;
        HOLDS(known->id == topic->id, "known->id == topic->id");
        HOLDS(known->first_offset == topic->first, "known->first_offset == topic->first");
        HOLDS(known->next_offset == topic->next, "known->next_offset == topic->next");
        HOLDS(known->created_seq == topic->created_seq, "known->created_seq == topic->created_seq");
        HOLDS(known->last_seq == topic->messages[topic->next - 1].seq,
              "known->last_seq == topic->messages[topic->next - 1].seq");
    }
}

static uint64_t seed(void)
{
    uint64_t value;
    const char *given = getenv("STORE_TEST_SEED");
    if (given != NULL)
        return strtoull(given, NULL, 10);
    if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
        value = 1;
    return value % 1000000;
}

STORE_TEST(random_operations_agree_with_a_model)
{
    struct model *model = calloc(1, sizeof *model);
    struct planned *planned = calloc(1, sizeof *planned);
    model->random = seed();
    model->next_seq = caller->state.mark;
    snprintf(test_note, sizeof test_note, "STORE_TEST_SEED=%llu", (unsigned long long)model->random);
    for (size_t i = 0; i < TOPICS; i++)
        model->topics[i].messages = calloc(MOST_KEPT, sizeof *model->topics[i].messages);

    for (size_t operations = 0; operations < OPERATIONS; operations += planned->count) {
        plan(model, planned);
        caller_commit(caller, planned->ops, planned->count);
        check_commit(model, planned);
        HOLDS(caller->state.mark == model->next_seq, "caller->state.mark == model->next_seq");
        size_t at = below(model, TOPICS);
        if (model->topics[at].live) {
            check_read(caller, model, at);
            check_resolve(caller, model, at);
        }
        if (below(model, 20) == 0) {
            caller_work(caller);
            check_list(caller, model);
        }
        if (caller->body->persistent && below(model, 500) == 0) {
            caller_reopen(caller);
            check_loaded(caller, model);
        }
    }

    HOLDS(model->messages_read > (uint64_t)OPERATIONS, "model->messages_read > (uint64_t)OPERATIONS");
    for (size_t i = 0; i < TOPICS; i++)
        free(model->topics[i].messages);
    free(model);
    free(planned);
}
