/* A line editor on the terminal that lets the loop run and steps aside for output. Loop thread only; at most one
 * in a process. */
#ifndef PSCTL_PROMPT_H
#define PSCTL_PROMPT_H

#include "psclient.h"

struct prompt;

/* A line without its end; absent bytes: the end of the input. Borrowed until return. */
typedef void prompt_line_fn(struct psc_bytes line, void *data);

/* Ours to end with prompt_free(). Reads standard input and shows itself on stderr: both have to be terminals. Notices
 * of report.h step aside for it. NULL: the editor cannot be started. */
struct prompt *prompt_new(uv_loop_t *loop, prompt_line_fn *line, void *data);

/* No line any more, and nothing is shown. Also from inside of `line`. */
void prompt_end(struct prompt *prompt);

/* Gives the terminal back as it was; the loop must run once more. Takes NULL. */
void prompt_free(struct prompt *prompt);

/* Bytes that clear the prompt's line, to be put before output that goes to the same terminal; then, once that is
 * written, prompt_show() draws it again. */
const char *prompt_hide(struct prompt *prompt);
void prompt_show(struct prompt *prompt);

#endif
