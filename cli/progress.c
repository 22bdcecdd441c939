#include "progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { SHOW_EVERY_MS = 100 };

static bool shown;
static uint64_t shown_at;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_show(const char *what, uint64_t done, uint64_t total)
{
    uint64_t now = now_ms();

    if (now - shown_at < SHOW_EVERY_MS || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s: %llu of %llu (%llu %%)", what, (unsigned long long)done,
            (unsigned long long)total, total == 0 ? 100ull : (unsigned long long)(done * 100 / total));
    fflush(stderr);
    shown = true;
    shown_at = now;
}

void progress_clear(void)
{
    if (shown)
        fputs("\r\033[K", stderr);
    shown = false;
}
