/* The input of fuzz_store: one byte that chooses a moment, then edits of eight bytes: what, which file, position (three
 * bytes, the highest first, modulo its size), a length, and two bytes of content. */
#ifndef PSBROKER_FUZZ_DAMAGE_H
#define PSBROKER_FUZZ_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DAMAGE_MOMENTS = 3, DAMAGE_FILES = 6, DAMAGE_EDIT_BYTES = 8, DAMAGE_EDITS = 16 };

enum edit {
    EDIT_FLIP,     /* the bit content % 8 there */
    EDIT_WRITE,    /* the content, over and over for the length */
    EDIT_SET,      /* the content, once */
    EDIT_ZERO,     /* sectors of 512 bytes from there on, as many as the length says */
    EDIT_CUT,      /* the file ends there */
    EDIT_REMOVE,   /* the file */
    EDIT_MISPLACE, /* a sector from the place that the content says, as a write to a wrong place */
    EDIT_AGE,      /* the file as it was at another moment */
    EDIT_SEAL, /* the pages of the file are given the checksums of what is in them at last, if it is a database */
    EDITS
};

/* The files of a directory as they were. */
struct moment {
    struct {
        char name[256];
        uint8_t *bytes;
        size_t size;
    } files[DAMAGE_FILES];
    size_t count;
};

void moment_take(struct moment *moment, const char *directory);

/* The one that is chosen. */
size_t damage_moment(const uint8_t *data, size_t size);

/* Writes the chosen moment's files, damaged, into the directory. Whether a log that lost something cannot go
 * unnoticed: at most one file was damaged, and that was not sealed anew. */
bool damage_write(const struct moment moments[DAMAGE_MOMENTS], const uint8_t *data, size_t size,
                  const char *directory);

#endif
