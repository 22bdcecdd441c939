/* A commit: checkpoint if due ─▶ BEGIN IMMEDIATE (an outside lock is waited out) ─▶ nobody else wrote? ─▶
 * a step of the sweeper ─▶ operations ─▶ a slice of the index ─▶ COMMIT ─▶ promote what was staged.
 * Before COMMIT every failure is undone. After COMMIT's own failure nothing is answered, the store refuses everything
 * from then on, and a new start finds out. */
#include "commit.h"

#include "sqlite_store.h"
#include "subscriptions.h"
#include "transaction.h"

enum { SWEEP_EVERY_MS = 100 };

static void set_status(struct store_op *op, enum ps_status status)
{
    op->status = status;
    if (op->kind == STORE_APPEND) {
        for (uint32_t i = 0; i < op->append.count; i++)
            op->append.messages[i].status = status;
    }
}

static bool wal_is_long(const struct sqlite_store *store)
{
    return store->checkpoint.wal_bytes > store->config.wal_hard_bytes || room_is_owed(store, 2);
}

/* Looks whether everything is taken: PS_OK, PS_DISK_FULL, PS_STORAGE_BUSY. The last refuses more, so it comes first:
 * what there is a reserve for may not fill the rest of the disk with a WAL. */
static void admit(struct sqlite_store *store)
{
    room_look(store);
    store->admitted = PS_OK;
    if (wal_is_long(store))
        store->admitted = PS_STORAGE_BUSY;
    else if (room_is_short(store))
        store->admitted = PS_DISK_FULL;
}

/* Further on not even what gives room back is taken, so that the WAL has an end. */
static bool wal_is_endless(const struct sqlite_store *store)
{
    return store->checkpoint.wal_bytes > store->config.wal_hard_bytes / 4 * 5 || room_is_owed(store, 4);
}

/* Why an operation is refused, or PS_OK. Without room only publications are, for the rest there is a reserve; with a
 * WAL that only grows all that is new (subscriptions by themselves, when they turn out to be new). */
static enum ps_status refusal(const struct sqlite_store *store, enum store_op_kind kind)
{
    if (store->admitted == PS_OK || kind == STORE_APPEND)
        return store->admitted;
    if (store->admitted == PS_DISK_FULL || kind == STORE_BACKUP)
        return PS_OK;
    if (kind == STORE_OFFSETS || kind == STORE_SEEK || wal_is_endless(store))
        return store->admitted;
    return PS_OK;
}

/* An outcome that store.h lists for an operation of this kind; everything else undoes the transaction. With the lock
 * held, busy is what we are, not SQLite. */
static bool is_outcome(enum ps_status status)
{
    return status == PS_OK || status == PS_NO_SUCH_SUBSCRIPTION || status == PS_NO_SUCH_TOPIC ||
           status == PS_OUT_OF_RANGE || status == PS_LIMIT_EXCEEDED || status == PS_STORAGE_BUSY;
}

/* Takes effect behind the commit, as a copy is made between transactions. */
static enum ps_status plan_backup(struct sqlite_store *store, const struct store_backup *plan)
{
    return plan->end ? PS_OK : backup_admit(store);
}

/* An end needs no commit, and nobody asks for it again: what it came with may be refused. */
static void carry_out_backups(struct sqlite_store *store, struct store_op **ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->kind != STORE_BACKUP)
            continue;
        if (ops[i]->backup.end) {
            backup_end(store);
            ops[i]->status = PS_OK;
        } else if (ops[i]->status == PS_OK) {
            backup_begin(store);
        }
    }
}

static enum ps_status execute(struct sqlite_store *store, struct store_op *op)
{
    switch (op->kind) {
    case STORE_ATTACH:
        return subscription_attach(store, &op->attach);
    case STORE_OFFSETS:
        return subscription_offsets(store, &op->offsets);
    case STORE_SEEK:
        return subscription_seek(store, &op->seek);
    case STORE_FORGET:
        return subscription_forget(store, &op->forget);
    case STORE_DELETE_TOPIC:
        return topic_delete(store, &op->delete_topic);
    case STORE_BACKUP:
        return plan_backup(store, &op->backup);
    default:
        return append_queue(store, op);
    }
}

/* Whether the appends in front of it must be in the tables: a mark, a head or a topic's end is asked for. */
static bool sees_appends(enum store_op_kind kind)
{
    return kind == STORE_ATTACH || kind == STORE_SEEK || kind == STORE_DELETE_TOPIC;
}

