/* A store in a directory of its own that is filled with messages and read back: what the store's benchmark measures.
 * Failures of the surroundings end the benchmark. */
#ifndef PSBROKER_TESTS_STORE_FILL_H
#define PSBROKER_TESTS_STORE_FILL_H

#include "dice.h"
#include "store.h"

enum { FILL_MOST_TOPICS = 10000, FILL_NAME_BYTES = 32, FILL_DIRECTORY_BYTES = 256 };

struct fill {
    size_t topics, batch, payload_bytes; /* set by the caller, before fill_init() */
    const char *keep; /* NULL: a temporary directory; else databases are made in it and stay */
    bool unmeasured;  /* a file system in memory will do, where a sync costs nothing; else it is refused */
    char directory[FILL_DIRECTORY_BYTES];
    struct store *store;
    struct store_state state; /* of the last commit */
    double slowest;           /* commit, seconds */
    struct dice dice;
    struct message *rows;
    struct store_op *ops;
    struct store_op **pointers;
    char (*names)[FILL_NAME_BYTES];
    uint8_t *payloads; /* of a batch: each message has its own */
};

void fill_init(struct fill *fill);
void fill_deinit(struct fill *fill);

/* A new, empty store; one that is not kept, below $TMPDIR or else where the program lies. */
void fill_open(struct fill *fill);
/* Appends `count` messages in commits of a batch, each to a topic at random. */
void fill_append(struct fill *fill, uint64_t count);
/* Ends it cleanly. */
void fill_close(struct fill *fill);
/* Removes the directory, unless it is kept. */
void fill_remove(struct fill *fill);

/* The same store, opened again for reading. */
struct fill_reader {
    struct fill *fill;
    struct store_reader *reader;
    struct store_topic *topics;
    char (*names)[FILL_NAME_BYTES];
    size_t count;
    uint64_t bytes; /* read so far */
};
void fill_reader_init(struct fill_reader *reader, struct fill *fill);
void fill_reader_deinit(struct fill_reader *reader);
/* Reads whole topics one after another until `count` messages came, in steps as a reader thread makes them, and returns
 * how many did. */
uint64_t fill_reader_read(struct fill_reader *reader, uint64_t count);

#endif
