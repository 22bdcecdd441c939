/* Bytes from elsewhere made safe to show: control bytes and what is not UTF-8 become \xNN. Pure. */
#ifndef PSCTL_ESCAPE_H
#define PSCTL_ESCAPE_H

#include "text.h"

/* Length of the well-formed UTF-8 character that `bytes` begin with, 0 if there is none. `size` > 0. */
size_t utf8_length(const unsigned char *bytes, size_t size);

/* Whether the character of that length is a control character: C0, U+007F, or C1. */
bool escape_is_control(const unsigned char *bytes, size_t length);

/* Appends the bytes, each control byte and each byte outside of UTF-8 as \xNN; nothing else is changed. */
void escape_add(struct text *text, struct psc_bytes bytes);

#endif
