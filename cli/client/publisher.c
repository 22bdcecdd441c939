/* A frame names a stretch of the ring of tickets. `answered` in a ticket of the ring: its outcome is known and waits
 * for those before it; in a ticket of a stage: it is not the stage's any more, because it was sent or refused.
 *
 * Failure modes: without memory a stage goes out as far as whole frames were made, and the rest stays queued. An
 * answer outside of its frame, or given twice, is the broker's violation. */
#include "publisher.h"

#include "frame.h"
#include "topic.h"

#include <stdlib.h>

enum { FIRST_TICKETS = 256, FIRST_FRAMES = 16, FRAME_BYTES_AROUND = 64, FRAME_BYTES_PER_GROUP = 32 };

void publisher_init(struct publisher *publisher)
{
    *publisher = (struct publisher){
        .limits = {.max_frame = MESSAGE_MAX_BYTES + FRAME_OVERHEAD_BYTES,
                   .max_message = MESSAGE_MAX_BYTES,
                   .max_messages_per_frame = PROTOCOL_MAX_MESSAGES_PER_FRAME},
        .window = PUBLISHER_WINDOW_BEFORE_WELCOME,
        .sealed_end = &publisher->first_sealed,
    };
}

static void free_stages(struct stage *stage)
{
    while (stage != NULL) {
        struct stage *next = stage->next;

        stage_free(stage);
        stage = next;
    }
}

void publisher_deinit(struct publisher *publisher)
{
    free_stages(publisher->first_sealed);
    free_stages(publisher->free_stages);
    stage_free(publisher->open);
    free(publisher->tickets);
    free(publisher->frames);
    free(publisher->messages);
    free(publisher->order);
    free(publisher->groups);
    publisher_init(publisher);
}

/* ---------------------------------------------------------------------------------------------- queueing */

static struct stage *get_stage(struct publisher *publisher, size_t bytes)
{
    struct stage *stage = publisher->free_stages;

    if (bytes > STAGE_BLOCK_BYTES || stage == NULL)
        return stage_new(bytes > STAGE_BLOCK_BYTES ? bytes : STAGE_BLOCK_BYTES);
    publisher->free_stages = stage->next;
    publisher->free_count--;
    return stage;
}

static void put_stage(struct publisher *publisher, struct stage *stage)
{
    if (stage->room != STAGE_BLOCK_BYTES || publisher->free_count >= PUBLISHER_FREE_STAGES) {
        stage_free(stage);
        return;
    }
    stage_reset(stage);
    stage->next = publisher->free_stages;
    publisher->free_stages = stage;
    publisher->free_count++;
}

static void seal(struct publisher *publisher)
{
    struct stage *stage = publisher->open;

    if (stage == NULL)
        return;
    stage->next = NULL;
    *publisher->sealed_end = stage;
    publisher->sealed_end = &stage->next;
    publisher->open = NULL;
}

static enum ps_status make_room(struct publisher *publisher, size_t bytes)
{
    struct stage *open = publisher->open;

    if (open != NULL && (!stage_fits(open, bytes) || open->count >= publisher->limits.max_messages_per_frame))
        seal(publisher);
    if (publisher->open == NULL)
        publisher->open = get_stage(publisher, bytes);
    return publisher->open != NULL ? PS_OK : PS_NO_MEMORY;
}

static enum ps_status validate(const struct publisher *publisher, struct span topic,
                               const struct psc_message *message)
{
    struct header headers[MESSAGE_MAX_HEADERS];
    struct message checked = {.payload = span_from(message->payload),
                              .key = span_from(message->key),
                              .headers = headers,
                              .header_count = (uint32_t)message->header_count};
    enum ps_status status;

    if (message->header_count > MESSAGE_MAX_HEADERS)
        return PS_BAD_HEADER;
    for (size_t i = 0; i < message->header_count; i++)
        headers[i] =
            (struct header){span_from(message->headers[i].name), span_from(message->headers[i].value)};
    if (!span_present(checked.payload))
        checked.payload = span_of("");
    if (publisher->open == NULL || !stage_recent(publisher->open, topic)) {
        status = topic_validate_publish(topic);
        if (status != PS_OK)
            return status;
    }
    return message_validate(&checked, publisher->limits.max_message);
}

/* A message larger than the window passes alone. */
static bool in_window(const struct publisher *publisher, size_t bytes)
{
    if (publisher->pending == 0)
        return true;
    return publisher->pending < PUBLISHER_MOST_PENDING &&
           publisher->ticket_end - publisher->ticket_begin < PUBLISHER_MOST_PENDING &&
           publisher->charged + bytes <= publisher->window;
}

static size_t charge_of(const struct psc_message *message)
{
    size_t bytes = message->key.size + message->payload.size;

    for (size_t i = 0; i < message->header_count; i++)
        bytes += message->headers[i].name.size + message->headers[i].value.size;
    return bytes;
}

