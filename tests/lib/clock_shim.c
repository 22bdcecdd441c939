/* Preloaded into a program, it moves the clock of the wall: the file that CLOCK_SHIM names holds two 64-bit numbers
 * of microseconds, a shift, and a time at which the clock stands still (0: it goes). Both may change at any time.
 * Monotonic clocks are left alone. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct shim {
    volatile int64_t shift, frozen;
};

static const struct shim *map_shim(void)
{
    const char *path = getenv("CLOCK_SHIM");
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return NULL;
    void *place = mmap(NULL, sizeof(struct shim), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    return place != MAP_FAILED ? place : NULL;
}

static int64_t wall_us(const struct timespec *real)
{
    static const struct shim *shim;
    if (shim == NULL)
        shim = map_shim();
    int64_t now = (int64_t)real->tv_sec * 1000000 + real->tv_nsec / 1000;
    if (shim == NULL)
        return now;
    return shim->frozen != 0 ? shim->frozen : now + shim->shift;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int code = (int)syscall(SYS_clock_gettime, clock, now);
    if (code != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return code;
    int64_t us = wall_us(now);
    now->tv_sec = us / 1000000;
    now->tv_nsec = us % 1000000 * 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec wall;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &wall);
    *now = (struct timeval){wall.tv_sec, wall.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *place)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (place != NULL)
        *place = wall.tv_sec;
    return wall.tv_sec;
}
