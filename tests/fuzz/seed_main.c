/* Writes the seeds of the corpora of codec, session and store into the folder given. */
#include "codec_oracle.h"
#include "frame.h"
#include "samples.h"
#include "seeds.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool seed_write(const char *folder, const char *target, const char *name, const void *bytes, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return false;
    bool written = fwrite(bytes, 1, size, file) == size;
    return fclose(file) == 0 && written;
}

/* The body of the frame, behind a byte that says which side it comes from. */
static bool write_frame(const char *folder, const char *side, size_t index, struct bytes *frame)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%02zu", side, index);
    uint8_t *body = frame->data + FRAME_HEADER_BYTES - 1;
    body[0] = side[0] == 's';
    bool written = seed_write(folder, "codec", name, body, frame->size - FRAME_HEADER_BYTES + 1);
    bytes_deinit(frame);
    return written;
}

bool seed_codec(const char *folder)
{
    bool written = true;
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES; i++) {
        struct bytes frame = {0};
        written = codec_encode_client(&sample_client_frames[i], &frame) == PS_OK &&
                  write_frame(folder, "client", i, &frame) && written;
    }
    for (size_t i = 0; i < SAMPLE_SERVER_FRAMES; i++) {
        struct bytes frame = {0};
        written = oracle_encode_server(&sample_server_frames[i], &frame) == PS_OK &&
                  write_frame(folder, "server", i, &frame) && written;
    }
    return written;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seed FOLDER\n");
        return 2;
    }
    bool written = seed_codec(argv[1]);
    written = seed_session(argv[1]) && written;
    written = seed_store(argv[1]) && written;
    return written ? 0 : 1;
}
