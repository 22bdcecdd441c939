/* psctl pub: one message, a whole input, or an input's lines.
 *
 * Lines go from the input's buffer into the library and answers into the output's, nothing is allocated for a
 * line. Reading stops while the publish window is full, while stdout is far behind, and for good at the first
 * refusal; the command is over when every answer is there.
 *
 *   single   the message is at hand when the loop begins
 *   whole    the input is gathered until its end, then published as one message
 *   lines    each line is published as it is read */
#include "command.h"
#include "input.h"
#include "names.h"
#include "run.h"
#include "span.h"
#include "topic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG_BYTES = 1024 * 1024, PROGRESS_MS = 250, PATIENCE_MS = 2000 };
enum source { SINGLE, WHOLE, LINES };

struct pub {
    struct run *run;
    const struct args *args;
    enum source source;
    struct psc_message message; /* key and headers; the payload changes */
    struct psc_bytes topic;
    struct input input;
    bool has_input;
    struct psc_bytes held; /* a line that the full window did not take */
    bool holding, stopping, input_over;
    bool counting; /* a progress line instead of offsets */
    bool deaf;     /* nobody reads our stdout any more: publishing goes on */

    uint64_t asked, answered, acknowledged, unknown, unsent, refused; /* asked - answered: in flight */
    uint64_t last_line, last_offset, first_offset;                    /* of what was acknowledged */
    uint64_t refused_line;
    struct psc_error refusal; /* of refused_line; its text is refusal_text */
    char refusal_text[512], refusal_limit[64];
    char unknown_text[512]; /* why the first unknown is one */
    int lost_code;          /* the connection's end; 0: it holds */
    int ending;             /* a signal's exit code; 0: none came */
    uv_timer_t progress;
    uv_timer_t patience; /* with answers, after a signal */
    uint64_t began;
};

/* ------------------------------------------------------------------------------------------- the last words */

static void show_progress(struct pub *pub, bool last)
{
    double seconds = (double)(uv_hrtime() - pub->began) / 1e9;
    double rate = seconds > 0 ? (double)pub->acknowledged / seconds : 0;

    if (!last) {
        fprintf(stderr, "\r%" PRIu64 " published, %.0f/s ", pub->acknowledged, rate);
        return;
    }
    fprintf(stderr, "\r\033[K");
    if (pub->acknowledged == 0)
        report("nothing published");
    else
        report("%" PRIu64 " published to %s, offsets %" PRIu64 " to %" PRIu64 ", %.2f s, %.0f/s",
               pub->acknowledged, report_quoted(pub->topic), pub->first_offset, pub->last_offset, seconds,
               rate);
}

static int exit_code(const struct pub *pub)
{
    if (pub->unknown != 0)
        return EXIT_UNKNOWN;
    if (pub->refused != 0)
        return (int)exit_of(pub->refusal.status, pub->refusal.retryable);
    if (pub->lost_code != 0)
        return pub->lost_code;
    if (pub->ending != 0)
        return pub->ending;
    return pub->unsent != 0 ? EXIT_CONNECTION : EXIT_OK;
}

static void report_lines(const struct pub *pub)
{
    struct text last = {0};

    if (pub->acknowledged != 0)
        text_format(&last, "last acknowledged: line %" PRIu64 ", offset %" PRIu64, pub->last_line,
                    pub->last_offset);
    else
        text_put(&last, "none acknowledged");
    report("%s; %" PRIu64 " refused, %" PRIu64 " unknown, %" PRIu64 " read and not sent (%d)",
           text_string(&last), pub->refused, pub->unknown, pub->unsent, exit_code(pub));
    if (pub->unknown == 0 && !pub->args->quiet)
        report("line %" PRIu64 " is the next to publish", pub->last_line + 1);
    text_deinit(&last);
}

static void report_outcome(struct pub *pub)
{
    char subject[64];

    if (pub->refused != 0) {
        snprintf(subject, sizeof subject, "line %" PRIu64 " refused", pub->refused_line);
        report_error(pub->args->json, pub->source == LINES ? subject : NULL, &pub->refusal);
    }
    if (pub->unknown != 0) {
        struct psc_error error = {.status = PS_UNKNOWN, .text = pub->unknown_text};
        report_error(pub->args->json, report_quoted(pub->topic), &error);
    }
    if (pub->source == LINES && exit_code(pub) != EXIT_OK)
        report_lines(pub);
    else if (pub->source == LINES && pub->answered == 0 && !pub->counting && !pub->args->quiet)
        report("nothing published: the input has no lines");
}

