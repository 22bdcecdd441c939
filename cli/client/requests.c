#include "requests.h"

#include <stdlib.h>

void requests_init(struct requests *requests)
{
    *requests = (struct requests){.end = &requests->first};
}

enum ps_status request_new(const struct request_type *type, size_t size, uint64_t id,
                           struct request **request)
{
    struct request *made = calloc(1, size);

    if (made == NULL)
        return PS_NO_MEMORY;
    made->type = type;
    made->id = id;
    *request = made;
    return PS_OK;
}

void request_free(struct request *request)
{
    if (request == NULL)
        return;
    if (request->type->deinit != NULL)
        request->type->deinit(request);
    bytes_deinit(&request->frame);
    free(request);
}

enum ps_status request_encode(struct request *request, struct client_frame *frame)
{
    frame->request_id = (struct optional_u64){true, request->id};
    request->frame.size = 0;
    return codec_encode_client(frame, &request->frame);
}

void requests_add(struct requests *requests, struct request *request)
{
    request->next = NULL;
    *requests->end = request;
    requests->end = &request->next;
    requests->count++;
    if (requests->unsent == NULL)
        requests->unsent = request;
}

enum ps_status requests_send(struct requests *requests, struct bytes *out, uint64_t now_ns)
{
    for (; requests->unsent != NULL; requests->unsent = requests->unsent->next) {
        struct request *request = requests->unsent;
        enum ps_status status = bytes_reserve(out, request->frame.size);

        if (status != PS_OK)
            return status;
        memcpy(out->data + out->size, request->frame.data, request->frame.size);
        out->size += request->frame.size;
        bytes_deinit(&request->frame);
        request->sent = true;
        request->sent_at_ns = now_ns;
    }
    return PS_OK;
}

static struct request **find(struct requests *requests, uint64_t id)
{
    for (struct request **at = &requests->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == id && (*at)->sent)
            return at;
    }
    return NULL;
}

static struct request *take(struct requests *requests, struct request **at)
{
    struct request *request = *at;

    *at = request->next;
    if (requests->end == &request->next)
        requests->end = at;
    requests->count--;
    return request;
}

/* It is out of the table while its callback runs: callbacks may make new requests. */
bool requests_answer(struct requests *requests, uint64_t id, const struct server_frame *frame,
                     enum request_verdict *verdict)
{
    struct request **at = find(requests, id), *request;

    if (at == NULL)
        return false;
    request = take(requests, at);
    if (frame->kind == SERVER_ERROR) {
        struct error_box box;

        error_from_wire(&box, &frame->error);
        request->type->fail(request, &box.error);
        *verdict = REQUEST_ANSWERED;
    } else {
        *verdict = request->type->answer(request, frame);
    }
    if (*verdict == REQUEST_ANSWERED) {
        request_free(request);
        return true;
    }
    request->sent = request->frame.size == 0;
    if (request->sent) {
        request->next = requests->first;
        requests->first = request;
        if (request->next == NULL)
            requests->end = &request->next;
        requests->count++;
    } else {
        requests_add(requests, request);
    }
    return true;
}

void requests_lost(struct requests *requests, enum ps_status status, const char *text)
{
    struct request *request = requests->first;

    requests_init(requests);
    while (request != NULL) {
        struct request *next = request->next;
        struct error_box box;

        error_set(&box, request->sent && request->type->changes ? PS_UNKNOWN : status, text);
        request->type->fail(request, &box.error);
        request_free(request);
        request = next;
    }
}

static enum request_verdict done_answer(struct request *request, const struct server_frame *frame)
{
    if (frame->kind != SERVER_DONE)
        return REQUEST_WRONG;
    if (request->done != NULL)
        request->done(NULL, request->data);
    return REQUEST_ANSWERED;
}

static void done_fail(struct request *request, const struct psc_error *error)
{
    if (request->done != NULL)
        request->done(error, request->data);
}

const struct request_type request_done_type = {.answer = done_answer, .fail = done_fail, .changes = true};
const struct request_type request_detach_type = {.answer = done_answer, .fail = done_fail};
