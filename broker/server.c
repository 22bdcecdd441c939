/* Design
 *
 * Built upward, taken down downward; each part that has handles or threads tells when it is gone:
 *
 *   lock -> store -> turn -> broker -> writer, readers -> connections -> listeners
 *
 *   RUNNING --server_stop()--> DRAINING   no new connection; the broker answers what is under way
 *      |                          | io.drained
 *      | the store failed         v
 *      +---------------------> SENDING    each socket gets what is queued for it, within its own deadline
 *                                 | no connection left
 *                                 v
 *                              WRITER -> READERS -> HANDLES -> gone: `stopped`
 *
 * The writer stops after every session, because a session that ends may still have offsets to commit, and
 * before the readers, because a commit may lead to a read but never the other way. store_close() needs both
 * gone. A start that fails goes through the same states from WRITER on, with the parts it has. */
#include "server.h"

#include "connections.h"
#include "data_directory.h"
#include "listener.h"
#include "log_reader.h"
#include "log_sink.h"
#include "log_writer.h"
#include "store_sqlite.h"
#include "uv_status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FLUSH_ROUNDS = 4, TURN_NS = 2 * 1000 * 1000 };

enum server_state {
    SERVER_STARTING,
    SERVER_RUNNING,
    SERVER_DRAINING,
    SERVER_SENDING,
    SERVER_WRITER,
    SERVER_READERS,
    SERVER_HANDLES,
    SERVER_STATES
};

static const bool allowed[SERVER_STATES][SERVER_STATES] = {
    [SERVER_STARTING] = {[SERVER_RUNNING] = true, [SERVER_WRITER] = true},
    [SERVER_RUNNING] = {[SERVER_DRAINING] = true, [SERVER_SENDING] = true},
    [SERVER_DRAINING] = {[SERVER_SENDING] = true},
    [SERVER_SENDING] = {[SERVER_WRITER] = true},
    [SERVER_WRITER] = {[SERVER_READERS] = true},
    [SERVER_READERS] = {[SERVER_HANDLES] = true},
};

struct server {
    struct server_config config;
    uv_loop_t *loop;
    enum server_state state;
    enum ps_status result;
    enum ps_status writer_failure;
    int lock;
    struct log_sink sink;
    struct logger logger;
    struct store *store;
    struct turn turn;
    struct broker *broker;
    struct log_writer *writer;
    struct log_reader *reader;
    struct connections connections;
    bool connections_ready;
    struct listener *listeners[SERVER_LISTENERS_MAX];
    unsigned listener_count;
    bool listeners_stopped;
    uv_timer_t tick;
    uint64_t tick_at_ns;
    unsigned open; /* parts that `stopped` waits for */
};

static void move(struct server *server, enum server_state state)
{
    assert(allowed[server->state][state]);
    server->state = state;
}

/* ------------------------------------------------------------------------------------------ taking down */

static void finish(struct server *server)
{
    void (*stopped)(void *, enum ps_status) = server->config.stopped;
    void *ctx = server->config.ctx;
    enum ps_status result = server->result;

    if (stopped != NULL)
        logger_event(&server->logger, LOG_LEVEL_INFO, "stopped", "reason=%s", ps_status_name(result));
    data_directory_unlock(server->lock);
    log_sink_deinit(&server->sink);
    free(server);
    if (stopped != NULL)
        stopped(ctx, result);
}

static void part_gone(void *ctx)
{
    struct server *server = ctx;

    if (--server->open == 0)
        finish(server);
}

static void tick_closed_cb(uv_handle_t *handle)
{
    part_gone(handle->data);
}

/* What fails only now counts as well; what failed before was told. */
static void close_store(struct server *server)
{
    enum ps_status status = store_close(server->store);

    if (status == PS_OK || server->result != PS_OK)
        return;
    logger_event(&server->logger, LOG_LEVEL_ERROR, "storage_failed", "reason=%s", ps_status_name(status));
    server->result = status;
}

