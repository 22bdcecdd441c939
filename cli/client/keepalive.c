#include "keepalive.h"

enum keepalive_action keepalive_tick(struct keepalive *keepalive)
{
    bool quiet = !keepalive->received || !keepalive->sent;

    keepalive->silent = keepalive->received ? 0 : keepalive->silent + 1;
    keepalive->received = false;
    keepalive->sent = false;
    if (keepalive->silent >= 2)
        return KEEPALIVE_DEAD;
    return quiet ? KEEPALIVE_PING : KEEPALIVE_NOTHING;
}
