/* Input: one byte that chooses the side, then a frame body. What our decoder accepts, protobuf-c must accept
 * with the same values; what it refuses, it refuses by a name. */
#include "codec_oracle.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span body = {data + 1, size - 1};
    enum ps_status status;
    const char *differs =
        data[0] % 2 == 0 ? oracle_check_client(body, &status) : oracle_check_server(body, &status);
    if (differs != NULL) {
        fprintf(stderr, "differs from protobuf-c: %s\n", differs);
        abort();
    }
    if (status != PS_OK && status != PS_MALFORMED && status != PS_LIMIT_EXCEEDED && status != PS_NO_MEMORY)
        abort();
    return 0;
}
