/* The file is damaged at random places: one bit flipped in the database or in its WAL, or either cut short. Each
 * time the store must refuse to open and say why, name what it cannot give, or be unharmed; never wrong bytes, never
 * a log that became shorter without a word. TAP on stdout, and a line of figures for each kind of damage.
 *
 *   test_bit_flip [PLACES]      PLACES of each kind, by default 150; PSBROKER_SEED chooses others
 *
 * Each place is tried in a process of its own, so that a crash or a loop is one more outcome. */
#include "dice.h"
#include "known_log.h"
#include "tmpdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PLACES = 150,
    SEED = 9,
    FILES = 3,
    PATIENCE_S = 60,
    PATH_BYTES = 128,
    PAGE_BITS = 16384 * 8,
    PAGE_HEAD_BITS = 64 * 8
};

/* The files of a log, in memory. */
struct image {
    uint8_t *bytes[FILES];
    size_t sizes[FILES];
};
static const char *const names[FILES] = {"psbroker.db", "psbroker.db-wal", "psbroker.head"};

struct damage {
    const char *what;
    int file;
    bool closed, cut;
};
static const struct damage damages[] = {{"one bit of a database that was closed", 0, true, false},
                                        {"one bit of a database beside its WAL", 0, false, false},
                                        {"one bit of the WAL", 1, false, false},
                                        {"a database cut short", 0, true, true},
                                        {"a WAL cut short", 1, false, true}};
enum { DAMAGES = sizeof damages / sizeof *damages, OUTCOMES = KNOWN_WRONG + 1 };

struct verdict {
    enum known_outcome outcome;
    char text[KNOWN_TEXT_BYTES];
};

static char home[TMPDIR_BYTES];
static struct image images[2]; /* killed, closed */
static struct verdict *verdict;
static uint64_t injected;

static bool read_image(const char *directory, struct image *image)
{
    for (int i = 0; i < FILES; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            continue;
        fseek(file, 0, SEEK_END);
        image->sizes[i] = (size_t)ftell(file);
        image->bytes[i] = malloc(image->sizes[i] + 1);
        rewind(file);
        bool whole =
            image->bytes[i] != NULL && fread(image->bytes[i], 1, image->sizes[i], file) == image->sizes[i];
        fclose(file);
        if (!whole)
            return false;
    }
    return image->sizes[0] > 0;
}

static void write_image(const struct image *image)
{
    for (int i = 0; i < FILES; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s", home, names[i]);
        if (image->bytes[i] == NULL)
            continue;
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(image->bytes[i], 1, image->sizes[i], file) != image->sizes[i] ||
            fclose(file) != 0)
            abort();
    }
}

static void clear_home(void)
{
    tmpdir_remove(home);
    if (!tmpdir_make(home))
        abort();
}

static void copy_now(void *ctx)
{
    if (!read_image(home, ctx))
        abort();
}

/* What is left is checked by a child; what it says, or how it ended. */
static const struct verdict *check(void)
{
    *verdict = (struct verdict){.outcome = KNOWN_WRONG, .text = "it did not end well"};
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE_S);
        verdict->outcome = known_log_check(home, verdict->text);
        _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        verdict->outcome = KNOWN_WRONG;
        snprintf(verdict->text, sizeof verdict->text, "the process ended with status %d", status);
    }
    return verdict;
}

/* A bit, or a length. Most bytes of a file are payload: every other bit is one of the first of its page, where
 * SQLite keeps the page's own structure. */
static size_t place_of(const struct damage *damage, const struct image *image, struct dice *dice)
{
    size_t place =
        dice_below(dice, damage->cut ? image->sizes[damage->file] : image->sizes[damage->file] * 8);
    if (!damage->cut && dice_below(dice, 2) == 0)
        place = place / PAGE_BITS * PAGE_BITS + place % PAGE_HEAD_BITS;
    return place;
}

static const struct verdict *try_place(const struct damage *damage, const struct image *image, size_t place)
{
    struct image harmed = *image;
    int file = damage->file;
    uint8_t bit = (uint8_t)(1u << (place % 8));
    clear_home();
    if (damage->cut)
        harmed.sizes[file] = place;
    else
        image->bytes[file][place / 8] = (uint8_t)(image->bytes[file][place / 8] ^ bit);
    write_image(&harmed);
    if (!damage->cut)
        image->bytes[file][place / 8] = (uint8_t)(image->bytes[file][place / 8] ^ bit);
    return check();
}

static bool run(const struct damage *damage, int number, size_t places)
{
    const struct image *image = &images[damage->closed];
    struct dice dice = dice_of(SEED * (uint64_t)number);
    size_t counts[OUTCOMES] = {0};
    for (size_t i = 0; i < places; i++) {
        size_t place = place_of(damage, image, &dice);
        const struct verdict *found = try_place(damage, image, place);
        counts[found->outcome]++;
        injected++;
        if (found->outcome >= KNOWN_SHORTER)
            fprintf(stderr, "%s, %s %zu: %s: %s\n", damage->what, damage->cut ? "to byte" : "bit", place,
                    found->outcome == KNOWN_SHORTER ? "shorter" : "wrong", found->text);
        else if (getenv("BIT_FLIP_VERBOSE") != NULL)
            printf("# %s, %zu: %d %s\n", damage->what, place, found->outcome, found->text);
    }
    size_t violations = counts[KNOWN_SHORTER] + counts[KNOWN_WRONG];
    printf("# %s: %zu places, %zu refused, %zu named, %zu harmless, %zu violations\n", damage->what, places,
           counts[KNOWN_REFUSED], counts[KNOWN_NAMED], counts[KNOWN_SAME], violations);
    printf("%s %d - %s\n", violations == 0 ? "ok" : "not ok", number, damage->what);
    fflush(stdout);
    return violations == 0;
}

static bool make_logs(void)
{
    clear_home();
    if (!known_log_make(home, false, copy_now, &images[0]))
        return false;
    clear_home();
    return known_log_make(home, true, NULL, NULL) && read_image(home, &images[1]);
}

static bool is_sound(int number, bool closed)
{
    clear_home();
    write_image(&images[closed]);
    const struct verdict *found = check();
    printf("%s %d - unharmed, %s: %d %s\n", found->outcome == KNOWN_SAME ? "ok" : "not ok", number,
           closed ? "closed" : "killed", found->outcome, found->text);
    return found->outcome == KNOWN_SAME;
}

int main(int argc, char **argv)
{
    size_t places = argc > 1 ? strtoul(argv[1], NULL, 10) : PLACES;
    verdict = mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (verdict == MAP_FAILED || !tmpdir_make(home) || !make_logs())
        abort();
    printf("1..%d\n", DAMAGES + 2);
    bool passed = is_sound(1, false) & is_sound(2, true);
    for (int i = 0; i < DAMAGES; i++)
        passed &= run(&damages[i], i + 3, places);
    tmpdir_remove(home);
    fprintf(stderr, "injected %llu faults\n", (unsigned long long)injected);
    for (int i = 0; i < 2 * FILES; i++)
        free(images[i / FILES].bytes[i % FILES]);
    return passed ? 0 : 1;
}