static void finish(struct pub *pub)
{
    if (run_over(pub->run))
        return;
    if (pub->holding)
        pub->unsent++;
    if (pub->source == LINES && exit_code(pub) != EXIT_OK)
        pub->unsent += lines_left(&pub->input.lines);
    if (pub->counting)
        show_progress(pub, true);
    report_outcome(pub);
    run_end(pub->run, exit_code(pub));
}

static void stop(struct pub *pub)
{
    pub->stopping = true;
    if (pub->has_input)
        input_pause(&pub->input);
}

static void finish_when_answered(struct pub *pub)
{
    /* What was never sent waits for the word that the connection is gone: it says why. */
    bool wait = pub->unsent != 0 && pub->lost_code == 0 && pub->refused == 0 && pub->unknown == 0;

    if (pub->asked == pub->answered && !wait && (pub->stopping || (pub->input_over && !pub->holding)))
        finish(pub);
}

/* --------------------------------------------------------------------------------------------- publishing */

static void refuse(struct pub *pub, uint64_t line, const struct psc_error *error)
{
    if (pub->refused++ != 0 && line > pub->refused_line)
        return;
    pub->refused_line = line;
    pub->refusal = *error;
    snprintf(pub->refusal_text, sizeof pub->refusal_text, "%s", error->text);
    pub->refusal.text = pub->refusal_text;
    pub->refusal.topic = pub->topic;
    if (error->limit_name.data != NULL) {
        snprintf(pub->refusal_limit, sizeof pub->refusal_limit, "%.*s", (int)error->limit_name.size,
                 (const char *)error->limit_name.data);
        pub->refusal.limit_name = bytes_of(pub->refusal_limit);
    }
}

static void acknowledge(struct pub *pub, uint64_t line, uint64_t offset)
{
    if (pub->acknowledged++ == 0)
        pub->first_offset = offset;
    pub->last_line = line;
    pub->last_offset = offset;
    if (pub->args->quiet || pub->counting || pub->deaf)
        return;
    output_published(&pub->run->out.text, &pub->run->style, pub->topic, offset);
    writer_appended(&pub->run->out);
}

static void unknown(struct pub *pub, const struct psc_error *error)
{
    if (pub->unknown++ == 0)
        snprintf(pub->unknown_text, sizeof pub->unknown_text, "%s", error->text);
}

/* Answers for one topic come in the order of publication: the n-th answer is line n's. */
static void published_cb(const struct psc_error *error, uint64_t offset, void *data)
{
    struct pub *pub = data;
    uint64_t line = ++pub->answered;

    if (error == NULL)
        acknowledge(pub, line, offset);
    else if (error->status == PS_UNKNOWN)
        unknown(pub, error);
    else if (error->status == PS_CONNECTION_LOST || error->status == PS_CONNECT_FAILED ||
             error->status == PS_CANCELLED)
        pub->unsent++;
    else
        refuse(pub, line, error);
    if (error != NULL)
        stop(pub);
    finish_when_answered(pub);
}

static void refuse_here(struct pub *pub, uint64_t line, enum ps_status status)
{
    struct psc_error error = {
        .status = status, .text = ps_status_text(status), .retryable = ps_status_retryable(status)};

    if (status == PS_MESSAGE_TOO_LARGE) {
        error.limit_name = bytes_of("max_message");
        error.limit_value = pub->run->max_message;
    }
    refuse(pub, line, &error);
    stop(pub);
}

/* False: the window is full and the payload is held. */
static bool publish(struct pub *pub, struct psc_bytes payload)
{
    enum ps_status status;

    pub->message.payload = payload;
    status = psc_publish(pub->run->client, pub->topic, &pub->message, published_cb, pub);
    if (status == PS_OK) {
        pub->asked++;
        return true;
    }
    if (status == PS_LIMIT_EXCEEDED) {
        pub->held = payload;
        pub->holding = true;
        return false;
    }
    refuse_here(pub, pub->asked + 1, status);
    return true;
}

