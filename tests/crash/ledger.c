/* For each topic an array by offset holds which message stands there, as the first claim said; for each publisher an
 * array by index holds what became of the message. */
#include "ledger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_BITS = 48, HEAD_BYTES = 8, TEXT_BYTES = 200, TOPIC_BYTES = 24 };

enum { ACKNOWLEDGED = 1, REFUSED = 2, UNKNOWN = 4, PLACED = 8 /* some offset was claimed for it */ };

struct publisher {
    uint8_t *outcomes; /* by index */
    uint64_t sent, room;
};

struct topic {
    char name[TOPIC_BYTES];
    uint64_t *numbers; /* by offset; 0: nothing claimed */
    uint64_t room;
    uint64_t head;        /* behind the highest claim */
    uint64_t first;       /* what is below was deleted */
    uint64_t maybe_first; /* above `first`: a deletion whose outcome is open */
    uint64_t remembered;  /* the head when ledger_remember() was called */
};

struct commit {
    uint64_t asked, confirmed, remembered;
};

struct ledger {
    struct ledger_plan plan;
    struct publisher publishers[LEDGER_PUBLISHERS];
    struct topic *topics;
    struct commit *commits; /* cursors × topics */
    struct ledger_totals totals;
    bool reconnects;
    char texts[LEDGER_TEXTS][TEXT_BYTES];
};

struct ledger_view {
    struct ledger *ledger;
    const char *name;
    enum ledger_reading reading;
    struct place {
        bool known;
        uint64_t next, head;
    } * places;        /* by topic */
    uint64_t *last_of; /* unless part: topics × publishers, the number shown last */
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static unsigned long long show(uint64_t number)
{
    return (unsigned long long)number;
}

void ledger_complain(struct ledger *ledger, const char *format, ...)
{
    va_list arguments;

    if (ledger->totals.violations < LEDGER_TEXTS) {
        va_start(arguments, format);
        vsnprintf(ledger->texts[ledger->totals.violations], TEXT_BYTES, format, arguments);
        va_end(arguments);
    }
    ledger->totals.violations++;
}

const char *ledger_violation(const struct ledger *ledger, size_t index)
{
    return index < LEDGER_TEXTS && index < ledger->totals.violations ? ledger->texts[index] : NULL;
}

struct ledger *ledger_new(const struct ledger_plan *plan)
{
    struct ledger *ledger = must(calloc(1, sizeof *ledger));

    ledger->plan = *plan;
    ledger->topics = must(calloc(plan->topics, sizeof *ledger->topics));
    for (unsigned i = 0; i < plan->topics; i++)
        snprintf(ledger->topics[i].name, TOPIC_BYTES, i == plan->topics - 1 ? "scrap/%u" : "w/%u", i);
    ledger->commits = must(calloc((size_t)plan->cursors * plan->topics + 1, sizeof *ledger->commits));
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    if (ledger == NULL)
        return;
    for (unsigned i = 0; i < ledger->plan.publishers; i++)
        free(ledger->publishers[i].outcomes);
    for (unsigned i = 0; i < ledger->plan.topics; i++)
        free(ledger->topics[i].numbers);
    free(ledger->topics);
    free(ledger->commits);
    free(ledger);
}

const struct ledger_plan *ledger_plan_of(const struct ledger *ledger)
{
    return &ledger->plan;
}

struct ledger_totals ledger_totals_of(const struct ledger *ledger)
{
    return ledger->totals;
}

/* ------------------------------------------------------------------------------------------------ messages */

/* splitmix64 */
static uint64_t mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t hash_of(const struct ledger *ledger, uint64_t number)
{
    return mix(number ^ mix(ledger->plan.seed));
}

/* Most are small; some fill a page, a few many pages. */
static size_t size_of(uint64_t hash)
{
    size_t size = HEAD_BYTES + hash % 120;

    if ((hash >> 16) % 20000 == 0)
        return HEAD_BYTES + hash % (LEDGER_PAYLOAD_BYTES - HEAD_BYTES);
    return (hash >> 16) % 1000 == 1 ? HEAD_BYTES + hash % 20000 : size;
}

unsigned ledger_publisher_of(uint64_t number)
{
    return (unsigned)(number >> INDEX_BITS);
}

/* Numbers count from one, so that 0 is none. */
static uint64_t index_of(uint64_t number)
{
    return (number & (((uint64_t)1 << INDEX_BITS) - 1)) - 1;
}

unsigned ledger_topic_of(const struct ledger *ledger, uint64_t number)
{
    unsigned last = ledger->plan.topics - 1;

    if (ledger_publisher_of(number) == ledger->plan.publishers - 1)
        return last;
    return (unsigned)((hash_of(ledger, number) >> 8) % last);
}

struct ledger_message ledger_message_of(const struct ledger *ledger, uint64_t number)
{
    static uint8_t payload[LEDGER_PAYLOAD_BYTES + 8];
    uint64_t hash = hash_of(ledger, number), word = hash;
    struct ledger_message message = {.payload = payload, .payload_size = size_of(hash)};

