#include "codec.h"

#include "codec_decode.h"

#include <stddef.h>

/* Success and what is local to a process stand in no Error. */
static enum ps_status finish_error(void *place, uint32_t seen)
{
    (void)seen;
    const struct protocol_error *error = place;
    uint32_t number = (uint32_t)error->status;
    return number == PS_OK || ps_status_local(number) ? PS_MALFORMED : PS_OK;
}

#define AT(field) .at = offsetof(struct protocol_error, field)
static const struct member error_members[] = {
    [1] = {.kind = MEMBER_U32, .required = true, AT(status)},
    [2] = {.kind = MEMBER_TEXT, AT(text)},
    [3] = {.kind = MEMBER_BOOL, AT(retryable)},
    [4] = {.kind = MEMBER_U32, AT(retry_after_ms)},
    /* Anything but REFUSED counts as unknown: a later outcome must not read as "nothing was done". */
    [5] = {.kind = MEMBER_BOOL, AT(unknown)},
    [6] = {.kind = MEMBER_BYTES, AT(topic)},
    [7] = {.kind = MEMBER_OPTIONAL_OFFSET, AT(offset_from)},
    [8] = {.kind = MEMBER_OPTIONAL_OFFSET, AT(offset_to)},
    [9] = {.kind = MEMBER_TEXT, AT(limit_name)},
    [10] = {.kind = MEMBER_U64, AT(limit_value)},
};
#undef AT
static const struct shape shape_error = {
    sizeof(struct protocol_error), error_members, MEMBER_COUNT(error_members), 0, NULL, finish_error};

/* Goodbye and SubscriptionEnded keep their reason in an error. */
static const struct member goodbye_members[] = {
    [1] = {.kind = MEMBER_NESTED, .required = true, .at = 0, .shape = &shape_error}};
