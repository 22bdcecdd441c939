#include "status.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

struct row {
    uint32_t number;
    const char *symbol, *name, *text;
    bool retryable;
};

static const struct row rows[] = {
#define ROW(symbol, number, name, retryable, text) {number, #symbol, name, text, retryable},
    PS_STATUS_MAP(ROW)
#undef ROW
};
enum { ROWS = sizeof rows / sizeof rows[0] };

Test(status, numbers_and_names_are_unique)
{
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < i; j++) {
            cr_assert_neq(rows[i].number, rows[j].number, "%s and %s", rows[i].name, rows[j].name);
            cr_assert(strcmp(rows[i].name, rows[j].name) != 0, "%s", rows[i].name);
        }
    }
}

Test(status, names_are_lower_case_words)
{
    for (size_t i = 0; i < ROWS; i++) {
        cr_assert(strlen(rows[i].name) > 0 && strlen(rows[i].text) > 0);
        for (const char *c = rows[i].name; *c != '\0'; c++)
            cr_assert(islower((unsigned char)*c) || *c == '_', "%s", rows[i].name);
    }
}

Test(status, each_number_finds_its_row)
{
    for (size_t i = 0; i < ROWS; i++) {
        enum ps_status status = (enum ps_status)rows[i].number;
        cr_assert_str_eq(ps_status_name(status), rows[i].name);
        cr_assert_str_eq(ps_status_text(status), rows[i].text);
        cr_assert_eq(ps_status_retryable(status), rows[i].retryable);
        cr_assert(ps_status_known(rows[i].number));
    }
}

Test(status, a_number_without_a_row_has_words_too)
{
    enum ps_status status = (enum ps_status)4000000000u;
    cr_assert_str_eq(ps_status_name(status), "status_unknown");
    cr_assert_str_eq(ps_status_text(status), "unknown status");
    cr_assert_not(ps_status_retryable(status));
    cr_assert_not(ps_status_known(4000000000u));
}

Test(status, numbers_from_200_to_299_are_local)
{
    cr_assert_not(ps_status_local(199));
    cr_assert(ps_status_local(200));
    cr_assert(ps_status_local(299));
    cr_assert_not(ps_status_local(300));
}

/* Numbers on the wire never change: a client of today must understand a broker of tomorrow. */
Test(status, wire_numbers_are_as_published)
{
    static const struct {
        uint32_t number;
        const char *name;
    } published[] = {
        {0, "ok"},
        {1, "malformed"},
        {2, "frame_too_large"},
        {3, "unsupported"},
        {4, "version_mismatch"},
        {5, "protocol_violation"},
        {6, "timed_out"},
        {10, "bad_topic"},
        {11, "bad_filter"},
        {12, "reserved_topic"},
        {13, "bad_header"},
        {14, "bad_id"},
        {15, "message_too_large"},
        {16, "invalid_argument"},
        {20, "no_such_topic"},
        {21, "no_such_subscription"},
        {22, "out_of_range"},
        {23, "log_changed"},
        {24, "stale_generation"},
        {25, "already_subscribed"},
        {30, "end_reached"},
        {31, "replaced"},
        {32, "removed"},
        {33, "moved"},
        {40, "limit_exceeded"},
        {41, "disk_full"},
        {42, "storage_busy"},
        {43, "draining"},
        {44, "role_refused"},
        {45, "not_allowed"},
        {46, "no_memory"},
        {47, "rate_exceeded"},
        {60, "outcome_unknown"},
        {61, "storage_failed"},
        {62, "damaged"},
        {99, "internal"},
    };
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++)
        cr_assert_str_eq(ps_status_name((enum ps_status)published[i].number), published[i].name);
}
