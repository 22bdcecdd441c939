/* psctl topics: lists topics; psctl topics delete: removes one, after asking. */
#include "command.h"
#include "json.h"
#include "names.h"
#include "run.h"
#include "span.h"
#include "topic.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print(struct run *run, const struct psc_topic_info *info)
{
    struct text *text = &run->out.text;

    if (run->style.json) {
        struct json json = json_object(text);
        json_string(&json, "topic", info->topic);
        json_u64(&json, "first", info->first);
        json_u64(&json, "head", info->head);
        json_u64(&json, "messages", info->head - info->first);
        json_u64(&json, "subscribers", info->subscribers);
        json_end(&json);
    } else {
        if (run->style.terminal && writer_end(&run->out) == 0)
            text_put(text, "TOPIC\tFIRST\tNEXT\tSUBSCRIBERS\n");
        output_bytes(text, &run->style, info->topic);
        text_char(text, '\t');
        text_u64(text, info->first);
        text_char(text, '\t');
        text_u64(text, info->head);
        text_char(text, '\t');
        text_u64(text, info->subscribers);
    }
    text_char(text, '\n');
    writer_appended(&run->out);
}

static void tell_empty(const struct run *run)
{
    const struct args *args = run->args;
    const char *filter = args->operand_count != 0 ? args->operands[0] : NULL;

    if (filter == NULL)
        report("there are no topics yet");
    else if (name_has_half_wildcard(bytes_of(filter)))
        report("%s: no such topic (+ and # are wildcards only as a whole level)",
               report_quoted(bytes_of(filter)));
    else
        report("%s: no such topic", report_quoted(bytes_of(filter)));
}

static void topic_cb(const struct psc_error *error, const struct psc_topic_info *info, void *data)
{
    struct run *run = data;

    if (run_over(run))
        return;
    if (info != NULL) {
        print(run, info);
        return;
    }
    if (error == NULL && writer_end(&run->out) == 0 && !run->args->quiet)
        tell_empty(run);
    run_done_cb(error, run);
}

static void list(struct run *run)
{
    struct psc_bytes filter = {NULL, 0};

    if (run->args->operand_count == 1)
        filter = bytes_of(run->args->operands[0]);
    enum ps_status status = psc_list_topics(run->client, filter, topic_cb, run);
    if (status != PS_OK)
        run_fail_status(run, filter.data != NULL ? report_quoted(filter) : NULL, status);
}

int cmd_topics(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = list};

    if (args->operand_count == 1) {
        struct psc_bytes name = bytes_of(args->operands[0]);
        if (filter_validate((struct span){name.data, name.size}) != PS_OK)
            return report_name(args->json, name, PS_BAD_FILTER);
    }
    return run_command(args, &hooks, NULL, false);
}

/* ------------------------------------------------------------------------------------------------ delete */

static bool confirmed(const struct args *args)
{
    char answer[16] = "";

    if (args->yes)
        return true;
    fprintf(stderr, "delete topic %s with all its messages? [y/N] ",
            report_quoted(bytes_of(args->operands[0])));
    fflush(stderr);
    return fgets(answer, sizeof answer, stdin) != NULL &&
           (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
}

static void delete_topic(struct run *run)
{
    struct psc_bytes topic = bytes_of(run->args->operands[0]);
    enum ps_status status = psc_delete_topic(run->client, topic, run_done_cb, run);

    if (status != PS_OK)
        run_fail_status(run, report_quoted(topic), status);
}

int cmd_topics_delete(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = delete_topic};
    struct psc_bytes name = bytes_of(args->operands[0]);
    enum ps_status status = topic_validate_publish((struct span){name.data, name.size});

    if (status != PS_OK)
        return report_name(args->json, name, status);
    if (!args->yes && !isatty(STDIN_FILENO)) {
        report("topics delete asks on a terminal; elsewhere it needs --yes");
        return EXIT_USAGE;
    }
    if (!confirmed(args)) {
        report("nothing was deleted");
        return EXIT_OTHER;
    }
    return run_command(args, &hooks, NULL, false);
}
