/* psctl load: publishes the lines of a dump.
 *
 * Each line is parsed and handed to the library, which copies it; reading stops while the publish window is full, and
 * for good at the first line that is wrong or refused. The command is over when every answer is there. Answers of
 * several topics come in any order, so each has a ticket that knows its line. */
#include "command.h"
#include "input.h"
#include "load_line.h"
#include "names.h"
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 2000, ESCAPED = 6, LINE_EXTRA_BYTES = 128 * 1024 };

struct load {
    struct run *run;
    const struct args *args;
    struct input input;
    bool has_input, stopping, input_over;
    struct load_line held; /* that the full window did not take */
    bool holding;
    uint64_t asked, answered, acknowledged, refused, unknown, unsent; /* asked - answered: in flight */
    uint64_t worst_line;   /* the first that is wrong or refused; 0: none */
    uint64_t missing_line; /* the lowest that is not stored; 0: none */
    uint64_t stored_line;  /* the highest that is */
    int worst_code;
    int lost_code;       /* the connection's end; 0: it holds */
    int ending;          /* a signal's exit code; 0: none came */
    uv_timer_t patience; /* with answers, after a signal */
};

/* One publication under way. */
struct ticket {
    struct load *load;
    uint64_t line;
    bool has_offset;
    uint64_t offset;
};

/* ------------------------------------------------------------------------------------------- the last words */

static int exit_code(const struct load *load)
{
    if (load->unknown != 0)
        return EXIT_UNKNOWN;
    if (load->worst_code != 0)
        return load->worst_code;
    if (load->lost_code != 0)
        return load->lost_code;
    return load->ending;
}

static void missing(struct load *load, uint64_t line)
{
    if (load->missing_line == 0 || line < load->missing_line)
        load->missing_line = line;
}

/* Where to go on. Of unknown ones nothing is said: whether they are stored, only a look can tell; and what got another
 * offset than expected is stored. */
static void tell_way_on(const struct load *load)
{
    bool interrupted = load->has_input && load->worst_line == 0;
    uint64_t line = load->missing_line;

    if (line == 0 && interrupted)
        line = load->input.lines.number + 1;
    if (line == 0 || load->unknown != 0 || load->args->quiet)
        return;
    if (line > load->stored_line)
        report("line %" PRIu64 " and what follows is not stored: when that is mended, tail -n +%" PRIu64
               " FILE | psctl load goes on",
               line, line);
    else
        report("line %" PRIu64 " is not stored, some behind it are, to line %" PRIu64
               ": loading again from there would store those twice",
               line, load->stored_line);
}

static void finish(struct load *load)
{
    int code = exit_code(load);

    if (run_over(load->run))
        return;
    if (load->holding) {
        load->unsent++;
        missing(load, load->input.lines.number);
    }
    if (code != EXIT_OK)
        report("%" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64 " unknown, %" PRIu64
               " read and not sent (%d)",
               load->acknowledged, load->refused, load->unknown, load->unsent, code);
    if (code != EXIT_OK)
        tell_way_on(load);
    else if (!load->args->quiet)
        report("%" PRIu64 " loaded", load->acknowledged);
    run_end(load->run, code);
}

static void stop(struct load *load)
{
    load->stopping = true;
    if (load->has_input)
        input_pause(&load->input);
}

static void finish_when_answered(struct load *load)
{
    if (load->asked == load->answered && (load->stopping || (load->input_over && !load->holding)))
        finish(load);
}

/* Only the first line that was wrong is told and decides the exit code. */
static void complain(struct load *load, uint64_t line, const struct psc_error *error)
{
    char subject[640];

    stop(load);
    if (load->worst_line != 0)
        return;
    load->worst_line = line;
    load->worst_code = (int)exit_of(error->status, error->retryable);
    if (error->topic.data != NULL)
        snprintf(subject, sizeof subject, "line %" PRIu64 ", %s", line, report_quoted(error->topic));
    else
        snprintf(subject, sizeof subject, "line %" PRIu64, line);
    report_error(load->args->json, subject, error);
}

static void complain_text(struct load *load, uint64_t line, int code, const char *text)
{
    stop(load);
    if (load->worst_line != 0)
        return;
    load->worst_line = line;
    load->worst_code = code;
    report("line %" PRIu64 ": %s (%d)", line, text, code);
}

static void complain_status(struct load *load, uint64_t line, struct psc_bytes topic, enum ps_status status)
{
    char sentence[NAME_SENTENCE_BYTES];
    struct psc_error error = {.status = status,
                              .text = name_sentence(topic, status, sentence),
                              .retryable = ps_status_retryable(status),
                              .topic = topic};

    if (status == PS_MESSAGE_TOO_LARGE) {
        error.limit_name = bytes_of("max_message");
        error.limit_value = load->run->max_message;
    }
    load->refused++;
    missing(load, line);
    complain(load, line, &error);
}

/* --------------------------------------------------------------------------------------------- publishing */

static void check_offset(struct load *load, const struct ticket *ticket, uint64_t offset)
{
    char text[128];

    if (!load->args->check_offsets || !ticket->has_offset || ticket->offset == offset)
        return;
    snprintf(text, sizeof text, "it was stored at offset %" PRIu64 " and says %" PRIu64, offset,
             ticket->offset);
    complain_text(load, ticket->line, EXIT_OTHER, text);
}

