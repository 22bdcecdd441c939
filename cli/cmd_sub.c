/* psctl sub: prints messages of one or more subscriptions.
 *
 * First all of them are attached (those that are stored are listed before, when no FILTER was given), then messages
 * are printed until an end: a count, the heads of the moment of subscribing, silence, a refusal, a signal, or nobody
 * who reads stdout. The way out is the receiver's. */
#include "command.h"
#include "names.h"
#include "receiver.h"
#include "salvage.h"
#include "span.h"
#include "topic.h"

#include <inttypes.h>
#include <unistd.h>

struct sub {
    struct run *run;
    const struct args *args;
    struct receiver receiver;
    struct salvage salvage;
    unsigned attached; /* feeds that are */
    unsigned listed;   /* stored subscriptions found */
    bool listing, running;
    uv_timer_t idle;
};

static void finish(struct sub *sub, int code)
{
    uv_timer_stop(&sub->idle);
    receiver_finish(&sub->receiver, code);
}

/* ----------------------------------------------------------------------------------------- subscriptions */

static void idle_cb(uv_timer_t *timer)
{
    struct sub *sub = timer->data;

    if (!writer_idle(&sub->run->out)) {
        uv_timer_again(timer);
        return;
    }
    if (!sub->args->quiet)
        report("nothing came for %" PRIu64 " ms (%d)", sub->args->idle_timeout_ms, EXIT_IDLE);
    finish(sub, EXIT_IDLE);
}

/* One word for programs; on a terminal a line for each filter, which begins with it. */
static void tell_subscribed(const struct sub *sub)
{
    if (!isatty(STDERR_FILENO)) {
        report_word("subscribed");
        return;
    }
    for (const struct feed *feed = sub->receiver.feeds; feed != NULL; feed = feed->next) {
        struct text line = {0};
        text_format(&line, "subscribed to %s", report_quoted(bytes_of(feed->filter)));
        if (feed->durable)
            text_format(&line, " as %s", report_quoted(bytes_of(sub->args->id)));
        if (feed->topics == 1)
            text_format(&line, ", from offset %" PRIu64, feed->starts_at);
        else if (feed->topics > 1)
            text_format(&line, ", %zu topics", feed->topics);
        if (feed->behind != 0)
            text_format(&line, " (%" PRIu64 " behind)", feed->behind);
        report_word(text_string(&line));
        text_deinit(&line);
    }
}

/* What may be a slip of whoever named it. */
static void tell_what_is_not_there(const struct sub *sub, const struct feed *feed)
{
    struct psc_bytes filter = bytes_of(feed->filter);
    bool from_offset = sub->args->start_option != NULL && sub->args->start == PSC_START_OFFSET;

    if (feed->topics == 0 && name_has_half_wildcard(filter))
        report("%s: no such topic yet (+ and # are wildcards only as a whole level)", report_quoted(filter));
    else if (feed->topics == 0)
        report("%s: %s yet", report_quoted(filter),
               filter_is_exact(span_of(feed->filter)) ? "no such topic" : "no topic matches");
    else if (from_offset && feed->topics == 1 && feed->starts_at > feed->head)
        report("%s ends before offset %" PRIu64 ": the next message will be %" PRIu64, report_quoted(filter),
               feed->starts_at, feed->head);
}

static void ready(struct sub *sub)
{
    uint64_t idle = sub->args->idle_timeout_ms;

    sub->running = true;
    if (!sub->args->quiet && (sub->args->id != NULL || !sub->args->exit_at_end))
        tell_subscribed(sub);
    writer_watch(&sub->run->out);
    if (idle != 0)
        uv_timer_start(&sub->idle, idle_cb, idle, idle);
    if (sub->args->exit_at_end && sub->args->id != NULL && sub->receiver.positions.targets == 0)
        finish(sub, EXIT_OK);
}

