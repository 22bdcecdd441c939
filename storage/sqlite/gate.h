/* Lets the writer keep readers out for the moment of a checkpoint. Readers enter for each slice and leave
 * after it. Any thread. */
#ifndef PSBROKER_GATE_H
#define PSBROKER_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned inside;
    bool closed;
    atomic_uint readers; /* that there are, inside or not; counted by them */
};

bool gate_init(struct gate *gate); /* false: the system refused */
void gate_deinit(struct gate *gate);

/* Waits while the gate is closed. */
void gate_enter(struct gate *gate);
void gate_leave(struct gate *gate);

/* Lets nobody in any more and waits up to `milliseconds` for those inside; true when none is left. */
bool gate_close(struct gate *gate, long milliseconds);
void gate_open(struct gate *gate);

#endif
