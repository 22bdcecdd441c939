/* Life of an epoch:
 *
 *   open ──full, 64 MiB or clean stop──▶ closed ──slices in commits──▶ flushing ──last slice──▶ listed
 *
 * Listed ones are in the database alone. A crash loses the ones in memory: runs of an epoch that is not
 * listed are dropped at the next start, and the rows behind the last listed epoch are read again.
 *
 * Rows of `topics` are brought up to date along with the slices, which run in topic order. They may thus be
 * ahead of the last listed epoch for a moment, never ahead of the rows themselves. */
#include "store.h"

#include "epochs.h"
#include "failpoint.h"

#include <stdlib.h>

enum ps_status epochs_init(struct epochs *epochs, uint64_t max_rows, uint64_t max_bytes)
{
    *epochs = (struct epochs){.next_number = 1, .max_rows = max_rows, .max_bytes = max_bytes};
    return epochs_reserve(epochs, 1, 1);
}

static void free_list(struct epoch *epoch)
{
    for (struct epoch *next; epoch != NULL; epoch = next) {
        next = epoch->next;
        free(epoch);
    }
}

void epochs_deinit(struct epochs *epochs)
{
    free_list(epochs->oldest);
    free_list(epochs->spare);
    *epochs = (struct epochs){0};
}

static struct epoch *epoch_new(size_t capacity)
{
    struct epoch *epoch = malloc(sizeof(*epoch) + capacity * sizeof(epoch->runs[0]));

    if (epoch != NULL) {
        *epoch = (struct epoch){0};
        epoch->capacity = capacity;
    }
    return epoch;
}

/* Replaces the open epoch, the last of the queue, by a roomier one. */
static enum ps_status grow_open(struct epochs *epochs, size_t capacity)
{
    struct epoch **at = &epochs->oldest;
    struct epoch *grown;

    while (*at != NULL && *at != epochs->open)
        at = &(*at)->next;
    grown = realloc(epochs->open, sizeof(*grown) + capacity * sizeof(grown->runs[0]));
    if (grown == NULL)
        return PS_NO_MEMORY;
    if (epochs->open == NULL)
        *grown = (struct epoch){0};
    grown->capacity = capacity;
    *at = epochs->open = grown;
    return PS_OK;
}

enum ps_status epochs_reserve(struct epochs *epochs, size_t rows, size_t runs)
{
    size_t needed = rows / epochs->max_rows + 2;
    size_t pieces = runs + rows / RUN_MAX + needed;
    size_t each = pieces < epochs->max_rows ? pieces : (size_t)epochs->max_rows;
    size_t have = 0;

    if (epochs->open == NULL || epochs->open->capacity < epochs->open->count + pieces) {
        size_t used = epochs->open == NULL ? 0 : epochs->open->count;

        if (grow_open(epochs, (used + pieces) * 2) != PS_OK)
            return PS_NO_MEMORY;
    }
    /* Spares that are too small for this commit go; the list stays as short as the largest commit needs. */
    for (struct epoch **at = &epochs->spare; *at != NULL;) {
        struct epoch *epoch = *at;

        if (epoch->capacity < each) {
            *at = epoch->next;
            free(epoch);
        } else {
            have++;
            at = &epoch->next;
        }
    }
    for (; have < needed; have++) {
        struct epoch *epoch = epoch_new(each);

        if (epoch == NULL)
            return PS_NO_MEMORY;
        epoch->next = epochs->spare;
        epochs->spare = epoch;
    }
    return PS_OK;
}

static void close_open(struct epochs *epochs)
{
    struct epoch *fresh = epochs->spare;

    epochs->spare = fresh->next;
    fresh->next = NULL;
    epochs->open->closed = true;
    epochs->open->next = fresh;
    epochs->open = fresh;
    epochs->closed++;
}

enum ps_status epochs_close_open(struct epochs *epochs)
{
    if (epochs->open->rows == 0)
        return PS_OK;
    if (epochs_reserve(epochs, 1, 1) != PS_OK)
        return PS_NO_MEMORY;
    close_open(epochs);
    return PS_OK;
}