static void attached(struct feed *feed, bool again)
{
    struct sub *sub = feed->receiver->data;

    if (again) {
        receiver_tell_anew(feed);
        return;
    }
    if (!feed->created && feed->durable && sub->args->start_option != NULL && !sub->args->quiet)
        report("%s is stored already and goes on at its committed offset: %s is ignored",
               report_quoted(bytes_of(feed->filter)), sub->args->start_option);
    if (!sub->args->quiet)
        tell_what_is_not_there(sub, feed);
    if (++sub->attached == sub->receiver.feed_count && !sub->listing && !sub->running)
        ready(sub);
}

/* A durable one can be moved behind the damage, another be made there. */
static void tell_way_on(const struct sub *sub, const struct feed *feed, const struct psc_error *reason)
{
    const char *topic = report_quoted(reason->topic);
    uint64_t behind = reason->offset_from + 1;

    if (reason->topic.data == NULL || !reason->has_range || sub->args->quiet)
        return;
    if (feed->durable && filter_is_exact(span_of(feed->filter)))
        report("psctl subs seek %s -i %s --to-offset %" PRIu64
               " goes on behind it; psctl verify finds all damage",
               topic, report_quoted(bytes_of(sub->args->id)), behind);
    else
        report("psctl sub %s --from-offset %" PRIu64 " goes on behind it; psctl verify finds all damage",
               topic, behind);
}

static void fail(struct sub *sub, const struct feed *feed, const struct psc_error *reason)
{
    const char *subject = reason->topic.data != NULL ? NULL : report_quoted(bytes_of(feed->filter));
    int code = run_report(sub->run, subject, reason);

    if (reason->status == PS_DAMAGED)
        tell_way_on(sub, feed, reason);
    else if (reason->status == PS_LOG_CHANGED && !sub->args->quiet)
        report("offsets known from the log before mean nothing in this one: begin anew, as with "
               "--from-beginning");
    finish(sub, code);
}

static void all_over(struct sub *sub)
{
    if (salvage_next(&sub->salvage, &sub->receiver))
        return;
    if (sub->salvage.damaged == 0) {
        finish(sub, EXIT_OK);
        return;
    }
    report("%" PRIu64 " messages printed, %" PRIu64
           " left out because they are damaged (%d); psctl verify lists all damage",
           sub->receiver.printed, sub->salvage.damaged, EXIT_DAMAGED);
    finish(sub, EXIT_DAMAGED);
}

static void over(struct feed *feed, const struct psc_error *reason)
{
    struct sub *sub = feed->receiver->data;
    bool harmed = sub->args->salvage && salvage_take(&sub->salvage, feed, reason);

    if (reason->status == PS_CONNECTION_LOST && !sub->run->told)
        return; /* lost() follows and says why */
    if (reason->status != PS_END_REACHED && !harmed)
        fail(sub, feed, reason);
    else if (sub->receiver.live_count == 0)
        all_over(sub);
}

static void printed(struct receiver *receiver)
{
    struct sub *sub = receiver->data;

    if (sub->args->has_count && receiver->printed == sub->args->count)
        finish(sub, EXIT_OK);
    else if (sub->args->idle_timeout_ms != 0 && sub->running)
        uv_timer_again(&sub->idle);
}

static void caught_up(struct receiver *receiver)
{
    struct sub *sub = receiver->data;

    if (sub->args->exit_at_end && sub->running && !sub->args->salvage)
        finish(sub, EXIT_OK);
}

/* A durable one ends here, at the heads it was told: one that the broker ends takes no acknowledgement. */
static void subscribe(struct sub *sub, struct psc_bytes filter, bool existing_only)
{
    struct feed_options options = {
        .filter = filter,
        .durable_id = bytes_of(sub->args->id),
        .start = sub->args->start,
        .value = sub->args->start_value,
        .until_end = sub->args->exit_at_end && sub->args->id == NULL,
        .existing_only = existing_only,
    };

    if (receiver_find(&sub->receiver, filter) != NULL)
        return;
    enum ps_status status = receiver_add(&sub->receiver, &options, NULL);
    if (status != PS_OK)
        run_fail_status(sub->run, report_quoted(filter), status);
}

