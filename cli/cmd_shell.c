/* psctl shell: runs a file of commands, then those that come from standard input.
 *
 *   ATTACHING  with an id: what is stored is listed and attached
 *   FILE       lines of the file, each after its wait and after the answer to the one before
 *   KEYBOARD   lines of standard input, edited when it is a terminal
 *   CATCHING   the input is over: messages up to the heads of that moment are received
 *
 * then the receiver's way out. One command at a time: `busy` is set while a wait or an answer is outstanding. */
#include "command.h"
#include "input.h"
#include "names.h"
#include "prompt.h"
#include "receiver.h"
#include "script.h"
#include "span.h"
#include "topic.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST_LINE = 2 * 1024 * 1024 };
enum shell_state { SHELL_CONNECTING, SHELL_ATTACHING, SHELL_FROM_FILE, SHELL_KEYBOARD, SHELL_CATCHING };

struct shell {
    struct run *run;
    const struct args *args;
    struct receiver receiver;
    enum shell_state state;
    struct input file, keyboard;
    bool has_file, has_keyboard;
    struct prompt *prompt; /* when standard input is a terminal */
    struct lines typed;    /* lines from the prompt */
    struct text line;      /* the one being carried out */
    struct script_line command;
    uint64_t number; /* of its line */
    bool busy, listing;
    unsigned attaching; /* stored subscriptions not answered yet */
    struct feed *asked; /* the one whose answer a sub waits for */
    uv_timer_t wait;
};

static void go_on(struct shell *shell);

/* One way, and no state is left out. */
static void move(struct shell *shell, enum shell_state state)
{
    assert(state == shell->state + 1);
    shell->state = state;
}

/* --------------------------------------------------------------------------------------------- one command */

static void answered(struct shell *shell)
{
    shell->busy = false;
    go_on(shell);
}

static const char *source_of(const struct shell *shell)
{
    return shell->state == SHELL_FROM_FILE ? shell->args->file : "standard input";
}

/* At a prompt it is plain which line is meant. */
static void complain(const struct shell *shell, const struct psc_error *error)
{
    const char *topic = report_quoted(shell->command.topic);
    struct text subject = {0};

    if (shell->prompt == NULL)
        text_format(&subject, "%s, line %" PRIu64 ": ", source_of(shell), shell->number);
    text_put(&subject, topic);
    report_error(shell->args->json, text_string(&subject), error);
    text_deinit(&subject);
}

static void refused(const struct shell *shell, enum ps_status status)
{
    char sentence[NAME_SENTENCE_BYTES];
    struct psc_error error = {.status = status,
                              .text = name_sentence(shell->command.topic, status, sentence),
                              .retryable = ps_status_retryable(status)};

    complain(shell, &error);
}

static void published_cb(const struct psc_error *error, uint64_t offset, void *data)
{
    struct shell *shell = data;

    if (receiver_leaving(&shell->receiver))
        return;
    if (error != NULL)
        complain(shell, error);
    else if (!shell->args->quiet)
        report("published to %s at offset %" PRIu64, report_quoted(shell->command.topic), offset);
    answered(shell);
}

static void removed_cb(const struct psc_error *error, void *data)
{
    struct shell *shell = data;

    if (receiver_leaving(&shell->receiver))
        return;
    if (error != NULL)
        complain(shell, error);
    else if (!shell->args->quiet)
        report("unsubscribed from %s", report_quoted(shell->command.topic));
    answered(shell);
}

static bool publish(struct shell *shell)
{
    struct psc_message message = {.payload = shell->command.message};
    enum ps_status status =
        psc_publish(shell->run->client, shell->command.topic, &message, published_cb, shell);

    if (status != PS_OK)
        refused(shell, status);
    return status == PS_OK;
}

static bool subscribe(struct shell *shell)
{
    const struct script_line *command = &shell->command;
    struct feed_options options = {
        .filter = command->topic,
        .durable_id = bytes_of(shell->args->id),
        .start = command->has_start ? command->start : PSC_START_BEGINNING,
        .value = command->offset,
    };
    enum ps_status status = PS_ALREADY_SUBSCRIBED;

    if (receiver_find(&shell->receiver, command->topic) == NULL)
        status = receiver_add(&shell->receiver, &options, &shell->asked);
    if (status != PS_OK)
        refused(shell, status);
    return status == PS_OK;
}