enum ps_status publisher_put(struct publisher *publisher, struct psc_bytes topic,
                             const struct psc_message *message, const struct ticket *ticket)
{
    struct span name = span_from(topic);
    struct ticket charged = *ticket;
    enum ps_status status = validate(publisher, name, message);

    if (status != PS_OK)
        return status;
    charged.bytes = (uint32_t)charge_of(message);
    if (!in_window(publisher, charged.bytes)) {
        publisher->refused = true;
        return PS_LIMIT_EXCEEDED;
    }
    status = make_room(publisher, stage_bytes(name, message));
    if (status == PS_OK)
        status = stage_put(publisher->open, name, message, &charged);
    if (status != PS_OK)
        return status;
    publisher->charged += charged.bytes;
    publisher->pending++;
    return PS_OK;
}

bool publisher_room_again(struct publisher *publisher)
{
    if (!publisher->refused || publisher->charged > publisher->window / 4 * 3 ||
        publisher->pending > PUBLISHER_MOST_PENDING / 4 * 3 ||
        publisher->ticket_end - publisher->ticket_begin >= PUBLISHER_MOST_PENDING)
        return false;
    publisher->refused = false;
    return true;
}

bool publisher_has_queued(const struct publisher *publisher)
{
    return publisher->first_sealed != NULL || publisher->open != NULL;
}

bool publisher_ready(const struct publisher *publisher)
{
    return publisher->first_sealed != NULL;
}

/* ---------------------------------------------------------------------------------------------- answers */

static struct ticket *ticket_at(const struct publisher *publisher, uint64_t number)
{
    return &publisher->tickets[number & (publisher->ticket_room - 1)];
}

static struct sent_frame *frame_at(const struct publisher *publisher, uint64_t number)
{
    return &publisher->frames[number & (publisher->frame_room - 1)];
}

/* By value: the callback may queue more and so move the ring. */
static void answer_ticket(struct publisher *publisher, struct ticket ticket, const struct psc_error *error,
                          uint64_t offset)
{
    publisher->charged -= ticket.bytes;
    publisher->pending--;
    if (ticket.published != NULL)
        ticket.published(error, offset, ticket.data);
}

/* Those at the front whose answers came before their turn. */
static void answer_held(struct publisher *publisher)
{
    while (publisher->ticket_begin < publisher->ticket_end &&
           ticket_at(publisher, publisher->ticket_begin)->answered) {
        struct ticket ticket = *ticket_at(publisher, publisher->ticket_begin++);
        struct error_box box;

        if (ticket.status != PS_OK) {
            error_set(&box, ticket.status, NULL);
            box.error.retryable = ticket.retryable;
        }
        answer_ticket(publisher, ticket, ticket.status != PS_OK ? &box.error : NULL, ticket.offset);
    }
}

/* A refusal overtakes what the broker still commits: it is held until those before it are answered. */
static void answer_run(struct publisher *publisher, uint64_t first, uint32_t count,
                       const struct psc_error *error, uint64_t first_offset)
{
    for (uint64_t number = first; number < first + count; number++) {
        struct ticket *ticket = ticket_at(publisher, number);

        if (number < publisher->ticket_begin || ticket->answered)
            continue;
        ticket->answered = true;
        ticket->status = error != NULL ? error->status : PS_OK;
        ticket->retryable = error != NULL && error->retryable;
        ticket->offset = first_offset + (number - first);
        if (number > publisher->ticket_begin)
            continue;
        publisher->ticket_begin++;
        answer_ticket(publisher, *ticket, error, ticket->offset);
        answer_held(publisher);
    }
}

static void pop_answered(struct publisher *publisher)
{
    while (publisher->frame_begin < publisher->frame_end &&
           frame_at(publisher, publisher->frame_begin)->unanswered == 0)
        publisher->frame_begin++;
}

/* Ids grow along the ring. */
static bool find_frame(const struct publisher *publisher, uint64_t id, uint64_t *number)
{
    uint64_t low = publisher->frame_begin, high = publisher->frame_end;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (frame_at(publisher, middle)->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    *number = low;
    return low < publisher->frame_end && frame_at(publisher, low)->id == id;
}

static bool run_is_possible(const struct publisher *publisher, const struct sent_frame *frame,
                            const struct published_run *run)
{
    if (run->first_index > frame->count || run->count > frame->count - run->first_index)
        return false;
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t number = frame->first + run->first_index + i;

        if (number < publisher->ticket_begin || ticket_at(publisher, number)->answered)
            return false;
    }
    return true;
}