static void listed_cb(const struct psc_error *error, const struct psc_subscription_info *info, void *data)
{
    struct sub *sub = data;

    if (receiver_leaving(&sub->receiver))
        return;
    if (info != NULL) {
        sub->listed++;
        subscribe(sub, info->filter, true);
        return;
    }
    sub->listing = false;
    if (error != NULL) {
        run_fail(sub->run, NULL, error);
    } else if (sub->listed == 0) {
        report("nothing is stored under the id %s (%d)", report_quoted(bytes_of(sub->args->id)),
               EXIT_NOT_FOUND);
        run_end(sub->run, EXIT_NOT_FOUND);
    } else if (sub->attached == sub->receiver.feed_count && !sub->running) {
        ready(sub);
    }
}

/* ------------------------------------------------------------------------------------------------- hooks */

static void begin(struct run *run)
{
    static const struct receiver_hooks hooks = {
        .attached = attached, .over = over, .printed = printed, .caught_up = caught_up};
    struct sub *sub = run->command;

    sub->run = run;
    uv_timer_init(&run->loop, &sub->idle);
    sub->idle.data = sub;
    receiver_init(&sub->receiver, run, &hooks, sub);
    sub->receiver.aim_at_start = sub->args->exit_at_end;
    sub->receiver.keep_starts = sub->args->salvage;
    for (unsigned i = 0; i < sub->args->operand_count; i++)
        subscribe(sub, bytes_of(sub->args->operands[i]), false);
    if (sub->args->operand_count != 0)
        return;
    sub->listing = true;
    enum ps_status status = psc_list_subscriptions(run->client, bytes_of(sub->args->id), listed_cb, sub);
    if (status != PS_OK)
        run_fail_status(run, NULL, status);
}

static void connected(struct run *run, bool again)
{
    struct sub *sub = run->command;

    if (again)
        receiver_back(&sub->receiver);
}

static void lost(struct run *run, const struct psc_error *error, int64_t retry_in_ms)
{
    struct sub *sub = run->command;

    receiver_lost(&sub->receiver, error, retry_in_ms);
}

static void written(struct run *run)
{
    struct sub *sub = run->command;

    receiver_written(&sub->receiver);
}

static void broken(struct run *run)
{
    struct sub *sub = run->command;

    receiver_leave(&sub->receiver, EXIT_OK);
}

static void signalled(struct run *run, int code)
{
    struct sub *sub = run->command;

    uv_timer_stop(&sub->idle);
    receiver_leave(&sub->receiver, code);
}

static void closing(struct run *run)
{
    struct sub *sub = run->command;

    receiver_close(&sub->receiver);
    uv_close((uv_handle_t *)&sub->idle, NULL);
}

/* ------------------------------------------------------------------------------------------- the command */

static int check(const struct args *args)
{
    if (args->operand_count == 0 && args->id == NULL) {
        report("a FILTER is missing (or -i ID, to attach what is stored under it)");
        return EXIT_USAGE;
    }
    for (unsigned i = 0; i < args->operand_count; i++) {
        struct psc_bytes name = bytes_of(args->operands[i]);
        struct span filter = {name.data, name.size};
        if (filter_validate(filter) != PS_OK)
            return report_name(args->json, name, PS_BAD_FILTER);
        if (args->start_option != NULL && args->start == PSC_START_OFFSET && !filter_is_exact(filter)) {
            report("%s: --from-offset is for one topic, this is a filter with wildcards",
                   report_quoted(name));
            return EXIT_USAGE;
        }
    }
    return EXIT_OK;
}

int cmd_sub(const struct args *args)
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
    struct sub sub = {.args = args};
    int code = check(args);

    if (code != EXIT_OK)
        return code;
    code = run_command(args, &hooks, &sub, true);
    receiver_deinit(&sub.receiver);
    salvage_deinit(&sub.salvage);
    return code;
}
