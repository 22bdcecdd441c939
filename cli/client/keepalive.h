/* Whether the peer is still there: a ping after one silent interval, dead after two.
 *
 * Pure: the owner calls keepalive_tick() once an interval. Ticks are counted instead of time, so a process
 * that was stopped for an hour still gives what is waiting in its socket the chance to arrive. */
#ifndef PSCLIENT_KEEPALIVE_H
#define PSCLIENT_KEEPALIVE_H

#include <stdbool.h>

struct keepalive {
    bool received, sent; /* since the last tick */
    unsigned silent;     /* ticks in a row without a byte from the peer */
};

enum keepalive_action { KEEPALIVE_NOTHING, KEEPALIVE_PING, KEEPALIVE_DEAD };

/* Both directions count: the peer gives up a side that is silent too. */
enum keepalive_action keepalive_tick(struct keepalive *keepalive);

#endif