enum ps_status publisher_answer(struct publisher *publisher, uint64_t id, const struct published *published,
                                bool *known)
{
    uint64_t number;

    *known = find_frame(publisher, id, &number);
    for (size_t i = 0; *known && i < published->run_count; i++) {
        const struct published_run *run = &published->runs[i];
        struct sent_frame *frame = frame_at(publisher, number);
        struct error_box box;

        if (!run_is_possible(publisher, frame, run))
            return PS_PROTOCOL_VIOLATION;
        frame->unanswered -= run->count;
        if (run->status != PS_OK)
            error_from_wire(&box, &run->error);
        answer_run(publisher, frame->first + run->first_index, run->count,
                   run->status != PS_OK ? &box.error : NULL, run->status != PS_OK ? 0 : run->first_offset);
    }
    pop_answered(publisher);
    return PS_OK;
}

void publisher_refused(struct publisher *publisher, uint64_t id, const struct protocol_error *error,
                       bool *known)
{
    struct sent_frame *frame;
    struct error_box box;
    uint64_t number;

    *known = find_frame(publisher, id, &number);
    if (!*known)
        return;
    frame = frame_at(publisher, number);
    frame->unanswered = 0;
    error_from_wire(&box, error);
    answer_run(publisher, frame->first, frame->count, &box.error, 0);
    pop_answered(publisher);
}

static void fail_stages(struct publisher *publisher, struct stage *stage, const struct psc_error *error)
{
    while (stage != NULL) {
        struct stage *next = stage->next;

        for (uint32_t i = 0; i < stage->count; i++) {
            if (!stage->tickets[i].answered)
                answer_ticket(publisher, stage->tickets[i], error, 0);
        }
        put_stage(publisher, stage);
        stage = next;
    }
}

void publisher_lost(struct publisher *publisher, enum ps_status unsent, const char *text, bool keep_queued)
{
    uint64_t end = publisher->ticket_end;
    struct stage *queued = NULL;
    struct error_box box;

    if (!keep_queued) {
        seal(publisher);
        queued = publisher->first_sealed;
        publisher->first_sealed = NULL;
        publisher->sealed_end = &publisher->first_sealed;
    }
    publisher->frame_begin = publisher->frame_end;
    error_set(&box, PS_UNKNOWN, text);
    answer_run(publisher, publisher->ticket_begin, (uint32_t)(end - publisher->ticket_begin), &box.error, 0);
    publisher->ticket_begin = end;
    error_set(&box, unsent, text);
    fail_stages(publisher, queued, &box.error);
}