/* Appends to the last run where both offset and seq go on, else begins a new one. Returns how many it took. */
static uint64_t add_piece(struct epoch *epoch, uint64_t topic_id, const struct store_run *run, uint64_t limit)
{
    struct run_row *last = epoch->count > 0 ? &epoch->runs[epoch->count - 1] : NULL;
    uint64_t taken;

    if (last == NULL || last->topic_id != topic_id || last->count == RUN_MAX ||
        last->first_offset + last->count != run->first_offset ||
        last->first_seq + last->count != run->first_seq) {
        last = &epoch->runs[epoch->count++];
        *last = (struct run_row){topic_id, run->first_offset, run->first_seq, 0, false};
    }
    taken = RUN_MAX - last->count;
    if (taken > run->count)
        taken = run->count;
    if (taken > limit)
        taken = limit;
    last->count += (uint32_t)taken;
    return taken;
}

void epochs_add(struct epochs *epochs, const struct store_run *run, uint64_t topic_id)
{
    struct store_run rest = *run;

    while (rest.count > 0) {
        struct epoch *open = epochs->open;
        uint64_t taken = add_piece(open, topic_id, &rest, epochs->max_rows - open->rows);

        if (open->rows == 0)
            open->first_seq = rest.first_seq;
        open->rows += taken;
        open->last_seq = rest.first_seq + taken - 1;
        rest.first_offset += taken;
        rest.first_seq += taken;
        rest.count -= taken;
        if (open->rows == epochs->max_rows)
            close_open(epochs);
    }
}

void epochs_add_bytes(struct epochs *epochs, uint64_t bytes)
{
    epochs->open->bytes += bytes;
    if (epochs->open->rows > 0 && epochs->open->bytes >= epochs->max_bytes)
        close_open(epochs);
}

/* Stable, by one byte. */
static void sort_by_byte(const struct run_row *from, struct run_row *to, size_t count, unsigned shift)
{
    size_t places[257] = {0};

    for (size_t i = 0; i < count; i++)
        places[(from[i].topic_id >> shift & 0xff) + 1]++;
    for (size_t b = 1; b < 256; b++)
        places[b] += places[b - 1];
    for (size_t i = 0; i < count; i++)
        to[places[from[i].topic_id >> shift & 0xff]++] = from[i];
}

static int by_topic_and_seq(const void *left, const void *right)
{
    const struct run_row *a = left;
    const struct run_row *b = right;

    if (a->topic_id != b->topic_id)
        return a->topic_id < b->topic_id ? -1 : 1;
    return a->first_seq < b->first_seq ? -1 : a->first_seq > b->first_seq;
}

/* A radix sort by topic: in commit order the runs of one topic are in the order of their offsets already. Without
 * memory for it no publication is refused: it only takes longer. */
static void sort_runs(struct run_row *runs, size_t count)
{
    struct run_row *scratch = malloc(count * sizeof(*runs));
    struct run_row *from = runs, *to = scratch;
    uint64_t ids = 0;

    if (scratch == NULL) {
        qsort(runs, count, sizeof(*runs), by_topic_and_seq);
        return;
    }
    for (size_t i = 0; i < count; i++)
        ids |= runs[i].topic_id;
    for (unsigned shift = 0; shift < 64 && ids >> shift != 0; shift += 8) {
        struct run_row *sorted = to;

        sort_by_byte(from, to, count, shift);
        to = from;
        from = sorted;
    }
    if (from != runs)
        memcpy(runs, from, count * sizeof(*runs));
    free(scratch);
}

/* The runs of one topic in a sorted epoch. */
struct share {
    size_t from, to;
    uint64_t rows;
};

static int by_rows(const void *left, const void *right)
{
    const struct share *a = left;
    const struct share *b = right;

    return a->rows > b->rows ? -1 : a->rows < b->rows;
}

static size_t split_by_topic(const struct epoch *epoch, struct share *shares)
{
    size_t count = 0;

    for (size_t i = 0; i < epoch->count; i++) {
        if (i == 0 || epoch->runs[i].topic_id != epoch->runs[i - 1].topic_id)
            shares[count++] = (struct share){.from = i};
        shares[count - 1].to = i + 1;
        shares[count - 1].rows += epoch->runs[i].count;
    }
    return count;
}

