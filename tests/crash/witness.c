/* Publishes at full speed, remembers what it was told, and checks it: the witness of the crash tests.
 *
 *     witness SOCKET SEED PUBLISHERS TOPICS CURSORS LIVE
 *
 * It outlives brokers that listen on the Unix socket SOCKET one after the other, and obeys lines on its stdin:
 *     load REPORT MOST   publish until the broker is gone, or MOST messages were acknowledged (0: no end); says
 *                        `acknowledged N` once REPORT were, then `ended` or `lost`
 *     insist REPORT MOST the same, but who loses the connection comes back, until the library gives up
 *     storm ROUNDS       keep CURSORS durable subscribers attached over that many restarts, which it does not cause;
 *                        says `attached N` each time all are, then `ended`
 *     check              read everything through the broker: `checked`, or `lost`
 *     copy SOCKET        the same through a broker on a copy of the log, made behind the last `acknowledged` or
 *                        `remember`
 *     rest SOCKET        the same on a copy of which an end may be missing
 *     remember           `remembered`
 *     file PATH          read everything with SQLite: `checked`
 * Each answer goes on with sent=N acknowledged=N refused=N unknown=N violations=N, counted from the start, and comes
 * behind a line `violation …` for each new one (the first twenty). Ends with its stdin. */
#include "witness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

struct ledger_message witness_bytes(const struct psc_message *message)
{
    return (struct ledger_message){.payload = message->payload.data,
                                   .payload_size = message->payload.size,
                                   .key = message->key.data,
                                   .key_size = message->key.size};
}

struct psc_bytes witness_durable_id(unsigned cursor, char name[16])
{
    return (struct psc_bytes){name, (size_t)snprintf(name, 16, "durable-%u", cursor)};
}

static void answer(struct witness *witness, const char *word, size_t *told)
{
    struct ledger_totals totals = ledger_totals_of(witness->ledger);

    for (const char *text; (text = ledger_violation(witness->ledger, *told)) != NULL; ++*told)
        printf("violation %s\n", text);
    printf("%s sent=%llu acknowledged=%llu refused=%llu unknown=%llu violations=%llu\n", word,
           (unsigned long long)totals.sent, (unsigned long long)totals.acknowledged,
           (unsigned long long)totals.refused, (unsigned long long)totals.unknown,
           (unsigned long long)totals.violations);
    fflush(stdout);
}

/* NULL: not understood. */
static const char *obey(struct witness *witness, char *line)
{
    unsigned long long report, most;
    char path[1024];

    if (sscanf(line, "load %llu %llu", &report, &most) == 2)
        return witness_load(witness, report, most, false) ? "ended" : "lost";
    if (sscanf(line, "insist %llu %llu", &report, &most) == 2)
        return witness_load(witness, report, most, true) ? "ended" : "lost";
    if (sscanf(line, "storm %llu", &most) == 1) {
        witness_storm(witness, (unsigned)most);
        return "ended";
    }
    if (strcmp(line, "check\n") == 0)
        return witness_check(witness, witness->socket, LEDGER_WHOLE) ? "checked" : "lost";
    if (sscanf(line, "copy %1023[^\n]", path) == 1)
        return witness_check(witness, path, LEDGER_COPY) ? "checked" : "lost";
    if (sscanf(line, "rest %1023[^\n]", path) == 1)
        return witness_check(witness, path, LEDGER_REST) ? "checked" : "lost";
    if (strcmp(line, "remember\n") == 0) {
        ledger_remember(witness->ledger);
        return "remembered";
    }
    if (sscanf(line, "file %1023[^\n]", path) == 1) {
        witness_check_file(witness, path);
        return "checked";
    }
    return NULL;
}

/* A storm has thousands of connections. */
static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static unsigned number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    struct witness witness = {.socket = argc > 1 ? argv[1] : NULL};
    struct ledger_plan plan;
    char line[2048];
    size_t told = 0;

    if (argc != 7) {
        fprintf(stderr, "witness SOCKET SEED PUBLISHERS TOPICS CURSORS LIVE\n");
        return 2;
    }
    plan = (struct ledger_plan){.seed = strtoull(argv[2], NULL, 0),
                                .publishers = number(argv[3]),
                                .topics = number(argv[4]),
                                .cursors = number(argv[5])};
    witness.live = number(argv[6]);
    if (plan.publishers < 1 || plan.publishers > LEDGER_PUBLISHERS || plan.topics < 2 ||
        uv_loop_init(&witness.loop) != 0)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a storm looks at nothing but its brokers */
    allow_descriptors();
    signal(SIGPIPE, SIG_IGN); /* brokers die */
    witness.ledger = ledger_new(&plan);
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *word = obey(&witness, line);

        if (word == NULL) {
            fprintf(stderr, "witness: not understood: %s", line);
            return 2;
        }
        answer(&witness, word, &told);
    }
    ledger_free(witness.ledger);
    return uv_loop_close(&witness.loop) == 0 ? 0 : 1;
}
