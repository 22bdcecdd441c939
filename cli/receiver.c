/* Each message leaves a record: where its last byte stands in the output, and whose it is. When stdout has taken
 * that byte the record is popped, its credit goes back, and its cursor's `written` moves; acknowledgements name
 * exactly that. A message that another feed printed leaves a record too, of no bytes: it counts as written once
 * everything before it is, its twin included. While stdout is blocked no record is popped, so no credit goes
 * back, and the broker stops sending after one window; that bounds records and output.
 *
 *   RECEIVING -> DRAINING   the end is reached: stdout takes what was printed
 *             -> SETTLING   the last acknowledgements are under way
 *             -> SETTLED    run_end() was called
 *
 * A signal or a broken stdout goes to SETTLING at once. */
#include "receiver.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { SETTLE_MS = 2000 };

struct receiver_record {
    uint64_t end; /* position in the output */
    uint64_t next_offset;
    struct feed *feed;
    struct cursor *cursor;
    size_t bytes;
};

void receiver_init(struct receiver *receiver, struct run *run, const struct receiver_hooks *hooks, void *data)
{
    *receiver = (struct receiver){.run = run, .hooks = hooks, .data = data};
    uv_timer_init(&run->loop, &receiver->settle_timer);
    receiver->settle_timer.data = receiver;
}

void receiver_close(struct receiver *receiver)
{
    uv_close((uv_handle_t *)&receiver->settle_timer, NULL);
}

void receiver_deinit(struct receiver *receiver)
{
    while (receiver->feeds != NULL) {
        struct feed *feed = receiver->feeds;
        receiver->feeds = feed->next;
        free(feed->filter);
        free(feed);
    }
    positions_deinit(&receiver->positions);
    free(receiver->records);
}

static void move(struct receiver *receiver, enum receiver_state state)
{
    static const unsigned successors[] = {
        [RECEIVER_RECEIVING] = 1U << RECEIVER_DRAINING | 1U << RECEIVER_SETTLING,
        [RECEIVER_DRAINING] = 1U << RECEIVER_SETTLING,
        [RECEIVER_SETTLING] = 1U << RECEIVER_SETTLED,
        [RECEIVER_SETTLED] = 0,
    };

    assert((successors[receiver->state] >> state & 1) != 0);
    receiver->state = state;
}

/* ----------------------------------------------------------------------------------------------- records */

static void push(struct receiver *receiver, struct receiver_record record)
{
    if (receiver->record_count == receiver->record_room) {
        size_t room = receiver->record_room == 0 ? 1024 : receiver->record_room * 2;
        struct receiver_record *records = must_alloc(room * sizeof *records);
        for (size_t i = 0; i < receiver->record_count; i++)
            records[i] = receiver->records[(receiver->record_first + i) & (receiver->record_room - 1)];
        free(receiver->records);
        receiver->records = records;
        receiver->record_room = room;
        receiver->record_first = 0;
    }
    receiver->records[(receiver->record_first + receiver->record_count++) & (receiver->record_room - 1)] =
        record;
}

/* The newest feeds come first, so those that are over behind them are not looked at. */
static void give_back(struct receiver *receiver)
{
    unsigned left = receiver->live_count;

    for (struct feed *feed = receiver->feeds; feed != NULL && left != 0; feed = feed->next) {
        if (feed->handle == NULL)
            continue;
        left--;
        if (feed->consumed_messages != 0)
            psc_consumed(feed->handle, feed->consumed_messages, feed->consumed_bytes);
        feed->consumed_messages = feed->consumed_bytes = 0;
    }
}

/* What was printed in another log is not acknowledged in this one. */
static void acknowledge(struct feed *feed, struct cursor *cursor)
{
    if (!feed->durable || feed->handle == NULL || cursor->told == cursor->written ||
        cursor->feed != feed->number)
        return;
    cursor->told = cursor->written;
    psc_ack(feed->handle, cursor_topic(cursor), cursor->written, NULL, NULL);
}

static void settle(struct receiver *receiver);

