/* A check of the whole log, record by record, in bounded steps. See store_verify in store.h. Any thread, one at a
 * time. */
#ifndef PSBROKER_SCRUB_H
#define PSBROKER_SCRUB_H

#include "database.h"
#include "store.h"

/* PS_OK or PS_NO_MEMORY. */
enum ps_status scrub_new(struct store_scrub **scrub);
void scrub_free(struct store_scrub *scrub); /* takes NULL */

/* Inside a read transaction of a connection with the reader's VFS. As store_verify(). */
enum ps_status scrub_step(struct store_scrub *scrub, struct database *db, struct store_verify *verify);

/* How many topics had records. */
uint64_t scrub_topic_count(const struct store_scrub *scrub);

/* Whether a page on the way did not match its checksum. */
bool scrub_met_bad_page(const struct store_scrub *scrub);

#endif
