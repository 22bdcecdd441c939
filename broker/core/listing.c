/* ListSubscriptions: pages of stored subscriptions are read, and for each the positions in its topics: those of an
 * attached one are known here, the others are resolved by the store, in chunks.
 *
 *     WAITING ──► READING a page ──► SHOWING, one chunk of topics a step ◄──► RESOLVING a chunk
 *
 * It is as new as everything acknowledged before it: what has not reached the store by then is waited for, because
 * a subscription that was detached in between is known to the store only.
 *
 * A producer of its session while SHOWING, so a client that does not read its answers costs no more than one
 * frame. Every frame says `more` but the last, which is empty. */
#include "attachment.h"
#include "requests.h"
#include "resolve.h"
#include "topic.h"

#include <assert.h>
#include <stdlib.h>

enum { LISTING_PAGE = 64 };

struct entry {
    struct store_subscription stored;
    uint8_t names[];
};

struct listing {
    struct producer producer;
    struct broker *broker;
    struct reply reply;
    struct offsets_waiter acknowledged;
    struct log_read read;
    struct entry *page[LISTING_PAGE];
    uint32_t count, at;
    struct entry *previous; /* the last one of the page before: where this one began */
    bool out_of_memory;     /* reader thread, while the page is read */
    bool last_page;
    struct resolve *resolve;
    uint32_t chunk;
    struct topic *topics[RESOLVE_CHUNK]; /* of the chunk, referenced */
    struct topic_position positions[RESOLVE_CHUNK];
    bool chunk_last; /* of its subscription */
    struct topics_place place;
    size_t id_size;
    uint8_t id[ID_MAX_BYTES];
};

static void free_page(struct listing *listing)
{
    for (uint32_t i = 0; i < listing->count; i++)
        free(listing->page[i]);
    listing->count = listing->at = 0;
}

static void free_chunk(struct listing *listing)
{
    for (uint32_t i = 0; i < listing->chunk; i++)
        topic_unref(listing->topics[i]);
    listing->chunk = 0;
}

static void listing_free(struct listing *listing)
{
    list_remove(&listing->producer.in_session);
    free_page(listing);
    free_chunk(listing);
    free(listing->previous);
    reply_drop(&listing->reply);
    free(listing);
}

static void show(struct listing *listing)
{
    list_append(&listing->reply.session->producers, &listing->producer.in_session);
    session_wants_pump(listing->reply.session);
}

/* ------------------------------------------------------------------------------------------------ pages */

/* Reader thread. */
static bool keep_entry(void *ctx, const struct store_subscription *stored)
{
    struct listing *listing = ctx;
    if (listing->count == LISTING_PAGE)
        return false;
    struct entry *entry = malloc(sizeof *entry + stored->id.size + stored->filter.size);
    if (entry == NULL) {
        listing->out_of_memory = true;
        return false;
    }
    entry->stored = *stored;
    memcpy(entry->names, stored->id.data, stored->id.size);
    memcpy(entry->names + stored->id.size, stored->filter.data, stored->filter.size);
    entry->stored.id.data = entry->names;
    entry->stored.filter.data = entry->names + stored->id.size;
    listing->page[listing->count++] = entry;
    return true;
}

static void page_done(struct log_read *read)
{
    struct listing *listing = LIST_OBJECT(read, struct listing, read);
    broker_read_done(listing->broker);
    enum ps_status status = listing->out_of_memory ? PS_NO_MEMORY : read->status;
    if (listing->reply.session != NULL && status == PS_OK) {
        listing->last_page = listing->count < LISTING_PAGE;
        show(listing);
        return;
    }
    if (listing->reply.session != NULL)
        reply_refuse(&listing->reply, status);
    listing_free(listing);
}

/* The names of the last entry shown are where the next page begins. */
static void read_page(struct listing *listing)
{
    struct store_list *list = &listing->read.list;
    struct entry *last = listing->count > 0 ? listing->page[listing->count - 1] : NULL;
    if (last != NULL)
        listing->page[--listing->count] = NULL;
    free_page(listing);
    list_remove(&listing->producer.in_session);
    struct span after_id = last != NULL ? last->stored.id : SPAN_ABSENT;
    struct span after_filter = last != NULL ? last->stored.filter : SPAN_ABSENT;
    *list = (struct store_list){.id = listing->id_size > 0 ? (struct span){listing->id, listing->id_size}
                                                           : SPAN_ABSENT,
                                .after_id = after_id,
                                .after_filter = after_filter,
                                .limit = LISTING_PAGE,
                                .show = keep_entry,
                                .ctx = listing};
    listing->read.kind = LOG_READ_LIST;
    listing->read.done = page_done;
    free(listing->previous);
    listing->previous = last;
    broker_read(listing->broker, &listing->read);
}

/* ------------------------------------------------------------------------------------------------ positions */

static uint64_t lag_of(const struct topic *topic, uint64_t committed)
{
    uint64_t from = committed > topic->first ? committed : topic->first;
    return topic->head > from ? topic->head - from : 0;
}

/* Some of the next topics of the subscription that is being shown. False: there may be more for this chunk. */
static bool find_chunk(struct listing *listing, struct span filter)
{
    listing->chunk +=
        topics_search(&listing->broker->topics, filter, &listing->place, listing->topics + listing->chunk,
                      RESOLVE_CHUNK - listing->chunk, &listing->chunk_last);
    return listing->chunk_last || listing->chunk == RESOLVE_CHUNK;
}

