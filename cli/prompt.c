/* libedit in its unbuffered mode: el_gets() handles the one character that is there and returns. Readability is
 * watched through an epoll set, so that the terminal's own flags stay as they are. */
#include "prompt.h"

#include "report.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { REMEMBERED_LINES = 500 };

struct prompt {
    EditLine *editor;
    History *history;
    prompt_line_fn *line;
    void *data;
    int ready_fd;
    bool hidden;
    bool idle;  /* a line is being taken: the editor shows nothing */
    bool ended; /* so it is for good */
    uv_poll_t poll;
};

/* report.h takes a plain function, and there is one terminal. */
static struct prompt *shown;

static char *prompt_text(EditLine *editor)
{
    static char text[] = "psctl> ";

    (void)editor;
    return text;
}

const char *prompt_hide(struct prompt *prompt)
{
    prompt->hidden = true;
    return "\r\033[K";
}

void prompt_show(struct prompt *prompt)
{
    if (!prompt->hidden || prompt->idle)
        return;
    prompt->hidden = false;
    el_set(prompt->editor, EL_REFRESH);
}

static void step_aside(bool after)
{
    if (shown == NULL || shown->idle)
        return;
    if (after)
        prompt_show(shown);
    else
        fputs(prompt_hide(shown), stderr);
}

static void take_line(struct prompt *prompt, const char *line, size_t size)
{
    HistEvent event;

    /* The terminal is given back while the line is carried out, and taken again for the next. */
    el_set(prompt->editor, EL_UNBUFFERED, 0);
    if (size > 1)
        history(prompt->history, &event, H_ENTER, line);
    prompt->idle = true;
    prompt->line((struct psc_bytes){line, size - 1}, prompt->data);
    if (prompt->ended)
        return;
    prompt->idle = prompt->hidden = false;
    el_set(prompt->editor, EL_UNBUFFERED, 1);
}

void prompt_end(struct prompt *prompt)
{
    uv_poll_stop(&prompt->poll);
    prompt->ended = prompt->idle = true;
}

/* A terminal that hung up stays readable: it is not looked at again. */
static void end_input(struct prompt *prompt)
{
    prompt_end(prompt);
    prompt->line((struct psc_bytes){NULL, 0}, prompt->data);
}

static void readable_cb(uv_poll_t *poll, int status, int events)
{
    struct prompt *prompt = poll->data;
    int size = 0;
    const char *line = el_gets(prompt->editor, &size);

    (void)status;
    (void)events;
    if (line == NULL || size <= 0) {
        if (line == NULL && size != 0)
            end_input(prompt);
    } else if (size == 1 && line[0] == '\004') {
        fputc('\n', stderr);
        end_input(prompt);
    } else if (line[size - 1] == '\n' || line[size - 1] == '\r') {
        take_line(prompt, line, (size_t)size);
    }
}

static bool watch(struct prompt *prompt, uv_loop_t *loop)
{
    struct epoll_event event = {.events = EPOLLIN};

    prompt->ready_fd = epoll_create1(EPOLL_CLOEXEC);
    if (prompt->ready_fd < 0)
        return false;
    if (epoll_ctl(prompt->ready_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0 ||
        uv_poll_init(loop, &prompt->poll, prompt->ready_fd) != 0) {
        close(prompt->ready_fd);
        return false;
    }
    prompt->poll.data = prompt;
    uv_poll_start(&prompt->poll, UV_READABLE, readable_cb);
    return true;
}

struct prompt *prompt_new(uv_loop_t *loop, prompt_line_fn *line, void *data)
{
    struct prompt *prompt = must_alloc(sizeof *prompt);
    HistEvent event;

    setlocale(LC_CTYPE, "");
    *prompt = (struct prompt){.line = line, .data = data};
    prompt->editor = el_init("psctl", stdin, stderr, stderr);
    if (prompt->editor == NULL)
        goto allocated;
    prompt->history = history_init();
    if (prompt->history == NULL)
        goto editor_started;
    if (!watch(prompt, loop))
        goto history_started;
    history(prompt->history, &event, H_SETSIZE, REMEMBERED_LINES);
    el_set(prompt->editor, EL_HIST, history, prompt->history);
    el_set(prompt->editor, EL_EDITOR, "emacs");
    el_set(prompt->editor, EL_PROMPT, prompt_text);
    el_set(prompt->editor, EL_UNBUFFERED, 1);
    shown = prompt;
    report_around(step_aside);
    return prompt;

history_started:
    history_end(prompt->history);
editor_started:
    el_end(prompt->editor);
allocated:
    free(prompt);
    return NULL;
}

static void closed_cb(uv_handle_t *handle)
{
    struct prompt *prompt = handle->data;

    close(prompt->ready_fd);
    free(prompt);
}

void prompt_free(struct prompt *prompt)
{
    if (prompt == NULL)
        return;
    shown = NULL;
    report_around(NULL);
    el_set(prompt->editor, EL_UNBUFFERED, 0);
    el_end(prompt->editor);
    history_end(prompt->history);
    uv_close((uv_handle_t *)&prompt->poll, closed_cb);
}
