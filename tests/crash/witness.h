/* What the parts of the witness share: one ledger, one loop, and clients that live until the broker dies. */
#ifndef PSBROKER_TESTS_WITNESS_H
#define PSBROKER_TESTS_WITNESS_H

#include "ledger.h"

#include <psclient.h>

struct witness {
    uv_loop_t loop;
    struct ledger *ledger;
    const char *socket;
    unsigned live; /* subscriptions to what is new, while publishing */
};

struct ledger_message witness_bytes(const struct psc_message *message);
/* How a cursor's durable subscription is called. */
struct psc_bytes witness_durable_id(unsigned cursor, char name[16]);

/* Publishes and subscribes until the broker is gone, or until `most` messages were acknowledged and nothing is under
 * way any more. Says `acknowledged N` on stdout when `report` were, and remembers what was true then. With `again` a
 * connection that is lost comes back. Whether it ended by itself. */
bool witness_load(struct witness *witness, uint64_t report, uint64_t most, bool again);

/* Keeps all durable subscriptions attached, each on a connection of its own, while brokers come and go `rounds`
 * times. Says `attached N` on stdout each time all are. */
void witness_storm(struct witness *witness, unsigned rounds);

/* Reads all there is through the broker on `socket` and compares it. False when the connection was lost. */
bool witness_check(struct witness *witness, const char *socket, enum ledger_reading reading);

/* The same in a database file, with SQLite alone. */
void witness_check_file(struct witness *witness, const char *path);

#endif
