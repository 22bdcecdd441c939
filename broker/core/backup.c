/* Backup: the store makes a copy, in steps between commits, and its state tells how far it is; then the client asks for
 * the copy piece by piece. One at a time in a broker.
 *
 *     STARTING ──► COPYING ──► READY ──► ENDING, when the connection is gone
 *         └───────────┴── failed ────────► ENDING
 *
 * A copy that is ready may still fail, where the disk gets short: then its pieces are refused.
 *
 * The copy lives as long as its connection, so a client that is killed leaves none. */
#include "broker_state.h"
#include "requests.h"

#include <stdlib.h>

enum { CHUNK_BYTES = 256 * 1024 };
static const uint64_t TELL_EVERY_NS = 100 * 1000 * 1000;

enum backup_phase { BACKUP_STARTING, BACKUP_COPYING, BACKUP_READY, BACKUP_ENDING };

struct backup_job {
    struct log_write write;
    struct broker *broker;
    struct session *session; /* NULL: gone */
    struct reply reply;
    enum backup_phase phase;
    bool reading;
    uint64_t told_ns;
};

static void ended(struct log_write *write, const struct store_state *state)
{
    struct backup_job *job = LIST_OBJECT(write, struct backup_job, write);
    struct broker *broker = job->broker;

    broker_written(broker, write, state);
    broker->backup = NULL;
    reply_drop(&job->reply);
    free(job);
}

static void end(struct backup_job *job)
{
    job->phase = BACKUP_ENDING;
    job->write.op = (struct store_op){.kind = STORE_BACKUP, .backup = {.end = true}};
    job->write.done = ended;
    broker_write(job->broker, &job->write);
}

static void tell(struct backup_job *job, const struct store_backup_state *state, bool ready)
{
    struct server_frame frame = {.request_id = job->reply.request_id, .kind = SERVER_BACKUP_STATE};

    frame.backup_state = (struct backup_state){
        .copied = state->copied, .total = state->total, .mark = ready ? state->mark : 0, .ready = ready};
    session_send(job->session, &frame);
    session_wants_pump(job->session);
    job->told_ns = broker_now(job->broker);
}

void backup_look(struct broker *broker)
{
    const struct store_backup_state *state = &broker->state.backup;
    struct backup_job *job = broker->backup;

    if (job == NULL || job->phase != BACKUP_COPYING)
        return;
    if (state->phase == STORE_BACKUP_FAILED) {
        reply_refuse(&job->reply, state->status);
        end(job);
    } else if (state->phase == STORE_BACKUP_READY) {
        job->phase = BACKUP_READY;
        tell(job, state, true);
        reply_drop(&job->reply);
    } else if (broker_now(broker) - job->told_ns >= TELL_EVERY_NS && session_has_room(job->session)) {
        tell(job, state, false);
    }
}

static void started(struct log_write *write, const struct store_state *state)
{
    struct backup_job *job = LIST_OBJECT(write, struct backup_job, write);
    struct broker *broker = job->broker;
    enum ps_status status = write->op.status;

    if (status != PS_OK && job->session != NULL)
        reply_refuse(&job->reply, status);
    if (status != PS_OK) {
        ended(write, state);
        return;
    }
    broker_written(broker, write, state);
    job->phase = BACKUP_COPYING;
    if (job->session == NULL)
        end(job);
}

void backup_session_gone(struct session *session)
{
    struct backup_job *job = session->broker->backup;

    if (job == NULL || job->session != session)
        return;
    job->session = NULL;
    if (job->phase == BACKUP_COPYING || job->phase == BACKUP_READY)
        end(job);
}

void request_backup(struct session *session, const struct client_frame *frame)
{
    struct broker *broker = session->broker;
    struct backup_job *job;

    if (!session_admits_one(session, frame->request_id, "backups", broker->backup != NULL))
        return;
    job = calloc(1, sizeof *job);
    if (job == NULL) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    broker->backup = job;
    job->broker = broker;
    job->session = session;
    job->write.done = started;
    job->write.op = (struct store_op){.kind = STORE_BACKUP};
    reply_init(&job->reply, session, frame->request_id, true);
    broker_write(broker, &job->write);
}

/* ------------------------------------------------------------------------------------------------ chunks */

struct chunk {
    struct log_read read;
    struct broker *broker;
    struct reply reply;
    uint8_t bytes[CHUNK_BYTES];
};

static void chunk_done(struct log_read *read)
{
    struct chunk *chunk = LIST_OBJECT(read, struct chunk, read);
    struct session *session = chunk->reply.session;

    broker_read_done(chunk->broker);
    if (session == NULL) {
        free(chunk);
        return;
    }
    if (chunk->broker->backup != NULL && chunk->broker->backup->session == session)
        chunk->broker->backup->reading = false;
    if (read->status == PS_OK) {
        struct server_frame frame = {.request_id = chunk->reply.request_id, .kind = SERVER_BACKUP_CHUNK};
        frame.backup_chunk = (struct backup_chunk){read->backup.offset, {chunk->bytes, read->backup.got}};
        session_send(session, &frame);
        reply_drop(&chunk->reply);
    } else {
        reply_refuse(&chunk->reply, read->status);
    }
    free(chunk);
}

void request_read_backup(struct session *session, const struct client_frame *frame)
{
    struct broker *broker = session->broker;
    struct backup_job *job = broker->backup;
    struct chunk *chunk;

    if (job == NULL || job->session != session || job->phase != BACKUP_READY) {
        session_error_status(session, frame->request_id, PS_OUT_OF_RANGE);
        return;
    }
    if (broker->state.backup.phase == STORE_BACKUP_FAILED) {
        session_error_status(session, frame->request_id, broker->state.backup.status);
        return;
    }
    if (!session_admits_one(session, frame->request_id, "backup_reads", job->reading))
        return;
    chunk = malloc(sizeof *chunk);
    if (chunk == NULL) {
        session_error_status(session, frame->request_id, PS_NO_MEMORY);
        return;
    }
    job->reading = true;
    chunk->broker = broker;
    chunk->read = (struct log_read){.kind = LOG_READ_BACKUP, .done = chunk_done};
    chunk->read.backup =
        (struct store_backup_read){.offset = frame->read_backup, .size = CHUNK_BYTES, .to = chunk->bytes};
    reply_init(&chunk->reply, session, frame->request_id, true);
    broker_read(broker, &chunk->read);
}
