/* Requests that care for the log as a whole: a check of it, a copy of it. */
#include "client.h"

#include <stdlib.h>

/* ------------------------------------------------------------------------------------------------ verify */

struct verify_request {
    struct request request;
    psc_verification_fn *each; /* NULL: the end was told */
};

static void verify_fail(struct request *request, const struct psc_error *error)
{
    psc_verification_fn *each = ((struct verify_request *)request)->each;

    if (each != NULL)
        each(error, NULL, request->data);
}

/* The answers go on all the same, and belong to nobody else. */
static void verify_without_memory(struct request *request)
{
    struct error_box box;

    error_set(&box, PS_NO_MEMORY, NULL);
    verify_fail(request, &box.error);
    ((struct verify_request *)request)->each = NULL;
}

static enum request_verdict verify_answer(struct request *request, const struct server_frame *frame)
{
    const struct verification *verification = &frame->verification;
    enum request_verdict verdict = verification->done ? REQUEST_ANSWERED : REQUEST_MORE;
    struct psc_problem *problems;

    if (frame->kind != SERVER_VERIFICATION)
        return REQUEST_WRONG;
    if (((struct verify_request *)request)->each == NULL)
        return verdict;
    problems = calloc(verification->problem_count + 1, sizeof *problems);
    if (problems == NULL) {
        verify_without_memory(request);
        return verdict;
    }
    for (size_t i = 0; i < verification->problem_count; i++) {
        const struct problem *problem = &verification->problems[i];
        problems[i] = (struct psc_problem){bytes_from(problem->topic), problem->offset.present,
                                           problem->offset.value, bytes_from(problem->text)};
    }
    struct psc_verification told = {.checked = verification->checked,
                                    .total = verification->total,
                                    .records = verification->records,
                                    .found = verification->found,
                                    .problems = problems,
                                    .problem_count = verification->problem_count,
                                    .done = verification->done};
    ((struct verify_request *)request)->each(NULL, &told, request->data);
    free(problems);
    return verdict;
}

static const struct request_type verify_type = {.answer = verify_answer, .fail = verify_fail};

enum ps_status psc_verify(struct psc_client *client, psc_verification_fn *each, void *data)
{
    struct client_frame frame = {.kind = CLIENT_VERIFY};
    struct request *request;
    enum ps_status status =
        request_new(&verify_type, sizeof(struct verify_request), client->next_id++, &request);

    if (status != PS_OK)
        return status;
    ((struct verify_request *)request)->each = each;
    request->data = data;
    return client_request(client, request, &frame);
}

/* ------------------------------------------------------------------------------------------------ backup */

struct backup_request {
    struct request request;
    psc_backup_fn *each;
};

static void backup_fail(struct request *request, const struct psc_error *error)
{
    ((struct backup_request *)request)->each(error, NULL, request->data);
}

static enum request_verdict backup_answer(struct request *request, const struct server_frame *frame)
{
    const struct backup_state *state = &frame->backup_state;
    struct psc_backup_state told;

    if (frame->kind != SERVER_BACKUP_STATE)
        return REQUEST_WRONG;
    told = (struct psc_backup_state){state->copied, state->total, state->mark, state->ready};
    ((struct backup_request *)request)->each(NULL, &told, request->data);
    return state->ready ? REQUEST_ANSWERED : REQUEST_MORE;
}

static const struct request_type backup_type = {.answer = backup_answer, .fail = backup_fail};

enum ps_status psc_backup(struct psc_client *client, psc_backup_fn *each, void *data)
{
    struct client_frame frame = {.kind = CLIENT_BACKUP};
    struct request *request;
    enum ps_status status =
        request_new(&backup_type, sizeof(struct backup_request), client->next_id++, &request);

    if (status != PS_OK)
        return status;
    ((struct backup_request *)request)->each = each;
    request->data = data;
    return client_request(client, request, &frame);
}

struct chunk_request {
    struct request request;
    uint64_t offset;
    psc_backup_chunk_fn *done;
};

static void chunk_fail(struct request *request, const struct psc_error *error)
{
    ((struct chunk_request *)request)->done(error, (struct psc_bytes){NULL, 0}, request->data);
}

static enum request_verdict chunk_answer(struct request *request, const struct server_frame *frame)
{
    struct chunk_request *chunk = (struct chunk_request *)request;

    if (frame->kind != SERVER_BACKUP_CHUNK || frame->backup_chunk.offset != chunk->offset)
        return REQUEST_WRONG;
    chunk->done(NULL, bytes_from(frame->backup_chunk.data), request->data);
    return REQUEST_ANSWERED;
}

static const struct request_type chunk_type = {.answer = chunk_answer, .fail = chunk_fail};

enum ps_status psc_read_backup(struct psc_client *client, uint64_t offset, psc_backup_chunk_fn *done,
                               void *data)
{
    struct client_frame frame = {.kind = CLIENT_READ_BACKUP, .read_backup = offset};
    struct request *request;
    enum ps_status status;

    if (offset > INT64_MAX)
        return PS_INVALID_ARGUMENT;
    status = request_new(&chunk_type, sizeof(struct chunk_request), client->next_id++, &request);
    if (status != PS_OK)
        return status;
    ((struct chunk_request *)request)->offset = offset;
    ((struct chunk_request *)request)->done = done;
    request->data = data;
    return client_request(client, request, &frame);
}