/* Threads and sessions are gone. */
static void close_handles(struct server *server)
{
    move(server, SERVER_HANDLES);
    broker_free(server->broker);
    close_store(server);
    if (server->connections_ready) {
        server->open++;
        connections_deinit(&server->connections, part_gone, server);
    }
    server->open++; /* the turn was counted from the start */
    uv_close((uv_handle_t *)&server->tick, tick_closed_cb);
    turn_stop(&server->turn, part_gone);
}

static void readers_gone(void *ctx)
{
    struct server *server = ctx;

    server->reader = NULL;
    close_handles(server);
}

static void writer_gone(void *ctx)
{
    struct server *server = ctx;

    server->writer = NULL;
    move(server, SERVER_READERS);
    if (server->reader != NULL)
        log_reader_stop(server->reader, readers_gone, server);
    else
        close_handles(server);
}

static void stop_threads(struct server *server)
{
    move(server, SERVER_WRITER);
    uv_timer_stop(&server->tick);
    if (server->writer != NULL)
        log_writer_stop(server->writer, writer_gone, server);
    else
        writer_gone(server);
}

static void stop_listeners(struct server *server)
{
    if (server->listeners_stopped)
        return;
    server->listeners_stopped = true;
    server->open += server->listener_count;
    for (unsigned i = 0; i < server->listener_count; i++)
        listener_stop(server->listeners[i], part_gone, server);
}

static void send_the_rest(struct server *server)
{
    move(server, SERVER_SENDING);
    connections_end(&server->connections);
    turn_want(&server->turn);
}

static void accept_more(struct server *server)
{
    if (server->state != SERVER_RUNNING)
        return;
    for (unsigned i = 0; i < server->listener_count; i++)
        listener_resume(server->listeners[i]);
}

static void connection_closed(void *ctx)
{
    struct server *server = ctx;

    turn_want(&server->turn);
    accept_more(server);
}

static void fail(struct server *server, enum ps_status status)
{
    if (server->state != SERVER_RUNNING && server->state != SERVER_DRAINING)
        return;
    logger_event(&server->logger, LOG_LEVEL_ERROR, "storage_failed", "reason=%s", ps_status_name(status));
    server->result = status;
    stop_listeners(server);
    send_the_rest(server);
}

void server_stop(struct server *server)
{
    if (server->state != SERVER_RUNNING)
        return;
    logger_event(&server->logger, LOG_LEVEL_INFO, "draining", "connections=%u", server->connections.count);
    move(server, SERVER_DRAINING);
    stop_listeners(server);
    broker_drain(server->broker);
    turn_want(&server->turn);
}

/* -------------------------------------------------------------------------------- what the core asks for */

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return uv_hrtime();
}

static void tick_cb(uv_timer_t *timer);

static void start_tick(struct server *server)
{
    uint64_t now = uv_hrtime();
    uint64_t wait = server->tick_at_ns > now ? (server->tick_at_ns - now + 999999) / 1000000 : 0;

    uv_timer_start(&server->tick, tick_cb, wait, 0);
}

/* The loop's own clock lags behind ours: a timer may fire early. */
static void tick_cb(uv_timer_t *timer)
{
    struct server *server = timer->data;

    if (uv_hrtime() < server->tick_at_ns) {
        start_tick(server);
        return;
    }
    server->tick_at_ns = 0;
    broker_tick(server->broker);
    turn_want(&server->turn);
}

static void effect_arm(void *ctx, uint64_t at_ns)
{
    struct server *server = ctx;

    if (server->tick_at_ns == at_ns || server->state >= SERVER_WRITER)
        return;
    server->tick_at_ns = at_ns;
    start_tick(server);
}

