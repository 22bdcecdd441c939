/* Writes JSON, one object a line: strings escaped, bytes that are not UTF-8 as base64. Pure.
 *
 * The output is plain ASCII control-wise: every control character, U+007F and U+0080 to U+009F included, is
 * escaped, so that a terminal shows it safely too. */
#ifndef PSCTL_JSON_H
#define PSCTL_JSON_H

#include "text.h"

/* An object or an array under construction. */
struct json {
    struct text *text;
    bool filled; /* something was written: the next member is preceded by a comma */
    char close;
};

struct json json_object(struct text *text);
void json_end(struct json *json);

/* A member of an object that is itself an object or an array; an array's element has name NULL. The outer one
 * may not be used before the inner one has ended. */
struct json json_member_object(struct json *json, const char *name);
struct json json_member_array(struct json *json, const char *name);

/* Members; with a NULL name, elements of an array. Absent bytes write nothing. */
void json_string(struct json *json, const char *name, struct psc_bytes value);
void json_u64(struct json *json, const char *name, uint64_t value);
void json_bool(struct json *json, const char *name, bool value);
void json_double(struct json *json, const char *name, double value);
/* `name` when the value is UTF-8, else `name`_b64 with base64 of RFC 4648. */
void json_bytes(struct json *json, const char *name, struct psc_bytes value);
/* A member whose name is bytes too: the text between quotes is escaped. */
void json_pair(struct json *json, struct psc_bytes name, struct psc_bytes value);

#endif
