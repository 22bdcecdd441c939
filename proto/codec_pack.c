#include "codec_pack.h"

void *scratch_alloc(struct scratch *scratch, size_t count, size_t size)
{
    void *place = NULL;
    if (scratch->arena == NULL)
        scratch->arena = arena_new(SIZE_MAX);
    if (scratch->arena != NULL && count <= SIZE_MAX / size)
        place = arena_alloc(scratch->arena, count * size);
    if (place == NULL)
        scratch->failed = true;
    return place;
}

void pack_ping(uint64_t token, Psbroker__Ping *packed)
{
    psbroker__ping__init(packed);
    packed->has_token = true;
    packed->token = token;
}

void pack_pong(uint64_t token, Psbroker__Pong *packed)
{
    psbroker__pong__init(packed);
    packed->has_token = true;
    packed->token = token;
}

char *pack_text(struct scratch *scratch, struct span text)
{
    if (!span_present(text))
        return NULL;
    char *copy = scratch_alloc(scratch, text.size + 1, 1);
    if (copy == NULL)
        return NULL;
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

static void pack_resume(struct scratch *scratch, const struct start_rule *rule,
                        Psbroker__Start__Resume *resume)
{
    psbroker__start__resume__init(resume);
    resume->mark = rule->value;
    if (rule->offset_count == 0)
        return;
    Psbroker__TopicOffset *offsets = scratch_alloc(scratch, rule->offset_count, sizeof *offsets);
    Psbroker__TopicOffset **pointers = scratch_alloc(scratch, rule->offset_count, sizeof *pointers);
    if (scratch->failed)
        return;
    for (size_t i = 0; i < rule->offset_count; i++) {
        psbroker__topic_offset__init(&offsets[i]);
        offsets[i].topic = pack_bytes(rule->offsets[i].topic);
        offsets[i].offset = rule->offsets[i].offset;
        pointers[i] = &offsets[i];
    }
    resume->offsets = pointers;
    resume->n_offsets = rule->offset_count;
}

void pack_start(struct scratch *scratch, const struct start_rule *rule, Psbroker__Start *start,
                Psbroker__Start__Resume *resume)
{
    psbroker__start__init(start);
    switch (rule->kind) {
    case START_NEW:
        start->at_case = PSBROKER__START__AT_NEW;
        start->new_ = true;
        break;
    case START_BEGINNING:
        start->at_case = PSBROKER__START__AT_BEGINNING;
        start->beginning = true;
        break;
    case START_OFFSET:
        start->at_case = PSBROKER__START__AT_OFFSET;
        start->offset = rule->value;
        break;
    case START_LAST:
        start->at_case = PSBROKER__START__AT_LAST;
        start->last = rule->value;
        break;
    case START_RESUME:
        start->at_case = PSBROKER__START__AT_RESUME;
        start->resume = resume;
        pack_resume(scratch, rule, resume);
        break;
    }
}

enum ps_status pack_frame(struct scratch *scratch, const ProtobufCMessage *message, struct bytes *out)
{
    enum ps_status status = PS_NO_MEMORY;
    uint8_t *body;
    if (!scratch->failed)
        status = encode_begin(out, protobuf_c_message_get_packed_size(message), &body);
    if (status == PS_OK)
        protobuf_c_message_pack(message, body);
    arena_free(scratch->arena);
    *scratch = (struct scratch){0};
    return status;
}
