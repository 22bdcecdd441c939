#include "write_queue.h"

void write_queue_init(struct write_queue *queue)
{
    *queue = (struct write_queue){0};
}

bool write_queue_empty(const struct write_queue *queue)
{
    return queue->round == NULL;
}

static void round_append(struct write_queue *queue, struct write_lane *lane)
{
    lane->next = NULL;
    if (queue->round == NULL)
        queue->round = lane;
    else
        queue->round_last->next = lane;
    queue->round_last = lane;
}

void write_queue_push(struct write_queue *queue, struct log_write *write)
{
    struct write_lane *lane = &queue->lanes[write->source % WRITE_QUEUE_LANES];

    write->next = NULL;
    if (lane->first == NULL) {
        lane->first = write;
        round_append(queue, lane);
    } else {
        lane->last->next = write;
    }
    lane->last = write;
}

/* Takes the oldest write of the first lane; the lane goes to the end of the round. */
static struct log_write *take_first(struct write_queue *queue)
{
    struct write_lane *lane = queue->round;
    struct log_write *write = lane->first;

    queue->round = lane->next;
    lane->first = write->next;
    write->next = NULL;
    if (lane->first != NULL)
        round_append(queue, lane);
    return write;
}

struct log_write *write_queue_cut(struct write_queue *queue, uint32_t max_messages, size_t max_bytes,
                                  struct store_op **ops, size_t *count)
{
    struct log_write *first = NULL, **link = &first;
    uint64_t messages = 0;
    size_t bytes = 0, taken = 0;

    while (queue->round != NULL) {
        const struct log_write *next = queue->round->first;
        uint32_t cost = next->messages > 0 ? next->messages : 1;
        if (taken > 0 && (messages + cost > max_messages || bytes + next->bytes > max_bytes))
            break;
        struct log_write *write = take_first(queue);
        messages += cost;
        bytes += write->bytes;
        ops[taken++] = &write->op;
        *link = write;
        link = &write->next;
    }
    *count = taken;
    return first;
}