/* Appends gather, to be grouped by topic, until an operation comes that sees them. */
static enum ps_status execute_all(struct sqlite_store *store, struct store_op **ops, size_t count)
{
    enum ps_status status = PS_OK;

    for (size_t i = 0; i < count && status == PS_OK; i++) {
        enum ps_status refused = refusal(store, ops[i]->kind);

        if (refused != PS_OK) {
            set_status(ops[i], refused);
            continue;
        }
        if (sees_appends(ops[i]->kind))
            status = append_flush(store);
        if (status != PS_OK)
            break;
        status = execute(store, ops[i]);
        if (is_outcome(status) || ops[i]->kind == STORE_BACKUP) {
            ops[i]->status = status;
            status = PS_OK;
        }
    }
    return status == PS_OK ? append_flush(store) : status;
}

static enum ps_status flush_index(struct sqlite_store *store, size_t budget)
{
    bool due = epochs_due(&store->epochs);
    enum ps_status status = epochs_flush(&store->epochs, &store->db, &store->source, budget, store->now);

    if (status == PS_OK && due && store->epochs.staged_last) {
        status = database_put_number(&store->db, "next_seq", (int64_t)store->staged_next_seq);
        if (status == PS_OK)
            status = database_put_number(&store->db, "last_published_at", store->last_published);
    }
    return status;
}

/* Background work that shares the commit's sync. A damaged page that the sweeper meets costs the transaction, so it
 * comes before everything else, and what follows gets another. */
static enum ps_status sweep_first(struct sqlite_store *store)
{
    enum ps_status status;

    if (!sweeper_due(store) || monotonic_ms() - store->sweeper.stepped_at < SWEEP_EVERY_MS)
        return PS_OK;
    status = sweeper_step(store);
    if (status != PS_DAMAGED)
        return status;
    transaction_roll_back(store);
    sweeper_give_up(store);
    return transaction_begin(store);
}

/* The same, behind the operations. */
static enum ps_status ride_along(struct sqlite_store *store)
{
    return flush_index(store, store->config.slice_runs + 2 * (size_t)store->appender.staged_rows);
}

static enum ps_status refuse_all(struct store_op **ops, size_t count, enum ps_status status)
{
    for (size_t i = 0; i < count; i++)
        set_status(ops[i], status);
    return status;
}

/* A refusal that keeps the store alive: the whole transaction was undone. */
static bool is_survivable(enum ps_status status)
{
    return status == PS_DISK_FULL || status == PS_NO_MEMORY || status == PS_STORAGE_BUSY;
}

static enum ps_status fail(struct sqlite_store *store, struct store_op **ops, size_t count,
                           enum ps_status status)
{
    if (status == PS_UNKNOWN) {
        store->failure = status;
        for (size_t i = 0; i < count; i++)
            if (ops[i]->status == PS_OK)
                set_status(ops[i], PS_UNKNOWN);
        return status;
    }
    if (is_survivable(status)) {
        if (status == PS_DISK_FULL) {
            room_note(store, false);
            backup_give_way(store);
        }
        store->is_version_lost |= status == PS_NO_MEMORY;
        refuse_all(ops, count, status);
        return PS_OK;
    }
    if (status != PS_FOREIGN_WRITER) {
        store_log(store, 3, "event=storage_failed status=%s code=%d text=\"%s\"", ps_status_name(status),
                  sqlite3_extended_errcode(store->db.handle), sqlite3_errmsg(store->db.handle));
        status = PS_STORAGE_FAILED;
    }
    store->failure = status;
    return refuse_all(ops, count, status);
}

static enum ps_status commit_ops(struct sqlite_store *store, struct store_op **ops, size_t count)
{
    enum ps_status status = checkpoint_if_due(store);

    if (status == PS_OK)
        status = transaction_begin(store);
    if (status == PS_OK) {
        admit(store);
        if (store->admitted == PS_OK)
            status = sweep_first(store);
        if (status == PS_OK)
            status = execute_all(store, ops, count);
        if (status == PS_OK && store->admitted == PS_OK)
            status = ride_along(store);
        if (status == PS_OK)
            status = transaction_end(store);
    }
    if (status == PS_OK) {
        room_note(store, true);
        return PS_OK;
    }
    transaction_roll_back(store);
    return fail(store, ops, count, status);
}

/* --------------------------------------------------------------------------------------------------- work */

static enum ps_status step_index(struct sqlite_store *store)
{
    return flush_index(store, store->config.idle_slice_runs);
}

