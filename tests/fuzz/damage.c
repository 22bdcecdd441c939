#include "damage.h"
#include "seal.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum { SECTOR = 512 };

static FILE *open_file(const char *directory, const char *name, const char *mode)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, mode);
    cr_assert_not_null(file, "%s", path);
    return file;
}

static int is_kept(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strstr(entry->d_name, "-shm") == NULL;
}

/* In the order of their names, so that an input means the same file each time. */
void moment_take(struct moment *moment, const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_kept, alphasort);
    cr_assert(count > 0 && count <= DAMAGE_FILES);
    moment->count = (size_t)count;
    for (size_t i = 0; i < moment->count; i++) {
        FILE *file = open_file(directory, entries[i]->d_name, "rb");
        struct stat facts;
        cr_assert_eq(fstat(fileno(file), &facts), 0);
        snprintf(moment->files[i].name, sizeof moment->files[i].name, "%s", entries[i]->d_name);
        moment->files[i].size = (size_t)facts.st_size;
        moment->files[i].bytes = malloc(moment->files[i].size + 1);
        cr_assert_eq(fread(moment->files[i].bytes, 1, moment->files[i].size, file), moment->files[i].size);
        fclose(file);
        free(entries[i]);
    }
    free(entries);
}

struct image {
    uint8_t *bytes;
    size_t size;
    bool is_edited, is_gone, is_sealed;
};

static void set(struct image *image, const void *bytes, size_t size)
{
    free(image->bytes);
    image->bytes = malloc(size + 1);
    cr_assert_not_null(image->bytes);
    memcpy(image->bytes, bytes, size);
    image->size = size;
}

static size_t at_most(size_t wanted, size_t room)
{
    return wanted < room ? wanted : room;
}

static void edit(const struct moment moments[DAMAGE_MOMENTS], struct image *image, const char *name,
                 const uint8_t step[DAMAGE_EDIT_BYTES])
{
    image->is_edited = true;
    if (image->size == 0)
        return;
    size_t position = ((size_t)step[2] << 16 | (size_t)step[3] << 8 | step[4]) % image->size;
    size_t length = step[5], left = image->size - position;
    uint8_t *place = image->bytes + position;
    switch ((enum edit)(step[0] % EDITS)) {
    case EDIT_FLIP:
        *place ^= (uint8_t)(1u << step[6] % 8);
        break;
    case EDIT_WRITE:
        for (size_t i = 0; i < at_most(length, left); i++)
            place[i] = step[6 + i % 2];
        break;
    case EDIT_SET:
        memcpy(place, step + 6, at_most(2, left));
        break;
    case EDIT_ZERO:
        memset(place, 0, at_most(length * SECTOR, left));
        break;
    case EDIT_CUT:
        image->size = position;
        break;
    case EDIT_REMOVE:
        image->is_gone = true;
        break;
    case EDIT_MISPLACE: {
        size_t from = ((size_t)step[6] << 8 | step[7]) * SECTOR % image->size;
        memmove(place, image->bytes + from, at_most(SECTOR, at_most(left, image->size - from)));
        break;
    }
    case EDIT_AGE: {
        const struct moment *other = &moments[step[6] % DAMAGE_MOMENTS];
        for (size_t i = 0; i < other->count; i++) {
            if (strcmp(other->files[i].name, name) == 0)
                set(image, other->files[i].bytes, other->files[i].size);
        }
        break;
    }
    case EDIT_SEAL:
        image->is_sealed = true;
        break;
    default:
        break;
    }
}

static void write_file(const struct image *image, const char *directory, const char *name)
{
    FILE *file = open_file(directory, name, "wb+");
    uint64_t sealed;
    cr_assert_eq(fwrite(image->bytes, 1, image->size, file), image->size);
    cr_assert_eq(fflush(file), 0);
    if (image->is_sealed)
        cr_assert_eq(seal_file(fileno(file), &sealed), PS_OK);
    fclose(file);
}

size_t damage_moment(const uint8_t *data, size_t size)
{
    return size > 0 ? data[0] % DAMAGE_MOMENTS : 0;
}

bool damage_write(const struct moment moments[DAMAGE_MOMENTS], const uint8_t *data, size_t size,
                  const char *directory)
{
    const struct moment *moment = &moments[damage_moment(data, size)];
    struct image images[DAMAGE_FILES] = {0};
    unsigned edited = 0;
    bool sealed = false;
    for (size_t i = 0; i < moment->count; i++)
        set(&images[i], moment->files[i].bytes, moment->files[i].size);
    for (size_t at = 1, edits = 0; at + DAMAGE_EDIT_BYTES <= size && edits < DAMAGE_EDITS;
         at += DAMAGE_EDIT_BYTES, edits++) {
        size_t file = data[at + 1] % moment->count;
        edit(moments, &images[file], moment->files[file].name, data + at);
    }
    for (size_t i = 0; i < moment->count; i++) {
        if (!images[i].is_gone)
            write_file(&images[i], directory, moment->files[i].name);
        edited += images[i].is_edited;
        sealed = sealed || images[i].is_sealed;
        free(images[i].bytes);
    }
    return edited <= 1 && !sealed;
}
