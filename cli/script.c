#include "script.h"

enum { MOST_SECONDS = 1000000000 };

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct psc_bytes *rest)
{
    const char *at = rest->data;

    while (rest->size != 0 && blank(*at)) {
        at++;
        rest->size--;
    }
    rest->data = at;
}

static struct psc_bytes word(struct psc_bytes *rest)
{
    struct psc_bytes found;
    const char *at;

    skip_blanks(rest);
    at = rest->data;
    found = (struct psc_bytes){at, 0};
    while (found.size < rest->size && !blank(at[found.size]))
        found.size++;
    rest->data = at + found.size;
    rest->size -= found.size;
    return found;
}

static bool is(struct psc_bytes found, const char *name)
{
    return found.size == strlen(name) && memcmp(found.data, name, found.size) == 0;
}

/* Digits with at most one point in or before them. Below a millisecond is cut off. */
static bool seconds(struct psc_bytes found, uint64_t *ms)
{
    const char *text = found.data;
    uint64_t whole = 0, part = 0, unit = 1000;
    bool point = false, digits = false;

    for (size_t i = 0; i < found.size; i++) {
        if (text[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (text[i] < '0' || text[i] > '9')
            return false;
        digits = true;
        if (!point) {
            whole = whole * 10 + (uint64_t)(text[i] - '0');
            if (whole > MOST_SECONDS)
                return false;
        } else if (unit > 1) {
            unit /= 10;
            part += (uint64_t)(text[i] - '0') * unit;
        }
    }
    *ms = whole * 1000 + part;
    return digits;
}

static bool number(struct psc_bytes found, uint64_t *value)
{
    const char *text = found.data;
    uint64_t sum = 0;

    for (size_t i = 0; i < found.size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return found.size != 0;
}

static const char *parse_sub(struct psc_bytes rest, struct script_line *parsed)
{
    struct psc_bytes start = word(&rest);

    skip_blanks(&rest);
    if (rest.size != 0)
        return "sub takes TOPIC and at most one of new and OFFSET";
    if (start.size == 0)
        return NULL;
    parsed->has_start = true;
    parsed->start = PSC_START_NEW;
    if (is(start, "new"))
        return NULL;
    parsed->start = PSC_START_OFFSET;
    return number(start, &parsed->offset) ? NULL : "the start of sub is neither new nor an offset";
}

static const char *parse_pub(struct psc_bytes rest, struct script_line *parsed)
{
    if (rest.size == 0)
        return "pub needs a MESSAGE behind TOPIC (a blank alone makes an empty one)";
    skip_blanks(&rest);
    parsed->message = rest;
    return NULL;
}

static bool find_verb(struct psc_bytes found, bool timed, enum script_verb *verb)
{
    static const struct {
        const char *name;
        enum script_verb verb;
        bool timed; /* may stand in a file */
    } verbs[] = {{"sub", SCRIPT_SUB, true},
                 {"unsub", SCRIPT_UNSUB, true},
                 {"pub", SCRIPT_PUB, true},
                 {"help", SCRIPT_HELP, false},
                 {"quit", SCRIPT_QUIT, false}};

    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (is(found, verbs[i].name) && (verbs[i].timed || !timed)) {
            *verb = verbs[i].verb;
            return true;
        }
    }
    return false;
}

static const char *parse_words(struct psc_bytes rest, struct script_line *found)
{
    if (found->verb == SCRIPT_HELP || found->verb == SCRIPT_QUIT)
        return word(&rest).size == 0 ? NULL : "nothing goes behind help and quit";
    found->topic = word(&rest);
    if (found->topic.size == 0)
        return "a TOPIC is missing";
    if (found->verb == SCRIPT_SUB)
        return parse_sub(rest, found);
    if (found->verb == SCRIPT_PUB)
        return parse_pub(rest, found);
    skip_blanks(&rest);
    return rest.size == 0 ? NULL : "unsub takes one TOPIC";
}

const char *script_parse(struct psc_bytes line, bool timed, struct script_line *parsed)
{
    struct script_line found = {0};
    struct psc_bytes rest = line, verb;

    if (rest.size != 0 && ((const char *)rest.data)[rest.size - 1] == '\r')
        rest.size--;
    verb = word(&rest);
    if (verb.size == 0 || *(const char *)verb.data == '#') {
        *parsed = found;
        return NULL;
    }
    if (timed) {
        if (!seconds(verb, &found.wait_ms))
            return "it does not begin with a number of seconds";
        verb = word(&rest);
    }
    if (verb.size == 0)
        return "a command is missing: sub, unsub or pub";
    if (!find_verb(verb, timed, &found.verb))
        return timed ? "the command is none of sub, unsub and pub"
                     : "the command is none of sub, unsub, pub, help and quit";
    const char *wrong = parse_words(rest, &found);
    if (wrong == NULL)
        *parsed = found;
    return wrong;
}
