/* psctl bench: the loop's side of a benchmark: timers, the pace, the progress line, signals.
 *
 * Work is done once per turn of the loop, behind the events (uv_check): what one turn publishes travels together. */
#include "bench.h"
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { TICK_MS = 250, PATIENCE_MS = 2000, STALL_S = 30, PACE_NS = 50000 };

/* ------------------------------------------------------------------------------------------- the progress */

static void show_progress(const struct bench *bench)
{
    static const char *const words[] = {
        [BENCH_CONNECTING] = "connecting", [BENCH_PUBLISHING] = "publishing", [BENCH_DRAINING] = "publishing",
        [BENCH_ATTACHING] = "connecting",  [BENCH_READING] = "reading",       [BENCH_LEAVING] = "closing",
        [BENCH_DELETING] = "deleting",     [BENCH_OVER] = "closing",
    };
    double seconds = (double)(uv_hrtime() - bench->began) / 1e9;
    uint64_t counted = bench->plan->mode == BENCH_PUB ? bench->acknowledged : bench->deliveries;

    fprintf(stderr, "\r\033[K%s: %s, %" PRIu64 " acknowledged", bench->plan->name, words[bench->phase],
            bench->acknowledged);
    if (bench->plan->mode != BENCH_PUB)
        fprintf(stderr, ", %" PRIu64 " delivered", bench->deliveries);
    if (bench->began != 0 && bench->ended == 0)
        fprintf(stderr, ", %.0f/s", (double)counted / seconds);
}

static bool has_progress_line(const struct bench *bench)
{
    return isatty(STDERR_FILENO) && !bench->run->args->quiet;
}

static void clear_progress(struct bench *bench)
{
    if (has_progress_line(bench))
        fprintf(stderr, "\r\033[K");
}

/* A broker that neither answers nor delivers must not be waited for without end. */
static void watch_stall(struct bench *bench)
{
    uint64_t progress = bench_answered(bench) + bench->deliveries + bench->ready;
    uint64_t now = uv_hrtime();

    if (progress != bench->last_progress || bench->last_progress_at == 0) {
        bench->last_progress = progress;
        bench->last_progress_at = now;
    } else if (now - bench->last_progress_at > STALL_S * UINT64_C(1000000000) &&
               bench->phase < BENCH_LEAVING) {
        clear_progress(bench);
        report("nothing came from the broker for %d s", STALL_S);
        bench->stopping = true;
        bench_leave(bench, EXIT_OTHER);
    }
}

static void tick_cb(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    watch_stall(bench);
    if (bench->phase != BENCH_OVER && has_progress_line(bench))
        show_progress(bench);
}

/* ---------------------------------------------------------------------------------------------- the clocks */

static void prepare_cb(uv_prepare_t *prepare)
{
    struct bench *bench = prepare->data;

    bench->now_calls = 0;
}

static void idle_cb(uv_idle_t *idle)
{
    (void)idle; /* its being active keeps the loop from waiting */
}

/* While there is more to publish than one turn may, the next one comes without an event. */
static void hurry(struct bench *bench)
{
    if (bench->phase == BENCH_PUBLISHING && bench->cut_short)
        uv_idle_start(&bench->hurry, idle_cb);
    else
        uv_idle_stop(&bench->hurry);
}

static void deadline_cb(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    bench->time_over = true;
}

static void pace_cb(uv_poll_t *poll, int status, int events)
{
    struct bench *bench = poll->data;
    uint64_t expirations;
    ssize_t taken = read(bench->pace_fd, &expirations, sizeof expirations);

    (void)status;
    (void)events;
    (void)taken; /* what is due is worked out from the clock */
}

static void start_clocks(struct bench *bench)
{
    uint64_t interval = bench->plan->rate == 0 ? 0 : 1000000000 / bench->plan->rate;

    if (bench->plan->duration_ms != 0)
        uv_timer_start(&bench->deadline, deadline_cb, bench->plan->duration_ms, 0);
    if (bench->pace_fd < 0)
        return;
    if (interval < PACE_NS)
        interval = PACE_NS;
    struct timespec each = {.tv_sec = (time_t)(interval / 1000000000),
                            .tv_nsec = (long)(interval % 1000000000)};
    struct itimerspec pace = {.it_interval = each, .it_value = each};
    timerfd_settime(bench->pace_fd, 0, &pace, NULL);
    uv_poll_start(&bench->pace, UV_READABLE, pace_cb);
}

static void stop_clocks(struct bench *bench)
{
    uv_timer_stop(&bench->deadline);
    if (bench->pace_fd >= 0)
        uv_poll_stop(&bench->pace);
}

