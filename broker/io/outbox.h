/* What waits to be sent to one connection: encoded frames and ranges of shared batches, in order.
 *
 * Bytes of batches are never copied; each is referenced until it was sent, and charged in full as long. Loop
 * thread only. */
#ifndef PSBROKER_OUTBOX_H
#define PSBROKER_OUTBOX_H

#include "codec.h"

#include <uv.h>

struct outbox_segment {
    struct batch *batch; /* NULL: a range of `control` */
    size_t begin, end;
    size_t charge;
};

struct outbox {
    struct bytes control; /* frames, and the headers of deliveries */
    struct outbox_segment *segments;
    size_t first, count, room; /* segments [first, count) are not sent yet */
    size_t charge;
};

void outbox_deinit(struct outbox *outbox); /* takes the zero state, leaves it */

static inline bool outbox_empty(const struct outbox *outbox)
{
    return outbox->first == outbox->count;
}

/* Gives back the memory that an empty box keeps for its next frames. */
void outbox_rest(struct outbox *outbox);

/* Encodes and appends a frame. PS_OK; PS_NO_MEMORY or PS_FRAME_TOO_LARGE leave the box as it was. */
enum ps_status outbox_frame(struct outbox *outbox, const struct server_frame *frame);

/* Appends a delivery of entries [begin, end) of `batch`; takes one reference of it with any outcome.
 * PS_OK or PS_NO_MEMORY. */
enum ps_status outbox_delivery(struct outbox *outbox, uint64_t subscription, struct span topic,
                               struct batch *batch, uint32_t begin, uint32_t end);

/* The next bytes to send, as at most `room` buffers; returns how many. Valid until the box changes. */
unsigned outbox_buffers(const struct outbox *outbox, uv_buf_t *buffers, unsigned room);

/* The first `size` bytes of them were sent. */
void outbox_sent(struct outbox *outbox, size_t size);

#endif
