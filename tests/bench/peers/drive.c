#include "drive.h"

#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define PUBLISHER UINT32_MAX

enum { EVENTS = 128, BURST = 1024, BURST_BYTES = 1024 * 1024 };

static void *must_zalloc(size_t size)
{
    return memset(must_alloc(size), 0, size);
}

void drive_init(struct drive *drive, struct peer *peer, const struct drive_calls *calls, unsigned window)
{
    if (peer->plan.clients != 1)
        peer_fail("--clients: this generator publishes on one connection");
    if (peer->plan.mode == BENCH_REPLAY && peer->plan.duration_ms != 0)
        peer_fail("--duration: a replay goes from the beginning to the end");
    if (!peer->options.given[BENCH_WINDOW])
        peer->plan.window = window;
    *drive = (struct drive){.peer = peer, .calls = calls, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    if (drive->epoll < 0)
        peer_fail("epoll_create1: %s", strerror(errno));
    drive->ahead = DRIVE_AHEAD;
    drive->sent_at = must_zalloc(peer->plan.window * sizeof *drive->sent_at);
    drive->delivered = must_zalloc((peer->plan.subscribers + 1) * sizeof *drive->delivered);
    prctl(PR_SET_TIMERSLACK, 1); /* else a message of a rate goes out up to 50 us late */
}

void drive_deinit(struct drive *drive)
{
    close(drive->epoll);
    free(drive->sent_at);
    free(drive->delivered);
}

static void watch(struct drive *drive, uint32_t who, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = who};

    if (epoll_ctl(drive->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        peer_fail("epoll_ctl: %s", strerror(errno));
}

void drive_watch_publisher(struct drive *drive, int fd)
{
    watch(drive, PUBLISHER, fd);
}

void drive_watch_subscriber(struct drive *drive, unsigned subscriber, int fd)
{
    watch(drive, subscriber, fd);
    drive->subscribers++;
}

void drive_write(int fd, const char *data, size_t size)
{
    while (size != 0) {
        ssize_t written = send(fd, data, size, MSG_NOSIGNAL);
        if (written < 0 && errno != EINTR)
            peer_fail("writing to the broker: %s", strerror(errno));
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
}

/* ----------------------------------------------------------------------------------------------- counting */

void drive_acknowledged(struct drive *drive)
{
    uint64_t number = drive->acknowledged++;

    if (number >= drive->sent)
        peer_fail("more acknowledgements than publications");
    if (drive->peer->plan.mode == BENCH_PUB)
        histogram_record(&drive->peer->latency,
                         drive->now - drive->sent_at[number % drive->peer->plan.window]);
}

void drive_delivered(struct drive *drive, unsigned subscriber, const char *payload)
{
    if (drive->delivered[subscriber]++ == drive->sent)
        peer_fail("more deliveries than publications");
    if (drive->peer->plan.live)
        peer_delivered(drive->peer, payload, drive->now);
    else
        drive->peer->result.deliveries++;
}

static uint64_t look_up_least(struct drive *drive)
{
    uint64_t least = drive->sent;

    for (unsigned i = 0; i < drive->subscribers; i++) {
        if (drive->delivered[i] < least)
            least = drive->delivered[i];
    }
    return drive->least = least;
}

/* --------------------------------------------------------------------------------------------- publishing */

/* How many the windows take now: none between full and half empty, unless a rate says when. */
static uint64_t room(struct drive *drive)
{
    uint64_t window = drive->peer->plan.window, ahead = drive->ahead, half = drive->ahead / 2;

    if (drive->sent - drive->least >= half)
        look_up_least(drive);
    uint64_t unanswered = drive->unacknowledged ? 0 : drive->sent - drive->acknowledged;
    uint64_t undelivered = drive->sent - drive->least;
    uint64_t left = window - unanswered < ahead - undelivered ? window - unanswered : ahead - undelivered;
    if (left == 0)
        drive->filling = false;
    else if (unanswered <= window / 2 && undelivered <= half)
        drive->filling = true;
    return drive->filling || drive->peer->plan.rate != 0 ? left : 0;
}

static void publish(struct drive *drive)
{
    struct peer *peer = drive->peer;

    uint64_t from = peer->plan.rate != 0 ? peer_due_at(peer, drive->sent) : drive->now;
    if (peer->plan.live)
        peer_stamp(peer->payload, from);
    drive->sent_at[drive->sent % peer->plan.window] = from;
    drive->calls->publish(drive, peer_choose_topic(peer), peer->payload);
    drive->sent++;
}

static uint64_t due(const struct drive *drive)
{
    return peer_due_by(drive->peer, drive->sent, drive->now) - drive->sent;
}

/* Whether there is more to publish at once. */
static bool publish_burst(struct drive *drive)
{
    uint64_t most = BURST_BYTES / (drive->peer->plan.size + 1) + 1, left;

    drive->now = peer_now();
    left = room(drive);
    if (due(drive) < left)
        left = due(drive);
    if (left == 0)
        return false;
    most = most < BURST ? most : BURST;
    most = most < left ? most : left;
    for (uint64_t i = 0; i < most; i++)
        publish(drive);
    drive->calls->flush(drive);
    return most < left;
}

/* ------------------------------------------------------------------------------------------------ the loop */

/* Ends the process when nothing has come for too long. */
static uint64_t patience(const struct drive *drive, uint64_t last, uint64_t now)
{
    if (now - last >= DRIVE_STALL_S * SECOND)
        peer_fail("nothing came from the broker for %d s: %" PRIu64 " sent, %" PRIu64
                  " acknowledged, of %u subscribers one has only %" PRIu64,
                  DRIVE_STALL_S, drive->sent, drive->acknowledged, drive->subscribers, drive->least);
    return DRIVE_STALL_S * SECOND - (now - last);
}

static void pause_first(const struct drive *drive)
{
    const struct bench_plan *plan = &drive->peer->plan;
    struct timespec pause = {.tv_nsec = (long)drive->pause_ns};

    if (drive->pause_ns != 0 && plan->rate == 0 && plan->window >= DRIVE_PAUSES)
        nanosleep(&pause, NULL);
}

static void wait_for(struct drive *drive, bool publishing, bool more, uint64_t *last)
{
    struct epoll_event events[EVENTS];
    uint64_t now = peer_now(), wait = more ? 0 : patience(drive, *last, now);

    if (publishing && drive->peer->plan.rate != 0 && drive->sent < drive->peer->plan.messages) {
        uint64_t next = peer_due_at(drive->peer, drive->sent);
        next = next > now ? next - now : 0;
        wait = next < wait && room(drive) != 0 ? next : wait;
    }
    struct timespec timeout = {.tv_sec = (time_t)(wait / SECOND), .tv_nsec = (long)(wait % SECOND)};
    if (!more)
        pause_first(drive);
    int count = epoll_pwait2(drive->epoll, events, EVENTS, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        peer_fail("epoll_pwait2: %s", strerror(errno));
    drive->now = peer_now();
    if (count > 0)
        *last = drive->now;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u32 == PUBLISHER)
            drive->calls->answered(drive);
        else
            drive->calls->received(drive, events[i].data.u32);
    }
}

static bool finished(struct drive *drive, bool publishing)
{
    if (publishing && peer_due_by(drive->peer, drive->sent, drive->now) != drive->sent)
        return false;
    if (publishing && drive->peer->plan.rate != 0 && drive->sent < drive->peer->plan.messages)
        return false;
    if (!drive->unacknowledged && drive->acknowledged != drive->sent)
        return false;
    return drive->least == drive->sent || look_up_least(drive) == drive->sent;
}

static void run(struct drive *drive, bool publishing)
{
    uint64_t last = drive->now = peer_now();

    while (!finished(drive, publishing)) {
        bool more = publishing && publish_burst(drive);
        if (!finished(drive, publishing))
            wait_for(drive, publishing, more, &last);
    }
}

void drive_publish(struct drive *drive)
{
    run(drive, true);
    drive->peer->result.messages = drive->sent;
}

void drive_receive(struct drive *drive)
{
    drive->least = 0;
    run(drive, false);
}
