/* Runs a fuzz target over every file of a corpus folder; TAP on stdout, a case a file. A missing or empty
 * folder fails. */
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

static bool replay(const char *path)
{
    size_t size;
    uint8_t *data = read_file(path, &size);
    if (data == NULL)
        return false;
    /* A copy that ends where its memory ends, so that the sanitizers see a read behind it. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact != NULL) {
        memcpy(exact, data, size);
        LLVMFuzzerTestOneInput(exact, size);
    }
    free(data);
    bool done = exact != NULL;
    free(exact);
    return done;
}

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

int main(int argc, char **argv)
{
    struct dirent **entries;
    bool seen = list("/a folder that is missing", &entries) == 0;
    int count = list(argc == 2 ? argv[1] : NULL, &entries);
    printf("1..%d\n", count + 2);
    printf("%s 1 - there is a corpus\n", count > 0 ? "ok" : "not ok");
    printf("%s 2 - a missing corpus is seen\n", seen ? "ok" : "not ok");
    bool failed = count == 0 || !seen;
    for (int i = 0; i < count; i++) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        bool done = length > 0 && (size_t)length < sizeof path && replay(path);
        printf("%s %d - %s\n", done ? "ok" : "not ok", i + 3, entries[i]->d_name);
        fflush(stdout);
        failed = failed || !done;
        free(entries[i]);
    }
    if (count > 0)
        free(entries);
    return failed ? 1 : 0;
}
