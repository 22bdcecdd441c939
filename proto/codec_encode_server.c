#include "codec_pack.h"

#include <assert.h>

/* A status that is local to a process and got here all the same is reported as a defect. */
static void pack_error(struct scratch *scratch, const struct protocol_error *error, Psbroker__Error *packed)
{
    psbroker__error__init(packed);
    assert(error->status != PS_OK);
    uint32_t number = (uint32_t)error->status;
    packed->status = ps_status_local(number) ? (uint32_t)PS_INTERNAL : number;
    packed->text = pack_text(scratch, error->text);
    packed->has_retryable = true;
    packed->retryable = error->retryable;
    packed->has_retry_after_ms = error->retry_after_ms != 0;
    packed->retry_after_ms = error->retry_after_ms;
    packed->has_outcome = error->unknown;
    packed->outcome = PSBROKER__ERROR__OUTCOME__UNKNOWN;
    packed->has_topic = span_present(error->topic);
    packed->topic = pack_bytes(error->topic);
    packed->has_offset_from = error->offset_from.present;
    packed->offset_from = error->offset_from.value;
    packed->has_offset_to = error->offset_to.present;
    packed->offset_to = error->offset_to.value;
    packed->limit_name = pack_text(scratch, error->limit_name);
    packed->has_limit_value = span_present(error->limit_name) || error->limit_value != 0;
    packed->limit_value = error->limit_value;
}

static void pack_limits(const struct limits *limits, Psbroker__Limits *packed)
{
    psbroker__limits__init(packed);
    packed->has_max_frame = true;
    packed->max_frame = limits->max_frame;
    packed->has_max_message = true;
    packed->max_message = limits->max_message;
    packed->has_max_headers = true;
    packed->max_headers = limits->max_headers;
    packed->has_max_header_bytes = true;
    packed->max_header_bytes = limits->max_header_bytes;
    packed->has_max_messages_per_frame = true;
    packed->max_messages_per_frame = limits->max_messages_per_frame;
    packed->has_max_subscriptions = true;
    packed->max_subscriptions = limits->max_subscriptions;
    packed->has_hard_frame_cap = true;
    packed->hard_frame_cap = limits->hard_frame_cap;
    packed->has_max_name_bytes = true;
    packed->max_name_bytes = limits->max_name_bytes;
}

static void pack_welcome(struct scratch *scratch, const struct welcome *welcome, Psbroker__Limits *limits,
                         Psbroker__Welcome *packed)
{
    psbroker__welcome__init(packed);
    pack_limits(&welcome->limits, limits);
    packed->version = welcome->version;
    packed->log_id = pack_bytes(welcome->log_id);
    packed->limits = limits;
    packed->publish_window = welcome->publish_window;
    packed->ping_interval_ms = welcome->ping_interval_ms;
    packed->server_version = pack_text(scratch, welcome->server_version);
}

static void pack_run(struct scratch *scratch, const struct published_run *run, Psbroker__PublishedRun *packed)
{
    psbroker__published_run__init(packed);
    packed->first_index = run->first_index;
    packed->count = run->count;
    packed->has_first_offset = run->status == PS_OK;
    packed->first_offset = run->first_offset;
    if (run->status == PS_OK)
        return;
    packed->error = scratch_alloc(scratch, 1, sizeof *packed->error);
    if (packed->error == NULL)
        return;
    const struct protocol_error plain = protocol_error_of(run->status);
    pack_error(scratch, run->error.status != PS_OK ? &run->error : &plain, packed->error);
}

static void pack_published(struct scratch *scratch, const struct published *published,
                           Psbroker__Published *packed)
{
    psbroker__published__init(packed);
    Psbroker__PublishedRun *runs = scratch_alloc(scratch, published->run_count, sizeof *runs);
    Psbroker__PublishedRun **pointers = scratch_alloc(scratch, published->run_count, sizeof *pointers);
    if (scratch->failed)
        return;
    for (size_t i = 0; i < published->run_count; i++) {
        pack_run(scratch, &published->runs[i], &runs[i]);
        pointers[i] = &runs[i];
    }
    packed->runs = pointers;
    packed->n_runs = published->run_count;
}

