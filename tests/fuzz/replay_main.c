/* Runs a fuzz target over every file of a corpus folder; TAP on stdout, a case a file. A missing or empty
 * folder fails.
 *
 *     replay_TARGET CORPUS [RUNS SEED KEEP]
 *
 * With RUNS also over so many inputs that are made of the corpus at random: input number i is the same for the same
 * SEED + i and corpus. Each is left in the file KEEP while it runs: what is there after a crash did it. */
#include "dice.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole file, NULL when it cannot be read. Ours to free. */
static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    uint8_t *data = NULL;
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (length >= 0 && fseek(file, 0, SEEK_SET) == 0)
        data = malloc((size_t)length + 1);
    if (data != NULL && fread(data, 1, (size_t)length, file) != (size_t)length) {
        free(data);
        data = NULL;
    }
    if (data != NULL)
        *size = (size_t)length;
    fclose(file);
    return data;
}

struct input {
    uint8_t *data;
    size_t size;
};

/* A copy that ends where its memory ends, so that the sanitizers see a read behind it. */
static bool run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        return false;
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return true;
}

/* ------------------------------------------------------------------------------------------- at random */

enum { MADE_MAX_BYTES = 4096, MOST_CHANGES = 8 };

/* Puts a part of another input there, over what there is or between it. */
static void splice(struct dice *dice, struct input *made, const struct input *other)
{
    size_t from = dice_below(dice, other->size + 1), count = dice_below(dice, other->size - from + 1);
    size_t at = dice_below(dice, made->size + 1);
    size_t moved = dice_below(dice, 2) == 0 ? made->size - at : 0;
    if (at + count + moved > MADE_MAX_BYTES)
        return;
    memmove(made->data + at + count, made->data + at, moved);
    memcpy(made->data + at, other->data + from, count);
    size_t end = at + count + moved;
    made->size = end > made->size ? end : made->size;
}

static void change(struct dice *dice, struct input *made, const struct input *inputs, size_t count)
{
    size_t at = made->size > 0 ? dice_below(dice, made->size) : 0, way = dice_below(dice, 5);
    if (way >= 3 || made->size == 0) {
        splice(dice, made, &inputs[dice_below(dice, count)]);
        return;
    }
    if (way == 0)
        made->data[at] ^= (uint8_t)(1u << dice_below(dice, 8));
    else if (way == 1)
        made->data[at] = (uint8_t)dice_u64(dice);
    else
        made->size = at + 1;
}

static bool run_made(const struct input *inputs, size_t count, uint64_t seed, const char *keep)
{
    static uint8_t place[MADE_MAX_BYTES];
    struct dice dice = {seed * 2 + 1};
    struct input made = {place, 0};
    const struct input *base = &inputs[dice_below(&dice, count)];
    made.size = base->size < MADE_MAX_BYTES ? base->size : MADE_MAX_BYTES;
    memcpy(place, base->data, made.size);
    for (size_t changes = 1 + dice_below(&dice, MOST_CHANGES); changes > 0; changes--)
        change(&dice, &made, inputs, count);
    FILE *file = fopen(keep, "wb");
    if (file == NULL)
        return false;
    bool kept = fwrite(made.data, 1, made.size, file) == made.size;
    return fclose(file) == 0 && kept && run(made.data, made.size);
}

/* ------------------------------------------------------------------------------------------- the corpus */

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* How many inputs the folder holds; 0: none, or no folder. */
static int list(const char *folder, struct dirent ***entries)
{
    int count = folder != NULL ? scandir(folder, entries, is_input, alphasort) : -1;
    if (count > 0)
        return count;
    if (count == 0)
        free(*entries);
    return 0;
}

static bool read_input(const char *folder, const char *name, struct input *input)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length <= 0 || (size_t)length >= sizeof path)
        return false;
    input->data = read_file(path, &input->size);
    return input->data != NULL;
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    bool seen = list("/a folder that is missing", &entries) == 0;
    int found = list(argc == 2 || argc == 5 ? argv[1] : NULL, &entries);
    size_t count = (size_t)found;
    struct input *inputs = calloc(count + 1, sizeof *inputs);
    uint64_t runs = argc == 5 && count > 0 && inputs != NULL ? strtoull(argv[2], NULL, 0) : 0;
    printf("1..%zu\n", count + 2 + (runs > 0));
    printf("%s 1 - there is a corpus\n", count > 0 ? "ok" : "not ok");
    printf("%s 2 - a missing corpus is seen\n", seen ? "ok" : "not ok");
    bool sound = count > 0 && seen && inputs != NULL;
    for (size_t i = 0; i < count && inputs != NULL; i++) {
        bool done =
            read_input(argv[1], entries[i]->d_name, &inputs[i]) && run(inputs[i].data, inputs[i].size);
        printf("%s %zu - %s\n", done ? "ok" : "not ok", i + 3, entries[i]->d_name);
        fflush(stdout);
        sound = sound && done;
        free(entries[i]);
    }
    bool made = true;
    for (uint64_t i = 0; made && sound && i < runs; i++)
        made = run_made(inputs, count, strtoull(argv[3], NULL, 0) + i, argv[4]);
    if (runs > 0 && made && sound)
        fprintf(stderr, "injected %s faults\n", argv[2]);
    if (runs > 0)
        printf("%s %zu - %s inputs made of seed %s on\n", made && sound ? "ok" : "not ok", count + 3, argv[2],
               argv[3]);
    for (size_t i = 0; i < count && inputs != NULL; i++)
        free(inputs[i].data);
    free(inputs);
    if (count > 0)
        free(entries);
    return sound && made ? 0 : 1;
}