static void published_cb(const struct psc_error *error, uint64_t offset, void *data)
{
    struct ticket *ticket = data;
    struct load *load = ticket->load;

    load->answered++;
    if (run_over(load->run)) {
        free(ticket);
        return;
    }
    if (error == NULL) {
        load->acknowledged++;
        load->stored_line = ticket->line > load->stored_line ? ticket->line : load->stored_line;
        check_offset(load, ticket, offset);
    } else if (error->status == PS_UNKNOWN) {
        load->unknown++;
        complain(load, ticket->line, error);
    } else if (error->status == PS_CONNECTION_LOST || error->status == PS_CONNECT_FAILED ||
               error->status == PS_CANCELLED) {
        load->unsent++;
        missing(load, ticket->line);
        stop(load);
    } else {
        load->refused++;
        missing(load, ticket->line);
        complain(load, ticket->line, error);
    }
    free(ticket);
    finish_when_answered(load);
}

/* False: the window is full. */
static bool publish(struct load *load, const struct load_line *line)
{
    struct ticket *ticket = malloc(sizeof *ticket);
    uint64_t number = load->input.lines.number;
    enum ps_status status = PS_NO_MEMORY;

    if (ticket != NULL) {
        *ticket = (struct ticket){load, number, line->has_offset, line->offset};
        status = psc_publish(load->run->client, line->topic, &line->message, published_cb, ticket);
    }
    if (status == PS_OK) {
        load->asked++;
        return true;
    }
    free(ticket);
    if (status == PS_LIMIT_EXCEEDED)
        return false;
    complain_status(load, number, line->topic, status);
    return true;
}

static void take_line(struct load *load, struct psc_bytes text)
{
    char error[LOAD_LINE_ERROR_BYTES];
    enum ps_status status;

    if (text.size == 0)
        return;
    status = load_line_parse(&load->held, text, error);
    if (status == PS_NO_MEMORY) {
        complain_status(load, load->input.lines.number, (struct psc_bytes){0}, status);
        return;
    }
    if (status != PS_OK) {
        missing(load, load->input.lines.number);
        complain_text(load, load->input.lines.number, EXIT_USAGE, error);
        return;
    }
    load->holding = !publish(load, &load->held);
    if (!load->holding)
        load_line_deinit(&load->held);
}

static void pump_lines(struct load *load)
{
    struct psc_bytes text;

    while (!load->stopping && !load->holding) {
        switch (lines_next(&load->input.lines, &text)) {
        case LINES_NEXT:
            take_line(load, text);
            break;
        case LINES_TOO_LONG:
            complain_status(load, load->input.lines.number, (struct psc_bytes){0}, PS_MESSAGE_TOO_LARGE);
            break;
        case LINES_MORE:
            input_resume(&load->input);
            return;
        case LINES_END:
            load->input_over = true;
            return;
        }
    }
    input_pause(&load->input);
}

static void pump(struct load *load)
{
    if (!load->stopping && !load->input_over && load->run->connected) {
        if (load->holding && publish(load, &load->held)) {
            load->holding = false;
            load_line_deinit(&load->held);
        }
        if (load->input.error != 0) {
            report("cannot read %s: %s",
                   load->args->operand_count > 0 ? load->args->operands[0] : "standard input",
                   strerror(load->input.error));
            load->worst_code = EXIT_OTHER;
            stop(load);
        } else if (!load->holding) {
            pump_lines(load);
        }
    }
    finish_when_answered(load);
}

static void arrived_cb(struct input *input, void *data)
{
    (void)input;
    pump(data);
}

/* ------------------------------------------------------------------------------------------------- hooks */

/* How long a line may be: each byte of a message as an escape, and what stands around it. */
static size_t most_of_line(const struct run *run)
{
    return (size_t)run->max_message * ESCAPED + LINE_EXTRA_BYTES;
}

static void begin(struct run *run)
{
    struct load *load = run->command;
    const char *path = load->args->operand_count > 0 ? load->args->operands[0] : NULL;

    load->run = run;
    uv_timer_init(&run->loop, &load->patience);
    load->patience.data = load;
    if (input_init(&load->input, &run->loop, path, '\n', most_of_line(run), arrived_cb, load) == PS_OK) {
        load->has_input = true;
        return;
    }
    report("cannot read %s: %s", report_quoted(bytes_of(path)), strerror(errno));
    run_end(run, EXIT_OTHER);
}

static void connected(struct run *run, bool again)
{
    struct load *load = run->command;

    (void)again;
    if (!load->has_input)
        return;
    load->input.lines.max = most_of_line(run);
    pump(load);
}

static void writable(struct run *run)
{
    pump(run->command);
}

static void lost(struct run *run, const struct psc_error *error, int64_t retry_in_ms)
{
    struct load *load = run->command;

    (void)retry_in_ms;
    stop(load);
    load->lost_code = run_report(run, NULL, error);
    finish(load);
}

static void give_up(struct load *load)
{
    load->unknown += load->asked - load->answered;
    finish(load);
}

static void patience_cb(uv_timer_t *timer)
{
    give_up(timer->data);
}

/* Answers in flight are awaited for a while; a second signal ends that. */
static void signalled(struct run *run, int code)
{
    struct load *load = run->command;
    bool again = load->ending != 0;

    load->ending = code;
    stop(load);
    if (!run->connected || again) {
        give_up(load);
    } else {
        uv_timer_start(&load->patience, patience_cb, PATIENCE_MS, 0);
        finish_when_answered(load);
    }
}

static void closing(struct run *run)
{
    struct load *load = run->command;

    if (load->has_input)
        input_deinit(&load->input);
    uv_close((uv_handle_t *)&load->patience, NULL);
}

int cmd_load(const struct args *args)
{
    static const struct run_hooks hooks = {
        .begin = begin,
        .connected = connected,
        .lost = lost,
        .writable = writable,
        .signalled = signalled,
        .closing = closing,
    };
    struct load load = {.args = args};
    int code = run_command(args, &hooks, &load, false);

    load_line_deinit(&load.held);
    return code;
}
