/* One command's run: loop, connection, standard output and signals, and the way out of them.
 *
 * A command starts requests in its `begin`, reacts in hooks and callbacks, and calls run_end() once it knows
 * its exit code: what stdout still owes is written, the connection closed, and the loop ends. */
#ifndef PSCTL_RUN_H
#define PSCTL_RUN_H

#include "args.h"
#include "exits.h"
#include "output.h"
#include "report.h"
#include "writer.h"

struct run;

/* Every hook may be NULL: then the text behind it happens. Handles that a command opened on the loop are
 * closed in `closing`. */
struct run_hooks {
    void (*begin)(struct run *run);                 /* before the loop runs */
    void (*connected)(struct run *run, bool again); /* nothing */
    /* The connection is gone and, with retry_in_ms < 0, stays so: the error is reported and its code ends. */
    void (*lost)(struct run *run, const struct psc_error *error, int64_t retry_in_ms);
    void (*writable)(struct run *run);            /* nothing */
    void (*written)(struct run *run);             /* nothing: stdout took bytes */
    void (*broken)(struct run *run);              /* nobody reads stdout: ends with EXIT_OK */
    void (*signalled)(struct run *run, int code); /* ends with code; called for every signal */
    void (*closing)(struct run *run);             /* nothing */
};

enum run_state { RUN_GOING, RUN_FLUSHING, RUN_CLOSING };

struct run {
    const struct args *args;
    const struct run_hooks *hooks;
    void *command;
    struct output_style style;
    struct psc_client *client;
    struct writer out;
    uv_loop_t loop;
    uv_signal_t interrupt, terminate;
    enum run_state state;
    int code;
    bool connected, signalled;
    bool failing;         /* a request went with its connection: why that went is about to be told */
    bool told;            /* it is being told */
    uint32_t max_message; /* as the broker announced it; the default before */
};

/* Runs the command to its end and returns the exit code. `reconnect`: try again after a lost connection,
 * unless --no-reconnect was given. */
int run_command(const struct args *args, const struct run_hooks *hooks, void *command, bool reconnect);

/* The command is over. Only the first call counts. */
void run_end(struct run *run, int code);

/* As report_error(); a failed connect names the address instead of the subject. */
int run_report(const struct run *run, const char *subject, const struct psc_error *error);

/* Reports an error and ends with its exit code; `subject` as in report_error(). A lost connection's own reason goes
 * before that of the request that went with it. */
void run_fail(struct run *run, const char *subject, const struct psc_error *error);
void run_fail_status(struct run *run, const char *subject, enum ps_status status);

static inline bool run_over(const struct run *run)
{
    return run->state != RUN_GOING;
}

/* A psc_done_fn for a request that is the whole command; `data` is the run. */
void run_done_cb(const struct psc_error *error, void *data);

#endif
