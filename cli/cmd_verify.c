/* psctl verify: has the broker check its log; a line for each problem. */
#include "command.h"
#include "json.h"
#include "progress.h"
#include "run.h"

static void print(struct run *run, const struct psc_problem *problem)
{
    struct text *text = &run->out.text;

    if (run->style.json) {
        struct json json = json_object(text);
        if (problem->topic.data != NULL)
            json_string(&json, "topic", problem->topic);
        if (problem->has_offset)
            json_u64(&json, "offset", problem->offset);
        json_string(&json, "problem", problem->text);
        json_end(&json);
    } else {
        if (problem->topic.data != NULL) {
            text_put(text, "topic ");
            output_bytes(text, &run->style, problem->topic);
        }
        if (problem->has_offset) {
            text_put(text, " offset ");
            text_u64(text, problem->offset);
        }
        if (problem->topic.data != NULL)
            text_put(text, ": ");
        output_bytes(text, &run->style, problem->text);
    }
    text_char(text, '\n');
    writer_appended(&run->out);
}

static void verification_cb(const struct psc_error *error, const struct psc_verification *verification,
                            void *data)
{
    struct run *run = data;

    if (run_over(run))
        return;
    progress_clear();
    if (error != NULL) {
        run_fail(run, NULL, error);
        return;
    }
    for (size_t i = 0; i < verification->problem_count; i++)
        print(run, &verification->problems[i]);
    if (!verification->done) {
        if (!run->args->quiet)
            progress_show("checked", verification->checked, verification->total);
        return;
    }
    if (!run->args->quiet)
        report("%llu records checked: %llu problems", (unsigned long long)verification->records,
               (unsigned long long)verification->found);
    run_end(run, verification->found == 0 ? EXIT_OK : EXIT_DAMAGED);
}

static void begin(struct run *run)
{
    enum ps_status status = psc_verify(run->client, verification_cb, run);

    if (status != PS_OK)
        run_fail_status(run, NULL, status);
}

int cmd_verify(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = begin};

    return run_command(args, &hooks, NULL, false);
}
