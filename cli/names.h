/* Names that psctl was given: which rule a refused one breaks, and what looks like a slip. */
#ifndef PSCTL_NAMES_H
#define PSCTL_NAMES_H

#include "status.h"
#include "text.h"

enum { NAME_SENTENCE_BYTES = 160 };

/* The rule that the name breaks, for PS_BAD_TOPIC and PS_BAD_FILTER; for every other status its text. Static. */
const char *name_rule(struct psc_bytes name, enum ps_status status);

/* The status's text and the rule; returns `sentence`. */
const char *name_sentence(struct psc_bytes name, enum ps_status status, char sentence[NAME_SENTENCE_BYTES]);

/* As report_status() about that name, with the rule that it breaks. */
int report_name(bool json, struct psc_bytes name, enum ps_status status);

/* Whether a `+` or `#` stands beside other bytes of its level, where it is no wildcard. Pure. */
bool name_has_half_wildcard(struct psc_bytes name);

#endif
