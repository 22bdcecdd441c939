/* Topic names and filters: what is one, what matches what. Pure functions, any thread.
 *
 * A name is 1 to 255 bytes of UTF-8 without control characters (U+0000..U+001F, U+007F..U+009F); `/`
 * separates levels, and empty levels are levels. In a filter a level that is exactly `+` matches one level, a
 * last level that is exactly `#` matches the rest including none (`a/#` matches `a`). Bytes are compared,
 * nothing is normalized. A wildcard in first place never matches a name that starts with `$`. */
#ifndef PSBROKER_TOPIC_H
#define PSBROKER_TOPIC_H

#include "span.h"
#include "status.h"

enum { TOPIC_MAX_BYTES = 255, ID_MAX_BYTES = 255 };

/* PS_OK or PS_BAD_TOPIC: a name that a publication may carry. A level that is exactly `+` or `#` is refused. */
enum ps_status topic_validate(struct span name);

/* As topic_validate(), and PS_RESERVED_TOPIC for a name that starts with `$`. */
enum ps_status topic_validate_publish(struct span name);

/* PS_OK or PS_BAD_FILTER. Every topic name is a filter; `#` anywhere but last is refused. */
enum ps_status filter_validate(struct span filter);

/* Whether a valid filter has no wildcard, so that it names one topic. */
bool filter_is_exact(struct span filter);

/* Whether a valid filter matches a valid name. Linear in both, no recursion. */
bool filter_match(struct span filter, struct span name);

/* PS_OK or PS_BAD_ID: an id of a publisher or subscriber (1 to 255 bytes of UTF-8, no control characters). */
enum ps_status id_validate(struct span id);

/* Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool utf8_valid(struct span bytes);

#endif