static uint64_t resident_bytes(void)
{
    unsigned long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void effect_probe(void *ctx, struct broker_probe *probe)
{
    struct server *server = ctx;

    *probe = (struct broker_probe){
        .connections = server->connections.count,
        .queued_bytes = connections_queued_bytes(&server->connections),
        .oldest_reader_ms = log_reader_oldest_ms(server->reader),
        .memory_bytes = resident_bytes(),
    };
}

static void effect_drained(void *ctx)
{
    struct server *server = ctx;

    if (server->state == SERVER_DRAINING)
        send_the_rest(server);
}

static void effect_failed(void *ctx, enum ps_status status)
{
    struct server *server = ctx;

    fail(server, server->writer_failure != PS_OK ? server->writer_failure : status);
}

static void store_worked(void *ctx, const struct store_state *state)
{
    struct server *server = ctx;

    broker_store_worked(server->broker, state);
    turn_want(&server->turn);
}

/* The core answers everything that is under way before it says so itself. */
static void writer_failed(void *ctx, enum ps_status status)
{
    struct server *server = ctx;

    server->writer_failure = status;
    turn_want(&server->turn);
}

/* The threads exist only after the broker, so their pointers are looked up with each call. */
static void effect_write(void *ctx, struct log_write *write)
{
    struct server *server = ctx;

    assert(server->writer != NULL); /* the core was told to end */
    turn_want(&server->turn);
    log_writer_write(server->writer, write);
}

static void effect_read(void *ctx, struct log_read *read)
{
    struct server *server = ctx;

    log_reader_read(server->reader, read);
}

static void log_completed(void *ctx)
{
    struct server *server = ctx;

    broker_flush(server->broker);
    turn_want(&server->turn);
}

/* --------------------------------------------------------------------------------------------- the turn */

static bool end_of_turn(void *ctx)
{
    struct server *server = ctx;
    const uint64_t begin = uv_hrtime();
    bool more = true;

    if (server->state == SERVER_STARTING || server->state >= SERVER_WRITER)
        return false;
    for (int round = 0; more && round < FLUSH_ROUNDS && uv_hrtime() - begin < TURN_NS; round++) {
        more = broker_flush(server->broker);
        more |= connections_flush(&server->connections);
    }
    log_writer_submit(server->writer);
    if (server->connections.accepted > 0) {
        server->connections.accepted = 0;
        accept_more(server);
    }
    if (server->writer_failure != PS_OK && log_writer_idle(server->writer))
        fail(server, server->writer_failure);
    if (server->state == SERVER_SENDING && server->connections.count == 0) {
        stop_threads(server);
        return false;
    }
    return more;
}

/* --------------------------------------------------------------------------------------------- building */

static void store_log(void *ctx, int level, const char *text)
{
    struct server *server = ctx;

    logger_line(&server->logger, (enum log_level)level, text);
}

static enum ps_status open_store(struct server *server, struct store_opened *opened, char *error, size_t size)
{
    struct store_sqlite_config config = {
        .directory = server->config.directory,
        .disk_floor_bytes = server->config.broker.disk_floor,
        .limits = {server->config.broker.max_topics, server->config.broker.max_durable},
        .accept_changes = server->config.accept_changes,
        .accept_loss = server->config.accept_loss,
        .log = store_log,
        .log_ctx = server,
    };

    if (server->config.store != NULL) {
        server->store = server->config.store;
        *opened = server->config.opened;
        return PS_OK;
    }
    enum ps_status status = data_directory_lock(server->config.directory, &server->lock, error, size);
    if (status != PS_OK)
        return status;
    return store_sqlite_open(&config, &server->store, opened, error, size);
}

static enum ps_status build_broker(struct server *server, const struct store_opened *opened)
{
    struct broker_io io = {
        .log = {.write = effect_write, .read = effect_read, .ctx = server},
        .clock = {.now_ns = now_ns},
        .logger = server->logger,
        .arm = effect_arm,
        .probe = effect_probe,
        .drained = effect_drained,
        .failed = effect_failed,
        .ctx = server,
    };

    server->broker = broker_new(&server->config.broker, &io, opened);
    if (server->broker == NULL)
        return PS_NO_MEMORY;
    store_load(server->store, broker_load_topic, server->broker);
    return broker_loaded(server->broker) ? PS_OK : PS_NO_MEMORY;
}

static enum ps_status start_threads(struct server *server, const struct store_opened *opened)
{
    struct log_reader_config reader = {
        .loop = server->loop,
        .store = server->store,
        .completed = log_completed,
        .ctx = server,
    };
    struct log_writer_config writer = {
        .loop = server->loop,
        .store = server->store,
        .state = opened->state,
        .completed = log_completed,
        .worked = store_worked,
        .failed = writer_failed,
        .ctx = server,
    };
    enum ps_status status = log_reader_start(&reader, &server->reader);

    return status == PS_OK ? log_writer_start(&writer, &server->writer) : status;
}

static uint32_t descriptor_limit(void)
{
    struct rlimit limit;
    rlim_t most = 1000 * 1000;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < most)
        most = limit.rlim_cur;
    return (uint32_t)most;
}