static void pop_written(struct receiver *receiver)
{
    const struct receiver_record *last = NULL;

    while (receiver->record_count != 0) {
        const struct receiver_record *record = &receiver->records[receiver->record_first];
        if (record->end > receiver->run->out.written)
            break;
        if (last != NULL && last->cursor != record->cursor)
            acknowledge(last->feed, last->cursor);
        last = record;
        record->cursor->written = record->next_offset;
        record->feed->consumed_messages++;
        record->feed->consumed_bytes += record->bytes;
        receiver->record_first = (receiver->record_first + 1) & (receiver->record_room - 1);
        receiver->record_count--;
    }
    if (last == NULL)
        return;
    acknowledge(last->feed, last->cursor);
    give_back(receiver);
}

void receiver_written(struct receiver *receiver)
{
    pop_written(receiver);
    if (receiver->state == RECEIVER_DRAINING && writer_idle(&receiver->run->out))
        settle(receiver);
}

/* --------------------------------------------------------------------------------------- from the library */

static size_t bytes_in(const struct psc_message *message)
{
    size_t bytes = message->payload.size + message->key.size;

    for (size_t i = 0; i < message->header_count; i++)
        bytes += message->headers[i].name.size + message->headers[i].value.size;
    return bytes;
}

static void tell_caught_up(struct receiver *receiver, size_t targets_before)
{
    if (targets_before != 0 && receiver->positions.targets == 0 && !receiver_leaving(receiver) &&
        receiver->hooks->caught_up != NULL)
        receiver->hooks->caught_up(receiver);
}

static void message_cb(struct psc_subscription *subscription, struct psc_bytes topic,
                       const struct psc_message *message, void *data)
{
    struct feed *feed = data;
    struct receiver *receiver = feed->receiver;
    struct run *run = receiver->run;
    size_t targets = receiver->positions.targets;

    (void)subscription;
    if (receiver_leaving(receiver))
        return;
    struct cursor *cursor = positions_find(&receiver->positions, feed->number, topic, feed->first_position);
    bool twin = positions_came(&receiver->positions, cursor, message->offset);
    if (!twin) {
        if (receiver->hooks->before != NULL)
            receiver->hooks->before(receiver);
        output_message(&run->out.text, &run->style, topic, message);
        receiver->printed++;
    }
    push(receiver, (struct receiver_record){.end = writer_end(&run->out),
                                            .next_offset = message->offset + 1,
                                            .feed = feed,
                                            .cursor = cursor,
                                            .bytes = bytes_in(message)});
    writer_appended(&run->out);
    if (!twin && receiver->hooks->printed != NULL)
        receiver->hooks->printed(receiver);
    tell_caught_up(receiver, targets);
}

static void keep_starts(struct feed *feed, const struct psc_topic_start *starts, size_t count)
{
    struct receiver *receiver = feed->receiver;

    for (size_t i = 0; i < count; i++) {
        struct cursor *cursor =
            positions_find(&receiver->positions, feed->number, starts[i].topic, starts[i].offset);
        if (receiver->aim_at_start)
            positions_aim(&receiver->positions, cursor, starts[i].head);
    }
}

/* A topic may have been deleted while the connection was gone, or the subscription moved forward: what is aimed at and
 * will not come any more is waited for no longer. */
static void resume_starts(struct feed *feed, const struct psc_topic_start *starts, size_t count)
{
    struct positions *positions = &feed->receiver->positions;

    if (positions->targets == 0)
        return;
    for (size_t i = 0; i < count; i++)
        positions_resumed(positions,
                          positions_find(positions, feed->number, starts[i].topic, starts[i].offset),
                          starts[i].offset);
    positions_resume_end(positions, feed->number);
}

/* The log is another: its offsets name other messages, so nothing of them was printed. */
static void begin_anew(struct feed *feed)
{
    positions_retire(&feed->receiver->positions, feed->number);
    feed->number = feed->receiver->numbers++;
}

