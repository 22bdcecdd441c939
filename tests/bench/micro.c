#include "micro.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPETITIONS = 7, FIXED_REPETITIONS = 3, SMOKE_COUNT = 10 };
#define ENOUGH_SECONDS 0.05 /* of a repetition */

struct sample {
    double wall_ns, cpu_ns; /* of an operation */
};

static double seconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct sample measure(const struct micro_case *given, uint64_t count, double *took)
{
    if (given->before != NULL)
        given->before(given->ctx);
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t done = given->run(given->ctx, count);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    if (given->after != NULL)
        given->after(given->ctx);
    MICRO_REQUIRE(done >= count);
    *took = wall;
    return (struct sample){wall * 1e9 / (double)done, cpu * 1e9 / (double)done};
}

/* How many operations take long enough. Warms up, too. */
static uint64_t calibrate(const struct micro_case *given)
{
    uint64_t count = 1;
    double took = 0;

    for (;; count *= 2) {
        measure(given, count, &took);
        if (took >= ENOUGH_SECONDS / 2)
            return count * 2;
    }
}

static int by_wall(const void *left, const void *right)
{
    double a = ((const struct sample *)left)->wall_ns, b = ((const struct sample *)right)->wall_ns;

    return (a > b) - (a < b);
}

static void show(const struct micro *micro, const struct micro_case *given, struct sample sample)
{
    double rate = 1e9 / sample.wall_ns;

    if (micro->json) {
        printf("{\"name\":\"%s\",\"ns_per_op\":%.3f,\"cpu_ns_per_op\":%.3f,\"ops_per_s\":%.1f", given->name,
               sample.wall_ns, sample.cpu_ns, rate);
        if (given->bytes > 0)
            printf(",\"mb_per_s\":%.3f", rate * given->bytes / 1e6);
        if (given->note != NULL)
            printf(",\"note\":\"%s\"", given->note);
        puts("}");
    } else {
        printf("%-44s %10.1f ns/op %12.0f ops/s %10.1f cpu ns/op", given->name, sample.wall_ns, rate,
               sample.cpu_ns);
        if (given->bytes > 0)
            printf(" %8.0f MB/s", rate * given->bytes / 1e6);
        printf("%s%s\n", given->note != NULL ? "  " : "", given->note != NULL ? given->note : "");
    }
    fflush(stdout);
}

void micro_run(struct micro *micro, const struct micro_case *given)
{
    struct sample samples[REPETITIONS];
    size_t repetitions = micro->smoke || micro->once ? 1 : given->count > 0 ? FIXED_REPETITIONS : REPETITIONS;
    uint64_t count = micro->smoke ? SMOKE_COUNT : given->count;
    double took;

    if (!micro_wants(micro, given->name))
        return;
    if (count == 0)
        count = calibrate(given);
    for (size_t i = 0; i < repetitions; i++)
        samples[i] = measure(given, count, &took);
    qsort(samples, repetitions, sizeof samples[0], by_wall);
    show(micro, given, samples[repetitions / 2]);
    micro->cases++;
}

bool micro_wants(const struct micro *micro, const char *name)
{
    return micro->only == NULL || strncmp(name, micro->only, strlen(micro->only)) == 0;
}

static const char help[] =
    "usage: %s [--json] [--smoke] [NAME]\n\n"
    "Measures and prints one line a case: its name, the time of an operation (median of several "
    "repetitions), operations\n"
    "a second, the processor's time of an operation. With NAME only the cases whose names begin so.\n\n"
    "  --json   an object a line: name, ns_per_op, cpu_ns_per_op, ops_per_s, and where it fits mb_per_s and "
    "note\n"
    "  --smoke  hardly any work: shows that it runs; the figures mean nothing\n";

void micro_init(struct micro *micro, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"smoke", no_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};

    *micro = (struct micro){0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'j') {
            micro->json = true;
        } else if (option == 's') {
            micro->smoke = true;
        } else {
            fprintf(option == 'h' ? stdout : stderr, help, argv[0]);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (optind < argc)
        micro->only = argv[optind];
}

int micro_end(const struct micro *micro)
{
    if (micro->cases == 0)
        fprintf(stderr, "no case has such a name\n");
    return micro->cases == 0 ? 1 : 0;
}

_Noreturn void micro_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    exit(1);
}
