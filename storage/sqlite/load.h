/* Shows what the writer knows of each topic: the body's store_load(). */
#ifndef PSBROKER_LOAD_H
#define PSBROKER_LOAD_H

#include "store.h"

/* As store_load() says. */
void load_show(struct store *base, store_topic_fn *show, void *ctx);

#endif