    memcpy(payload, &number, HEAD_BYTES);
    for (size_t at = HEAD_BYTES; at < message.payload_size; at += sizeof word) {
        word = word * 0xd1342543de82ef95u + 0x2545f4914f6cdd1du;
        memcpy(payload + at, &word, sizeof word);
    }
    if ((hash >> 40) % 8 == 0) {
        message.key = payload;
        message.key_size = (hash >> 43) % 2 * HEAD_BYTES;
    }
    return message;
}

const char *ledger_topic_name(const struct ledger *ledger, unsigned topic)
{
    return ledger->topics[topic].name;
}

bool ledger_topic_find(struct ledger *ledger, const void *name, size_t size, unsigned *topic)
{
    const char *text = name;
    unsigned number = 0;

    for (size_t i = 0; i < size && number < ledger->plan.topics; i++)
        number = text[i] >= '0' && text[i] <= '9' ? number * 10 + (unsigned)(text[i] - '0') : 0;
    if (number < ledger->plan.topics && strlen(ledger->topics[number].name) == size &&
        memcmp(ledger->topics[number].name, name, size) == 0) {
        *topic = number;
        return true;
    }
    ledger_complain(ledger, "there is a topic '%.*s' that nobody published to", (int)size, text);
    return false;
}

/* -------------------------------------------------------------------------------------------- publications */

uint64_t ledger_send(struct ledger *ledger, unsigned number)
{
    struct publisher *publisher = &ledger->publishers[number];

    if (publisher->sent == publisher->room) {
        publisher->room = publisher->room * 2 + 1024;
        publisher->outcomes = must(realloc(publisher->outcomes, publisher->room));
    }
    publisher->outcomes[publisher->sent++] = 0;
    ledger->totals.sent++;
    return (uint64_t)number << INDEX_BITS | publisher->sent;
}

void ledger_unsend(struct ledger *ledger, uint64_t number)
{
    ledger->publishers[ledger_publisher_of(number)].sent--;
    ledger->totals.sent--;
}

/* NULL: nobody sent that. */
static uint8_t *outcome_of(struct ledger *ledger, uint64_t number)
{
    unsigned publisher = ledger_publisher_of(number);
    uint64_t index = index_of(number);

    if (publisher >= ledger->plan.publishers || index >= ledger->publishers[publisher].sent)
        return NULL;
    return &ledger->publishers[publisher].outcomes[index];
}

static void settle(struct ledger *ledger, uint64_t number, uint8_t outcome, uint64_t *count)
{
    uint8_t *known = outcome_of(ledger, number);

    if ((*known & (ACKNOWLEDGED | REFUSED | UNKNOWN)) != 0)
        ledger_complain(ledger, "message %llx was answered twice", show(number));
    if (outcome == REFUSED && (*known & PLACED) != 0)
        ledger_complain(ledger, "message %llx was refused, but it had been shown", show(number));
    *known |= outcome;
    ++*count;
}

static void reserve(struct topic *topic, uint64_t offset)
{
    uint64_t room = topic->room;

    if (offset < room)
        return;
    room = offset * 2 + 1024;
    topic->numbers = must(realloc(topic->numbers, room * sizeof *topic->numbers));
    memset(topic->numbers + topic->room, 0, (room - topic->room) * sizeof *topic->numbers);
    topic->room = room;
}

/* Something new stands at an offset. */
static void place(struct ledger *ledger, unsigned number, uint64_t offset, uint64_t message)
{
    struct topic *topic = &ledger->topics[number];
    uint8_t *outcome = outcome_of(ledger, message);

    if (outcome == NULL || ledger_topic_of(ledger, message) != number)
        ledger_complain(ledger, "topic %u: message %llx at %llu was never published there", number,
                        show(message), show(offset));
    else if ((*outcome & PLACED) != 0)
        ledger_complain(ledger, "topic %u: message %llx is there twice, again at %llu", number, show(message),
                        show(offset));
    else if ((*outcome & REFUSED) != 0)
        ledger_complain(ledger, "topic %u: message %llx at %llu was refused", number, show(message),
                        show(offset));
    else
        *outcome |= PLACED;
    topic->numbers[offset] = message;
    if (offset >= topic->head)
        topic->head = offset + 1;
}

static void claim(struct ledger *ledger, const char *who, unsigned number, uint64_t offset, uint64_t message)
{
    struct topic *topic = &ledger->topics[number];

    if (offset > ledger->totals.sent) { /* nor may a wrong one take all memory */
        ledger_complain(ledger, "%s: topic %u: offset %llu is beyond all that was sent", who, number,
                        show(offset));
        return;
    }
    reserve(topic, offset);
    if (topic->numbers[offset] == 0)
        place(ledger, number, offset, message);
    else if (topic->numbers[offset] != message)
        ledger_complain(ledger, "%s: topic %u: message %llx at %llu, where %llx stood", who, number,
                        show(message), show(offset), show(topic->numbers[offset]));
}

void ledger_acknowledged(struct ledger *ledger, uint64_t number, uint64_t offset)
{
    settle(ledger, number, ACKNOWLEDGED, &ledger->totals.acknowledged);
    claim(ledger, "acknowledgement", ledger_topic_of(ledger, number), offset, number);
}

void ledger_refused(struct ledger *ledger, uint64_t number)
{
    settle(ledger, number, REFUSED, &ledger->totals.refused);
}

void ledger_unknown(struct ledger *ledger, uint64_t number)
{
    settle(ledger, number, UNKNOWN, &ledger->totals.unknown);
}

void ledger_delete(struct ledger *ledger)
{
    struct topic *topic = &ledger->topics[ledger->plan.topics - 1];

    topic->maybe_first = topic->head;
}

void ledger_deleted(struct ledger *ledger, enum ledger_deletion outcome)
{
    struct topic *topic = &ledger->topics[ledger->plan.topics - 1];

    if (outcome == LEDGER_DELETED)
        topic->first = topic->maybe_first;
    if (outcome == LEDGER_KEPT)
        topic->maybe_first = topic->first;
}

/* ------------------------------------------------------------------------------------------------- reading */

struct ledger_view *ledger_view_new(struct ledger *ledger, const char *name, enum ledger_reading reading)
{
    struct ledger_view *view = must(calloc(1, sizeof *view));

