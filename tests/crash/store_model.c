/* Size and bytes of a message follow from its number; now and then it fills several pages. */
#include "store_model.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>

enum { MOST_BYTES = 60000, FILLER_TURN = 251 };

static const char *const topic_names[MODEL_TOPICS] = {"A", "B", "a/b", "007", "\xc3\xa4"};
static const char *const ids[MODEL_SUBSCRIPTIONS] = {"s", "t", "u"};

/* ----------------------------------------------------------------------------------------------- messages */

static uint8_t filler[MOST_BYTES + FILLER_TURN];

static void fill(void)
{
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (uint8_t)(i * 131 + i / FILLER_TURN);
}

static struct span payload_of(uint32_t number)
{
    struct dice dice = {number};
    size_t size = 4 + dice_below(&dice, 100);
    if (dice_below(&dice, 40) == 0)
        size = 4 + dice_below(&dice, MOST_BYTES - 4);
    if (filler[1] == 0)
        fill();
    return (struct span){filler + number % FILLER_TURN, size};
}

/* ------------------------------------------------------------------------------------------------ planning */

static void plan_append(struct store_op *op, struct model_op *details, struct dice *dice, uint32_t *made)
{
    uint32_t count = 1 + (uint32_t)dice_below(dice, MODEL_MESSAGES);
    details->first_number = *made;
    for (uint32_t i = 0; i < count; i++)
        details->messages[i] = (struct message){.payload = payload_of((*made)++)};
    *op = append_op(topic_names[details->topic], details->messages, count);
}

static void plan_offset(const struct model *model, struct caller *caller, struct dice *dice,
                        struct store_op *op, struct model_op *details)
{
    const struct model_topic *topic = &model->topics[details->topic];
    const struct model_subscription *subscription = &model->subscriptions[details->subscription];
    const struct known_topic *known = caller_find(caller, topic_names[details->topic]);
    if (!topic->live || !subscription->exists || known == NULL) {
        *op = attach_op(ids[details->subscription], "#", START_BEGINNING, 0);
        return;
    }
    details->offset = (struct store_offset){.subscription_id = subscription->id,
                                            .topic_id = known->id,
                                            .next_offset = 1 + dice_below(dice, topic->next)};
    *op = offsets_op(&details->offset, 1);
}

/* One that is over is ended; one under way seldom, as a client goes, else another is refused beside it. */
static struct store_op plan_backup(const struct caller *caller, struct dice *dice)
{
    enum store_backup_phase phase = caller->state.backup.phase;
    bool is_over = phase == STORE_BACKUP_READY || phase == STORE_BACKUP_FAILED;
    bool end = is_over || (phase == STORE_BACKUP_COPYING && dice_below(dice, 4) == 0);
    return (struct store_op){.kind = STORE_BACKUP, .backup = {.end = end}};
}

/* A topic is not made and deleted again in one commit: whether that happened could only be told from its next offset,
 * which nobody sees. */
static bool may_delete(const struct model *model, size_t topic, bool is_first)
{
    return model->topics[topic].live || is_first;
}

void model_plan(const struct model *model, struct caller *caller, struct dice *dice, uint32_t *made,
                struct model_commit *commit)
{
    commit->count = 1 + dice_below(dice, MODEL_OPS);
    for (size_t i = 0; i < commit->count; i++) {
        struct store_op *op = &commit->ops[i];
        struct model_op *details = &commit->details[i];
        details->topic = dice_below(dice, MODEL_TOPICS);
        details->subscription = dice_below(dice, MODEL_SUBSCRIPTIONS);
        size_t kind = dice_below(dice, 26);
        if (kind == 0 && may_delete(model, details->topic, i == 0))
            *op = delete_op(topic_names[details->topic]);
        else if (kind == 1)
            *op = forget_op(ids[details->subscription], "#");
        else if (kind < 4)
            *op = attach_op(ids[details->subscription], "#", START_BEGINNING, 0);
        else if (kind < 8)
            plan_offset(model, caller, dice, op, details);
        else if (kind < 10)
            *op = plan_backup(caller, dice);
        else
            plan_append(op, details, dice, made);
    }
}

