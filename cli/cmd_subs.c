/* psctl subs: lists stored subscriptions; psctl subs seek: moves one. */
#include "command.h"
#include "json.h"
#include "run.h"

static void print_json(struct run *run, const struct psc_subscription_info *info)
{
    struct json json = json_object(&run->out.text), topics;

    json_string(&json, "id", info->durable_id);
    json_string(&json, "filter", info->filter);
    json_bool(&json, "attached", info->attached);
    json_u64(&json, "generation", info->generation);
    topics = json_member_array(&json, "topics");
    for (size_t i = 0; i < info->position_count; i++) {
        struct json position = json_member_object(&topics, NULL);
        json_string(&position, "topic", info->positions[i].topic);
        json_u64(&position, "committed", info->positions[i].committed);
        json_u64(&position, "lag", info->positions[i].lag);
        json_end(&position);
    }
    json_end(&topics);
    json_end(&json);
    text_char(&run->out.text, '\n');
}

static void print_names(struct run *run, const struct psc_subscription_info *info)
{
    output_bytes(&run->out.text, &run->style, info->durable_id);
    text_char(&run->out.text, '\t');
    output_bytes(&run->out.text, &run->style, info->filter);
}

/* One line for each topic; a subscription without any has one line too. */
static void print(struct run *run, const struct psc_subscription_info *info)
{
    struct text *text = &run->out.text;

    if (run->style.terminal && writer_end(&run->out) == 0)
        text_put(text, "ID\tFILTER\tTOPIC\tCOMMITTED\tLAG\n");
    if (info->position_count == 0) {
        print_names(run, info);
        text_put(text, "\t-\t-\t-\n");
    }
    for (size_t i = 0; i < info->position_count; i++) {
        print_names(run, info);
        text_char(text, '\t');
        output_bytes(text, &run->style, info->positions[i].topic);
        text_char(text, '\t');
        text_u64(text, info->positions[i].committed);
        text_char(text, '\t');
        text_u64(text, info->positions[i].lag);
        text_char(text, '\n');
    }
}

static void subscription_cb(const struct psc_error *error, const struct psc_subscription_info *info,
                            void *data)
{
    struct run *run = data;

    if (run_over(run))
        return;
    if (info == NULL) {
        if (error == NULL && writer_end(&run->out) == 0 && !run->args->quiet)
            report("no subscription is stored%s%s", run->args->id != NULL ? " under the id " : "",
                   run->args->id != NULL ? report_quoted(bytes_of(run->args->id)) : "");
        run_done_cb(error, run);
        return;
    }
    if (run->style.json)
        print_json(run, info);
    else
        print(run, info);
    writer_appended(&run->out);
}

static void list(struct run *run)
{
    enum ps_status status =
        psc_list_subscriptions(run->client, bytes_of(run->args->id), subscription_cb, run);

    if (status != PS_OK)
        run_fail_status(run, NULL, status);
}

int cmd_subs(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = list};

    return run_command(args, &hooks, NULL, false);
}

/* -------------------------------------------------------------------------------------------------- seek */

static void moved_cb(const struct psc_error *error, void *data)
{
    struct run *run = data;
    const struct args *args = run->args;

    if (error == NULL) {
        run_end(run, EXIT_OK);
        return;
    }
    struct psc_error told = *error;
    if (told.status == PS_OUT_OF_RANGE && told.has_range)
        told.text = "no such offset, even counting the next to be published";
    run_fail(run, report_subscription(bytes_of(args->operands[0]), bytes_of(args->id)), &told);
}

static void seek(struct run *run)
{
    static const enum psc_start starts[] = {[SEEK_TO_OFFSET] = PSC_START_OFFSET,
                                            [SEEK_TO_BEGINNING] = PSC_START_BEGINNING,
                                            [SEEK_TO_END] = PSC_START_NEW};
    const struct args *args = run->args;
    struct psc_bytes filter = bytes_of(args->operands[0]);
    enum ps_status status = psc_seek(run->client, bytes_of(args->id), filter, starts[args->seek],
                                     args->seek_offset, moved_cb, run);

    if (status != PS_OK)
        run_fail_status(run, report_subscription(filter, bytes_of(args->id)), status);
}

int cmd_subs_seek(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = seek};

    if (args->id == NULL) {
        report("subs seek needs -i ID");
        return EXIT_USAGE;
    }
    if (args->seek == SEEK_NOT_SAID) {
        report("subs seek needs one of --to-offset N, --to-beginning and --to-end");
        return EXIT_USAGE;
    }
    return run_command(args, &hooks, NULL, false);
}
