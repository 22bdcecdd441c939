/* Deletes every topic under a prefix, and looks again until none is left. */
#ifndef PSCTL_BENCH_CLEANUP_H
#define PSCTL_BENCH_CLEANUP_H

#include "psclient.h"

struct bench_cleanup {
    struct psc_client *client;
    const char *prefix; /* ends with '/'; a number follows in the names */
    /* `error` NULL: nothing is left. Runs once, not from inside of bench_cleanup_start() unless it fails there. */
    void (*done)(struct bench_cleanup *cleanup, const struct psc_error *error, void *data);
    void *data;
    char filter[64];
    uint32_t *found; /* the numbers */
    size_t count, room, next, answered;
    unsigned rounds;
    bool failed, over;
    enum ps_status status; /* of the first that failed */
};

/* Borrows prefix, which stays until done. The zero state first; bench_cleanup_deinit() at the end. */
void bench_cleanup_start(struct bench_cleanup *cleanup, struct psc_client *client, const char *prefix,
                         void (*done)(struct bench_cleanup *, const struct psc_error *, void *), void *data);
void bench_cleanup_deinit(struct bench_cleanup *cleanup); /* takes the zero state; no request is under way */

#endif