static void pack_subscribed(struct scratch *scratch, const struct subscribed *subscribed,
                            Psbroker__Subscribed *packed)
{
    psbroker__subscribed__init(packed);
    packed->subscription = subscribed->subscription;
    packed->mark = subscribed->mark;
    packed->has_created = true;
    packed->created = subscribed->created;
    packed->has_generation = subscribed->generation != 0;
    packed->generation = subscribed->generation;
    packed->has_more = subscribed->more;
    packed->more = subscribed->more;
    Psbroker__TopicStart *starts = scratch_alloc(scratch, subscribed->start_count, sizeof *starts);
    Psbroker__TopicStart **pointers = scratch_alloc(scratch, subscribed->start_count, sizeof *pointers);
    if (scratch->failed)
        return;
    for (size_t i = 0; i < subscribed->start_count; i++) {
        const struct topic_start *start = &subscribed->starts[i];
        psbroker__topic_start__init(&starts[i]);
        starts[i].topic = pack_bytes(start->topic);
        starts[i].offset = start->offset;
        starts[i].head = start->head;
        starts[i].has_first = true;
        starts[i].first = start->first;
        pointers[i] = &starts[i];
    }
    packed->starts = pointers;
    packed->n_starts = subscribed->start_count;
}

static void pack_gap(const struct gap *gap, Psbroker__Gap *packed)
{
    psbroker__gap__init(packed);
    packed->subscription = gap->subscription;
    packed->topic = pack_bytes(gap->topic);
    packed->from = gap->from;
    packed->to = gap->to;
}

static void pack_topic_list(struct scratch *scratch, const struct topic_list *list,
                            Psbroker__TopicList *packed)
{
    psbroker__topic_list__init(packed);
    packed->has_more = list->more;
    packed->more = list->more;
    Psbroker__TopicInfo *topics = scratch_alloc(scratch, list->topic_count, sizeof *topics);
    Psbroker__TopicInfo **pointers = scratch_alloc(scratch, list->topic_count, sizeof *pointers);
    if (scratch->failed)
        return;
    for (size_t i = 0; i < list->topic_count; i++) {
        psbroker__topic_info__init(&topics[i]);
        topics[i].topic = pack_bytes(list->topics[i].topic);
        topics[i].first = list->topics[i].first;
        topics[i].head = list->topics[i].head;
        topics[i].has_subscribers = true;
        topics[i].subscribers = list->topics[i].subscribers;
        pointers[i] = &topics[i];
    }
    packed->topics = pointers;
    packed->n_topics = list->topic_count;
}

static void pack_positions(struct scratch *scratch, const struct subscription_info *info,
                           Psbroker__SubscriptionInfo *packed)
{
    Psbroker__TopicPosition *positions = scratch_alloc(scratch, info->position_count, sizeof *positions);
    Psbroker__TopicPosition **pointers = scratch_alloc(scratch, info->position_count, sizeof *pointers);
    if (scratch->failed)
        return;
    for (size_t i = 0; i < info->position_count; i++) {
        psbroker__topic_position__init(&positions[i]);
        positions[i].topic = pack_bytes(info->positions[i].topic);
        positions[i].committed = info->positions[i].committed;
        positions[i].lag = info->positions[i].lag;
        pointers[i] = &positions[i];
    }
    packed->positions = pointers;
    packed->n_positions = info->position_count;
}

static void pack_subscription_info(struct scratch *scratch, const struct subscription_info *info,
                                   Psbroker__SubscriptionInfo *packed)
{
    psbroker__subscription_info__init(packed);
    packed->durable_id = pack_bytes(info->durable_id);
    packed->filter = pack_bytes(info->filter);
    packed->has_mark = true;
    packed->mark = info->mark;
    packed->has_generation = true;
    packed->generation = info->generation;
    packed->has_attached = true;
    packed->attached = info->attached;
    packed->start = scratch_alloc(scratch, 1, sizeof *packed->start);
    Psbroker__Start__Resume *resume = scratch_alloc(scratch, 1, sizeof *resume);
    if (scratch->failed)
        return;
    pack_start(scratch, &info->start, packed->start, resume);
    pack_positions(scratch, info, packed);
}

static void pack_subscription_list(struct scratch *scratch, const struct subscription_list *list,
                                   Psbroker__SubscriptionList *packed)
{
    psbroker__subscription_list__init(packed);
    packed->has_more = list->more;
    packed->more = list->more;
    size_t count = list->subscription_count;
    Psbroker__SubscriptionInfo *infos = scratch_alloc(scratch, count, sizeof *infos);
    Psbroker__SubscriptionInfo **pointers = scratch_alloc(scratch, count, sizeof *pointers);
    if (scratch->failed)
        return;
    for (size_t i = 0; i < count; i++) {
        pack_subscription_info(scratch, &list->subscriptions[i], &infos[i]);
        pointers[i] = &infos[i];
    }
    packed->subscriptions = pointers;
    packed->n_subscriptions = count;
}