static void send_chunk(struct listing *listing)
{
    const struct store_subscription *stored = &listing->page[listing->at]->stored;
    struct subscription_info info = {
        .durable_id = stored->id,
        .filter = stored->filter,
        .start = stored->start,
        .mark = stored->mark,
        .generation = stored->generation,
        .attached = attachment_holder(listing->broker, stored->id, stored->filter) != NULL,
        .positions = listing->positions,
        .position_count = listing->chunk,
    };
    struct server_frame frame = {.request_id = listing->reply.request_id, .kind = SERVER_SUBSCRIPTION_LIST};
    frame.subscription_list = (struct subscription_list){&info, 1, true};
    session_send(listing->reply.session, &frame);
    if (listing->chunk_last) {
        listing->at++;
        listing->place.size = 0;
    }
    free_chunk(listing);
}

static void set_position(struct listing *listing, uint32_t i, uint64_t committed)
{
    const struct topic *topic = listing->topics[i];
    listing->positions[i] = (struct topic_position){topic_name(topic), committed, lag_of(topic, committed)};
}

/* An attached subscription's offsets are known here, and newer than what is stored. */
static bool positions_of_holder(struct listing *listing)
{
    const struct store_subscription *stored = &listing->page[listing->at]->stored;
    const struct attachment *holder = attachment_holder(listing->broker, stored->id, stored->filter);
    if (holder == NULL || holder->state < ATTACHMENT_ANSWERING)
        return false;
    for (uint32_t i = 0; i < listing->chunk; i++) {
        const struct cursor *cursor = attachment_cursor(holder, listing->topics[i]);
        if (cursor == NULL)
            return false;
        set_position(listing, i, cursor->committed);
    }
    return true;
}

static void resolve_chunk_cb(struct resolve *resolve)
{
    struct listing *listing = resolve->owner;
    listing->resolve = NULL;
    if (listing->reply.session == NULL || resolve->read.status != PS_OK) {
        if (listing->reply.session != NULL)
            reply_refuse(&listing->reply, resolve->read.status);
        listing_free(listing);
        return;
    }
    for (uint32_t i = 0; i < listing->chunk; i++)
        set_position(listing, i, resolve->positions[i].offset);
    send_chunk(listing);
    show(listing);
}

static void resolve_chunk(struct listing *listing)
{
    const struct store_subscription *stored = &listing->page[listing->at]->stored;
    struct resolve *resolve =
        resolve_new(listing->broker, stored->subscription_id, &stored->start, stored->mark);
    if (resolve == NULL) {
        reply_refuse(&listing->reply, PS_NO_MEMORY);
        listing_free(listing);
        return;
    }
    for (uint32_t i = 0; i < listing->chunk; i++)
        (void)resolve_add(resolve, listing->topics[i], NULL);
    resolve->owner = listing;
    resolve->done = resolve_chunk_cb;
    listing->resolve = resolve;
    list_remove(&listing->producer.in_session);
    resolve_submit(resolve);
}

/* ------------------------------------------------------------------------------------------------ showing */

static void finish(struct listing *listing)
{
    struct server_frame frame = {.request_id = listing->reply.request_id, .kind = SERVER_SUBSCRIPTION_LIST};
    session_send(listing->reply.session, &frame);
    listing_free(listing);
}

static void listing_step(struct producer *producer)
{
    struct listing *listing = LIST_OBJECT(producer, struct listing, producer);
    if (listing->at == listing->count) {
        if (listing->last_page)
            finish(listing);
        else
            read_page(listing);
        return;
    }
    if (!find_chunk(listing, listing->page[listing->at]->stored.filter))
        return;
    if (listing->chunk == 0 || positions_of_holder(listing))
        send_chunk(listing);
    else
        resolve_chunk(listing);
}

static void listing_gone(struct producer *producer)
{
    listing_free(LIST_OBJECT(producer, struct listing, producer));
}

static void acknowledged_cb(struct offsets_waiter *waiter, enum ps_status status)
{
    struct listing *listing = LIST_OBJECT(waiter, struct listing, acknowledged);
    (void)status; /* what was refused is not committed, and is listed so */
    if (listing->reply.session == NULL)
        listing_free(listing);
    else
        read_page(listing);
}

void request_list_subscriptions(struct session *session, const struct client_frame *frame)
{
    struct span id = frame->list_subscriptions;
    if (span_present(id) && id_validate(id) != PS_OK) {
        session_error_status(session, frame->request_id, PS_BAD_ID);
        return;
    }
    if (!frame->request_id.present)
        return;
    struct listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    listing->broker = session->broker;
    listing->producer.step = listing_step;
    listing->producer.gone = listing_gone;
    list_init(&listing->producer.in_session);
    if (span_present(id)) {
        memcpy(listing->id, id.data, id.size);
        listing->id_size = id.size;
    }
    listing->acknowledged.done = acknowledged_cb;
    reply_init(&listing->reply, session, frame->request_id, true);
    if (offsets_idle(&session->broker->offsets))
        read_page(listing);
    else
        offsets_wait(session->broker, &listing->acknowledged);
}
