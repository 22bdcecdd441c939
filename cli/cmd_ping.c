/* psctl ping: one round trip, in microseconds. */
#include "command.h"
#include "json.h"
#include "run.h"

static void ping_cb(const struct psc_error *error, uint64_t round_trip_ns, void *data)
{
    struct run *run = data;
    struct text *text = &run->out.text;

    if (run_over(run))
        return;
    if (error != NULL) {
        run_fail(run, NULL, error);
        return;
    }
    if (run->style.json) {
        struct json json = json_object(text);
        json_double(&json, "round_trip_us", (double)round_trip_ns / 1000.0);
        json_end(&json);
    } else {
        text_format(text, "%.1f us", (double)round_trip_ns / 1000.0);
    }
    text_char(text, '\n');
    writer_appended(&run->out);
    run_end(run, EXIT_OK);
}

static void begin(struct run *run)
{
    enum ps_status status = psc_ping(run->client, ping_cb, run);

    if (status != PS_OK)
        run_fail_status(run, NULL, status);
}

int cmd_ping(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = begin};

    return run_command(args, &hooks, NULL, false);
}
