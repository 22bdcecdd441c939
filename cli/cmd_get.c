/* psctl get: one message by topic and offset.
 *
 * Asked for as a temporary subscription with room for one message that begins at the offset and ends at the
 * head; where it really begins tells whether the message is there before anything is delivered. */
#include "command.h"
#include "names.h"
#include "run.h"
#include "span.h"
#include "topic.h"

#include <stdio.h>

/* No topic gets that far, and every broker takes it as a start. */
#define FAR_OFFSET (UINT64_C(1) << 62)

struct get {
    struct run *run;
    struct psc_bytes topic;
    uint64_t offset, first, head;
};

static void not_there(struct get *get)
{
    struct psc_error error = {.status = PS_OUT_OF_RANGE,
                              .text = "no such offset",
                              .topic = get->topic,
                              .has_range = true,
                              .offset_from = get->first,
                              .offset_to = get->head};

    run_fail(get->run, NULL, &error);
}

static void subscribed_cb(struct psc_subscription *subscription, bool created,
                          const struct psc_topic_start *starts, size_t count, void *data)
{
    struct get *get = data;

    (void)subscription;
    (void)created;
    if (count == 0) {
        run_fail_status(get->run, report_quoted(get->topic), PS_NO_SUCH_TOPIC);
        return;
    }
    get->first = starts[0].first;
    get->head = starts[0].head;
    if (get->offset < get->first || get->offset >= get->head)
        not_there(get);
}

static void message_cb(struct psc_subscription *subscription, struct psc_bytes topic,
                       const struct psc_message *message, void *data)
{
    struct get *get = data;

    (void)subscription;
    if (run_over(get->run))
        return;
    if (message->offset != get->offset) {
        not_there(get);
        return;
    }
    output_message(&get->run->out.text, &get->run->style, topic, message);
    writer_appended(&get->run->out);
    run_end(get->run, EXIT_OK);
}

static void ended_cb(struct psc_subscription *subscription, const struct psc_error *reason, void *data)
{
    struct get *get = data;

    (void)subscription;
    if (run_over(get->run))
        return;
    if (reason->status == PS_END_REACHED)
        not_there(get);
    else
        run_fail(get->run, report_quoted(get->topic), reason);
}

static void begin(struct run *run)
{
    struct get *get = run->command;
    struct psc_subscription *subscription;
    struct psc_subscribe_options options = {
        .filter = get->topic,
        .start = PSC_START_OFFSET,
        .value = get->offset < FAR_OFFSET ? get->offset : FAR_OFFSET,
        .until_end = true,
        .window_messages = 1,
        .window_bytes = 1,
        .subscribed = subscribed_cb,
        .message = message_cb,
        .ended = ended_cb,
        .data = get,
    };

    get->run = run;
    enum ps_status status = psc_subscribe(run->client, &options, &subscription);
    if (status != PS_OK)
        run_fail_status(run, report_quoted(get->topic), status);
}

int cmd_get(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = begin};
    struct get get = {.topic = bytes_of(args->operands[0])};
    struct span topic = {get.topic.data, get.topic.size};

    if (topic_validate(topic) != PS_OK)
        return report_name(args->json, get.topic, PS_BAD_TOPIC);
    if (!args_number(args->operands[1], &get.offset)) {
        report("%s is not an offset: a number from 0 on", report_quoted(bytes_of(args->operands[1])));
        return EXIT_USAGE;
    }
    return run_command(args, &hooks, &get, false);
}