static bool unsubscribe(struct shell *shell)
{
    struct feed *feed = receiver_find(&shell->receiver, shell->command.topic);
    enum ps_status status = PS_NO_SUCH_SUBSCRIPTION;

    if (feed != NULL) {
        receiver_remove(feed, removed_cb, shell);
        return true;
    }
    if (shell->args->id != NULL)
        status = psc_forget(shell->run->client, bytes_of(shell->args->id), shell->command.topic, removed_cb,
                            shell);
    if (status != PS_OK)
        refused(shell, status);
    return status == PS_OK;
}

static void help(void)
{
    report_word("sub TOPIC [new|OFFSET]  print its messages, from the beginning on unless told otherwise");
    report_word("unsub TOPIC             stop that; with an id, forget it");
    report_word("pub TOPIC MESSAGE       publish the rest of the line");
    report_word("quit                    receive what is there, then end (as the end of the input does)");
}

static void catch_up(struct shell *shell);

static void quit(struct shell *shell)
{
    if (shell->prompt != NULL)
        prompt_end(shell->prompt);
    catch_up(shell);
}

/* True: its answer is awaited. */
static bool carry_out(struct shell *shell)
{
    switch (shell->command.verb) {
    case SCRIPT_PUB:
        return publish(shell);
    case SCRIPT_SUB:
        return subscribe(shell);
    case SCRIPT_UNSUB:
        return unsubscribe(shell);
    case SCRIPT_HELP:
        help();
        break;
    case SCRIPT_QUIT:
        quit(shell);
        break;
    case SCRIPT_NOTHING:
        break;
    }
    return false;
}

static void wait_cb(uv_timer_t *timer)
{
    struct shell *shell = timer->data;

    shell->busy = carry_out(shell);
    go_on(shell);
}

/* ---------------------------------------------------------------------------------------------- the lines */

static void cannot_read(struct shell *shell, uint64_t number, const char *why)
{
    report("%s, line %" PRIu64 ": %s: %s", source_of(shell), number, why,
           report_quoted((struct psc_bytes){shell->line.data, text_size(&shell->line)}));
    if (shell->prompt == NULL)
        receiver_finish(&shell->receiver, EXIT_USAGE);
}

static void take_line(struct shell *shell, struct psc_bytes line, uint64_t number)
{
    text_take(&shell->line, text_size(&shell->line));
    text_bytes(&shell->line, line);
    line = (struct psc_bytes){text_string(&shell->line), text_size(&shell->line)};
    shell->number = number;
    const char *wrong = script_parse(line, shell->state == SHELL_FROM_FILE, &shell->command);
    if (wrong != NULL) {
        cannot_read(shell, number, wrong);
    } else if (shell->command.verb != SCRIPT_NOTHING && shell->command.wait_ms != 0) {
        shell->busy = true;
        uv_timer_start(&shell->wait, wait_cb, shell->command.wait_ms, 0);
    } else {
        shell->busy = carry_out(shell);
    }
}

static struct lines *lines_of(struct shell *shell)
{
    if (shell->state == SHELL_FROM_FILE)
        return &shell->file.lines;
    return shell->prompt != NULL ? &shell->typed : &shell->keyboard.lines;
}

static struct input *input_of(struct shell *shell)
{
    if (shell->state == SHELL_FROM_FILE)
        return &shell->file;
    return shell->prompt != NULL ? NULL : &shell->keyboard;
}

static void start_keyboard(struct shell *shell);

static void input_over(struct shell *shell)
{
    struct input *input = input_of(shell);

    if (input != NULL && input->error != 0) {
        report("cannot read: %s", strerror(input->error));
        receiver_finish(&shell->receiver, EXIT_OTHER);
    } else if (shell->state == SHELL_FROM_FILE) {
        start_keyboard(shell);
    } else {
        catch_up(shell);
    }
}

static void go_on(struct shell *shell)
{
    struct psc_bytes line;

    while ((shell->state == SHELL_FROM_FILE || shell->state == SHELL_KEYBOARD) && !shell->busy &&
           !receiver_leaving(&shell->receiver)) {
        struct lines *lines = lines_of(shell);
        struct input *input = input_of(shell);
        switch (lines_next(lines, &line)) {
        case LINES_NEXT:
            take_line(shell, line, lines->number);
            break;
        case LINES_TOO_LONG:
            cannot_read(shell, lines->number, "the line is too long");
            receiver_finish(&shell->receiver, EXIT_USAGE);
            return;
        case LINES_MORE:
            if (input != NULL)
                input_resume(input);
            return;
        case LINES_END:
            input_over(shell);
            break;
        }
        if (input != NULL)
            input_pause(input);
    }
}

