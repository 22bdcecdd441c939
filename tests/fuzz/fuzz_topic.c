/* Input: a filter, a NUL, a name. Whatever is valid must match as the definition says. */
#include "naive_topic.h"
#include "topic.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool held)
{
    if (!held)
        abort();
}

static void check_match(struct span filter, struct span name)
{
    char filter_text[TOPIC_MAX_BYTES + 1] = "", name_text[TOPIC_MAX_BYTES + 1] = "";
    memcpy(filter_text, filter.data, filter.size);
    memcpy(name_text, name.data, name.size);
    bool matches = filter_match(filter, name);
    require(matches == naive_match(filter_text, name_text));
    if (filter_is_exact(filter))
        require(matches == span_equal(filter, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    if (size == 0)
        data = nothing;
    const uint8_t *nul = memchr(data, 0, size);
    struct span filter = {data, nul != NULL ? (size_t)(nul - data) : size};
    struct span name = nul != NULL ? (struct span){nul + 1, size - filter.size - 1} : filter;

    bool name_valid = topic_validate(name) == PS_OK;
    if (name_valid)
        require(utf8_valid(name) && filter_validate(name) == PS_OK && id_validate(name) == PS_OK);
    if (topic_validate_publish(name) == PS_OK)
        require(name_valid && name.data[0] != '$');
    if (filter_validate(filter) == PS_OK && name_valid)
        check_match(filter, name);
    return 0;
}
