/* Finding runs in the listed epochs, on a reader's connection and inside its transaction. Reader threads. */
#ifndef PSBROKER_INDEX_H
#define PSBROKER_INDEX_H

#include "database.h"

/* Where an offset stands. `epoch` 0: not in a listed epoch. */
struct index_place {
    uint64_t epoch;
    uint64_t run_offset; /* the first offset of its run */
    uint64_t seq;
};

/* Finds the run that holds `offset` of a topic. `hint` is an epoch to look into first, 0: none; `created_seq`
 * is a seq that none of the topic's rows lies below. PS_OK, also when it is nowhere, or what SQLite met. */
enum ps_status index_find(struct database *db, uint64_t topic_id, uint64_t offset, uint64_t hint,
                          uint64_t created_seq, struct index_place *place);

/* The first offset of the topic in listed epochs whose seq is `seq` or above. `*found` says whether there is
 * one. */
enum ps_status index_find_seq(struct database *db, uint64_t topic_id, uint64_t seq, bool *found,
                              uint64_t *offset);

#endif