static void arrived_cb(struct input *input, void *data)
{
    struct shell *shell = data;

    if (input == input_of(shell))
        go_on(shell);
}

static void typed_cb(struct psc_bytes line, void *data)
{
    struct shell *shell = data;

    if (line.data != NULL) {
        text_bytes(&shell->typed.text, line);
        text_char(&shell->typed.text, '\n');
    } else {
        lines_ended(&shell->typed);
    }
    go_on(shell);
}

static void start_keyboard(struct shell *shell)
{
    uv_loop_t *loop = &shell->run->loop;

    move(shell, SHELL_KEYBOARD);
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        shell->prompt = prompt_new(loop, typed_cb, shell);
    if (shell->prompt != NULL) {
        lines_init(&shell->typed, '\n', LONGEST_LINE);
        return;
    }
    if (input_init(&shell->keyboard, loop, NULL, '\n', LONGEST_LINE, arrived_cb, shell) != PS_OK) {
        report("cannot read standard input: %s", strerror(errno));
        receiver_finish(&shell->receiver, EXIT_OTHER);
        return;
    }
    shell->has_keyboard = true;
}

/* --------------------------------------------------------------------------------------- the end of the input */

static void aim(struct shell *shell, const struct psc_topic_info *topic)
{
    struct span name = {topic->topic.data, topic->topic.size};

    for (struct feed *feed = shell->receiver.feeds; feed != NULL; feed = feed->next) {
        if (feed->handle != NULL && filter_match(span_of(feed->filter), name))
            receiver_aim(feed, topic->topic, topic->head);
    }
}

static void head_cb(const struct psc_error *error, const struct psc_topic_info *topic, void *data)
{
    struct shell *shell = data;

    if (receiver_leaving(&shell->receiver))
        return;
    if (topic != NULL) {
        aim(shell, topic);
        return;
    }
    shell->listing = false;
    if (error != NULL)
        receiver_finish(&shell->receiver, report_error(shell->args->json, NULL, error));
    else if (shell->receiver.positions.targets == 0)
        receiver_finish(&shell->receiver, EXIT_OK);
}

static void catch_up(struct shell *shell)
{
    move(shell, SHELL_CATCHING);
    if (shell->receiver.live_count == 0) {
        receiver_finish(&shell->receiver, EXIT_OK);
        return;
    }
    shell->listing = true;
    enum ps_status status = psc_list_topics(shell->run->client, (struct psc_bytes){NULL, 0}, head_cb, shell);
    if (status != PS_OK)
        receiver_finish(&shell->receiver, report_status(shell->args->json, NULL, status));
}

/* ---------------------------------------------------------------------------------------- subscriptions */

static void start_lines(struct shell *shell)
{
    move(shell, SHELL_FROM_FILE);
    if (!shell->has_file)
        start_keyboard(shell);
    go_on(shell);
}

static void one_stored_less(struct shell *shell)
{
    if (--shell->attaching == 0 && !shell->listing)
        start_lines(shell);
}

static void attached(struct feed *feed, bool again)
{
    struct shell *shell = feed->receiver->data;

    if (again) {
        receiver_tell_anew(feed);
        return;
    }
    if (!shell->args->quiet)
        report(shell->state == SHELL_ATTACHING ? "attached %s, which is stored" : "subscribed to %s",
               report_quoted(bytes_of(feed->filter)));
    if (shell->state == SHELL_ATTACHING) {
        one_stored_less(shell);
    } else if (feed == shell->asked) {
        shell->asked = NULL;
        answered(shell);
    }
}

static void over(struct feed *feed, const struct psc_error *reason)
{
    struct shell *shell = feed->receiver->data;

    if (feed == shell->asked)
        complain(shell, reason);
    else
        report_error(shell->args->json, report_quoted(bytes_of(feed->filter)), reason);
    if (shell->state == SHELL_ATTACHING && !feed->attached) {
        one_stored_less(shell);
    } else if (feed == shell->asked) {
        shell->asked = NULL;
        answered(shell);
    }
}

