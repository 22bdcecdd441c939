/* The definition of matching, recursive and slow: levels as text, the first of both taken off. */
#ifndef PSBROKER_TESTS_NAIVE_TOPIC_H
#define PSBROKER_TESTS_NAIVE_TOPIC_H

#include <stdbool.h>
#include <string.h>

static inline bool naive_match_from(const char *filter, const char *name, bool first)
{
    if (strcmp(filter, "#") == 0)
        return !(first && name[0] == '$');
    size_t in_filter = strcspn(filter, "/"), in_name = strcspn(name, "/");
    bool any = in_filter == 1 && filter[0] == '+';
    if (any && first && name[0] == '$')
        return false;
    if (!any && (in_filter != in_name || strncmp(filter, name, in_name) != 0))
        return false;
    bool filter_ends = filter[in_filter] == '\0', name_ends = name[in_name] == '\0';
    if (filter_ends || name_ends)
        return (filter_ends && name_ends) || (!filter_ends && strcmp(filter + in_filter, "/#") == 0);
    return naive_match_from(filter + in_filter + 1, name + in_name + 1, false);
}

static inline bool naive_match(const char *filter, const char *name)
{
    return naive_match_from(filter, name, true);
}

#endif
