/* The seeds of each corpus, written into a folder of the target's name in that folder. False: that failed. */
#ifndef PSBROKER_FUZZ_SEEDS_H
#define PSBROKER_FUZZ_SEEDS_H

#include <stdbool.h>
#include <stddef.h>

bool seed_write(const char *folder, const char *target, const char *name, const void *bytes, size_t size);

bool seed_codec(const char *folder);
bool seed_session(const char *folder);
bool seed_store(const char *folder);

#endif
