/* topic.h decides what is a name; here the reason is found again, for people. */
#include "names.h"

#include "report.h"
#include "span.h"
#include "topic.h"

#include <stdio.h>

static bool has_control(struct psc_bytes name)
{
    const unsigned char *at = name.data;

    for (size_t i = 0; i < name.size; i++) {
        if (at[i] < 0x20 || at[i] == 0x7f || (at[i] == 0xc2 && i + 1 < name.size && at[i + 1] < 0xa0))
            return true;
    }
    return false;
}

const char *name_rule(struct psc_bytes name, enum ps_status status)
{
    if (status != PS_BAD_TOPIC && status != PS_BAD_FILTER)
        return ps_status_text(status);
    if (name.size == 0)
        return "it is empty";
    if (name.size > TOPIC_MAX_BYTES)
        return "it is longer than 255 bytes";
    if (!utf8_valid((struct span){name.data, name.size}))
        return "it is not UTF-8";
    if (has_control(name))
        return "it has a control character";
    return status == PS_BAD_TOPIC ? "+ and # are wildcards, which only a filter may have"
                                  : "# may only be the last level";
}

const char *name_sentence(struct psc_bytes name, enum ps_status status, char sentence[NAME_SENTENCE_BYTES])
{
    const char *text = ps_status_text(status), *rule = name_rule(name, status);

    if (rule != text)
        snprintf(sentence, NAME_SENTENCE_BYTES, "%s: %s", text, rule);
    else
        snprintf(sentence, NAME_SENTENCE_BYTES, "%s", text);
    return sentence;
}

int report_name(bool json, struct psc_bytes name, enum ps_status status)
{
    char sentence[NAME_SENTENCE_BYTES];
    struct psc_error error = {.status = status,
                              .text = name_sentence(name, status, sentence),
                              .retryable = ps_status_retryable(status)};

    return report_error(json, report_quoted(name), &error);
}

bool name_has_half_wildcard(struct psc_bytes name)
{
    const char *at = name.data, *end = at + name.size;

    while (at < end) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        size_t size = (size_t)((slash != NULL ? slash : end) - at);
        if (size > 1 && (memchr(at, '+', size) != NULL || memchr(at, '#', size) != NULL))
            return true;
        at += size + 1;
    }
    return false;
}