static const struct shape shape_goodbye = {
    sizeof(struct protocol_error), goodbye_members, MEMBER_COUNT(goodbye_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct limits, field)
static const struct member limits_members[] = {
    [1] = {.kind = MEMBER_U32, AT(max_frame)},
    [2] = {.kind = MEMBER_U32, AT(max_message)},
    [3] = {.kind = MEMBER_U32, AT(max_headers)},
    [4] = {.kind = MEMBER_U32, AT(max_header_bytes)},
    [5] = {.kind = MEMBER_U32, AT(max_messages_per_frame)},
    [6] = {.kind = MEMBER_U32, AT(max_subscriptions)},
    [7] = {.kind = MEMBER_U32, AT(hard_frame_cap)},
    [8] = {.kind = MEMBER_U32, AT(max_name_bytes)},
};
#undef AT
static const struct shape shape_limits = {
    sizeof(struct limits), limits_members, MEMBER_COUNT(limits_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct welcome, field)
static const struct member welcome_members[] = {
    [1] = {.kind = MEMBER_U32, .required = true, AT(version)},
    [2] = {.kind = MEMBER_NUMBERS},
    [3] = {.kind = MEMBER_BYTES, .required = true, AT(log_id)},
    [4] = {.kind = MEMBER_NESTED, .required = true, AT(limits), .shape = &shape_limits},
    [5] = {.kind = MEMBER_U64, .required = true, AT(publish_window)},
    [6] = {.kind = MEMBER_U32, .required = true, AT(ping_interval_ms)},
    [7] = {.kind = MEMBER_TEXT, AT(server_version)},
};
#undef AT
static const struct shape shape_welcome = {
    sizeof(struct welcome), welcome_members, MEMBER_COUNT(welcome_members), 0, NULL, NULL};

/* A run is either accepted with its first offset or carries an error; its sums do not overflow. */
static enum ps_status finish_run(void *place, uint32_t seen)
{
    struct published_run *run = place;
    bool accepted = (seen & 1u << 3) != 0, refused = (seen & 1u << 4) != 0;
    if (accepted == refused || run->count > UINT32_MAX - run->first_index)
        return PS_MALFORMED;
    if (run->first_offset > OFFSET_MAX - run->count)
        return PS_MALFORMED;
    run->status = refused ? run->error.status : PS_OK;
    return PS_OK;
}

#define AT(field) .at = offsetof(struct published_run, field)
static const struct member run_members[] = {
    [1] = {.kind = MEMBER_U32, .required = true, AT(first_index)},
    [2] = {.kind = MEMBER_U32, .required = true, AT(count)},
    [3] = {.kind = MEMBER_OFFSET, AT(first_offset)},
    [4] = {.kind = MEMBER_NESTED, AT(error), .shape = &shape_error},
};
#undef AT
static const struct shape shape_run = {
    sizeof(struct published_run),    run_members, MEMBER_COUNT(run_members),
    PROTOCOL_MAX_MESSAGES_PER_FRAME, NULL,        finish_run};

static const struct member published_members[] = {[1] = {.kind = MEMBER_REPEATED,
                                                         .at = offsetof(struct published, runs),
                                                         .count_at = offsetof(struct published, run_count),
                                                         .shape = &shape_run}};
static const struct shape shape_published = {
    sizeof(struct published), published_members, MEMBER_COUNT(published_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct topic_start, field)
static const struct member topic_start_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(topic)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(offset)},
    [3] = {.kind = MEMBER_OFFSET, .required = true, AT(head)},
    [4] = {.kind = MEMBER_OFFSET, AT(first)},
};
#undef AT
static const struct shape shape_topic_start = {
    sizeof(struct topic_start), topic_start_members, MEMBER_COUNT(topic_start_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct subscribed, field)
static const struct member subscribed_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(subscription)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(mark)},
    [3] = {.kind = MEMBER_BOOL, AT(created)},
    [4] = {.kind = MEMBER_U64, AT(generation)},
    [5] = {.kind = MEMBER_REPEATED,
           AT(starts),
           .count_at = offsetof(struct subscribed, start_count),
           .shape = &shape_topic_start},
    [6] = {.kind = MEMBER_BOOL, AT(more)},
};
#undef AT
static const struct shape shape_subscribed = {
    sizeof(struct subscribed), subscribed_members, MEMBER_COUNT(subscribed_members), 0, NULL, NULL};

static const struct shape shape_delivery = {sizeof(struct delivery), NULL, 0, 0, decode_delivery, NULL};

#define AT(field) .at = offsetof(struct progress, field)
static const struct member progress_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(subscription)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(mark)},
};
#undef AT
static const struct shape shape_progress = {
    sizeof(struct progress), progress_members, MEMBER_COUNT(progress_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct gap, field)
static const struct member gap_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(subscription)},
    [2] = {.kind = MEMBER_BYTES, .required = true, AT(topic)},
    [3] = {.kind = MEMBER_OFFSET, .required = true, AT(from)},
    [4] = {.kind = MEMBER_OFFSET, .required = true, AT(to)},
};
#undef AT
static const struct shape shape_gap = {
    sizeof(struct gap), gap_members, MEMBER_COUNT(gap_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct subscription_ended, field)
static const struct member ended_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(subscription)},
    [2] = {.kind = MEMBER_NESTED, .required = true, AT(reason), .shape = &shape_error},
};
#undef AT
static const struct shape shape_ended = {
    sizeof(struct subscription_ended), ended_members, MEMBER_COUNT(ended_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct topic_info, field)
static const struct member topic_info_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(topic)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(first)},
    [3] = {.kind = MEMBER_OFFSET, .required = true, AT(head)},
    [4] = {.kind = MEMBER_U32, AT(subscribers)},
};
#undef AT
static const struct shape shape_topic_info = {
    sizeof(struct topic_info), topic_info_members, MEMBER_COUNT(topic_info_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct topic_list, field)
static const struct member topic_list_members[] = {
    [1] = {.kind = MEMBER_REPEATED,
           AT(topics),
           .count_at = offsetof(struct topic_list, topic_count),
           .shape = &shape_topic_info},
    [2] = {.kind = MEMBER_BOOL, AT(more)},
};
#undef AT
static const struct shape shape_topic_list = {
    sizeof(struct topic_list), topic_list_members, MEMBER_COUNT(topic_list_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct topic_position, field)
static const struct member position_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(topic)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(committed)},
    [3] = {.kind = MEMBER_OFFSET, .required = true, AT(lag)},
};
#undef AT
static const struct shape shape_position = {
    sizeof(struct topic_position), position_members, MEMBER_COUNT(position_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct subscription_info, field)
static const struct member subscription_info_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(durable_id)},
    [2] = {.kind = MEMBER_BYTES, .required = true, AT(filter)},
    [3] = {.kind = MEMBER_NESTED, AT(start), .shape = &shape_shown_start},
    [4] = {.kind = MEMBER_OFFSET, AT(mark)},
    [5] = {.kind = MEMBER_U64, AT(generation)},
    [6] = {.kind = MEMBER_BOOL, AT(attached)},
    [7] = {.kind = MEMBER_REPEATED,
           AT(positions),
           .count_at = offsetof(struct subscription_info, position_count),
           .shape = &shape_position},
};
#undef AT
static const struct shape shape_subscription_info = {sizeof(struct subscription_info),
                                                     subscription_info_members,
                                                     MEMBER_COUNT(subscription_info_members),
                                                     PROTOCOL_MAX_MESSAGES_PER_FRAME,
                                                     NULL,
                                                     NULL};

