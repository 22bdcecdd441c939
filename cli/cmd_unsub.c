/* psctl unsub: forgets a stored subscription. */
#include "command.h"
#include "run.h"

static void forgotten_cb(const struct psc_error *error, void *data)
{
    struct run *run = data;

    if (error != NULL)
        run_fail(run, report_subscription(bytes_of(run->args->operands[0]), bytes_of(run->args->id)), error);
    else
        run_end(run, EXIT_OK);
}

static void begin(struct run *run)
{
    struct psc_bytes filter = bytes_of(run->args->operands[0]);
    enum ps_status status = psc_forget(run->client, bytes_of(run->args->id), filter, forgotten_cb, run);

    if (status != PS_OK)
        run_fail_status(run, report_subscription(filter, bytes_of(run->args->id)), status);
}

int cmd_unsub(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = begin};

    if (args->id == NULL) {
        report("unsub needs -i ID: only stored subscriptions outlive their connection");
        return EXIT_USAGE;
    }
    return run_command(args, &hooks, NULL, false);
}
