/* One flipped bit, at each of many places of a database that was closed cleanly: opening is refused, or a read gives
 * the right bytes, or it names the record that is damaged. Wrong bytes are never shown.
 *
 * Places are taken evenly over the file, and more densely where a page begins. The seed of the bits stands in every
 * failure; STORE_TEST_SEED=N runs it again. */
#include "leaks.h"
#include "store_sqlite.h"
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOPICS = 3, MESSAGES = 600, PLACES = 300, PAGE_BYTES = 16384, MOST_TEXT = 24000 };
static const char *const names[TOPICS] = {"A", "b/c", "007"};

/* Criterion keeps what a case prints to itself: the seed goes into the messages. */
static char note[160];

#define HOLDS(condition) cr_assert(condition, "%s: %s", #condition, note)

struct place {
    char directory[64];
    char file[96];
};

static void make_place(struct place *place)
{
    cr_assert(tmpdir_make(place->directory));
    snprintf(place->file, sizeof place->file, "%s/psbroker.db", place->directory);
}

static void remove_files(const struct place *place)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", place->file, endings[i]);
        unlink(path);
    }
}

static enum ps_status open_store(const struct place *place, struct store **store, char *error,
                                 size_t error_size)
{
    struct store_opened opened;
    struct store_sqlite_config config = {.directory = place->directory};
    return store_sqlite_open(&config, store, &opened, error, error_size);
}

/* --------------------------------------------------------------------------------------- what is in it */

struct text {
    char payload[MOST_TEXT];
    char key[16];
    struct header header;
    struct message message;
};

static void make_message(struct text *text, unsigned topic, uint64_t offset)
{
    size_t size = offset % 97 == 5 ? 20000 + offset : (offset * 7 + topic) % 300;
    for (size_t i = 0; i < size; i++)
        text->payload[i] = (char)('a' + (i + offset * 3 + topic) % 26);
    snprintf(text->key, sizeof text->key, "k%llu", (unsigned long long)offset);
    text->header = (struct header){span_of("name"), span_of(names[topic])};
    text->message = (struct message){.payload = {(const uint8_t *)text->payload, size}};
    if (offset % 2 == 0)
        text->message.key = span_of(text->key);
    if (offset % 5 == 0)
        text->message.publisher = span_of("p1");
    if (offset % 3 == 0) {
        text->message.headers = &text->header;
        text->message.header_count = 1;
    }
}

static void fill(const struct place *place)
{
    struct store *store;
    struct store_state state;
    char error[256] = "";
    struct text *text = malloc(sizeof *text);
    cr_assert_eq(open_store(place, &store, error, sizeof error), PS_OK, "%s", error);
    for (uint64_t offset = 0; offset < MESSAGES; offset++) {
        for (unsigned topic = 0; topic < TOPICS; topic++) {
            make_message(text, topic, offset);
            struct store_op op = {
                .kind = STORE_APPEND,
                .append = {.topic = span_of(names[topic]), .messages = &text->message, .count = 1}};
            struct store_op *ops[1] = {&op};
            cr_assert_eq(store_commit(store, ops, 1, &state), PS_OK);
            cr_assert_eq(op.status, PS_OK);
        }
    }
    free(text);
    store_close(store);
}

/* --------------------------------------------------------------------------------------------- reading it */

struct tally {
    unsigned refused, clean, damaged, failed;
};

struct check {
    unsigned topic;
    uint64_t next;
    struct text *text;
};

static bool same_bytes(const struct message *a, const struct message *b)
{
    if (!span_equal(a->payload, b->payload) || !span_equal(a->key, b->key) ||
        !span_equal(a->publisher, b->publisher) || a->flags != b->flags || a->header_count != b->header_count)
        return false;
    for (uint32_t i = 0; i < a->header_count; i++) {
        if (!span_equal(a->headers[i].name, b->headers[i].name) ||
            !span_equal(a->headers[i].value, b->headers[i].value))
            return false;
    }
    return true;
}

static bool check_message(void *ctx, const struct message *message)
{
    struct check *check = ctx;
    HOLDS(message->offset >= check->next);
    HOLDS(message->offset < MESSAGES);
    make_message(check->text, check->topic, message->offset);
    HOLDS(same_bytes(message, &check->text->message));
    check->next = message->offset + 1;
    return true;
}

static void read_topic(struct store_reader *reader, const struct store_topic *topic, struct check *check,
                       struct tally *tally)
{
    struct store_read read = {.topic = *topic,
                              .to = topic->next_offset < MESSAGES ? topic->next_offset : MESSAGES,
                              .max_messages = 1000,
                              .max_bytes = 10000000,
                              .max_microseconds = 10000000,
                              .show = check_message,
                              .ctx = check};
    while (read.from < read.to) {
        enum ps_status status = store_read(reader, &read);
        if (status == PS_DAMAGED) {
            HOLDS(read.damaged_offset >= read.from);
            HOLDS(read.damaged_offset < read.to);
            HOLDS(check->next <= read.damaged_offset);
            tally->damaged++;
            read.next_offset = read.damaged_offset + 1;
        } else if (status != PS_OK) {
            tally->failed++;
            return;
        }
        HOLDS(read.next_offset > read.from);
        read.from = read.next_offset;
        read.hint = 0;
    }
}