#define AT(field) .at = offsetof(struct subscription_list, field)
static const struct member subscription_list_members[] = {
    [1] = {.kind = MEMBER_REPEATED,
           AT(subscriptions),
           .count_at = offsetof(struct subscription_list, subscription_count),
           .shape = &shape_subscription_info},
    [2] = {.kind = MEMBER_BOOL, AT(more)},
};
#undef AT
static const struct shape shape_subscription_list = {sizeof(struct subscription_list),
                                                     subscription_list_members,
                                                     MEMBER_COUNT(subscription_list_members),
                                                     0,
                                                     NULL,
                                                     NULL};

#define AT(field) .at = offsetof(struct info, field)
static const struct member info_members[] = {
    [1] = {.kind = MEMBER_TEXT, AT(version)},        [2] = {.kind = MEMBER_BYTES, AT(log_id)},
    [3] = {.kind = MEMBER_U64, AT(uptime_ms)},       [4] = {.kind = MEMBER_U32, AT(connections)},
    [5] = {.kind = MEMBER_U64, AT(queued_bytes)},    [6] = {.kind = MEMBER_U64, AT(commits)},
    [7] = {.kind = MEMBER_U64, AT(messages)},        [8] = {.kind = MEMBER_DOUBLE, AT(messages_per_commit)},
    [9] = {.kind = MEMBER_U64, AT(wal_bytes)},       [10] = {.kind = MEMBER_U64, AT(oldest_reader_ms)},
    [11] = {.kind = MEMBER_U64, AT(memory_bytes)},   [12] = {.kind = MEMBER_U64, AT(free_disk_bytes)},
    [13] = {.kind = MEMBER_U64, AT(database_bytes)}, [14] = {.kind = MEMBER_U64, AT(topics)},
    [15] = {.kind = MEMBER_U64, AT(subscriptions)},  [16] = {.kind = MEMBER_U64, AT(delivered)},
    [17] = {.kind = MEMBER_U64, AT(tail_bytes)},     [18] = {.kind = MEMBER_OFFSET, AT(mark)},
};
#undef AT
static const struct shape shape_info = {
    sizeof(struct info), info_members, MEMBER_COUNT(info_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct problem, field)
static const struct member problem_members[] = {
    [1] = {.kind = MEMBER_BYTES, AT(topic)},
    [2] = {.kind = MEMBER_OPTIONAL_OFFSET, AT(offset)},
    [3] = {.kind = MEMBER_TEXT, .required = true, AT(text)},
};
#undef AT
static const struct shape shape_problem = {
    sizeof(struct problem), problem_members, MEMBER_COUNT(problem_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct verification, field)
static const struct member verification_members[] = {
    [1] = {.kind = MEMBER_OFFSET, .required = true, AT(checked)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(total)},
    [3] = {.kind = MEMBER_REPEATED,
           AT(problems),
           .count_at = offsetof(struct verification, problem_count),
           .shape = &shape_problem},
    [4] = {.kind = MEMBER_U64, AT(found)},
    [5] = {.kind = MEMBER_BOOL, AT(done)},
    [6] = {.kind = MEMBER_U64, AT(records)},
};
#undef AT
static const struct shape shape_verification = {
    sizeof(struct verification), verification_members, MEMBER_COUNT(verification_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct backup_state, field)
static const struct member backup_state_members[] = {
    [1] = {.kind = MEMBER_U64, .required = true, AT(copied)},
    [2] = {.kind = MEMBER_U64, .required = true, AT(total)},
    [3] = {.kind = MEMBER_BOOL, AT(ready)},
    [4] = {.kind = MEMBER_OFFSET, AT(mark)},
};
#undef AT
static const struct shape shape_backup_state = {
    sizeof(struct backup_state), backup_state_members, MEMBER_COUNT(backup_state_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct backup_chunk, field)
static const struct member backup_chunk_members[] = {
    [1] = {.kind = MEMBER_OFFSET, .required = true, AT(offset)},
    [2] = {.kind = MEMBER_BYTES, AT(data)},
};
#undef AT
static const struct shape shape_backup_chunk = {
    sizeof(struct backup_chunk), backup_chunk_members, MEMBER_COUNT(backup_chunk_members), 0, NULL, NULL};

static const struct shape shape_done = {0, NULL, 0, 0, NULL, NULL};

/* Indexed by field number of ServerFrame. All members of the union begin where `error` does. */
static const struct {
    enum server_frame_kind kind;
    const struct shape *shape;
} bodies[] = {
    [2] = {SERVER_ERROR, &shape_error},
    [3] = {SERVER_WELCOME, &shape_welcome},
    [4] = {SERVER_PING, &shape_ping},
    [5] = {SERVER_PONG, &shape_ping},
    [6] = {SERVER_PUBLISHED, &shape_published},
    [7] = {SERVER_SUBSCRIBED, &shape_subscribed},
    [8] = {SERVER_DELIVERY, &shape_delivery},
    [9] = {SERVER_PROGRESS, &shape_progress},
    [10] = {SERVER_GAP, &shape_gap},
    [11] = {SERVER_SUBSCRIPTION_ENDED, &shape_ended},
    [12] = {SERVER_DONE, &shape_done},
    [13] = {SERVER_TOPIC_LIST, &shape_topic_list},
    [14] = {SERVER_SUBSCRIPTION_LIST, &shape_subscription_list},
    [15] = {SERVER_INFO, &shape_info},
    [16] = {SERVER_GOODBYE, &shape_goodbye},
    [17] = {SERVER_VERIFICATION, &shape_verification},
    [18] = {SERVER_BACKUP_STATE, &shape_backup_state},
    [19] = {SERVER_BACKUP_CHUNK, &shape_backup_chunk},
};

enum ps_status codec_decode_server(struct span body, struct arena *arena, struct server_frame *frame)
{
    struct server_frame result;
    struct frame_body found;
    memset(&result, 0, sizeof result);
    enum ps_status status = decode_frame(body, MEMBER_COUNT(bodies), &result.request_id, &found);
    if (status == PS_OK && found.number != 0) {
        result.kind = bodies[found.number].kind;
        status = decode_shape(bodies[found.number].shape, found.bytes, arena, &result.error);
    }
    if (status == PS_OK)
        *frame = result;
    return status;
}
