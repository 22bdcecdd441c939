/* Runs of bytes that need no escape are copied whole; a byte that is not part of well-formed UTF-8 in a place
 * where only text may stand becomes U+FFFD. */
#include "json.h"

#include "escape.h"
#include "span.h"
#include "topic.h"

static void quoted(struct text *text, struct psc_bytes value)
{
    const unsigned char *bytes = value.data;
    size_t from = 0, at = 0;

    text_char(text, '"');
    while (at < value.size) {
        size_t length = utf8_length(bytes + at, value.size - at);
        if (length != 0 && !escape_is_control(bytes + at, length) && bytes[at] != '"' && bytes[at] != '\\') {
            at += length;
            continue;
        }
        text_add(text, bytes + from, at - from);
        if (length == 0)
            text_put(text, "\xef\xbf\xbd");
        else if (bytes[at] == '"' || bytes[at] == '\\')
            text_format(text, "\\%c", bytes[at]);
        else if (bytes[at] == '\n')
            text_put(text, "\\n");
        else if (bytes[at] == '\t')
            text_put(text, "\\t");
        else if (bytes[at] == '\r')
            text_put(text, "\\r");
        else
            text_format(text, "\\u%04x", (unsigned)(length == 2 ? bytes[at + 1] : bytes[at]));
        at += length == 0 ? 1 : length;
        from = at;
    }
    text_add(text, bytes + from, at - from);
    text_char(text, '"');
}

static void base64(struct text *text, struct psc_bytes value)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = value.data;

    text_reserve(text, value.size / 3 * 4 + 6);
    text_char(text, '"');
    for (size_t at = 0; at < value.size; at += 3) {
        size_t left = value.size - at;
        unsigned triple = (unsigned)bytes[at] << 16;
        if (left > 1)
            triple |= (unsigned)bytes[at + 1] << 8;
        if (left > 2)
            triple |= bytes[at + 2];
        text_char(text, alphabet[triple >> 18]);
        text_char(text, alphabet[triple >> 12 & 63]);
        text_char(text, left > 1 ? alphabet[triple >> 6 & 63] : '=');
        text_char(text, left > 2 ? alphabet[triple & 63] : '=');
    }
    text_char(text, '"');
}

static void separate(struct json *json)
{
    if (json->filled)
        text_char(json->text, ',');
    json->filled = true;
}

static void begin_member(struct json *json, const char *name)
{
    separate(json);
    if (name == NULL)
        return;
    quoted(json->text, bytes_of(name));
    text_char(json->text, ':');
}

struct json json_object(struct text *text)
{
    text_char(text, '{');
    return (struct json){text, false, '}'};
}

void json_end(struct json *json)
{
    text_char(json->text, json->close);
}

struct json json_member_object(struct json *json, const char *name)
{
    begin_member(json, name);
    return json_object(json->text);
}

struct json json_member_array(struct json *json, const char *name)
{
    begin_member(json, name);
    text_char(json->text, '[');
    return (struct json){json->text, false, ']'};
}

void json_string(struct json *json, const char *name, struct psc_bytes value)
{
    if (value.data == NULL)
        return;
    begin_member(json, name);
    quoted(json->text, value);
}

void json_u64(struct json *json, const char *name, uint64_t value)
{
    begin_member(json, name);
    text_u64(json->text, value);
}

void json_bool(struct json *json, const char *name, bool value)
{
    begin_member(json, name);
    text_put(json->text, value ? "true" : "false");
}

void json_double(struct json *json, const char *name, double value)
{
    begin_member(json, name);
    text_format(json->text, "%.3f", value);
}

void json_bytes(struct json *json, const char *name, struct psc_bytes value)
{
    if (value.data == NULL)
        return;
    if (utf8_valid((struct span){value.data, value.size})) {
        json_string(json, name, value);
        return;
    }
    separate(json);
    text_format(json->text, "\"%s_b64\":", name);
    base64(json->text, value);
}

void json_pair(struct json *json, struct psc_bytes name, struct psc_bytes value)
{
    separate(json);
    quoted(json->text, name);
    text_char(json->text, ':');
    quoted(json->text, value);
}
