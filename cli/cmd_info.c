/* psctl info: the broker's facts, one a line, or one object. */
#include "command.h"
#include "json.h"
#include "run.h"

#include <stddef.h>

static const struct {
    const char *name;
    size_t at; /* of a uint64_t */
} counters[] = {
    {"uptime_ms", offsetof(struct psc_info, uptime_ms)},
    {"queued_bytes", offsetof(struct psc_info, queued_bytes)},
    {"commits", offsetof(struct psc_info, commits)},
    {"messages", offsetof(struct psc_info, messages)},
    {"delivered", offsetof(struct psc_info, delivered)},
    {"wal_bytes", offsetof(struct psc_info, wal_bytes)},
    {"oldest_reader_ms", offsetof(struct psc_info, oldest_reader_ms)},
    {"memory_bytes", offsetof(struct psc_info, memory_bytes)},
    {"tail_bytes", offsetof(struct psc_info, tail_bytes)},
    {"free_disk_bytes", offsetof(struct psc_info, free_disk_bytes)},
    {"database_bytes", offsetof(struct psc_info, database_bytes)},
    {"topics", offsetof(struct psc_info, topics)},
    {"subscriptions", offsetof(struct psc_info, subscriptions)},
    {"mark", offsetof(struct psc_info, mark)},
};

static uint64_t counter(const struct psc_info *info, size_t row)
{
    return *(const uint64_t *)(const void *)((const char *)info + counters[row].at);
}

static void log_id_text(const struct psc_info *info, char text[33])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 16; i++) {
        text[2 * i] = digits[info->log_id[i] >> 4];
        text[2 * i + 1] = digits[info->log_id[i] & 15];
    }
    text[32] = '\0';
}

static void print_json(struct text *text, const struct psc_info *info, const char *log_id)
{
    struct json json = json_object(text);

    json_string(&json, "version", bytes_of(info->version));
    json_string(&json, "log_id", bytes_of(log_id));
    json_u64(&json, "connections", info->connections);
    json_double(&json, "messages_per_commit", info->messages_per_commit);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        json_u64(&json, counters[i].name, counter(info, i));
    json_end(&json);
    text_char(text, '\n');
}

static void print(struct text *text, const struct psc_info *info, const char *log_id)
{
    text_format(text, "version\t%s\nlog_id\t%s\nconnections\t%u\nmessages_per_commit\t%.3f\n", info->version,
                log_id, (unsigned)info->connections, info->messages_per_commit);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        text_format(text, "%s\t", counters[i].name);
        text_u64(text, counter(info, i));
        text_char(text, '\n');
    }
}

static void info_cb(const struct psc_error *error, const struct psc_info *info, void *data)
{
    struct run *run = data;
    char log_id[33];

    if (run_over(run))
        return;
    if (error != NULL) {
        run_fail(run, NULL, error);
        return;
    }
    log_id_text(info, log_id);
    if (run->style.json)
        print_json(&run->out.text, info, log_id);
    else
        print(&run->out.text, info, log_id);
    writer_appended(&run->out);
    run_end(run, EXIT_OK);
}

static void begin(struct run *run)
{
    enum ps_status status = psc_get_info(run->client, info_cb, run);

    if (status != PS_OK)
        run_fail_status(run, NULL, status);
}

int cmd_info(const struct args *args)
{
    static const struct run_hooks hooks = {.begin = begin};

    return run_command(args, &hooks, NULL, false);
}
