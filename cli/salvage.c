/* Topics are stacked, the damaged one on top: records damaged in a row are met in a row, and are told as one range. */
#include "salvage.h"

#include <stdlib.h>

struct salvage_rest {
    struct salvage_rest *next;
    uint64_t offset;
    size_t size;
    char topic[];
};

static void push(struct salvage *salvage, struct psc_bytes topic, uint64_t offset)
{
    struct salvage_rest *rest = must_alloc(sizeof *rest + topic.size + 1);

    rest->next = salvage->rests;
    rest->offset = offset;
    rest->size = topic.size;
    memcpy(rest->topic, topic.data, topic.size);
    salvage->rests = rest;
}

static bool same(const char *topic, struct psc_bytes name)
{
    return topic != NULL && strlen(topic) == name.size && memcmp(topic, name.data, name.size) == 0;
}

static void tell(struct salvage *salvage, bool as_json)
{
    struct psc_error error = {.status = PS_DAMAGED,
                              .text = ps_status_text(PS_DAMAGED),
                              .topic = bytes_of(salvage->topic),
                              .has_range = true,
                              .offset_from = salvage->from,
                              .offset_to = salvage->to};

    if (salvage->topic != NULL)
        report_error(as_json, NULL, &error);
    free(salvage->topic);
    salvage->topic = NULL;
}

static void note(struct salvage *salvage, struct psc_bytes topic, uint64_t offset, bool as_json)
{
    salvage->damaged++;
    if (same(salvage->topic, topic) && salvage->to == offset) {
        salvage->to++;
        return;
    }
    tell(salvage, as_json);
    salvage->topic = must_alloc(topic.size + 1);
    memcpy(salvage->topic, topic.data, topic.size);
    salvage->from = offset;
    salvage->to = offset + 1;
}

bool salvage_take(struct salvage *salvage, const struct feed *feed, const struct psc_error *reason)
{
    struct positions *positions = &feed->receiver->positions;

    if (reason->status != PS_DAMAGED || reason->topic.data == NULL || !reason->has_range)
        return false;
    struct cursor *harmed = positions_find(positions, feed->number, reason->topic, feed->first_position);
    if (!positions_came(positions, harmed, reason->offset_from)) /* else another feed met it */
        note(salvage, reason->topic, reason->offset_from, feed->receiver->run->args->json);
    for (const struct cursor *at = positions->cursors; at != NULL; at = at->next) {
        if (at->feed == feed->number && at->target != 0 && at != harmed)
            push(salvage, cursor_topic(at), at->position);
    }
    if (harmed->target != 0)
        push(salvage, cursor_topic(harmed), harmed->position);
    return true;
}

bool salvage_next(struct salvage *salvage, struct receiver *receiver)
{
    struct salvage_rest *rest = salvage->rests;

    if (rest == NULL) {
        tell(salvage, receiver->run->args->json);
        return false;
    }
    struct feed_options options = {.filter = {rest->topic, rest->size},
                                   .start = PSC_START_OFFSET,
                                   .value = rest->offset,
                                   .until_end = true};
    salvage->rests = rest->next;
    enum ps_status status = receiver_add(receiver, &options, NULL);
    if (status != PS_OK)
        run_fail_status(receiver->run, report_quoted(options.filter), status);
    free(rest);
    return true;
}

void salvage_deinit(struct salvage *salvage)
{
    while (salvage->rests != NULL) {
        struct salvage_rest *rest = salvage->rests;
        salvage->rests = rest->next;
        free(rest);
    }
    free(salvage->topic);
}
