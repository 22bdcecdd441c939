/* Damage for fuzz_store: nothing, and one edit of each kind to each file at each moment. */
#include "damage.h"
#include "seeds.h"

#include <stdio.h>

enum { FILES = 2, PAGE = 16384 };

static const char *const edits[EDITS] = {
    [EDIT_FLIP] = "flip",         [EDIT_WRITE] = "write", [EDIT_SET] = "set",
    [EDIT_ZERO] = "zero",         [EDIT_CUT] = "cut",     [EDIT_REMOVE] = "remove",
    [EDIT_MISPLACE] = "misplace", [EDIT_AGE] = "age",     [EDIT_SEAL] = "seal"};

bool seed_store(const char *folder)
{
    bool written = true;
    char name[64];
    for (unsigned moment = 0; moment < DAMAGE_MOMENTS; moment++) {
        uint8_t bytes[1 + DAMAGE_EDIT_BYTES] = {(uint8_t)moment};
        snprintf(name, sizeof name, "nothing-%u", moment);
        written = seed_write(folder, "store", name, bytes, 1) && written;
        for (unsigned file = 0; file < FILES; file++) {
            for (unsigned edit = 0; edit < EDITS; edit++) {
                unsigned place = (edit * 3 + moment) * PAGE + 5000 * file + 200;
                const uint8_t step[] = {(uint8_t)edit,          (uint8_t)file,
                                        (uint8_t)(place >> 16), (uint8_t)(place >> 8),
                                        (uint8_t)place,         2,
                                        (uint8_t)(moment + 1),  3};
                for (unsigned i = 0; i < DAMAGE_EDIT_BYTES; i++)
                    bytes[1 + i] = step[i];
                snprintf(name, sizeof name, "%s-%u-%u", edits[edit], moment, file);
                written = seed_write(folder, "store", name, bytes, sizeof bytes) && written;
            }
        }
    }
    return written;
}
