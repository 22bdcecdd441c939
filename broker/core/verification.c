/* Verify: steps of a check on the reader threads, one after the other and never two at a time, so that history has its
 * turn between them. The answers wait until the client takes them, and the check with them. One in a broker. */
#include "broker_state.h"
#include "requests.h"

#include <stdlib.h>

enum { STEP_MICROSECONDS = 5000, PROBLEMS_KEPT = 64, TEXT_BYTES = 32 * 1024, PROBLEMS_MOST = 1000 };
static const uint64_t TELL_EVERY_NS = 100 * 1000 * 1000;

struct verification_job {
    struct producer producer;
    struct broker *broker;
    struct reply reply;
    struct log_read read;
    uint64_t found, told, told_ns;
    /* of the steps since the last answer */
    uint32_t count;
    size_t used;
    struct problem problems[PROBLEMS_KEPT];
    uint8_t text[TEXT_BYTES];
};

static void job_free(struct verification_job *job)
{
    job->broker->checking = NULL;
    list_remove(&job->producer.in_session);
    store_verify_end(&job->read.verify);
    reply_drop(&job->reply);
    free(job);
}

static struct span keep(struct verification_job *job, struct span bytes)
{
    struct span kept = {job->text + job->used, bytes.size};

    if (!span_present(bytes))
        return SPAN_ABSENT;
    memcpy(job->text + job->used, bytes.data, bytes.size);
    job->used += bytes.size;
    return kept;
}

/* Reader thread. Beyond the most that are told they are only counted. */
static bool show(void *ctx, const struct store_problem *problem)
{
    struct verification_job *job = ctx;
    size_t size = problem->topic.size + problem->text.size;

    job->found++;
    if (job->told + job->count >= PROBLEMS_MOST)
        return true;
    if (job->count == PROBLEMS_KEPT || size > TEXT_BYTES - job->used)
        return false;
    job->problems[job->count] = (struct problem){
        .topic = keep(job, problem->topic), .offset = problem->offset, .text = keep(job, problem->text)};
    job->count++;
    return job->count < PROBLEMS_KEPT && TEXT_BYTES - job->used >= 1024;
}

static void answer(struct verification_job *job)
{
    const struct store_verify *verify = &job->read.verify;
    struct server_frame frame = {.request_id = job->reply.request_id, .kind = SERVER_VERIFICATION};

    frame.verification = (struct verification){.checked = verify->checked,
                                               .total = verify->total,
                                               .found = job->found,
                                               .records = verify->records,
                                               .problems = job->problems,
                                               .problem_count = job->count,
                                               .done = verify->done};
    session_send(job->reply.session, &frame);
    job->told += job->count;
    job->count = 0;
    job->used = 0;
    job->told_ns = broker_now(job->broker);
}

static void step_done(struct log_read *read)
{
    struct verification_job *job = LIST_OBJECT(read, struct verification_job, read);

    enum ps_status status = read->status == PS_OK ? broker_accepts(job->broker) : read->status;

    broker_read_done(job->broker);
    if (job->reply.session == NULL || status != PS_OK) {
        reply_refuse(&job->reply, status);
        job_free(job);
        return;
    }
    if (job->count > 0 || read->verify.done || broker_now(job->broker) - job->told_ns >= TELL_EVERY_NS)
        answer(job);
    if (read->verify.done) {
        job_free(job);
        return;
    }
    list_append(&job->reply.session->producers, &job->producer.in_session);
    session_wants_pump(job->reply.session);
}

static void step(struct producer *producer)
{
    struct verification_job *job = LIST_OBJECT(producer, struct verification_job, producer);

    list_remove(&producer->in_session);
    broker_read(job->broker, &job->read);
}

static void gone(struct producer *producer)
{
    job_free(LIST_OBJECT(producer, struct verification_job, producer));
}

void request_verify(struct session *session, const struct client_frame *frame)
{
    struct broker *broker = session->broker;
    struct verification_job *job;

    if (!session_admits_one(session, frame->request_id, "verifications", broker->checking != NULL))
        return;
    job = calloc(1, sizeof *job);
    if (job == NULL) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    broker->checking = job;
    job->broker = broker;
    job->producer = (struct producer){.step = step, .gone = gone};
    list_init(&job->producer.in_session);
    job->read = (struct log_read){.kind = LOG_READ_VERIFY, .done = step_done};
    job->read.verify = (struct store_verify){.max_microseconds = STEP_MICROSECONDS, .show = show, .ctx = job};
    reply_init(&job->reply, session, frame->request_id, true);
    broker_read(broker, &job->read);
}
