/* A small harness for micro-benchmarks: repeats a case, takes the median, prints a line. Debian has such a library for
 * C++ and Rust, none for C.
 *
 *     main: micro_init(); micro_run() for each case; return micro_end();
 *
 * Every program so made takes --json (one object a case, a line each), --smoke (almost no work: does it still run?) and
 * the beginning of a name (only those cases). Single-threaded. */
#ifndef PSBROKER_TESTS_MICRO_H
#define PSBROKER_TESTS_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct micro {
    bool json, smoke;
    bool once;        /* a case of a fixed count is not repeated */
    const char *only; /* NULL: every case */
    unsigned cases;
};

struct micro_case {
    const char *name;
    void (*before)(void *ctx); /* around each repetition, not measured; may be NULL */
    /* Does at least `count` operations and returns how many. */
    uint64_t (*run)(void *ctx, uint64_t count);
    void (*after)(void *ctx);
    void *ctx;
    uint64_t count;   /* of a repetition; 0: as many as take some time */
    double bytes;     /* of an operation, for MB/s; 0: without */
    const char *note; /* shown behind the figures, read when all repetitions are over; NULL: none */
};

/* Exits for --help and for arguments that are none. */
void micro_init(struct micro *micro, int argc, char **argv);
/* Whether a case of this name is asked for: saves preparing others. */
bool micro_wants(const struct micro *micro, const char *name);
/* Measures and prints one case. */
void micro_run(struct micro *micro, const struct micro_case *given);
/* The exit code: 0, or 1 when no case was asked for. */
int micro_end(const struct micro *micro);

/* Aborts the benchmark: what it measures did not work. */
#define MICRO_REQUIRE(condition) ((condition) ? (void)0 : micro_fail(__FILE__, __LINE__, #condition))
_Noreturn void micro_fail(const char *file, int line, const char *what);

#endif