static void pump_lines(struct pub *pub)
{
    struct psc_bytes line;

    while (!pub->stopping) {
        switch (lines_next(&pub->input.lines, &line)) {
        case LINES_NEXT:
            if (publish(pub, line))
                break;
            input_pause(&pub->input);
            return;
        case LINES_TOO_LONG:
            refuse_here(pub, pub->input.lines.number, PS_MESSAGE_TOO_LARGE);
            break;
        case LINES_MORE:
            if (text_size(&pub->run->out.text) > BACKLOG_BYTES && !pub->deaf)
                input_pause(&pub->input);
            else
                input_resume(&pub->input);
            return;
        case LINES_END:
            pub->input_over = true;
            return;
        }
    }
}

static void gather_whole(struct pub *pub)
{
    struct text *text = &pub->input.lines.text;

    if (text_size(text) > pub->run->max_message) {
        refuse_here(pub, 1, PS_MESSAGE_TOO_LARGE);
    } else if (pub->input.lines.ended) {
        pub->input_over = true;
        publish(pub, (struct psc_bytes){text_string(text), text_size(text)});
    } else {
        input_resume(&pub->input);
    }
}

static void pump(struct pub *pub)
{
    if (pub->stopping || pub->input_over || !pub->run->connected)
        return;
    if (pub->holding) {
        pub->holding = false;
        if (!publish(pub, pub->held))
            return;
    }
    if (pub->input.error != 0) {
        report("cannot read %s: %s", pub->args->file != NULL ? pub->args->file : "standard input",
               strerror(pub->input.error));
        pub->lost_code = EXIT_OTHER;
        stop(pub);
    } else if (pub->source == WHOLE) {
        gather_whole(pub);
    } else if (pub->source == LINES) {
        pump_lines(pub);
    }
}

static void arrived_cb(struct input *input, void *data)
{
    struct pub *pub = data;

    (void)input;
    pump(pub);
    finish_when_answered(pub);
}

/* ------------------------------------------------------------------------------------------------- hooks */

static void progress_cb(uv_timer_t *timer)
{
    show_progress(timer->data, false);
}

static void begin(struct run *run)
{
    struct pub *pub = run->command;

    pub->run = run;
    pub->began = uv_hrtime();
    pub->counting = pub->source == LINES && run->style.terminal && !run->args->json && !run->args->quiet;
    uv_timer_init(&run->loop, &pub->progress);
    pub->progress.data = pub;
    uv_timer_init(&run->loop, &pub->patience);
    pub->patience.data = pub;
    if (pub->counting && isatty(STDERR_FILENO))
        uv_timer_start(&pub->progress, progress_cb, PROGRESS_MS, PROGRESS_MS);
    if (pub->source == SINGLE) {
        pub->input_over = true;
        publish(pub, pub->message.payload);
        finish_when_answered(pub);
        return;
    }
    char delimiter = pub->args->nul ? '\0' : '\n';
    if (input_init(&pub->input, &run->loop, pub->args->file, delimiter, run->max_message, arrived_cb, pub) !=
        PS_OK) {
        report("cannot read %s: %s", report_quoted(bytes_of(pub->args->file)), strerror(errno));
        run_end(run, EXIT_OTHER);
        return;
    }
    pub->has_input = true;
}

static void connected(struct run *run, bool again)
{
    struct pub *pub = run->command;

    (void)again;
    if (!pub->has_input)
        return;
    pub->input.lines.max = run->max_message;
    pump(pub);
    finish_when_answered(pub);
}

static void writable(struct run *run)
{
    struct pub *pub = run->command;

    pump(pub);
    finish_when_answered(pub);
}

static void written(struct run *run)
{
    struct pub *pub = run->command;

    if (pub->source == LINES && !pub->holding && text_size(&run->out.text) <= BACKLOG_BYTES) {
        pump(pub);
        finish_when_answered(pub);
    }
}

static void broken(struct run *run)
{
    struct pub *pub = run->command;

    pub->deaf = true;
    writable(run);
}