void publisher_limit(struct publisher *publisher, const struct limits *limits, uint64_t window)
{
    bool smaller = limits->max_message < publisher->limits.max_message;
    struct error_box box;

    publisher->limits = *limits;
    publisher->window = window;
    if (!smaller)
        return;
    seal(publisher);
    error_set(&box, PS_MESSAGE_TOO_LARGE, NULL);
    box.error.limit_name = (struct psc_bytes){"max_message", sizeof "max_message" - 1};
    box.error.limit_value = limits->max_message;
    for (struct stage *stage = publisher->first_sealed; stage != NULL; stage = stage->next) {
        for (uint32_t i = 0; i < stage->count; i++) {
            struct ticket *ticket = &stage->tickets[i];

            if (ticket->answered || ticket->bytes <= limits->max_message)
                continue;
            ticket->answered = true;
            answer_ticket(publisher, *ticket, &box.error, 0);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- sending */

static enum ps_status grow_ring(void **ring, size_t *room, size_t size, uint64_t begin, uint64_t end,
                                size_t more, size_t first_room)
{
    size_t need = (size_t)(end - begin) + more, grown = *room == 0 ? first_room : *room;
    char *fresh;

    while (grown < need)
        grown *= 2;
    if (grown == *room)
        return PS_OK;
    fresh = malloc(grown * size);
    if (fresh == NULL)
        return PS_NO_MEMORY;
    for (uint64_t i = begin; i < end; i++)
        memcpy(fresh + (i & (grown - 1)) * size, (char *)*ring + (i & (*room - 1)) * size, size);
    free(*ring);
    *ring = fresh;
    *room = grown;
    return PS_OK;
}

static enum ps_status grow_array(void **array, size_t *room, size_t size, size_t need)
{
    void *grown;

    if (*room >= need)
        return PS_OK;
    grown = realloc(*array, need * size);
    if (grown == NULL)
        return PS_NO_MEMORY;
    *array = grown;
    *room = need;
    return PS_OK;
}

static enum ps_status reserve(struct publisher *publisher, const struct stage *stage)
{
    enum ps_status status =
        grow_ring((void **)&publisher->tickets, &publisher->ticket_room, sizeof *publisher->tickets,
                  publisher->ticket_begin, publisher->ticket_end, stage->count, FIRST_TICKETS);

    if (status == PS_OK)
        status = grow_array((void **)&publisher->messages, &publisher->message_room,
                            sizeof *publisher->messages, stage->capacity);
    if (status == PS_OK)
        status = grow_array((void **)&publisher->order, &publisher->order_room, sizeof *publisher->order,
                            stage->capacity);
    if (status == PS_OK)
        status = grow_array((void **)&publisher->groups, &publisher->group_room, sizeof *publisher->groups,
                            stage->group_capacity);
    return status;
}

/* What of a stage goes into one frame: places `begin` to `end` of the publisher's order. */
struct cut {
    uint32_t begin, end;
    uint32_t groups;
    size_t bytes;
};

static bool cut_takes(const struct publisher *publisher, const struct cut *cut, size_t bytes)
{
    return cut->end == cut->begin || (cut->end - cut->begin < publisher->limits.max_messages_per_frame &&
                                      cut->bytes + bytes <= publisher->limits.max_frame);
}

static enum ps_status send_cut(struct publisher *publisher, struct stage *stage, const struct cut *cut,
                               struct bytes *out, uint64_t *next_id)
{
    uint32_t count = cut->end - cut->begin;
    struct client_frame frame = {
        .request_id = {true, *next_id},
        .kind = CLIENT_PUBLISH,
        .publish = {.groups = publisher->groups, .group_count = cut->groups, .message_count = count},
    };
    enum ps_status status =
        grow_ring((void **)&publisher->frames, &publisher->frame_room, sizeof *publisher->frames,
                  publisher->frame_begin, publisher->frame_end, 1, FIRST_FRAMES);

    if (status == PS_OK)
        status = codec_encode_client(&frame, out);
    if (status != PS_OK)
        return status;
    *frame_at(publisher, publisher->frame_end++) = (struct sent_frame){
        .id = (*next_id)++, .first = publisher->ticket_end, .count = count, .unanswered = count};
    for (uint32_t i = cut->begin; i < cut->end; i++) {
        struct ticket *ticket = &stage->tickets[publisher->order[i]];

        *ticket_at(publisher, publisher->ticket_end++) = *ticket;
        ticket->answered = true;
    }
    return PS_OK;
}

/* Adds a message to the cut, in a group of its topic. */
static void cut_add(struct publisher *publisher, const struct stage *stage, const struct stage_group *group,
                    uint32_t index, struct cut *cut)
{
    struct publish_group *last = &publisher->groups[cut->groups == 0 ? 0 : cut->groups - 1];

    if (cut->groups == 0 || last->topic.data != group->topic.data) {
        last = &publisher->groups[cut->groups++];
        *last = (struct publish_group){.topic = group->topic, .messages = &publisher->messages[cut->end]};
        cut->bytes += group->topic.size + FRAME_BYTES_PER_GROUP;
    }
    last->count++;
    publisher->messages[cut->end] = stage->messages[index];
    publisher->order[cut->end++] = index;
    cut->bytes += stage_frame_bytes(&stage->messages[index]);
}

static enum ps_status send_stage(struct publisher *publisher, struct stage *stage, struct bytes *out,
                                 uint64_t *next_id)
{
    struct cut cut = {.bytes = FRAME_BYTES_AROUND};
    enum ps_status status = reserve(publisher, stage);

    for (uint32_t g = 0; status == PS_OK && g < stage->group_count; g++) {
        const struct stage_group *group = &stage->groups[g];

        for (uint32_t i = group->first; status == PS_OK && i != STAGE_NONE; i = stage->chain[i]) {
            size_t bytes = stage_frame_bytes(&stage->messages[i]) + group->topic.size + FRAME_BYTES_PER_GROUP;

            if (stage->tickets[i].answered)
                continue;
            if (!cut_takes(publisher, &cut, bytes)) {
                status = send_cut(publisher, stage, &cut, out, next_id);
                cut = (struct cut){.begin = cut.end, .end = cut.end, .bytes = FRAME_BYTES_AROUND};
            }
            cut_add(publisher, stage, group, i, &cut);
        }
    }
    return status == PS_OK && cut.end > cut.begin ? send_cut(publisher, stage, &cut, out, next_id) : status;
}

enum ps_status publisher_send(struct publisher *publisher, struct bytes *out, uint64_t *next_id)
{
    struct stage *stage;
    enum ps_status status;

    if (publisher->first_sealed == NULL)
        seal(publisher);
    stage = publisher->first_sealed;
    if (stage == NULL)
        return PS_OK;
    status = send_stage(publisher, stage, out, next_id);
    if (status != PS_OK)
        return status;
    publisher->first_sealed = stage->next;
    if (publisher->first_sealed == NULL)
        publisher->sealed_end = &publisher->first_sealed;
    put_stage(publisher, stage);
    return PS_OK;
}
