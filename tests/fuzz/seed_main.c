/* Writes the seeds of the codec's corpus: each sample frame, into the folder given. */
#include "codec_oracle.h"
#include "frame.h"
#include "samples.h"

#include <stdio.h>

static bool write_seed(const char *folder, const char *side, size_t index, const struct bytes *frame)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%02zu", folder, side, index);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return false;
    size_t size = frame->size - FRAME_HEADER_BYTES;
    bool written = fputc(side[0] == 's', file) != EOF;
    written = fwrite(frame->data + FRAME_HEADER_BYTES, 1, size, file) == size && written;
    return fclose(file) == 0 && written;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seed FOLDER\n");
        return 2;
    }
    bool written = true;
    for (size_t i = 0; i < SAMPLE_CLIENT_FRAMES; i++) {
        struct bytes frame = {0};
        written = codec_encode_client(&sample_client_frames[i], &frame) == PS_OK &&
                  write_seed(argv[1], "client", i, &frame) && written;
        bytes_deinit(&frame);
    }
    for (size_t i = 0; i < SAMPLE_SERVER_FRAMES; i++) {
        struct bytes frame = {0};
        written = oracle_encode_server(&sample_server_frames[i], &frame) == PS_OK &&
                  write_seed(argv[1], "server", i, &frame) && written;
        bytes_deinit(&frame);
    }
    return written ? 0 : 1;
}