static void caught_up(struct receiver *receiver)
{
    struct shell *shell = receiver->data;

    if (shell->state == SHELL_CATCHING && !shell->listing)
        receiver_finish(receiver, EXIT_OK);
}

/* Output goes to the terminal that shows the prompt. */
static void before(struct receiver *receiver)
{
    struct shell *shell = receiver->data;

    if (shell->prompt != NULL && shell->run->style.terminal)
        text_put(&shell->run->out.text, prompt_hide(shell->prompt));
}

static void stored_cb(const struct psc_error *error, const struct psc_subscription_info *info, void *data)
{
    struct shell *shell = data;
    struct feed_options options = {.durable_id = bytes_of(shell->args->id), .existing_only = true};

    if (receiver_leaving(&shell->receiver))
        return;
    if (info != NULL) {
        options.filter = info->filter;
        enum ps_status status = receiver_add(&shell->receiver, &options, NULL);
        if (status == PS_OK)
            shell->attaching++;
        else
            report_status(shell->args->json, report_quoted(info->filter), status);
        return;
    }
    shell->listing = false;
    if (error != NULL)
        run_fail(shell->run, NULL, error);
    else if (shell->attaching == 0)
        start_lines(shell);
}

/* ------------------------------------------------------------------------------------------------- hooks */

static void begin(struct run *run)
{
    static const struct receiver_hooks hooks = {
        .attached = attached, .over = over, .caught_up = caught_up, .before = before};
    struct shell *shell = run->command;

    shell->run = run;
    uv_timer_init(&run->loop, &shell->wait);
    shell->wait.data = shell;
    receiver_init(&shell->receiver, run, &hooks, shell);
    shell->receiver.keep_starts = true;
    if (shell->args->file == NULL)
        return;
    if (input_init(&shell->file, &run->loop, shell->args->file, '\n', LONGEST_LINE, arrived_cb, shell) !=
        PS_OK) {
        report("cannot read %s: %s", report_quoted(bytes_of(shell->args->file)), strerror(errno));
        run_end(run, EXIT_OTHER);
        return;
    }
    shell->has_file = true;
}

static void connected(struct run *run, bool again)
{
    struct shell *shell = run->command;

    if (again) {
        receiver_back(&shell->receiver);
        return;
    }
    move(shell, SHELL_ATTACHING);
    if (shell->args->id == NULL) {
        start_lines(shell);
        return;
    }
    shell->listing = true;
    enum ps_status status = psc_list_subscriptions(run->client, bytes_of(shell->args->id), stored_cb, shell);
    if (status != PS_OK)
        run_fail_status(run, report_quoted(bytes_of(shell->args->id)), status);
}

static void lost(struct run *run, const struct psc_error *error, int64_t retry_in_ms)
{
    struct shell *shell = run->command;

    receiver_lost(&shell->receiver, error, retry_in_ms);
}

static void written(struct run *run)
{
    struct shell *shell = run->command;

    receiver_written(&shell->receiver);
    if (shell->prompt != NULL && writer_idle(&run->out))
        prompt_show(shell->prompt);
}

static void broken(struct run *run)
{
    struct shell *shell = run->command;

    receiver_leave(&shell->receiver, EXIT_OK);
}

static void signalled(struct run *run, int code)
{
    struct shell *shell = run->command;

    uv_timer_stop(&shell->wait);
    receiver_leave(&shell->receiver, code);
}

static void closing(struct run *run)
{
    struct shell *shell = run->command;

    receiver_close(&shell->receiver);
    prompt_free(shell->prompt);
    shell->prompt = NULL;
    if (shell->has_file)
        input_deinit(&shell->file);
    if (shell->has_keyboard)
        input_deinit(&shell->keyboard);
    uv_close((uv_handle_t *)&shell->wait, NULL);
}

int cmd_shell(const struct args *args)
{
    static const struct run_hooks hooks = {
        .begin = begin,
        .connected = connected,
        .lost = lost,
        .written = written,
        .broken = broken,
        .signalled = signalled,
        .closing = closing,
    };
    struct shell shell = {.args = args};
    int code = run_command(args, &hooks, &shell, true);

    receiver_deinit(&shell.receiver);
    lines_deinit(&shell.typed);
    text_deinit(&shell.line);
    return code;
}
