/* Input piece by piece from files and pipes. */
#include "input.h"
#include "leaks.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    uv_loop_t loop;
    struct input input;
    unsigned lines;
    bool ended;
};

static void arrived_cb(struct input *input, void *data)
{
    struct fixture *f = data;
    struct psc_bytes line;
    enum lines_result result;

    while ((result = lines_next(&input->lines, &line)) == LINES_NEXT)
        f->lines++;
    f->ended = result == LINES_END;
}

static void start(struct fixture *f, const char *path)
{
    *f = (struct fixture){0};
    uv_loop_init(&f->loop);
    cr_assert_eq(input_init(&f->input, &f->loop, path, '\n', 1000, arrived_cb, f), PS_OK);
}

static void stop(struct fixture *f)
{
    input_deinit(&f->input);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&f->loop), 0);
    ASSERT_NO_LEAKS();
}

Test(input, a_file_is_read_to_its_end)
{
    struct fixture f;
    char path[] = "/tmp/psctl-input-XXXXXX";
    int fd = mkstemp(path);

    for (unsigned i = 0; i < 100000; i++)
        cr_assert_eq(write(fd, "0123456789\n", 11), 11);
    start(&f, path);
    input_resume(&f.input);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert(f.ended);
    cr_assert_eq(f.lines, 100000);
    stop(&f);
    close(fd);
    unlink(path);
}

Test(input, a_pipe_is_read_as_it_comes_and_keeps_its_flags)
{
    struct fixture f;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    dup2(fds[0], STDIN_FILENO);
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    start(&f, NULL);
    input_resume(&f.input);
    cr_assert_eq(write(fds[1], "a\nb", 3), 3);
    uv_run(&f.loop, UV_RUN_ONCE);
    cr_assert_eq(f.lines, 1);
    input_pause(&f.input);
    cr_assert_eq(write(fds[1], "\nc\n", 3), 3);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.lines, 1, "nothing is read while paused");
    close(fds[1]);
    input_resume(&f.input);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert(f.ended);
    cr_assert_eq(f.lines, 3);
    cr_assert_eq(fcntl(STDIN_FILENO, F_GETFL), flags);
    stop(&f);
    close(fds[0]);
}

Test(input, a_missing_file_is_named_by_errno)
{
    struct fixture f = {0};

    uv_loop_init(&f.loop);
    cr_assert_eq(input_init(&f.input, &f.loop, "/nonexistent/file", '\n', 10, arrived_cb, &f), PS_IO_ERROR);
    cr_assert_eq(errno, ENOENT);
    uv_loop_close(&f.loop);
}

Test(input, a_folder_is_a_failed_read)
{
    struct fixture f;

    start(&f, "/tmp");
    input_resume(&f.input);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    cr_assert(f.ended);
    cr_assert_eq(f.input.error, EISDIR);
    stop(&f);
}
