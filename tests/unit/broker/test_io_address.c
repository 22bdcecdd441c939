#include "address.h"

#include <criterion/criterion.h>

struct row {
    const char *text;
    enum ps_status status;
    const char *shown; /* when PS_OK */
    enum session_role role;
};

static const struct row rows[] = {
    {"127.0.0.1:7420", PS_OK, "tcp 127.0.0.1:7420", SESSION_ANY},
    {":7420", PS_OK, "tcp 127.0.0.1:7420", SESSION_ANY},
    {"7420", PS_OK, "tcp 127.0.0.1:7420", SESSION_ANY},
    {"0", PS_OK, "tcp 127.0.0.1:0", SESSION_ANY},
    {"localhost:80", PS_OK, "tcp 127.0.0.1:80", SESSION_ANY},
    {"127.9.9.9:65535", PS_OK, "tcp 127.9.9.9:65535", SESSION_ANY},
    {"[::1]:7420", PS_OK, "tcp [::1]:7420", SESSION_ANY},
    {"7421,role=publish", PS_OK, "tcp 127.0.0.1:7421", SESSION_PUBLISH},
    {"[::1]:7422,role=subscribe", PS_OK, "tcp [::1]:7422", SESSION_SUBSCRIBE},
    {"unix:/tmp/a.sock", PS_OK, "unix /tmp/a.sock", SESSION_ANY},
    {"unix:a.sock,role=publish", PS_OK, "unix a.sock", SESSION_PUBLISH},
    {"0.0.0.0:7420", PS_NOT_ALLOWED, NULL, SESSION_ANY},
    {"192.168.1.7:7420", PS_NOT_ALLOWED, NULL, SESSION_ANY},
    {"[::]:7420", PS_NOT_ALLOWED, NULL, SESSION_ANY},
    {"[::ffff:127.0.0.1]:7420", PS_NOT_ALLOWED, NULL, SESSION_ANY},
    {"", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"65536", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"-1", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"+1", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"7420x", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"99999999999999999999", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"127.0.0.1:", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"127.0.0.1", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"::1:7420", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"[::1]", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"[]:1", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"[::1:1", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"example.org:7420", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"7420,role=both", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"7420,", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
    {"unix:", PS_INVALID_ARGUMENT, NULL, SESSION_ANY},
};

Test(io_address, every_form_is_read_or_refused)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address address;
        char error[512] = "", shown[ADDRESS_TEXT_BYTES];
        enum ps_status status = address_parse(rows[i].text, &address, error, sizeof error);
        cr_assert_eq(status, rows[i].status, "'%s': %s (%s)", rows[i].text, ps_status_name(status), error);
        if (status != PS_OK) {
            cr_assert_neq(error[0], '\0', "'%s' is refused without a reason", rows[i].text);
            continue;
        }
        cr_assert_str_eq(address_format(&address, shown, sizeof shown), rows[i].shown);
        cr_assert_eq(address.role, rows[i].role, "role of '%s'", rows[i].text);
    }
}

Test(io_address, an_address_beyond_loopback_is_refused_with_the_reason_and_a_way_out)
{
    struct address address;
    char error[512];

    cr_assert_eq(address_parse("10.0.0.1:7420", &address, error, sizeof error), PS_NOT_ALLOWED);
    cr_assert_not_null(strstr(error, "no authentication yet"));
    cr_assert_not_null(strstr(error, "127.0.0.1"));
}

Test(io_address, a_path_too_long_for_a_socket_is_refused_not_cut)
{
    struct address address;
    char text[200] = "unix:/", error[512];

    memset(text + 6, 'x', 106);
    cr_assert_eq(address_parse(text, &address, error, sizeof error), PS_OK);
    memset(text + 6, 'x', 107);
    cr_assert_eq(address_parse(text, &address, error, sizeof error), PS_INVALID_ARGUMENT);
}