static void check_cb(uv_check_t *check)
{
    struct bench *bench = check->data;
    enum bench_phase before = bench->phase;
    bool timed = bench->began != 0;

    bench->now_calls = 0;
    bench_settle(bench);
    hurry(bench);
    if (!timed && bench->began != 0)
        start_clocks(bench);
    if (before == BENCH_PUBLISHING && bench->phase != before && bench->began != 0)
        stop_clocks(bench);
}

/* ------------------------------------------------------------------------------------------------- hooks */

static bool init_pace(struct bench *bench)
{
    if (bench->plan->rate == 0)
        return true;
    bench->pace_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (bench->pace_fd >= 0 && uv_poll_init(&bench->run->loop, &bench->pace, bench->pace_fd) == 0) {
        bench->pace.data = bench;
        return true;
    }
    report("cannot make a timer: %s", strerror(errno));
    if (bench->pace_fd >= 0)
        close(bench->pace_fd);
    bench->pace_fd = -1;
    return false;
}

static void begin(struct run *run)
{
    struct bench *bench = run->command;

    bench->run = run;
    uv_prepare_init(&run->loop, &bench->prepare);
    uv_check_init(&run->loop, &bench->check);
    uv_idle_init(&run->loop, &bench->hurry);
    uv_timer_init(&run->loop, &bench->ticker);
    uv_timer_init(&run->loop, &bench->deadline);
    uv_timer_init(&run->loop, &bench->patience);
    bench->prepare.data = bench->check.data = bench;
    bench->ticker.data = bench->deadline.data = bench->patience.data = bench;
    if (!init_pace(bench)) {
        run_end(run, EXIT_OTHER);
        return;
    }
    uv_timer_start(&bench->ticker, tick_cb, TICK_MS, TICK_MS);
    uv_prepare_start(&bench->prepare, prepare_cb);
    uv_check_start(&bench->check, check_cb);
}

static void connected(struct run *run, bool again)
{
    struct bench *bench = run->command;

    (void)again;
    bench_open_publishers(bench);
    if (bench->plan->live)
        bench_open_subscribers(bench);
}

static void lost(struct run *run, const struct psc_error *error, int64_t retry_in_ms)
{
    struct bench *bench = run->command;

    (void)retry_in_ms;
    bench->control_lost = true;
    clear_progress(bench);
    bench_fail(bench, error);
}

/* The figures have nobody to read them, the topics are still to be deleted. */
static void broken(struct run *run)
{
    struct bench *bench = run->command;

    if (bench->phase < BENCH_LEAVING)
        bench_stop(bench, EXIT_OK);
}

static void patience_cb(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    bench_leave(bench, bench->code);
}

/* The second one ends it where it is. */
static void signalled(struct run *run, int code)
{
    struct bench *bench = run->command;
    bool again = bench->signalled;

    bench->signalled = true;
    clear_progress(bench);
    if (again && bench->asked != 0) {
        report("interrupted: topics may be left: psctl topics list '%s+' shows them", bench->prefix);
        bench_abandon(bench);
        run_end(run, code);
    } else if (again || !run->connected) {
        run_end(run, code);
    } else if (bench->phase >= BENCH_LEAVING) {
        bench->code = code;
    } else {
        uv_timer_start(&bench->patience, patience_cb, PATIENCE_MS, 0);
        bench_stop(bench, code);
    }
}

static void closing(struct run *run)
{
    struct bench *bench = run->command;

    clear_progress(bench);
    bench_abandon(bench);
    uv_close((uv_handle_t *)&bench->prepare, NULL);
    uv_close((uv_handle_t *)&bench->check, NULL);
    uv_close((uv_handle_t *)&bench->hurry, NULL);
    uv_close((uv_handle_t *)&bench->ticker, NULL);
    uv_close((uv_handle_t *)&bench->deadline, NULL);
    uv_close((uv_handle_t *)&bench->patience, NULL);
    if (bench->pace_fd < 0)
        return;
    uv_close((uv_handle_t *)&bench->pace, NULL);
    close(bench->pace_fd);
}

/* ------------------------------------------------------------------------------------------- the command */

int cmd_bench(const struct args *args)
{
    static const struct run_hooks hooks = {
        .begin = begin,
        .connected = connected,
        .lost = lost,
        .broken = broken,
        .signalled = signalled,
        .closing = closing,
    };
    static struct bench bench; /* the histogram is large */
    struct bench_plan plan;
    char error[ARGS_ERROR_BYTES];

    if (!bench_plan_make(&plan, args->operands[0], &args->bench, error, sizeof error)) {
        report("%s", error);
        return EXIT_USAGE;
    }
    enum ps_status status = bench_init(&bench, &plan);
    if (status != PS_OK)
        return report_status(args->json, NULL, status);
    bench_plan_raise_descriptors(&plan);
    int code = run_command(args, &hooks, &bench, false);
    bench_deinit(&bench);
    return code;
}
