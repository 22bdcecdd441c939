/* What must hold of everything that clients are told, whatever they send: a log kept beside the store's commits, and
 * per connection what was asked and what was delivered. A promise that does not hold aborts with a sentence.
 *
 * - A request is answered once, by an answer of its kind; each message of a Publish is covered once.
 * - What is acknowledged is in the log by then, at that offset, byte for byte, and nothing else claims that place;
 *   what is refused is not in the log. Offsets are gapless, and follow the order in which one connection sent.
 * - What is delivered is in the log by then, byte for byte, matches the filter, stays within the credit and goes on
 *   without a hole but for a Gap.
 * - What is committed for a durable subscription was acknowledged by one that had been given it, and what was said to
 *   be committed is where it goes on. */
#ifndef PSBROKER_FUZZ_SESSION_MODEL_H
#define PSBROKER_FUZZ_SESSION_MODEL_H

#include "protocol.h"
#include "store.h"

enum { MODEL_CLIENTS = 6 };

/* Payloads that begin so, and no others, are unlike each other: one that was refused is looked for in the log. */
#define MODEL_UNIQUE "unique "

struct model;

struct model *model_new(void);
void model_free(struct model *model);

/* A store over that one, which it takes, that tells the model of each commit. */
struct store *model_watch(struct model *model, struct store *store);

/* A new connection in that place; the one before it is gone. */
void model_connected(struct model *model, unsigned client);
/* The session is about to be given this frame. */
void model_sent(struct model *model, unsigned client, const struct client_frame *frame);
/* The client was sent this frame. */
void model_told(struct model *model, unsigned client, const struct server_frame *frame);
/* Every request of that connection was answered. */
void model_rests(const struct model *model, unsigned client);
/* That subscription was given every topic that is not deleted to its end; how many messages were ever in them. */
uint64_t model_given(const struct model *model, unsigned client, uint64_t subscription);
/* The next offset it expects in the topic of that subscription; 0: not known. */
uint64_t model_next(const struct model *model, unsigned client, uint64_t subscription, struct span topic);

#endif
