#include "convert.h"

#include <stdlib.h>

/* Bytes that do not fit are left out, never half a UTF-8 character. */
static void put_text(struct error_box *box, struct span text)
{
    size_t size = text.size < sizeof box->text - 1 ? text.size : sizeof box->text - 1;

    while (size < text.size && size > 0 && (text.data[size] & 0xC0) == 0x80)
        size--;
    if (size > 0)
        memcpy(box->text, text.data, size);
    box->text[size] = '\0';
    box->error.text = box->text;
}

void error_set(struct error_box *box, enum ps_status status, const char *text)
{
    box->error = (struct psc_error){.status = status, .retryable = ps_status_retryable(status)};
    put_text(box, span_of(text != NULL ? text : ps_status_text(status)));
}

static enum ps_status wire_status(const struct protocol_error *error)
{
    if (error->unknown)
        return PS_UNKNOWN;
    if (error->status == PS_OK || ps_status_local((uint32_t)error->status))
        return PS_INTERNAL;
    return error->status;
}

void error_from_wire(struct error_box *box, const struct protocol_error *error)
{
    enum ps_status status = wire_status(error);
    bool said = span_present(error->text) && error->text.size > 0;

    box->error = (struct psc_error){
        .status = status,
        .retryable = error->retryable,
        .retry_after_ms = error->retry_after_ms,
        .topic = bytes_from(error->topic),
        .has_range = error->offset_from.present || error->offset_to.present,
        .offset_from = error->offset_from.present ? error->offset_from.value : 0,
        .offset_to = error->offset_to.present ? error->offset_to.value : UINT64_MAX,
        .limit_name = bytes_from(error->limit_name),
        .limit_value = error->limit_value,
    };
    if (!box->error.has_range)
        box->error.offset_to = 0;
    put_text(box, said ? error->text : span_of(ps_status_text(status)));
}

void error_detach(struct error_box *box)
{
    box->error.topic = (struct psc_bytes){NULL, 0};
    box->error.limit_name = (struct psc_bytes){NULL, 0};
}

enum ps_status bytes_copy(struct psc_bytes from, struct psc_bytes *copy)
{
    char *data;

    if (from.data == NULL) {
        *copy = (struct psc_bytes){NULL, 0};
        return PS_OK;
    }
    data = malloc(from.size + 1);
    if (data == NULL)
        return PS_NO_MEMORY;
    if (from.size > 0)
        memcpy(data, from.data, from.size);
    data[from.size] = '\0';
    *copy = (struct psc_bytes){data, from.size};
    return PS_OK;
}

struct start_rule start_to_wire(enum psc_start start, uint64_t value)
{
    static const enum start_kind kinds[] = {
        [PSC_START_NEW] = START_NEW,
        [PSC_START_BEGINNING] = START_BEGINNING,
        [PSC_START_OFFSET] = START_OFFSET,
        [PSC_START_LAST] = START_LAST,
    };

    return (struct start_rule){.kind = kinds[start], .value = value};
}

enum psc_start start_from_wire(enum start_kind kind)
{
    switch (kind) {
    case START_BEGINNING:
        return PSC_START_BEGINNING;
    case START_OFFSET:
        return PSC_START_OFFSET;
    case START_LAST:
        return PSC_START_LAST;
    case START_NEW:
    case START_RESUME:
        break;
    }
    return PSC_START_NEW;
}