static void pack_info(struct scratch *scratch, const struct info *info, Psbroker__Info *packed)
{
    psbroker__info__init(packed);
    packed->version = pack_text(scratch, info->version);
    packed->has_log_id = span_present(info->log_id);
    packed->log_id = pack_bytes(info->log_id);
#define PACK_NUMBER(member)                                                                                  \
    packed->has_##member = true;                                                                             \
    packed->member = info->member
    PACK_NUMBER(uptime_ms);
    PACK_NUMBER(connections);
    PACK_NUMBER(queued_bytes);
    PACK_NUMBER(commits);
    PACK_NUMBER(messages);
    PACK_NUMBER(messages_per_commit);
    PACK_NUMBER(wal_bytes);
    PACK_NUMBER(oldest_reader_ms);
    PACK_NUMBER(memory_bytes);
    PACK_NUMBER(free_disk_bytes);
    PACK_NUMBER(database_bytes);
    PACK_NUMBER(topics);
    PACK_NUMBER(subscriptions);
    PACK_NUMBER(delivered);
    PACK_NUMBER(tail_bytes);
    PACK_NUMBER(mark);
#undef PACK_NUMBER
}

static void pack_verification(struct scratch *scratch, const struct verification *verification,
                              Psbroker__Verification *packed)
{
    size_t count = verification->problem_count;
    Psbroker__Problem *problems = scratch_alloc(scratch, count, sizeof *problems);
    Psbroker__Problem **pointers = scratch_alloc(scratch, count, sizeof *pointers);

    psbroker__verification__init(packed);
    packed->checked = verification->checked;
    packed->total = verification->total;
    packed->has_found = packed->has_records = packed->has_done = true;
    packed->found = verification->found;
    packed->records = verification->records;
    packed->done = verification->done;
    if (problems == NULL || pointers == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct problem *problem = &verification->problems[i];
        psbroker__problem__init(&problems[i]);
        problems[i].has_topic = span_present(problem->topic);
        problems[i].topic = pack_bytes(problem->topic);
        problems[i].has_offset = problem->offset.present;
        problems[i].offset = problem->offset.value;
        problems[i].text = pack_text(scratch, problem->text);
        pointers[i] = &problems[i];
    }
    packed->problems = pointers;
    packed->n_problems = count;
}

static void pack_backup_state(const struct backup_state *state, Psbroker__BackupState *packed)
{
    psbroker__backup_state__init(packed);
    packed->copied = state->copied;
    packed->total = state->total;
    packed->has_ready = packed->has_mark = true;
    packed->ready = state->ready;
    packed->mark = state->mark;
}

static void pack_backup_chunk(const struct backup_chunk *chunk, Psbroker__BackupChunk *packed)
{
    psbroker__backup_chunk__init(packed);
    packed->offset = chunk->offset;
    packed->has_data = span_present(chunk->data);
    packed->data = pack_bytes(chunk->data);
}

static void pack_progress(const struct progress *progress, Psbroker__Progress *packed)
{
    psbroker__progress__init(packed);
    packed->subscription = progress->subscription;
    packed->mark = progress->mark;
}

static void pack_ended(struct scratch *scratch, const struct subscription_ended *ended,
                       Psbroker__Error *reason, Psbroker__SubscriptionEnded *packed)
{
    psbroker__subscription_ended__init(packed);
    pack_error(scratch, &ended->reason, reason);
    packed->subscription = ended->subscription;
    packed->reason = reason;
}

static void pack_goodbye(struct scratch *scratch, const struct protocol_error *error, Psbroker__Error *reason,
                         Psbroker__Goodbye *packed)
{
    psbroker__goodbye__init(packed);
    pack_error(scratch, error, reason);
    packed->reason = reason;
}