/* Without memory no topic is busy: its runs are found all the same, epoch by epoch. */
static void mark_busy(struct epoch *epoch)
{
    struct share *shares = malloc(epoch->count * sizeof(*shares));
    size_t count;

    epoch->quiet_runs = epoch->count;
    if (shares == NULL)
        return;
    count = split_by_topic(epoch, shares);
    if (count > BUSY_TOPICS)
        qsort(shares, count, sizeof(*shares), by_rows);
    for (size_t s = 0; s < count && s < BUSY_TOPICS; s++) {
        epoch->quiet_runs -= shares[s].to - shares[s].from;
        for (size_t i = shares[s].from; i < shares[s].to; i++)
            epoch->runs[i].busy = true;
    }
    free(shares);
}

static void sort(struct epoch *epoch)
{
    sort_runs(epoch->runs, epoch->count);
    mark_busy(epoch);
    epoch->sorted = true;
}

/* Brings `topics` up to date for each topic whose last run lies in the slice. */
static enum ps_status update_topics(const struct epoch *epoch, uint64_t number, size_t from, size_t to,
                                    struct database *db)
{
    enum ps_status status = PS_OK;

    for (size_t i = from; i < to && status == PS_OK; i++) {
        const struct run_row *run = &epoch->runs[i];
        sqlite3_stmt *update;

        if (i + 1 < epoch->count && run[1].topic_id == run->topic_id)
            continue;
        update = database_statement(db, STATEMENT_INDEX_TOPIC);
        if (update != NULL) {
            bind_u64(update, 1, run->topic_id);
            bind_u64(update, 2, run->first_offset + run->count);
            bind_u64(update, 3, run->first_seq + run->count - 1);
            if (run->busy)
                sqlite3_bind_null(update, 4);
            else
                bind_u64(update, 4, number);
        }
        status = database_run(db, update);
    }
    return status;
}

static enum ps_status list_epoch(const struct epochs *epochs, const struct epoch *epoch, struct database *db,
                                 int64_t now)
{
    sqlite3_stmt *insert = database_statement(db, STATEMENT_INSERT_EPOCH);

    if (insert != NULL) {
        bind_u64(insert, 1, epochs->next_number);
        bind_u64(insert, 2, epoch->first_seq);
        bind_u64(insert, 3, epoch->last_seq);
        bind_u64(insert, 4, epoch->quiet_runs);
        sqlite3_bind_int64(insert, 5, now);
    }
    return database_run(db, insert);
}

enum ps_status epochs_flush(struct epochs *epochs, struct database *db, struct row_source *source,
                            size_t budget, int64_t now)
{
    struct epoch *epoch = epochs->oldest;
    size_t from = epochs->flushed;
    enum ps_status status = PS_OK;
    size_t to;

    if (!epochs_due(epochs))
        return PS_OK;
    if (!epoch->sorted)
        sort(epoch);
    to = epoch->count - from < budget ? epoch->count : from + budget;
    source->runs = epoch->runs + from;
    source->run_count = to - from;
    source->epoch = epochs->next_number;
    status = database_run(db, database_statement(db, STATEMENT_INSERT_RUNS));
    FAILPOINT(index_runs);
    if (status == PS_OK)
        status = update_topics(epoch, epochs->next_number, from, to, db);
    if (status == PS_OK && to == epoch->count)
        status = list_epoch(epochs, epoch, db, now);
    if (status == PS_OK) {
        epochs->staged = to;
        epochs->staged_last = to == epoch->count;
    }
    return status;
}

void epochs_promote(struct epochs *epochs)
{
    struct epoch *epoch = epochs->oldest;

    if (epochs->flushed != epochs->staged)
        FAILPOINT(index_slice);
    epochs->flushed = epochs->staged;
    if (!epochs->staged_last)
        return;
    epochs->indexed_through = epoch->last_seq;
    epochs->oldest = epoch->next;
    epochs->next_number++;
    epochs->closed--;
    free(epoch);
    epochs->flushed = epochs->staged = 0;
    epochs->staged_last = false;
}

void epochs_discard(struct epochs *epochs)
{
    epochs->staged = epochs->flushed;
    epochs->staged_last = false;
}