/* Connections that descriptors allow. */
static uint32_t connection_room(void)
{
    uint32_t most = descriptor_limit();

    return most > SERVER_SPARE_DESCRIPTORS ? most - SERVER_SPARE_DESCRIPTORS : 1;
}

static void log_start(struct server *server, const struct store_opened *opened)
{
    uint32_t asked = server->connections.limits.total, room = connection_room();
    uint32_t limit = asked < room ? asked : room;

    if (asked > room)
        logger_event(&server->logger, LOG_LEVEL_WARNING, "max_connections_lowered",
                     "asked=%u max_connections=%u descriptors=%u", asked, limit, descriptor_limit());
    logger_event(&server->logger, LOG_LEVEL_INFO, "started",
                 "version=%s start_count=%llu mark=%llu max_connections=%u descriptors=%u", PSBROKER_VERSION,
                 (unsigned long long)opened->start_count, (unsigned long long)opened->state.mark, limit,
                 descriptor_limit());
}

static enum ps_status start_listeners(struct server *server, char *error, size_t size)
{
    struct listener_config config = {
        .loop = server->loop,
        .connections = &server->connections,
        .room = connection_room(),
        .logger = server->logger,
    };

    for (unsigned i = 0; i < server->config.listener_count; i++) {
        enum ps_status status =
            listener_start(&config, &server->config.listeners[i], &server->listeners[i], error, size);
        if (status != PS_OK)
            return status == PS_NO_MEMORY ? status : PS_IO_ERROR;
        server->listener_count++;
    }
    return PS_OK;
}

static enum ps_status build(struct server *server, char *error, size_t size)
{
    struct store_opened opened = {0};
    enum ps_status status = open_store(server, &opened, error, size);

    if (status == PS_OK)
        status = build_broker(server, &opened);
    if (status == PS_OK)
        status = start_threads(server, &opened);
    if (status == PS_OK)
        status = connections_init(&server->connections, server->loop, server->broker, &server->turn,
                                  &server->config.deadlines, &server->config.limits);
    if (status != PS_OK)
        return status;
    server->connections.closed = connection_closed;
    server->connections.ctx = server;
    server->connections_ready = true;
    status = start_listeners(server, error, size);
    if (status == PS_OK)
        log_start(server, &opened);
    return status;
}

enum ps_status server_start(const struct server_config *config, uv_loop_t *loop, struct server **result,
                            char *error, size_t error_size)
{
    enum ps_status status;
    struct server *server = calloc(1, sizeof *server);

    if (error_size > 0)
        error[0] = '\0';
    if (server == NULL || log_sink_init(&server->sink, config->log_fd) != 0) {
        free(server);
        store_close(config->store);
        snprintf(error, error_size, "out of memory");
        return PS_NO_MEMORY;
    }
    server->config = *config;
    server->loop = loop;
    server->lock = -1;
    server->open = 1; /* the turn */
    server->logger = (struct logger){.sink = config->log_fd >= 0 ? log_sink_write : NULL,
                                     .ctx = &server->sink,
                                     .level = config->log_level};
    turn_start(&server->turn, loop, end_of_turn, server);
    uv_timer_init(loop, &server->tick);
    server->tick.data = server;
    status = build(server, error, error_size);
    if (status != PS_OK) {
        if (error_size > 0 && error[0] == '\0')
            snprintf(error, error_size, "cannot start: %s", ps_status_text(status));
        server->config.stopped = NULL;
        server->result = status;
        stop_listeners(server);
        stop_threads(server);
        return status;
    }
    move(server, SERVER_RUNNING);
    *result = server;
    return PS_OK;
}

unsigned server_listeners(const struct server *server)
{
    return server->listener_count;
}

const struct address *server_address(const struct server *server, unsigned index)
{
    assert(index < server->listener_count);
    return listener_address(server->listeners[index]);
}