/* ------------------------------------------------------------------------------------------------ learning */

static void add_messages(struct model_topic *topic, const struct model_op *details, uint32_t count)
{
    HOLDS(topic->next + count <= MODEL_TOPIC_KEEPS, "too many messages for the model");
    topic->live = true;
    for (uint32_t i = 0; i < count; i++)
        topic->numbers[topic->next++] = details->first_number + i;
}

static void learn_delete(struct model *model, size_t number)
{
    struct model_topic *topic = &model->topics[number];
    topic->live = false;
    topic->first = topic->next;
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++)
        model->subscriptions[i].committed[number] = 0;
}

static void learn_offset(struct model_subscription *subscription, const struct model_op *details)
{
    uint64_t *committed = &subscription->committed[details->topic];
    if (subscription->exists && details->offset.subscription_id == subscription->id &&
        details->offset.next_offset > *committed)
        *committed = details->offset.next_offset;
}

/* With `told`, results come from the store, else they are foreseen. */
static void take_over(struct model *model, const struct store_op *op, const struct model_op *details,
                      bool told)
{
    struct model_subscription *subscription = &model->subscriptions[details->subscription];
    struct model_topic *topic = &model->topics[details->topic];
    switch (op->kind) {
    case STORE_APPEND:
        HOLDS(!told || op->append.accepted == op->append.count, "not all were accepted");
        HOLDS(!told || op->append.first_offset == topic->next, "offset %llu instead of %llu",
              (unsigned long long)op->append.first_offset, (unsigned long long)topic->next);
        add_messages(topic, details, op->append.count);
        break;
    case STORE_DELETE_TOPIC:
        if (topic->live)
            learn_delete(model, details->topic);
        break;
    case STORE_BACKUP: /* changes nothing */
        break;
    case STORE_FORGET:
        *subscription = (struct model_subscription){0};
        break;
    case STORE_ATTACH:
        if (!subscription->exists)
            *subscription = (struct model_subscription){.exists = true};
        if (told)
            subscription->id = op->attach.subscription_id;
        subscription->generation = told ? op->attach.generation : 0;
        break;
    case STORE_OFFSETS:
        learn_offset(subscription, details);
        break;
    case STORE_SEEK:
        break;
    }
}

void model_learn(struct model *model, const struct model_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        if (commit->ops[i].status == PS_OK)
            take_over(model, &commit->ops[i], &commit->details[i], true);
    }
}

void model_assume(struct model *model, const struct model_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        if (commit->ops[i].status == PS_UNKNOWN)
            take_over(model, &commit->ops[i], &commit->details[i], false);
    }
}

/* ----------------------------------------------------------------------------------------------- comparing */

static bool same_messages(struct caller *caller, const struct model_topic *topic, const char *name)
{
    struct shown shown = {0};
    caller_read(caller, name, topic->first, topic->next, &shown);
    bool same = shown.count == topic->next - topic->first;
    for (size_t i = 0; same && i < shown.count; i++)
        same = shown.messages[i].offset == topic->first + i &&
               span_equal(shown.messages[i].payload, payload_of(topic->numbers[topic->first + i]));
    shown_clear(&shown);
    return same;
}

struct expected {
    const struct model_topic *topic;
    uint64_t next;
};

static bool expect_message(void *ctx, const struct message *message)
{
    struct expected *expected = ctx;
    HOLDS(message->offset == expected->next &&
              span_equal(message->payload, payload_of(expected->topic->numbers[expected->next])),
          "another message at %llu", (unsigned long long)expected->next);
    expected->next++;
    return true;
}

enum ps_status model_try_read(const struct model *model, struct caller *caller, struct dice *dice)
{
    size_t number = dice_below(dice, MODEL_TOPICS);
    const struct model_topic *topic = &model->topics[number];
    if (!topic->live || topic->next == topic->first)
        return PS_OK;
    struct expected expected = {topic, topic->first + dice_below(dice, topic->next - topic->first)};
    struct store_read read = caller_read_of(caller, topic_names[number], expected.next, topic->next, NULL);
    read.show = expect_message;
    read.ctx = &expected;
    enum ps_status status = store_read(caller->reader, &read);
    HOLDS(status != PS_OK || expected.next == read.next_offset, "a read ends at %llu, not %llu",
          (unsigned long long)expected.next, (unsigned long long)read.next_offset);
    return status;
}

