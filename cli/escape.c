/* C1 control characters (U+0080 to U+009F) are two bytes of UTF-8 and as able to steer a terminal as C0 are. */
#include "escape.h"

size_t utf8_length(const unsigned char *bytes, size_t size)
{
    unsigned char first = bytes[0], low = 0x80, high = 0xBF;
    size_t length;

    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        length = 2;
    else if (first >= 0xE0 && first <= 0xEF)
        length = 3;
    else if (first >= 0xF0 && first <= 0xF4)
        length = 4;
    else
        return 0;
    if (length > size)
        return 0;
    /* Overlong forms, surrogates and what lies above U+10FFFF show in the second byte. */
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    }
    return length;
}

bool escape_is_control(const unsigned char *bytes, size_t length)
{
    if (length == 1)
        return bytes[0] < 0x20 || bytes[0] == 0x7F;
    return length == 2 && bytes[0] == 0xC2 && bytes[1] < 0xA0;
}

void escape_add(struct text *text, struct psc_bytes value)
{
    const unsigned char *bytes = value.data;
    size_t from = 0, at = 0;

    while (at < value.size) {
        size_t length = utf8_length(bytes + at, value.size - at);
        if (length != 0 && !escape_is_control(bytes + at, length)) {
            at += length;
            continue;
        }
        text_add(text, bytes + from, at - from);
        for (size_t end = at + (length == 0 ? 1 : length); at < end; at++)
            text_format(text, "\\x%02x", bytes[at]);
        from = at;
    }
    text_add(text, bytes + from, at - from);
}