/* A commit of background work alone. What fails for good is in store->failure too. */
/* `give_up`, where there is one, takes damage that the step met: nothing else depends on it. */
struct work {
    enum ps_status (*step)(struct sqlite_store *store);
    void (*give_up)(struct sqlite_store *store);
};

static const struct work index_work = {step_index, NULL};
static const struct work sweeper_work = {sweeper_step, sweeper_give_up};
static const struct work shrink_work = {room_shrink, room_give_up_shrinking};

static enum ps_status work_step(struct sqlite_store *store, const struct work *work)
{
    enum ps_status status = transaction_begin(store);

    if (status == PS_OK)
        status = work->step(store);
    if (status == PS_OK)
        status = transaction_end(store);
    if (status == PS_OK)
        return PS_OK;
    transaction_roll_back(store);
    if (status == PS_DAMAGED && work->give_up != NULL) {
        work->give_up(store);
        return PS_OK;
    }
    fail(store, NULL, 0, status);
    return status;
}

/* The index, then the sweeper; whether there is more to do. */
static bool idle_work(struct sqlite_store *store)
{
    enum ps_status status = PS_OK;

    if (epochs_due(&store->epochs))
        status = work_step(store, &index_work);
    else if (sweeper_due(store))
        status = work_step(store, &sweeper_work);
    return status == PS_OK && (epochs_due(&store->epochs) || sweeper_due(store));
}

/* Rows of the open epoch cannot be swept, and while nothing is published it would stay open. */
static bool sweeper_waits(const struct sqlite_store *store)
{
    return store->sweeper.committed_count > 0 && !sweeper_due(store) &&
           (epochs_due(&store->epochs) || store->epochs.open->rows > 0);
}

/* While publications are refused, what was deleted goes back to the disk:
 *
 *   rows ──sweep──▶ free pages of the file ──incremental vacuum──▶ behind its end ──checkpoint──▶ the disk
 *
 * At other times the next messages use the free pages: to give them back moves the newest pages to the front, which
 * writes twice what it frees. Whether there is more to do. */
static bool reclaim(struct sqlite_store *store)
{
    enum ps_status status = PS_OK;

    store->sweeper.stepped_at = monotonic_ms();
    if (sweeper_waits(store)) {
        if (!epochs_due(&store->epochs))
            status = epochs_close_open(&store->epochs);
        if (status == PS_OK)
            status = work_step(store, &index_work);
    } else if (sweeper_due(store)) {
        status = work_step(store, &sweeper_work);
    } else if (!store->room.shrinks_no_more && room_free_pages(store) > 0) {
        status = work_step(store, &shrink_work);
    } else {
        if (store->room.files_too_long)
            store->failure = checkpoint_now(store);
        return false;
    }
    return status == PS_OK;
}

/* It goes through the WAL too. */
static bool may_reclaim(const struct sqlite_store *store)
{
    return room_is_short(store) && !wal_is_endless(store);
}

enum ps_status commit_work(struct store *base, bool *more, struct store_state *state)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    *more = false;
    if (store->failure == PS_OK)
        store->failure = checkpoint_if_due(store);
    if (store->failure == PS_OK) {
        admit(store);
        if (store->admitted == PS_OK)
            *more = idle_work(store);
        else if (may_reclaim(store))
            *more = reclaim(store);
    }
    if (store->failure == PS_OK) {
        backup_step(store);
        *more |= store->backup.state.phase == STORE_BACKUP_COPYING;
    }
    store_get_state(store, state);
    return store->failure;
}

void commit_index(struct sqlite_store *store)
{
    if (epochs_close_open(&store->epochs) != PS_OK)
        return;
    while (store->failure == PS_OK && epochs_due(&store->epochs) && work_step(store, &index_work) == PS_OK)
        ;
}

/* -------------------------------------------------------------------------------------------------- commit */

enum ps_status commit_group(struct store *base, struct store_op **ops, size_t count,
                            struct store_state *state)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    enum ps_status status =
        store->failure == PS_OK ? commit_ops(store, ops, count) : refuse_all(ops, count, PS_STORAGE_FAILED);

    /* Refused publications may come without a pause. */
    if (store->failure == PS_OK && may_reclaim(store) &&
        monotonic_ms() - store->sweeper.stepped_at >= SWEEP_EVERY_MS)
        reclaim(store);
    if (store->failure == PS_OK) {
        carry_out_backups(store, ops, count);
        backup_step(store);
    }
    store_get_state(store, state);
    return status;
}