struct reading {
    struct store_reader *reader;
    struct tally *tally;
    struct text *text;
};

/* A name that was damaged must not show anything: the checksum covers it. */
static void read_one(void *ctx, const struct store_topic *topic)
{
    struct reading *reading = ctx;
    struct check check = {.topic = TOPICS, .text = reading->text};
    for (unsigned i = 0; i < TOPICS; i++) {
        if (span_equal(topic->name, span_of(names[i])))
            check.topic = i;
    }
    if (check.topic == TOPICS) {
        check.topic = 0;
        check.next = UINT64_MAX;
    }
    read_topic(reading->reader, topic, &check, reading->tally);
}

static void open_and_read(const struct place *place, struct tally *tally, struct text *text)
{
    struct store *store;
    char error[256] = "";
    unsigned before = tally->damaged + tally->failed;
    enum ps_status status = open_store(place, &store, error, sizeof error);
    if (status != PS_OK) {
        HOLDS(error[0] != '\0');
        tally->refused++;
        return;
    }
    struct reading reading = {.tally = tally, .text = text};
    HOLDS(store_reader_new(store, &reading.reader) == PS_OK);
    store_load(store, read_one, &reading);
    store_reader_free(reading.reader);
    store_close(store);
    tally->clean += tally->damaged + tally->failed == before;
}

/* ------------------------------------------------------------------------------------------------ flipping */

static uint8_t *load(const struct place *place, size_t *size)
{
    struct stat facts;
    int fd = open(place->file, O_RDONLY);
    cr_assert(fd >= 0 && fstat(fd, &facts) == 0);
    uint8_t *bytes = malloc((size_t)facts.st_size);
    cr_assert_eq(read(fd, bytes, (size_t)facts.st_size), (ssize_t)facts.st_size);
    close(fd);
    *size = (size_t)facts.st_size;
    return bytes;
}

static void save(const struct place *place, const uint8_t *bytes, size_t size)
{
    remove_files(place);
    int fd = open(place->file, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static unsigned seed(void)
{
    unsigned value = 1;
    const char *given = getenv("STORE_TEST_SEED");
    if (given != NULL)
        return (unsigned)strtoul(given, NULL, 10);
    if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
        value = 1;
    return value % 1000000;
}

Test(sqlite_damage, a_flipped_bit_never_shows_wrong_bytes)
{
    struct place place;
    struct tally tally = {0};
    struct text *text = malloc(sizeof *text);
    size_t size;
    unsigned random = seed();
    snprintf(note, sizeof note, "STORE_TEST_SEED=%u", random);
    make_place(&place);
    fill(&place);
    uint8_t *bytes = load(&place, &size);

    for (size_t i = 0; i < PLACES; i++) {
        size_t at = size / PLACES * i + (size_t)rand_r(&random) % (size / PLACES);
        if (i % 4 == 0)
            at = at / PAGE_BYTES * PAGE_BYTES + (size_t)rand_r(&random) % 200;
        uint8_t bit = (uint8_t)(1u << (rand_r(&random) & 7));
        bytes[at] ^= bit;
        save(&place, bytes, size);
        open_and_read(&place, &tally, text);
        bytes[at] ^= bit;
    }

    snprintf(note, sizeof note, "refused %u, without effect %u, named %u, failed %u", tally.refused,
             tally.clean, tally.damaged, tally.failed);
    HOLDS(tally.damaged > 50);
    HOLDS(tally.refused > 0);
    free(bytes);
    free(text);
    tmpdir_remove(place.directory);
    ASSERT_NO_LEAKS();
}

/* Pages that are missing at the end, one more each time, down to the first. */
Test(sqlite_damage, a_file_cut_by_some_pages_never_shows_wrong_bytes)
{
    struct place place;
    struct tally tally = {0};
    struct text *text = malloc(sizeof *text);
    size_t size;
    make_place(&place);
    fill(&place);
    uint8_t *bytes = load(&place, &size);
    unsigned cuts = 0;

    for (size_t left = size - PAGE_BYTES; left > 0;
         left -= left > 40 * PAGE_BYTES ? 3 * PAGE_BYTES : PAGE_BYTES) {
        snprintf(note, sizeof note, "cut to %zu of %zu bytes", left, size);
        save(&place, bytes, left);
        open_and_read(&place, &tally, text);
        cuts++;
    }

    snprintf(note, sizeof note, "refused %u, without effect %u, named %u, failed %u", tally.refused,
             tally.clean, tally.damaged, tally.failed);
    HOLDS(tally.refused + tally.failed > 0);
    HOLDS(tally.clean == 0);
    HOLDS(cuts > 40);
    free(bytes);
    free(text);
    tmpdir_remove(place.directory);
    ASSERT_NO_LEAKS();
}
