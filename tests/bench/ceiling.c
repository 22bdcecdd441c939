/* The ceiling: how many messages a second SQLite itself takes in our layout, without a broker in front of it.
 * ceiling_log.h says what it writes and what it leaves out.
 *
 *     ceiling batch|single --data DIRECTORY [--messages N] [--size BYTES] [--topics N] [--batch N] …
 *
 * `single` is the floor of a lone publisher: a commit, and so a sync, for every row. One JSON object on stdout, with
 * the names of psctl bench; its times are those of the commits. */
#include "ceiling_log.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    COMMIT_BYTES = 8 * 1024 * 1024,
    BATCH = 18000 /* what a commit of the broker holds when a publisher is as fast as it can */
};

static bool single;
static uint64_t messages = 1000000;
static struct ceiling_config plan = {
    .size = 100, .topics = 1, .batch = BATCH, .page_bytes = 16384, .checkpoint_bytes = 8 * 1024 * 1024};

static double seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return a < b ? -1 : a > b;
}

static double quantile_ms(const double *sorted, size_t count, double share)
{
    return sorted[(size_t)(share * (double)(count - 1))] * 1e3;
}

static double processor_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print_result(double *times, size_t commits, double took, double worked)
{
    double rate = (double)messages / took;

    qsort(times, commits, sizeof *times, by_value);
    printf("{\"mode\":\"%s\",\"store_vfs\":%s,\"messages\":%llu,\"size\":%llu,\"topics\":%llu,\"batch\":%llu,"
           "\"commits\":%zu,"
           "\"checkpoints\":%llu,\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"msgs_per_s\":%.3f,\"mb_per_s\":%.3f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f}\n",
           single ? "single" : "batch", plan.store_vfs ? "true" : "false", (unsigned long long)messages,
           (unsigned long long)plan.size, (unsigned long long)plan.topics, (unsigned long long)plan.batch,
           commits, (unsigned long long)ceiling_checkpoints(), took, worked, rate,
           rate * (double)plan.size / 1e6, quantile_ms(times, commits, 0.5),
           quantile_ms(times, commits, 0.99), quantile_ms(times, commits, 0.999),
           quantile_ms(times, commits, 1));
}

static void run(void)
{
    double *times = calloc(messages / plan.batch + 1, sizeof *times);
    double began = seconds(), worked = processor_seconds(), from = began;
    size_t commits = 0;

    if (times == NULL)
        abort();
    for (uint64_t done = 0; done < messages;) {
        uint64_t left = messages - done;
        uint64_t count = left < plan.batch ? left : plan.batch;
        double to;

        ceiling_commit((size_t)count);
        done += count;
        to = seconds();
        times[commits++] = to - from;
        from = to;
    }
    print_result(times, commits, from - began, processor_seconds() - worked);
    free(times);
}

/* ----------------------------------------------------------------------------------------------- options */

static const struct option options[] = {
    {"messages", required_argument, NULL, 'm'}, {"size", required_argument, NULL, 's'},
    {"topics", required_argument, NULL, 't'},   {"batch", required_argument, NULL, 'b'},
    {"page", required_argument, NULL, 'p'},     {"checkpoint", required_argument, NULL, 'c'},
    {"store-vfs", no_argument, NULL, 'v'},      {"data", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
};

static void usage(FILE *file)
{
    fputs("usage: ceiling batch|single --data DIRECTORY [OPTION...]\n\n"
          "What SQLite itself does in the store's layout, with nothing around it.\n\n"
          "  --messages N     write so many (1000000; single: 3000)\n"
          "  --size BYTES     payload of each (100)\n"
          "  --topics N       at random over so many topics (1)\n"
          "  --batch N        messages in a commit, at most 8 MiB (18000, as the broker's; single: 1)\n"
          "  --page BYTES     page size (16384, as the store's)\n"
          "  --checkpoint B   checkpoint from so many bytes of WAL on (8388608, as the store's)\n"
          "  --store-vfs      write through the store's VFS instead of SQLite's own\n"
          "  --data DIRECTORY an empty one; psbroker.db stays in it\n",
          file);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != 0 || value > UINT32_MAX) {
        fprintf(stderr, "ceiling: %s: expected a number\n", text);
        exit(2);
    }
    return value;
}

static bool read_options(int argc, char **argv)
{
    bool counted = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t *const values[] = {
            ['m'] = &messages,   ['s'] = &plan.size,       ['t'] = &plan.topics,
            ['b'] = &plan.batch, ['p'] = &plan.page_bytes, ['c'] = &plan.checkpoint_bytes};

        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option == 'd')
            plan.directory = optarg;
        else if (option == 'v')
            plan.store_vfs = true;
        else if (option == '?')
            return false;
        else
            *values[option] = number(optarg);
        counted |= option == 'm';
    }
    if (optind + 1 != argc || plan.directory == NULL)
        return false;
    single = strcmp(argv[optind], "single") == 0;
    if (single) {
        plan.batch = 1;
        messages = counted ? messages : 3000;
    }
    if (plan.batch > COMMIT_BYTES / (plan.size + 1))
        plan.batch = COMMIT_BYTES / (plan.size + 1);
    if (plan.batch == 0)
        plan.batch = 1;
    return (single || strcmp(argv[optind], "batch") == 0) && messages > 0 && plan.topics > 0;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        usage(stderr);
        return 2;
    }
    ceiling_open(&plan);
    run();
    ceiling_close();
    return 0;
}
