/* Scripts for fuzz_session: each makes one story come true, so that the search begins in the middle of things. */
#include "codec.h"
#include "frame.h"
#include "samples.h"
#include "script.h"
#include "seeds.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Steps as script.h lays them out; 0 at the end of a request: with an answer. */
#define ROOMY 40, 40, 60, 0
#define TIGHT 1, 0, 1, 200
#define CONNECT(client) STEP_CONNECT, client, 0
#define DISCONNECT(client) STEP_DISCONNECT, client
/* One group of three messages: plain, with a key, with headers. */
#define PUBLISH(client, topic) STEP_PUBLISH, client, 1, topic, 3, 0, 20, 1, 30, 4, 40, 0
#define PUBLISH_LARGE(client, topic) STEP_PUBLISH, client, 1, topic, 2, 0, 230, 0, 254, 0
/* Good and bad messages to three topics, one of them none. */
#define PUBLISH_MIXED(client) STEP_PUBLISH, client, 3, 0, 2, 12, 50, 0, 60, 5, 1, 0, 0, 7, 1, 0, 9, 0
#define SUBSCRIBE(client, filter, id, start, credit)                                                         \
    STEP_SUBSCRIBE, client, filter, id, start, 2, 1, credit, 0
#define UNTIL_END(client, filter, id) STEP_SUBSCRIBE, client, filter, id, 1, 0, 7, 200, 0
#define CREDIT(client, number, messages) STEP_CREDIT, client, number, messages, 251, 0
#define ACK(client, number, topic, back) STEP_ACK, client, number, topic, back, 0
#define DETACH(client, number) STEP_DETACH, client, number, 0
#define SEEK(client, filter, id, start) STEP_SEEK, client, filter, id, start, 1, 0
#define LIST(client, which) STEP_LIST, client, which, 0, 0, 0
#define DELETE(client, topic) STEP_DELETE, client, topic, 0
#define COMMIT(count) STEP_COMMIT, 0, count
#define READ(which) STEP_READ, 0, which
#define SLOW(client) STEP_TAKE, client, 1
#define TAKE(client) STEP_TAKE, client, 0
#define PASS(root) STEP_PASS, 0, root
#define SETTLE STEP_SETTLE, 0

enum { NEW, BEGINNING, OFFSET, LAST, RESUME };
enum { NOBODY, ONE, TWO };

#define SCRIPT(name, ...)                                                                                    \
    {                                                                                                        \
        name, sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[])                                      \
        {                                                                                                    \
            __VA_ARGS__                                                                                      \
        }                                                                                                    \
    }

