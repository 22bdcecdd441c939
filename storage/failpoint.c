#include "failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *chosen; /* NULL: none */
static size_t chosen_size;
static atomic_long left;

static void choose(void)
{
    const char *number;

    chosen = getenv("PSBROKER_FAILPOINT");
    if (chosen == NULL)
        return;
    number = strchr(chosen, ':');
    chosen_size = number != NULL ? (size_t)(number - chosen) : strlen(chosen);
    atomic_store(&left, number != NULL ? strtol(number + 1, NULL, 10) : 1);
}

void failpoint_pass(const char *label)
{
    const char *name = strchr(label, ':') + 1;

    pthread_once(&once, choose);
    if (chosen != NULL && strlen(name) == chosen_size && memcmp(name, chosen, chosen_size) == 0 &&
        atomic_fetch_sub(&left, 1) == 1)
        kill(getpid(), SIGKILL);
}
