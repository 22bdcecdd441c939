/* Start rules: asked for by a client, or shown by a broker. */
#include "codec_decode.h"

#include <stddef.h>

#define AT(field) .at = offsetof(struct topic_offset, field)
static const struct member topic_offset_members[] = {
    [1] = {.kind = MEMBER_BYTES, .required = true, AT(topic)},
    [2] = {.kind = MEMBER_OFFSET, .required = true, AT(offset)},
};
#undef AT
static const struct shape shape_topic_offset = {
    sizeof(struct topic_offset), topic_offset_members, MEMBER_COUNT(topic_offset_members), 0, NULL, NULL};

#define AT(field) .at = offsetof(struct start_rule, field)
static const struct member resume_members[] = {
    [1] = {.kind = MEMBER_OFFSET, .required = true, AT(value)},
    [2] = {.kind = MEMBER_REPEATED,
           AT(offsets),
           .count_at = offsetof(struct start_rule, offset_count),
           .shape = &shape_topic_offset},
};
#undef AT
static const struct shape shape_resume = {
    sizeof(struct start_rule), resume_members, MEMBER_COUNT(resume_members), 0, NULL, NULL};

/* One choice of a one-of: numbers 1 to 5 in the order of enum start_kind. */
static enum ps_status decode_choice(const struct wire_field *field, struct arena *arena,
                                    struct start_rule *start)
{
    *start = (struct start_rule){.kind = (enum start_kind)(field->number - 1)};
    switch (start->kind) {
    case START_NEW:
    case START_BEGINNING:
        return field->type == WIRE_VARINT ? PS_OK : PS_MALFORMED;
    case START_OFFSET:
    case START_LAST:
        return decode_offset(field, &start->value) ? PS_OK : PS_MALFORMED;
    case START_RESUME:
        break;
    }
    return field->type == WIRE_BYTES ? decode_shape(&shape_resume, field->bytes, arena, start) : PS_MALFORMED;
}

/* *known: exactly choices of this version were seen. The last of them counts. */
static enum ps_status decode_choices(struct span bytes, struct arena *arena, struct start_rule *start,
                                     bool *known)
{
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_field field;
    bool resumed = false, chosen = false, unknown = false;
    while (!wire_at_end(&cursor)) {
        if (!wire_get_field(&cursor, &field))
            return PS_MALFORMED;
        if (field.number > START_RESUME + 1) {
            unknown = true;
            continue;
        }
        bool resumes = field.number == START_RESUME + 1;
        if (resumes && resumed)
            return PS_MALFORMED;
        enum ps_status status = decode_choice(&field, arena, start);
        if (status != PS_OK)
            return status;
        chosen = true;
        resumed = resumed || resumes;
    }
    *known = chosen && !unknown;
    return PS_OK;
}

/* A rule this version does not know must not become another one. */
static enum ps_status decode_start(struct span bytes, struct arena *arena, void *place)
{
    bool known;
    enum ps_status status = decode_choices(bytes, arena, place, &known);
    if (status != PS_OK)
        return status;
    return known ? PS_OK : PS_UNSUPPORTED;
}

/* Here it may read as the default. */
static enum ps_status decode_shown_start(struct span bytes, struct arena *arena, void *place)
{
    bool known;
    return decode_choices(bytes, arena, place, &known);
}

const struct shape shape_start = {sizeof(struct start_rule), NULL, 0, 0, decode_start, NULL};
const struct shape shape_shown_start = {sizeof(struct start_rule), NULL, 0, 0, decode_shown_start, NULL};