static const struct script {
    const char *name;
    size_t size;
    const uint8_t *bytes;
} scripts[] = {
    SCRIPT("live", ROOMY, CONNECT(0), CONNECT(1), SUBSCRIBE(1, 0, NOBODY, NEW, 200), SETTLE, PUBLISH(0, 0),
           PUBLISH(0, 1), COMMIT(0), PUBLISH(0, 0), SETTLE, PUBLISH_MIXED(0), SETTLE),
    SCRIPT("history", TIGHT, CONNECT(0), PUBLISH(0, 0), PUBLISH_LARGE(0, 0), PUBLISH(0, 1), SETTLE,
           CONNECT(1), SLOW(1), SUBSCRIBE(1, 0, NOBODY, BEGINNING, 200), COMMIT(1), READ(0), READ(1),
           PUBLISH(0, 0), TAKE(1), SETTLE, SUBSCRIBE(1, 2, NOBODY, LAST, 3), SETTLE, CREDIT(1, 2, 100),
           SETTLE),
    SCRIPT("credit", ROOMY, CONNECT(0), CONNECT(1), SUBSCRIBE(1, 0, NOBODY, NEW, 4), SETTLE, PUBLISH(0, 0),
           PUBLISH(0, 0), PUBLISH(0, 1), SETTLE, CREDIT(1, 1, 5), SETTLE, CREDIT(1, 1, 200), SETTLE),
    SCRIPT("durable", ROOMY, CONNECT(0), CONNECT(1), SUBSCRIBE(1, 0, ONE, BEGINNING, 200), SETTLE,
           PUBLISH(0, 0), SETTLE, ACK(1, 1, 0, 1), PASS(12), SETTLE, ACK(1, 1, 0, 255), DISCONNECT(1),
           CONNECT(1), SUBSCRIBE(1, 0, ONE, NEW, 100), SETTLE, ACK(1, 1, 0, 0), DETACH(1, 1), SETTLE),
    SCRIPT("take-over", ROOMY, CONNECT(0), CONNECT(1), CONNECT(2), PUBLISH(0, 0),
           SUBSCRIBE(1, 0, ONE, BEGINNING, 200), SETTLE, ACK(1, 1, 0, 1),
           SUBSCRIBE(2, 0, ONE, BEGINNING, 200), ACK(1, 1, 0, 0), SETTLE, ACK(2, 1, 0, 0), SETTLE),
    SCRIPT("seek", ROOMY, CONNECT(0), CONNECT(1), PUBLISH(0, 0), SUBSCRIBE(1, 2, ONE, NEW, 200), SETTLE,
           PUBLISH(0, 0), SETTLE, ACK(1, 1, 0, 0), SEEK(0, 2, ONE, BEGINNING), ACK(1, 1, 0, 0), SETTLE,
           SUBSCRIBE(1, 2, ONE, NEW, 200), SETTLE, SEEK(0, 2, ONE, OFFSET), STEP_UNSUBSCRIBE, 0, 1, 2, 1, 0,
           SETTLE),
    SCRIPT("until-end", ROOMY, CONNECT(0), PUBLISH(0, 0), PUBLISH(0, 1), SETTLE, CONNECT(1),
           UNTIL_END(1, 0, NOBODY), UNTIL_END(1, 2, TWO), PUBLISH(0, 0), SETTLE, ACK(1, 2, 0, 0), SETTLE),
    SCRIPT("delete", TIGHT, CONNECT(0), PUBLISH(0, 0), SETTLE, CONNECT(1),
           SUBSCRIBE(1, 0, NOBODY, BEGINNING, 2), SETTLE, DELETE(0, 0), PUBLISH(0, 0), SETTLE,
           CREDIT(1, 1, 200), SETTLE, DELETE(0, 6), SETTLE),
    SCRIPT("resume", ROOMY, CONNECT(0), PUBLISH(0, 0), PUBLISH(0, 1), SETTLE, CONNECT(1),
           SUBSCRIBE(1, 0, NOBODY, RESUME, 200), SETTLE, PUBLISH(0, 2), SETTLE),
    SCRIPT("restart", ROOMY, CONNECT(0), PUBLISH(0, 0), SUBSCRIBE(0, 0, ONE, BEGINNING, 2), SETTLE,
           ACK(0, 1, 0, 0), STEP_RESTART, 0, CONNECT(0), SUBSCRIBE(0, 0, ONE, BEGINNING, 200), PUBLISH(0, 0),
           SETTLE),
    SCRIPT("drain", ROOMY, CONNECT(0), CONNECT(1), SUBSCRIBE(1, 0, ONE, NEW, 200), SETTLE, PUBLISH(0, 0),
           SETTLE, ACK(1, 1, 0, 0), PUBLISH(0, 0), STEP_DRAIN, 0, PUBLISH(0, 0), ACK(1, 1, 0, 0), COMMIT(0),
           PASS(12)),
    SCRIPT("disk-full", ROOMY, CONNECT(0), PUBLISH(0, 0), COMMIT(12 * 16), PUBLISH(0, 0), COMMIT(13 * 16),
           SUBSCRIBE(0, 0, ONE, BEGINNING, 200), COMMIT(12 * 16), PUBLISH(0, 0), SETTLE),
    SCRIPT("unknown", ROOMY, CONNECT(0), PUBLISH(0, 0), PUBLISH(0, 1), COMMIT(15 * 16 + 1), PUBLISH(0, 0),
           SETTLE),
    SCRIPT("damaged", TIGHT, CONNECT(0), PUBLISH(0, 0), PUBLISH_LARGE(0, 0), SETTLE, STEP_DAMAGE, 0, 1,
           CONNECT(1), SUBSCRIBE(1, 2, ONE, BEGINNING, 200), SETTLE, ACK(1, 1, 0, 0), SETTLE),
    SCRIPT("window", TIGHT, CONNECT(0), PUBLISH_LARGE(0, 0), PUBLISH_LARGE(0, 0), COMMIT(0), PUBLISH(0, 0),
           SETTLE),
    SCRIPT("roles", ROOMY, STEP_CONNECT, 0, 5, SUBSCRIBE(0, 0, NOBODY, NEW, 9), STEP_CONNECT, 1, 6,
           PUBLISH(1, 0), STEP_CONNECT, 2, 7, STEP_HELLO, 2, 2, 3, 0, STEP_CONNECT, 3, 7, PASS(72),
           STEP_REFUSE, 0, 0),
    SCRIPT("idle", ROOMY, CONNECT(0), PASS(180), PASS(180), STEP_PING, 0, 1, 0, PASS(250), PASS(250)),
    SCRIPT("lists", ROOMY, CONNECT(0), PUBLISH_MIXED(0), SUBSCRIBE(0, 0, ONE, BEGINNING, 200),
           SUBSCRIBE(0, 2, TWO, NEW, 200), SETTLE, ACK(0, 1, 0, 0), LIST(0, 0), LIST(0, 1), STEP_PING, 0, 2,
           0, SETTLE),
};

/* Each sample frame of a client, as the bytes it is. */
static bool seed_raw(const char *folder)
{
    bool written = true;
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES; i++) {
        struct bytes frame = {0};
        uint8_t script[300] = {ROOMY, CONNECT(0), STEP_RAW, 0};
        size_t at = 9;
        char name[32];
        snprintf(name, sizeof name, "raw-%02zu", i);
        written = codec_encode_client(&sample_client_frames[i], &frame) == PS_OK && written;
        size_t size = frame.size - FRAME_HEADER_BYTES;
        if (frame.size > 0 && size < 256) {
            script[at++] = (uint8_t)size;
            memcpy(script + at, frame.data + FRAME_HEADER_BYTES, size);
            written = seed_write(folder, "session", name, script, at + size) && written;
        }
        bytes_deinit(&frame);
    }
    return written;
}

bool seed_session(const char *folder)
{
    bool written = seed_raw(folder);
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        written =
            seed_write(folder, "session", scripts[i].name, scripts[i].bytes, scripts[i].size) && written;
    return written;
}
