/* Strict: a member that is misspelt must not become a message without it. */
#include "load_line.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Jansson calls a text that it has no memory for an invalid one. */
static _Thread_local bool is_short;

static void *take_memory(size_t size)
{
    void *memory = malloc(size);

    is_short |= memory == NULL;
    return memory;
}

static bool fail(char *error, const char *text, const char *name)
{
    snprintf(error, LOAD_LINE_ERROR_BYTES, text, name);
    return false;
}

static int digit(char letter)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = letter == '\0' ? NULL : strchr(alphabet, letter);

    return found == NULL ? -1 : (int)(found - alphabet);
}

/* How many bytes the four letters stand for; 0: they are no base64. */
static size_t decode_four(const char *from, bool last, unsigned char *to)
{
    size_t bytes = last && from[3] == '=' ? from[2] == '=' ? 1 : 2 : 3;
    unsigned value = 0;

    for (size_t i = 0; i < 4; i++) {
        int bits = i <= bytes ? digit(from[i]) : 0;
        if (bits < 0)
            return 0;
        value = value << 6 | (unsigned)bits;
    }
    for (size_t i = 0; i < 3; i++)
        to[i] = (unsigned char)(value >> (16 - 8 * i));
    return bytes;
}

/* Base64 of RFC 4648. `*decoded` is ours to free. */
static bool decode(const char *text, size_t size, void **decoded, struct psc_bytes *bytes)
{
    unsigned char *to = take_memory(size / 4 * 3 + 1);
    size_t used = 0;

    *decoded = to;
    if (to == NULL || size % 4 != 0)
        return false;
    for (size_t at = 0; at < size; at += 4) {
        size_t got = decode_four(text + at, at + 4 == size, to + used);
        if (got == 0)
            return false;
        used += got;
    }
    *bytes = (struct psc_bytes){to, used};
    return true;
}

static struct psc_bytes string_of(const json_t *value)
{
    return (struct psc_bytes){json_string_value(value), json_string_length(value)};
}

/* The member, as text or as base64. */
static bool take_bytes(json_t *object, const char *name, struct psc_bytes *bytes, void **decoded, char *error)
{
    char encoded_name[32];
    const json_t *text = json_object_get(object, name);
    const json_t *encoded;

    snprintf(encoded_name, sizeof encoded_name, "%s_b64", name);
    encoded = json_object_get(object, encoded_name);
    if (text != NULL && encoded != NULL)
        return fail(error, "it has %s twice", name);
    if (text != NULL) {
        if (!json_is_string(text))
            return fail(error, "its %s is no string", name);
        *bytes = string_of(text);
    } else if (encoded != NULL) {
        if (!json_is_string(encoded) ||
            !decode(json_string_value(encoded), json_string_length(encoded), decoded, bytes))
            return fail(error, "its %s_b64 is no base64", name);
    }
    return true;
}

static bool take_headers(struct load_line *line, json_t *object, char *error)
{
    json_t *headers = json_object_get(object, "headers");
    size_t count = 0;

    if (headers == NULL)
        return true;
    if (!json_is_object(headers) || json_object_size(headers) > LOAD_LINE_HEADERS)
        return fail(error, "its headers are no object%s of at most 64", "");
    for (void *at = json_object_iter(headers); at != NULL; at = json_object_iter_next(headers, at)) {
        const json_t *value = json_object_iter_value(at);

        if (!json_is_string(value))
            return fail(error, "its header %s is no string", json_object_iter_key(at));
        line->headers[count++] =
            (struct psc_header){{json_object_iter_key(at), json_object_iter_key_len(at)}, string_of(value)};
    }
    line->message.headers = line->headers;
    line->message.header_count = count;
    return true;
}

static bool take_offset(struct load_line *line, json_t *object, char *error)
{
    const json_t *offset = json_object_get(object, "offset");

    line->has_offset = offset != NULL;
    if (offset == NULL)
        return true;
    if (!json_is_integer(offset) || json_integer_value(offset) < 0)
        return fail(error, "its %s is no offset", "offset");
    line->offset = (uint64_t)json_integer_value(offset);
    return true;
}

static bool check_names(json_t *object, char *error)
{
    static const char *const names[] = {"topic",   "offset",  "published", "publisher",  "key",
                                        "key_b64", "headers", "payload",   "payload_b64"};

    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        bool known = false;

        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            known = known || strcmp(json_object_iter_key(at), names[i]) == 0;
        if (!known)
            return fail(error, "it has a member %s, which no message has", json_object_iter_key(at));
    }
    return true;
}

static bool take(struct load_line *line, json_t *object, char *error)
{
    const json_t *topic = json_object_get(object, "topic");

    if (!json_is_object(object))
        return fail(error, "it is no JSON object%s", "");
    if (!check_names(object, error))
        return false;
    if (!json_is_string(topic))
        return fail(error, "it has no %s", "topic");
    line->topic = string_of(topic);
    if (!take_bytes(object, "payload", &line->message.payload, &line->payload, error) ||
        !take_bytes(object, "key", &line->message.key, &line->key, error) ||
        !take_offset(line, object, error) || !take_headers(line, object, error))
        return false;
    if (line->message.payload.data == NULL)
        return fail(error, "it has no %s", "payload");
    return true;
}

enum ps_status load_line_parse(struct load_line *line, struct psc_bytes text,
                               char error[LOAD_LINE_ERROR_BYTES])
{
    json_error_t reason;
    bool taken;

    *line = (struct load_line){0};
    is_short = false;
    json_set_alloc_funcs(take_memory, free);
    line->parsed = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
    if (line->parsed == NULL)
        taken = fail(error, "it is no JSON: %s", reason.text);
    else
        taken = take(line, line->parsed, error);
    if (taken && !is_short)
        return PS_OK;
    load_line_deinit(line);
    return is_short ? PS_NO_MEMORY : PS_INVALID_ARGUMENT;
}

void load_line_deinit(struct load_line *line)
{
    json_decref(line->parsed);
    free(line->key);
    free(line->payload);
    *line = (struct load_line){0};
}