static bool same_topic(struct caller *caller, const struct model_topic *topic, const char *name)
{
    const struct known_topic *known = caller_find(caller, name);
    if (known == NULL || !topic->live)
        return known == NULL && !topic->live;
    return known->first_offset == topic->first && known->next_offset == topic->next &&
           same_messages(caller, topic, name);
}

static bool find_listed(void *ctx, const struct store_subscription *subscription)
{
    struct model_subscription *found = ctx;
    *found = (struct model_subscription){
        .exists = true, .id = subscription->subscription_id, .generation = subscription->generation};
    return false;
}

static struct model_subscription listed(struct caller *caller, size_t number)
{
    struct model_subscription found = {0};
    struct store_list list = {.id = span_of(ids[number]), .limit = 1, .show = find_listed, .ctx = &found};
    HOLDS(store_list(caller->reader, &list) == PS_OK, "listing failed");
    return found;
}

static bool same_committed(struct caller *caller, const struct model *model, uint64_t id,
                           const struct model_subscription *expected)
{
    for (size_t i = 0; i < MODEL_TOPICS; i++) {
        const struct model_topic *topic = &model->topics[i];
        uint64_t offset = expected->committed[i] > topic->first ? expected->committed[i] : topic->first;
        if (!topic->live || expected->committed[i] == 0)
            continue;
        struct start_rule rule = {.kind = START_BEGINNING};
        if (caller_resolve(caller, id, rule, 0, topic_names[i], NULL) != offset)
            return false;
    }
    return true;
}

static bool same_subscription(struct caller *caller, const struct model *model, size_t number)
{
    const struct model_subscription *expected = &model->subscriptions[number];
    struct model_subscription found = listed(caller, number);
    if (!expected->exists || !found.exists)
        return expected->exists == found.exists;
    return (expected->id == 0 || expected->id == found.id) &&
           (expected->generation == 0 || expected->generation == found.generation) &&
           same_committed(caller, model, found.id, expected);
}

bool model_agrees(const struct model *model, struct caller *caller)
{
    for (size_t i = 0; i < MODEL_TOPICS; i++) {
        if (!same_topic(caller, &model->topics[i], topic_names[i]))
            return false;
    }
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        if (!same_subscription(caller, model, i))
            return false;
    }
    return true;
}

void model_adopt(struct model *model, struct caller *caller)
{
    for (size_t i = 0; i < MODEL_SUBSCRIPTIONS; i++) {
        struct model_subscription found = listed(caller, i);
        model->subscriptions[i].id = found.id;
        model->subscriptions[i].generation = found.generation;
    }
}

uint64_t model_count(const struct model *model)
{
    uint64_t count = 0;
    for (size_t i = 0; i < MODEL_TOPICS; i++) {
        if (model->topics[i].live)
            count += model->topics[i].next - model->topics[i].first;
    }
    return count;
}

void model_check_file(const struct model *model, const char *directory)
{
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *check;
    int64_t expected = (int64_t)model_count(model);
    snprintf(path, sizeof path, "%s/psbroker.db", directory);
    HOLDS(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, "not opened");
    HOLDS(sqlite3_prepare_v2(db, "SELECT (SELECT quick_check FROM pragma_quick_check), count(*) FROM history",
                             -1, &check, NULL) == SQLITE_OK &&
              sqlite3_step(check) == SQLITE_ROW,
          "%s", sqlite3_errmsg(db));
    HOLDS(strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0, "%s",
          (const char *)sqlite3_column_text(check, 0));
    HOLDS(sqlite3_column_int64(check, 1) == expected, "%lld rows in history instead of %lld",
          (long long)sqlite3_column_int64(check, 1), (long long)expected);
    sqlite3_finalize(check);
    sqlite3_close(db);
}