static void take_measure(struct feed *feed, const struct psc_topic_start *starts, size_t count)
{
    feed->topics = count;
    if (count != 0) {
        feed->starts_at = starts[0].offset;
        feed->head = starts[0].head;
    }
    for (size_t i = 0; i < count; i++) {
        if (starts[i].head > starts[i].offset)
            feed->behind += starts[i].head - starts[i].offset;
    }
}

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct feed *feed = data;
    struct receiver *receiver = feed->receiver;
    size_t targets = receiver->positions.targets;
    bool again = feed->attached;

    (void)subscription;
    if (receiver_leaving(receiver))
        return;
    feed->created = created;
    if (again && created) {
        begin_anew(feed);
    } else if (again) {
        resume_starts(feed, starts, count);
    } else {
        feed->attached = true;
        take_measure(feed, starts, count);
    }
    bool begins = !again || created;
    if (begins && (receiver->keep_starts || (receiver->aim_at_start && feed->durable)))
        keep_starts(feed, starts, count);
    if (receiver->hooks->attached != NULL)
        receiver->hooks->attached(feed, again);
    if (again)
        tell_caught_up(receiver, targets);
}

static void gap_cb(struct psc_subscription *subscription, struct psc_bytes topic, uint64_t from, uint64_t to,
                   void *data)
{
    struct feed *feed = data;
    struct receiver *receiver = feed->receiver;
    size_t targets = receiver->positions.targets;

    (void)subscription;
    if (receiver_leaving(receiver))
        return;
    report("%s: offsets %" PRIu64 " to %" PRIu64 " are no longer kept", report_quoted(topic), from, to - 1);
    struct cursor *cursor = positions_find(&receiver->positions, feed->number, topic, feed->first_position);
    positions_skip(&receiver->positions, cursor, from, to);
    tell_caught_up(receiver, targets);
}

static void retire(struct feed *feed)
{
    feed->handle = NULL;
    feed->receiver->live_count--;
    positions_retire(&feed->receiver->positions, feed->number);
}

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    struct feed *feed = data;
    struct receiver *receiver = feed->receiver;
    size_t targets = receiver->positions.targets;

    /* What a feed printed that ended by itself still makes later twins of it. */
    bool by_itself = reason->status == PS_END_REACHED || reason->status == PS_DAMAGED;

    (void)subscription;
    if (by_itself) {
        feed->handle = NULL;
        receiver->live_count--;
    } else {
        retire(feed);
    }
    if (receiver_leaving(receiver))
        return;
    if (receiver->hooks->over != NULL)
        receiver->hooks->over(feed, reason);
    if (by_itself)
        positions_give_up(&receiver->positions, feed->number);
    tell_caught_up(receiver, targets);
}

void receiver_lost(struct receiver *receiver, const struct psc_error *error, int64_t retry_in_ms)
{
    const struct run *run = receiver->run;

    if (receiver_leaving(receiver))
        return; /* settling tells what the loss means */
    if (retry_in_ms < 0) {
        run_fail(receiver->run, NULL, error);
    } else if (run->connected && !receiver->away && !run->args->quiet) {
        receiver->away = true;
        report("%s; connecting again", error->text);
    }
}

void receiver_back(struct receiver *receiver)
{
    if (receiver->away && !receiver_leaving(receiver))
        report("connected again");
    receiver->away = false;
}

void receiver_tell_anew(const struct feed *feed)
{
    if (feed->durable && feed->created && !feed->receiver->run->args->quiet)
        report("%s was made anew, as the broker has another log now: earlier offsets and what was "
               "acknowledged are void",
               report_quoted(bytes_of(feed->filter)));
}

/* ------------------------------------------------------------------------------------------------- feeds */

enum ps_status receiver_add(struct receiver *receiver, const struct feed_options *options, struct feed **made)
{
    struct feed *feed = must_alloc(sizeof *feed);
    struct psc_subscribe_options subscribe = {
        .filter = options->filter,
        .durable_id = options->durable_id,
        .start = options->start,
        .value = options->value,
        .until_end = options->until_end,
        .existing_only = options->existing_only,
        .subscribed = subscribed_cb,
        .message = message_cb,
        .gap = gap_cb,
        .ended = ended_cb,
        .data = feed,
    };

    feed->receiver = receiver;
    feed->number = receiver->numbers++;
    feed->durable = options->durable_id.data != NULL;
    feed->first_position = options->start == PSC_START_OFFSET ? options->value : 0;
    enum ps_status status = psc_subscribe(receiver->run->client, &subscribe, &feed->handle);
    if (status != PS_OK) {
        free(feed);
        return status;
    }
    feed->filter = must_alloc(options->filter.size + 1);
    memcpy(feed->filter, options->filter.data, options->filter.size);
    feed->next = receiver->feeds;
    receiver->feeds = feed;
    receiver->feed_count++;
    receiver->live_count++;
    if (made != NULL)
        *made = feed;
    return PS_OK;
}

