/* What a dump does about damage: a subscription ends at a record that does not match its checksum, so the topics that
 * it had not brought to their ends are read on one after the other, behind the damage. Loop thread only. */
#ifndef PSCTL_SALVAGE_H
#define PSCTL_SALVAGE_H

#include "receiver.h"

struct salvage_rest;

struct salvage {
    struct salvage_rest *rests; /* topics to read on, the next one first */
    char *topic;                /* of the records found damaged last, which stand in a row; NULL: none */
    uint64_t from, to;
    uint64_t damaged; /* records in all */
};

/* The feed, which aims at the ends of its topics, is over for that reason. False: it is not damage. */
bool salvage_take(struct salvage *salvage, const struct feed *feed, const struct psc_error *reason);

/* When no feed is alive: reads on in the next topic. False: there is none, and all damage was reported. */
bool salvage_next(struct salvage *salvage, struct receiver *receiver);

void salvage_deinit(struct salvage *salvage); /* takes the zero state */

#endif
