#include "topic.h"

/* Bytes of a word whose top bit is set: none means eight ASCII bytes at once. */
static const uint64_t HIGH_BITS = 0x8080808080808080u;

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Length of the multi-byte character at `at`, 0 when it is not well-formed. */
static size_t character_length(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead < 0xc2)
        return 0;
    if (lead < 0xe0)
        return left >= 2 && is_continuation(at[1]) ? 2 : 0;
    if (lead < 0xf0) {
        if (left < 3 || !is_continuation(at[1]) || !is_continuation(at[2]))
            return 0;
        bool overlong = lead == 0xe0 && at[1] < 0xa0;
        bool surrogate = lead == 0xed && at[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (lead > 0xf4 || left < 4)
        return 0;
    if (!is_continuation(at[1]) || !is_continuation(at[2]) || !is_continuation(at[3]))
        return 0;
    bool overlong = lead == 0xf0 && at[1] < 0x90;
    bool beyond = lead == 0xf4 && at[1] > 0x8f;
    return overlong || beyond ? 0 : 4;
}

bool utf8_valid(struct span bytes)
{
    size_t i = 0;
    while (i < bytes.size) {
        uint64_t word;
        if (bytes.size - i >= sizeof word) {
            memcpy(&word, bytes.data + i, sizeof word);
            if ((word & HIGH_BITS) == 0) {
                i += sizeof word;
                continue;
            }
        }
        if (bytes.data[i] < 0x80) {
            i++;
            continue;
        }
        size_t length = character_length(bytes.data + i, bytes.size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* C0, DEL and C1: in well-formed UTF-8, U+0080..U+009F is 0xc2 followed by 0x80..0x9f. */
static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte < 0x20 || byte == 0x7f)
            return true;
        if (byte == 0xc2 && i + 1 < text.size && text.data[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static bool is_word(struct span text, size_t max_bytes)
{
    return span_present(text) && text.size >= 1 && text.size <= max_bytes && utf8_valid(text) &&
           !has_control(text);
}

/* The level that begins at *position; moves it behind the separator, or to size + 1 after the last level. */
static struct span next_level(struct span text, size_t *position)
{
    size_t begin = *position;
    size_t end = begin;
    while (end < text.size && text.data[end] != '/')
        end++;
    *position = end + 1;
    return (struct span){text.data + begin, end - begin};
}

static bool level_is(struct span level, uint8_t wildcard)
{
    return level.size == 1 && level.data[0] == wildcard;
}

static bool has_wildcard(struct span text)
{
    for (size_t at = 0; at <= text.size;) {
        struct span level = next_level(text, &at);
        if (level_is(level, '+') || level_is(level, '#'))
            return true;
    }
    return false;
}

enum ps_status topic_validate(struct span name)
{
    return is_word(name, TOPIC_MAX_BYTES) && !has_wildcard(name) ? PS_OK : PS_BAD_TOPIC;
}

enum ps_status topic_validate_publish(struct span name)
{
    enum ps_status status = topic_validate(name);
    if (status != PS_OK)
        return status;
    return name.data[0] == '$' ? PS_RESERVED_TOPIC : PS_OK;
}

enum ps_status filter_validate(struct span filter)
{
    if (!is_word(filter, TOPIC_MAX_BYTES))
        return PS_BAD_FILTER;
    for (size_t at = 0; at <= filter.size;) {
        struct span level = next_level(filter, &at);
        bool last = at > filter.size;
        if (level_is(level, '#') && !last)
            return PS_BAD_FILTER;
    }
    return PS_OK;
}

bool filter_is_exact(struct span filter)
{
    return !has_wildcard(filter);
}

bool filter_match(struct span filter, struct span name)
{
    size_t in_filter = 0, in_name = 0;
    while (in_filter <= filter.size) {
        bool first = in_filter == 0;
        struct span pattern = next_level(filter, &in_filter);
        bool rest = level_is(pattern, '#');
        bool any = level_is(pattern, '+');
        if (first && (rest || any) && name.size > 0 && name.data[0] == '$')
            return false;
        if (rest)
            return true;
        if (in_name > name.size)
            return false;
        struct span level = next_level(name, &in_name);
        if (!any && (level.size != pattern.size || memcmp(level.data, pattern.data, level.size) != 0))
            return false;
    }
    return in_name > name.size;
}

enum ps_status id_validate(struct span id)
{
    return is_word(id, ID_MAX_BYTES) ? PS_OK : PS_BAD_ID;
}