struct feed *receiver_find(struct receiver *receiver, struct psc_bytes filter)
{
    for (struct feed *feed = receiver->feeds; feed != NULL; feed = feed->next) {
        if (feed->handle != NULL && strlen(feed->filter) == filter.size &&
            memcmp(feed->filter, filter.data, filter.size) == 0)
            return feed;
    }
    return NULL;
}

void receiver_remove(struct feed *feed, psc_done_fn *done, void *data)
{
    struct psc_subscription *handle = feed->handle;

    retire(feed);
    psc_unsubscribe(handle, done, data);
}

void receiver_aim(struct feed *feed, struct psc_bytes topic, uint64_t head)
{
    struct positions *positions = &feed->receiver->positions;

    positions_aim(positions, positions_find(positions, feed->number, topic, feed->first_position), head);
}

/* ---------------------------------------------------------------------------------------------- leaving */

static void settled(struct receiver *receiver)
{
    if (receiver->state != RECEIVER_SETTLING)
        return;
    move(receiver, RECEIVER_SETTLED);
    uv_timer_stop(&receiver->settle_timer);
    run_end(receiver->run, receiver->code);
}

/* The first failure is reported and becomes the exit code. */
static void not_acknowledged(struct receiver *receiver, enum ps_status status, const struct psc_error *error)
{
    struct psc_error unknown = {
        .status = PS_UNKNOWN, .text = "the final acknowledgement was not answered: messages may come again"};

    if (receiver->unsettled)
        return;
    receiver->unsettled = true;
    if (error == NULL || status == PS_UNKNOWN || exit_of(status, false) == EXIT_CONNECTION)
        error = &unknown;
    receiver->code = report_error(receiver->run->args->json, NULL, error);
}

static void settle_timer_cb(uv_timer_t *timer)
{
    struct receiver *receiver = timer->data;

    if (receiver->settle_waits != 0)
        not_acknowledged(receiver, PS_UNKNOWN, NULL);
    settled(receiver);
}

static void acknowledged_cb(const struct psc_error *error, void *data)
{
    struct receiver *receiver = data;

    receiver->settle_waits--;
    if (receiver->state != RECEIVER_SETTLING)
        return;
    if (error != NULL)
        not_acknowledged(receiver, error->status, error);
    if (receiver->settle_waits == 0)
        settled(receiver);
}

static void settle(struct receiver *receiver)
{
    struct feed **by_number = must_alloc(receiver->numbers * sizeof(struct feed *));

    move(receiver, RECEIVER_SETTLING);
    for (struct feed *feed = receiver->feeds; feed != NULL; feed = feed->next)
        by_number[feed->number] = feed;
    for (struct cursor *cursor = receiver->positions.cursors; cursor != NULL; cursor = cursor->next) {
        struct feed *feed = by_number[cursor->feed];
        if (cursor->written == 0 || feed == NULL || !feed->durable || feed->handle == NULL)
            continue;
        enum ps_status status =
            psc_ack(feed->handle, cursor_topic(cursor), cursor->written, acknowledged_cb, receiver);
        if (status == PS_OK)
            receiver->settle_waits++;
        else
            not_acknowledged(receiver, status, NULL);
    }
    free(by_number);
    uv_timer_start(&receiver->settle_timer, settle_timer_cb, receiver->settle_waits != 0 ? SETTLE_MS : 0, 0);
}

/* stdout is given what it takes at once, and what it took is counted. */
static void take_stock(struct receiver *receiver, int code)
{
    receiver->code = code;
    writer_flush(&receiver->run->out);
    pop_written(receiver);
}

void receiver_finish(struct receiver *receiver, int code)
{
    if (receiver->state != RECEIVER_RECEIVING)
        return;
    move(receiver, RECEIVER_DRAINING);
    take_stock(receiver, code);
    if (writer_idle(&receiver->run->out))
        settle(receiver);
}

void receiver_leave(struct receiver *receiver, int code)
{
    if (receiver->state > RECEIVER_DRAINING)
        return;
    take_stock(receiver, code);
    settle(receiver);
}