/* What the packed frame points to. */
struct parts {
    Psbroker__Error error;
    Psbroker__Limits limits;
    union {
        Psbroker__Welcome welcome;
        Psbroker__Ping ping;
        Psbroker__Pong pong;
        Psbroker__Published published;
        Psbroker__Subscribed subscribed;
        Psbroker__Progress progress;
        Psbroker__Gap gap;
        Psbroker__SubscriptionEnded subscription_ended;
        Psbroker__Done done;
        Psbroker__TopicList topic_list;
        Psbroker__SubscriptionList subscription_list;
        Psbroker__Info info;
        Psbroker__Goodbye goodbye;
        Psbroker__Verification verification;
        Psbroker__BackupState backup_state;
        Psbroker__BackupChunk backup_chunk;
    };
};

/* False for a kind that is not packed here. */
static bool pack_body(const struct server_frame *frame, struct scratch *scratch, struct parts *parts,
                      Psbroker__ServerFrame *packed)
{
#define BODY(member, kind)                                                                                   \
    packed->body_case = PSBROKER__SERVER_FRAME__BODY_##kind, packed->member = &parts->member
    switch (frame->kind) {
    case SERVER_ERROR:
        pack_error(scratch, &frame->error, &parts->error);
        BODY(error, ERROR);
        return true;
    case SERVER_WELCOME:
        pack_welcome(scratch, &frame->welcome, &parts->limits, &parts->welcome);
        BODY(welcome, WELCOME);
        return true;
    case SERVER_PING:
        pack_ping(frame->ping_token, &parts->ping);
        BODY(ping, PING);
        return true;
    case SERVER_PONG:
        pack_pong(frame->ping_token, &parts->pong);
        BODY(pong, PONG);
        return true;
    case SERVER_PUBLISHED:
        pack_published(scratch, &frame->published, &parts->published);
        BODY(published, PUBLISHED);
        return true;
    case SERVER_SUBSCRIBED:
        pack_subscribed(scratch, &frame->subscribed, &parts->subscribed);
        BODY(subscribed, SUBSCRIBED);
        return true;
    case SERVER_PROGRESS:
        pack_progress(&frame->progress, &parts->progress);
        BODY(progress, PROGRESS);
        return true;
    case SERVER_GAP:
        pack_gap(&frame->gap, &parts->gap);
        BODY(gap, GAP);
        return true;
    case SERVER_SUBSCRIPTION_ENDED:
        pack_ended(scratch, &frame->ended, &parts->error, &parts->subscription_ended);
        BODY(subscription_ended, SUBSCRIPTION_ENDED);
        return true;
    case SERVER_DONE:
        psbroker__done__init(&parts->done);
        BODY(done, DONE);
        return true;
    case SERVER_TOPIC_LIST:
        pack_topic_list(scratch, &frame->topic_list, &parts->topic_list);
        BODY(topic_list, TOPIC_LIST);
        return true;
    case SERVER_SUBSCRIPTION_LIST:
        pack_subscription_list(scratch, &frame->subscription_list, &parts->subscription_list);
        BODY(subscription_list, SUBSCRIPTION_LIST);
        return true;
    case SERVER_INFO:
        pack_info(scratch, &frame->info, &parts->info);
        BODY(info, INFO);
        return true;
    case SERVER_GOODBYE:
        pack_goodbye(scratch, &frame->error, &parts->error, &parts->goodbye);
        BODY(goodbye, GOODBYE);
        return true;
    case SERVER_VERIFICATION:
        pack_verification(scratch, &frame->verification, &parts->verification);
        BODY(verification, VERIFICATION);
        return true;
    case SERVER_BACKUP_STATE:
        pack_backup_state(&frame->backup_state, &parts->backup_state);
        BODY(backup_state, BACKUP_STATE);
        return true;
    case SERVER_BACKUP_CHUNK:
        pack_backup_chunk(&frame->backup_chunk, &parts->backup_chunk);
        BODY(backup_chunk, BACKUP_CHUNK);
        return true;
    case SERVER_NONE:
    case SERVER_DELIVERY:
        break;
    }
#undef BODY
    return false;
}

enum ps_status codec_encode_server(const struct server_frame *frame, struct bytes *out)
{
    struct scratch scratch = {0};
    struct parts parts;
    Psbroker__ServerFrame packed = PSBROKER__SERVER_FRAME__INIT;
    packed.has_request_id = frame->request_id.present;
    packed.request_id = frame->request_id.value;
    bool known = pack_body(frame, &scratch, &parts, &packed);
    assert(known);
    (void)known;
    return pack_frame(&scratch, &packed.base, out);
}