static void lost(struct run *run, const struct psc_error *error, int64_t retry_in_ms)
{
    struct pub *pub = run->command;

    (void)retry_in_ms;
    stop(pub);
    pub->lost_code = run_report(run, NULL, error);
    finish(pub);
}

static void give_up(struct pub *pub)
{
    if (pub->unknown == 0 && pub->asked != pub->answered)
        snprintf(pub->unknown_text, sizeof pub->unknown_text, "interrupted before the answer came");
    pub->unknown += pub->asked - pub->answered;
    finish(pub);
}

static void patience_cb(uv_timer_t *timer)
{
    give_up(timer->data);
}

/* Answers in flight are awaited for a while; a second signal ends that. */
static void signalled(struct run *run, int code)
{
    struct pub *pub = run->command;
    bool again = pub->ending != 0;

    pub->ending = code;
    stop(pub);
    if (!run->connected) {
        pub->unsent += pub->asked - pub->answered;
        finish(pub);
    } else if (again) {
        give_up(pub);
    } else {
        uv_timer_start(&pub->patience, patience_cb, PATIENCE_MS, 0);
        finish_when_answered(pub);
    }
}

static void closing(struct run *run)
{
    struct pub *pub = run->command;

    /* Not a word about them came out, and sending them again would store them twice. */
    if (run->out.state == WRITER_FAILED && pub->acknowledged == 1)
        report("stored all the same: offset %" PRIu64 " of %s", pub->first_offset, report_quoted(pub->topic));
    else if (run->out.state == WRITER_FAILED && pub->acknowledged > 0)
        report("stored all the same: %" PRIu64 " messages, offsets %" PRIu64 " to %" PRIu64 " of %s",
               pub->acknowledged, pub->first_offset, pub->last_offset, report_quoted(pub->topic));
    if (pub->has_input)
        input_deinit(&pub->input);
    uv_close((uv_handle_t *)&pub->progress, NULL);
    uv_close((uv_handle_t *)&pub->patience, NULL);
}

/* ------------------------------------------------------------------------------------------- the command */

static bool standard_input_flows(void)
{
    struct stat status;

    return fstat(STDIN_FILENO, &status) == 0 &&
           (S_ISFIFO(status.st_mode) || S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode));
}

/* NULL, or what is wrong with the combination of words. */
static const char *choose_source(struct pub *pub)
{
    const struct args *args = pub->args;
    const char *word = args->operand_count > 1 ? args->operands[1] : NULL;
    bool dash = word != NULL && strcmp(word, "-") == 0;

    pub->source = args->lines ? LINES : WHOLE;
    if (word != NULL && !dash) {
        if (args->lines)
            return "MESSAGE and --lines cannot be combined: lines come from standard input or --file";
        if (args->file != NULL)
            return "MESSAGE and --file cannot be combined";
        pub->source = SINGLE;
        pub->message.payload = bytes_of(word);
        return NULL;
    }
    if (dash && args->file != NULL && strcmp(args->file, "-") != 0)
        return "- and --file cannot be combined";
    if (args->nul && !args->lines)
        return "--nul needs --lines";
    if (dash || args->file != NULL || standard_input_flows() || (args->lines && isatty(STDIN_FILENO)))
        return NULL;
    return args->lines
               ? "lines are missing: pipe them in, name a --file, or - to read standard input whatever it is"
               : "MESSAGE is missing: give one, pipe it in, or - to read standard input";
}

int cmd_pub(const struct args *args)
{
    static const struct run_hooks hooks = {
        .begin = begin,
        .connected = connected,
        .lost = lost,
        .writable = writable,
        .written = written,
        .broken = broken,
        .signalled = signalled,
        .closing = closing,
    };
    struct pub pub = {
        .args = args,
        .topic = bytes_of(args->operands[0]),
        .message = {.key = bytes_of(args->key), .headers = args->headers, .header_count = args->header_count},
    };
    const char *wrong = choose_source(&pub);

    if (wrong != NULL) {
        report("%s", wrong);
        return EXIT_USAGE;
    }
    struct span topic = {pub.topic.data, pub.topic.size};
    enum ps_status status = topic_validate_publish(topic);
    if (status != PS_OK)
        return report_name(args->json, pub.topic, status);
    return run_command(args, &hooks, &pub, false);
}