    *view = (struct ledger_view){.ledger = ledger, .name = name, .reading = reading};
    view->places = must(calloc(ledger->plan.topics, sizeof *view->places));
    if (reading != LEDGER_PART)
        view->last_of =
            must(calloc((size_t)ledger->plan.topics * ledger->plan.publishers, sizeof *view->last_of));
    return view;
}

/* The broker says what it kept: that decides about a deletion whose outcome was open. */
static void settle_first(struct ledger_view *view, unsigned number, uint64_t first)
{
    struct topic *topic = &view->ledger->topics[number];

    if (topic->maybe_first > topic->first && first == topic->maybe_first)
        topic->first = first;
    if (first != topic->first)
        ledger_complain(view->ledger, "%s: topic %u begins at %llu, not at %llu", view->name, number,
                        show(first), show(topic->first));
    topic->maybe_first = topic->first;
}

/* The last topic of a copy may begin before a later deletion. */
static void check_first(struct ledger_view *view, unsigned number, uint64_t first)
{
    const struct topic *topic = &view->ledger->topics[number];

    if (first > topic->first && first != topic->maybe_first)
        ledger_complain(view->ledger, "%s: topic %u begins at %llu, not at %llu", view->name, number,
                        show(first), show(topic->first));
}

/* Where a topic must reach at least. A copy may be from before the last one was deleted, or from behind that. */
static uint64_t least_head(const struct ledger_view *view, unsigned number)
{
    const struct topic *topic = &view->ledger->topics[number];

    if (view->reading == LEDGER_WHOLE)
        return topic->head;
    return view->reading == LEDGER_COPY && number + 1 < view->ledger->plan.topics ? topic->remembered : 0;
}

/* Live readers may hear of a new head later than of acknowledgements. */
void ledger_view_start(struct ledger_view *view, unsigned number, uint64_t offset, uint64_t first,
                       uint64_t head)
{
    if (view->reading == LEDGER_WHOLE)
        settle_first(view, number, first);
    else if (view->reading != LEDGER_PART)
        check_first(view, number, first);
    if (view->reading != LEDGER_PART && offset != first)
        ledger_complain(view->ledger, "%s: topic %u is shown from %llu, it begins at %llu", view->name,
                        number, show(offset), show(first));
    if (head < least_head(view, number))
        ledger_complain(view->ledger, "%s: topic %u ends at %llu, it had reached %llu", view->name, number,
                        show(head), show(least_head(view, number)));
    view->places[number] = (struct place){true, offset, head};
}

static bool same_bytes(const struct ledger_message *a, const struct ledger_message *b)
{
    return a->payload_size == b->payload_size && memcmp(a->payload, b->payload, a->payload_size) == 0 &&
           (a->key == NULL) == (b->key == NULL) && a->key_size == b->key_size &&
           (a->key_size == 0 || memcmp(a->key, b->key, a->key_size) == 0);
}

/* A topic that was deleted and made again while a reader was away may go on without a word. */
static bool is_away_gap(const struct ledger_view *view, unsigned number, uint64_t offset)
{
    const struct topic *topic = &view->ledger->topics[number];

    return view->reading == LEDGER_PART && view->ledger->reconnects && offset > view->places[number].next &&
           (offset == topic->first || offset == topic->maybe_first);
}

static void follow(struct ledger_view *view, unsigned topic, uint64_t offset)
{
    struct place *at = &view->places[topic];

    if (!at->known && view->reading == LEDGER_WHOLE)
        settle_first(view, topic, offset);
    if (at->known && offset != at->next && !is_away_gap(view, topic, offset))
        ledger_complain(view->ledger, "%s: topic %u: offset %llu where %llu was due", view->name, topic,
                        show(offset), show(at->next));
    *at = (struct place){true, offset + 1, at->head};
}

static void keep_order(struct ledger_view *view, unsigned topic, uint64_t offset, uint64_t number)
{
    uint64_t *last =
        &view->last_of[(size_t)topic * view->ledger->plan.publishers + ledger_publisher_of(number)];

    if (number <= *last && view->ledger->reconnects && (*outcome_of(view->ledger, number) & UNKNOWN) != 0)
        return;
    if (number <= *last)
        ledger_complain(view->ledger, "%s: topic %u: message %llx at %llu overtook %llx", view->name, topic,
                        show(number), show(offset), show(*last));
    *last = number;
}

void ledger_view_show(struct ledger_view *view, unsigned topic, uint64_t offset,
                      const struct ledger_message *message)
{
    struct ledger *ledger = view->ledger;
    uint64_t number = 0;
    struct ledger_message expected;

    follow(view, topic, offset);
    if (message->payload_size >= HEAD_BYTES)
        memcpy(&number, message->payload, HEAD_BYTES);
    if (number != 0 && outcome_of(ledger, number) != NULL)
        expected = ledger_message_of(ledger, number);
    else
        expected = (struct ledger_message){0};
    if (expected.payload == NULL || !same_bytes(message, &expected)) {
        ledger_complain(ledger, "%s: topic %u: the bytes at %llu are not what was published", view->name,
                        topic, show(offset));
        return;
    }
    claim(ledger, view->name, topic, offset, number);
    if (view->reading != LEDGER_PART)
        keep_order(view, topic, offset, number);
}

void ledger_view_gap(struct ledger_view *view, unsigned number, uint64_t to)
{
    const struct topic *topic = &view->ledger->topics[number];

    if (to > topic->first && to > topic->maybe_first)
        ledger_complain(view->ledger, "%s: topic %u: a gap up to %llu, but nothing was deleted there",
                        view->name, number, show(to));
    view->places[number] = (struct place){true, to, view->places[number].head};
}

void ledger_view_resume(struct ledger_view *view, unsigned topic, uint64_t offset)
{
    if (view->places[topic].known && offset > view->places[topic].next)
        ledger_view_gap(view, topic, offset);
}

static void end_copied_topic(struct ledger_view *view, unsigned number)
{
    const struct place *at = &view->places[number];
    uint64_t least = least_head(view, number);

    if (at->next < at->head || at->next < least)
        ledger_complain(view->ledger, "%s: topic %u was shown up to %llu, there has to be %llu", view->name,
                        number, show(at->next), show(at->head > least ? at->head : least));
}

static void end_topic(struct ledger_view *view, unsigned number)
{
    struct topic *topic = &view->ledger->topics[number];
    const struct place *at = &view->places[number];

    if (!at->known && topic->maybe_first == topic->head)
        topic->first = topic->maybe_first; /* deleted, as was asked */
    if (at->known ? at->next < topic->head : topic->head > topic->first)
        ledger_complain(view->ledger, "%s: topic %u was shown up to %llu, it had reached %llu", view->name,
                        number, show(at->next), show(topic->head));
}

void ledger_view_end(struct ledger_view *view)
{
    for (unsigned i = 0; view->reading != LEDGER_PART && i < view->ledger->plan.topics; i++)
        if (view->reading == LEDGER_WHOLE)
            end_topic(view, i);
        else
            end_copied_topic(view, i);
    ledger_view_abandon(view);
}

void ledger_view_abandon(struct ledger_view *view)
{
    if (view == NULL)
        return;
    free(view->places);
    free(view->last_of);
    free(view);
}

/* ------------------------------------------------------------------------------------- durable subscriptions */

static struct commit *commit_of(struct ledger *ledger, unsigned cursor, unsigned topic)
{
    return &ledger->commits[(size_t)cursor * ledger->plan.topics + topic];
}

void ledger_commit_asked(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset)
{
    struct commit *commit = commit_of(ledger, cursor, topic);

    if (next_offset > commit->asked)
        commit->asked = next_offset;
}

void ledger_commit_confirmed(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset)
{
    struct commit *commit = commit_of(ledger, cursor, topic);

    if (next_offset > commit->confirmed)
        commit->confirmed = next_offset;
}

static void settle_commit(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset,
                          uint64_t least)
{
    struct commit *commit = commit_of(ledger, cursor, topic);

    if (next_offset < least)
        ledger_complain(ledger, "durable %u: topic %u stands at %llu, %llu was confirmed", cursor, topic,
                        show(next_offset), show(least));
    if (next_offset > commit->asked)
        ledger_complain(ledger, "durable %u: topic %u stands at %llu, only %llu was asked for", cursor, topic,
                        show(next_offset), show(commit->asked));
    if (next_offset > commit->confirmed)
        commit->confirmed = next_offset;
}

void ledger_committed(struct ledger *ledger, unsigned cursor, unsigned topic, uint64_t next_offset)
{
    settle_commit(ledger, cursor, topic, next_offset, commit_of(ledger, cursor, topic)->confirmed);
}

void ledger_copy_committed(struct ledger_view *view, unsigned cursor, unsigned topic, uint64_t next_offset)
{
    struct ledger *ledger = view->ledger;

    if (next_offset > view->places[topic].next)
        ledger_complain(ledger, "%s: durable %u: topic %u stands at %llu, it ends at %llu", view->name,
                        cursor, topic, show(next_offset), show(view->places[topic].next));
    settle_commit(ledger, cursor, topic, next_offset,
                  view->reading == LEDGER_COPY ? commit_of(ledger, cursor, topic)->remembered : 0);
}

void ledger_remember(struct ledger *ledger)
{
    for (unsigned i = 0; i < ledger->plan.topics; i++)
        ledger->topics[i].remembered = ledger->topics[i].head;
    for (size_t i = 0; i < (size_t)ledger->plan.cursors * ledger->plan.topics; i++)
        ledger->commits[i].remembered = ledger->commits[i].confirmed;
}

void ledger_reconnects(struct ledger *ledger)
{
    ledger->reconnects = true;
}
