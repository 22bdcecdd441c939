/* States: GOING -> FLUSHING -> CLOSING, one way.
 *
 *   GOING      the command works
 *   FLUSHING   the exit code is known; stdout takes its rest; pings are still answered; a signal cuts it short
 *   CLOSING    psc_close() was called; when its callback came, the other handles go and the loop ends
 *
 * A broken stdout is not waited for. */
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_MAX_MESSAGE = 1024 * 1024, DEFAULT_PORT = 7420 };
#define DEFAULT_HOST "127.0.0.1"

static void closed_cb(void *data)
{
    struct run *run = data;

    run->client = NULL;
    if (run->hooks->closing != NULL)
        run->hooks->closing(run);
    writer_deinit(&run->out);
    uv_close((uv_handle_t *)&run->interrupt, NULL);
    uv_close((uv_handle_t *)&run->terminate, NULL);
}

/* Output may fail as late as in the last flush, after the command thought that all went well. */
static void tell_output_failure(struct run *run)
{
    if (run->out.state != WRITER_FAILED || run->code != EXIT_OK)
        return;
    report("cannot write to stdout: %s", strerror(run->out.error));
    run->code = EXIT_OTHER;
}

static void close_when_flushed(struct run *run)
{
    if (run->state != RUN_FLUSHING || (!writer_idle(&run->out) && !run->signalled))
        return;
    run->state = RUN_CLOSING;
    tell_output_failure(run);
    psc_close(run->client, closed_cb, run);
}

void run_end(struct run *run, int code)
{
    if (run->state != RUN_GOING)
        return;
    run->state = RUN_FLUSHING;
    run->code = code;
    close_when_flushed(run);
}

/* What to do when no broker was found. */
static void advise(const struct run *run, enum exit_code code)
{
    if (run->connected || run->args->quiet)
        return;
    if (code == EXIT_CONNECTION)
        report("is psbroker running there? -h, -p and -s (PSCTL_HOST, PSCTL_PORT, PSCTL_SERVER) say where it "
               "is");
    else if (code == EXIT_PROTOCOL)
        report("is it psbroker that listens there? -h, -p and -s say where it is");
}

int run_report(const struct run *run, const char *subject, const struct psc_error *error)
{
    const struct args *args = run->args;
    enum exit_code code = exit_of(error->status, error->retryable);
    char address[512];

    if (!run->connected && (code == EXIT_CONNECTION || code == EXIT_PROTOCOL)) {
        if (args->unix_path != NULL)
            snprintf(address, sizeof address, "unix:%s", args->unix_path);
        else
            snprintf(address, sizeof address, "%s:%d", args->host != NULL ? args->host : DEFAULT_HOST,
                     args->port != 0 ? args->port : DEFAULT_PORT);
        subject = address;
    }
    report_error(args->json, subject, error);
    advise(run, code);
    return (int)code;
}

void run_fail(struct run *run, const char *subject, const struct psc_error *error)
{
    if (run->state != RUN_GOING)
        return;
    if (error->status == PS_CONNECTION_LOST && !run->told)
        run->failing = true;
    else
        run_end(run, run_report(run, subject, error));
}

void run_fail_status(struct run *run, const char *subject, enum ps_status status)
{
    if (run->state == RUN_GOING)
        run_end(run, report_status(run->args->json, subject, status));
}

void run_done_cb(const struct psc_error *error, void *data)
{
    struct run *run = data;

    if (error != NULL)
        run_fail(run, run->args->operand_count != 0 ? report_quoted(bytes_of(run->args->operands[0])) : NULL,
                 error);
    else
        run_end(run, EXIT_OK);
}

/* ------------------------------------------------------------------------------------------ what happens */

static void progress_cb(struct writer *writer, void *data)
{
    struct run *run = data;

    if (run->state == RUN_FLUSHING) {
        close_when_flushed(run);
    } else if (run->state == RUN_GOING) {
        if (run->hooks->written != NULL)
            run->hooks->written(run);
        if (writer->state == WRITER_FAILED) {
            run_end(run, EXIT_OK); /* which tells of the failure */
        } else if (writer->state == WRITER_BROKEN) {
            if (run->hooks->broken != NULL)
                run->hooks->broken(run);
            else
                run_end(run, EXIT_OK);
        }
    }
}

