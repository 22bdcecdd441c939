/* Collects one stored subscription out of the frames that its positions are spread over. */
#ifndef PSCLIENT_LISTING_H
#define PSCLIENT_LISTING_H

#include "codec.h"
#include "convert.h"

enum { LISTING_MOST_BYTES = 64 * 1024 * 1024 };

/* Positions point into `text` by place until told: it may move while it grows. */
struct listing {
    bool any;
    struct psc_subscription_info info;
    struct bytes text; /* id, filter, names of topics */
    size_t id_size, filter_size;
    struct psc_position *positions; /* topic.data: NULL until told */
    size_t count, room;
};

void listing_deinit(struct listing *listing); /* takes the zero state, leaves it */

/* Whether the part goes on with what is collected. */
bool listing_continues(const struct listing *listing, const struct subscription_info *part);

/* Begins anew when the part does not continue. PS_OK, PS_NO_MEMORY, PS_LIMIT_EXCEEDED beyond
 * LISTING_MOST_BYTES for one subscription. */
enum ps_status listing_add(struct listing *listing, const struct subscription_info *part);

/* What is collected, borrowed until the next call; NULL when there is nothing. */
const struct psc_subscription_info *listing_info(struct listing *listing);

#endif
