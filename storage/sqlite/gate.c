#include "gate.h"

#include <errno.h>
#include <time.h>

bool gate_init(struct gate *gate)
{
    pthread_condattr_t attributes;
    bool made = false;

    *gate = (struct gate){0};
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    if (pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
        pthread_mutex_init(&gate->mutex, NULL) == 0) {
        made = pthread_cond_init(&gate->changed, &attributes) == 0;
        if (!made)
            pthread_mutex_destroy(&gate->mutex);
    }
    pthread_condattr_destroy(&attributes);
    return made;
}

void gate_deinit(struct gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

void gate_enter(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    while (gate->closed)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    gate->inside++;
    pthread_mutex_unlock(&gate->mutex);
}

void gate_leave(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->inside--;
    if (gate->closed && gate->inside == 0)
        pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

bool gate_close(struct gate *gate, long milliseconds)
{
    struct timespec until;
    bool empty;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += milliseconds % 1000 * 1000000;
    until.tv_sec += milliseconds / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;

    pthread_mutex_lock(&gate->mutex);
    gate->closed = true;
    while (gate->inside > 0 && pthread_cond_timedwait(&gate->changed, &gate->mutex, &until) != ETIMEDOUT)
        ;
    empty = gate->inside == 0;
    pthread_mutex_unlock(&gate->mutex);
    return empty;
}

void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->closed = false;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}