static void connected_cb(struct psc_client *client, const struct psc_server *server, void *data)
{
    struct run *run = data;
    bool again = run->connected;

    (void)client;
    run->connected = true;
    run->max_message = server->max_message;
    if (run->state == RUN_GOING && run->hooks->connected != NULL)
        run->hooks->connected(run, again);
}

static void disconnected_cb(struct psc_client *client, const struct psc_error *error, int64_t retry_in_ms,
                            void *data)
{
    struct run *run = data;

    (void)client;
    if (run->state != RUN_GOING)
        return;
    run->told = true;
    if (run->failing)
        run_fail(run, NULL, error);
    else if (run->hooks->lost != NULL)
        run->hooks->lost(run, error, retry_in_ms);
    else if (retry_in_ms < 0)
        run_fail(run, NULL, error);
    run->told = retry_in_ms < 0;
}

static void writable_cb(struct psc_client *client, void *data)
{
    struct run *run = data;

    (void)client;
    if (run->state == RUN_GOING && run->hooks->writable != NULL)
        run->hooks->writable(run);
}

static void signal_cb(uv_signal_t *handle, int number)
{
    struct run *run = handle->data;
    int code = number == SIGINT ? EXIT_SIGINT : EXIT_SIGTERM;

    run->signalled = true;
    if (run->state == RUN_GOING && run->hooks->signalled != NULL)
        run->hooks->signalled(run, code);
    else if (run->state == RUN_GOING)
        run_end(run, code);
    else if (run->state == RUN_FLUSHING)
        run->code = code;
    close_when_flushed(run);
}

/* ------------------------------------------------------------------------------------------------- setup */

static void watch_signal(struct run *run, uv_signal_t *handle, int number)
{
    uv_signal_init(&run->loop, handle);
    handle->data = run;
    uv_signal_start(handle, signal_cb, number);
    uv_unref((uv_handle_t *)handle);
}

static struct psc_options client_options(struct run *run, bool reconnect)
{
    const struct args *args = run->args;

    return (struct psc_options){
        .host = args->host,
        .port = args->port,
        .unix_path = args->unix_path,
        .id = bytes_of(args->id),
        .connect_timeout_ms = args->connect_timeout_ms,
        .reconnect = reconnect && !args->no_reconnect,
        .connected = connected_cb,
        .disconnected = disconnected_cb,
        .writable = writable_cb,
        .data = run,
    };
}

static enum ps_status start(struct run *run, bool reconnect)
{
    struct psc_options options = client_options(run, reconnect);
    enum ps_status status;

    uv_loop_init(&run->loop);
    status = writer_init(&run->out, &run->loop, STDOUT_FILENO, progress_cb, run);
    if (status != PS_OK)
        goto loop_started;
    status = psc_new(&run->loop, &options, &run->client);
    if (status != PS_OK)
        goto writer_started;
    watch_signal(run, &run->interrupt, SIGINT);
    watch_signal(run, &run->terminate, SIGTERM);
    return PS_OK;

writer_started:
    writer_deinit(&run->out);
loop_started:
    uv_run(&run->loop, UV_RUN_DEFAULT);
    uv_loop_close(&run->loop);
    return status;
}

int run_command(const struct args *args, const struct run_hooks *hooks, void *command, bool reconnect)
{
    struct run run = {.args = args, .hooks = hooks, .command = command, .max_message = DEFAULT_MAX_MESSAGE};

    run.style = (struct output_style){.json = args->json,
                                      .verbose = args->verbose,
                                      .nul = args->nul,
                                      .bare = args->no_newline,
                                      .terminal = isatty(STDOUT_FILENO)};
    signal(SIGPIPE, SIG_IGN);
    enum ps_status status = start(&run, reconnect);
    if (status != PS_OK)
        return report_status(args->json, status == PS_BAD_ID ? report_quoted(bytes_of(args->id)) : NULL,
                             status);
    psc_start(run.client);
    hooks->begin(&run);
    uv_run(&run.loop, UV_RUN_DEFAULT);
    uv_loop_close(&run.loop);
    return run.code;
}
