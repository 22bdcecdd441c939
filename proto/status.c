#include "status.h"

#include <stddef.h>

enum { LOCAL_FIRST = 200, LOCAL_LAST = 299 };

struct row {
    uint32_t number;
    bool retryable;
    const char *name;
    const char *text;
};

static const struct row rows[] = {
#define PS_STATUS_ROW(symbol, number, name, retryable, text) {number, retryable, name, text},
    PS_STATUS_MAP(PS_STATUS_ROW)
#undef PS_STATUS_ROW
};

static const struct row *find(uint32_t number)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].number == number)
            return &rows[i];
    }
    return NULL;
}

const char *ps_status_name(enum ps_status status)
{
    const struct row *row = find((uint32_t)status);
    return row != NULL ? row->name : "status_unknown";
}

const char *ps_status_text(enum ps_status status)
{
    const struct row *row = find((uint32_t)status);
    return row != NULL ? row->text : "unknown status";
}

bool ps_status_retryable(enum ps_status status)
{
    const struct row *row = find((uint32_t)status);
    return row != NULL && row->retryable;
}

bool ps_status_known(uint32_t number)
{
    return find(number) != NULL;
}

bool ps_status_local(uint32_t number)
{
    return number >= LOCAL_FIRST && number <= LOCAL_LAST;
}
