/* Names: the reason that is told for each rule of topics and filters, and slips with wildcards. */
#include "names.h"
#include "span.h"
#include "topic.h"

#include <criterion/criterion.h>

static char long_name[TOPIC_MAX_BYTES + 2];

Test(names, every_rule_of_a_topic_is_told)
{
    static const struct {
        const char *name, *rule;
    } rows[] = {{"", "empty"},
                {long_name, "longer than 255 bytes"},
                {"\xff", "not UTF-8"},
                {"a\tb", "control character"},
                {"a\xc2\x9b", "control character"},
                {"a/+", "wildcards"},
                {"#", "wildcards"},
                {"$sys", "belong to the broker"}};

    memset(long_name, 'x', sizeof long_name - 1);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct psc_bytes name = bytes_of(rows[i].name);
        enum ps_status status = topic_validate_publish((struct span){name.data, name.size});
        cr_assert_neq(status, PS_OK, "row %u", i);
        cr_assert_not_null(strstr(name_rule(name, status), rows[i].rule), "row %u: %s", i,
                           name_rule(name, status));
    }
    cr_assert_not_null(strstr(name_rule(bytes_of("#/a"), PS_BAD_FILTER), "last level"));
}

Test(names, a_wildcard_that_is_no_whole_level_is_seen)
{
    cr_assert(name_has_half_wildcard(bytes_of("lin#")));
    cr_assert(name_has_half_wildcard(bytes_of("a/b+/c")));
    cr_assert_not(name_has_half_wildcard(bytes_of("a/+/#")));
    cr_assert_not(name_has_half_wildcard(bytes_of("")));
    cr_assert_not(name_has_half_wildcard(bytes_of("/")));
}
