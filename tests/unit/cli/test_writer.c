/* Output that never waits: pipes that fill, readers that leave, and flags that stay as they were. */
#include "leaks.h"
#include "writer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    uv_loop_t loop;
    struct writer writer;
    unsigned told;
};

static void progress_cb(struct writer *writer, void *data)
{
    struct fixture *f = data;

    (void)writer;
    f->told++;
}

static void start(struct fixture *f, int fd)
{
    signal(SIGPIPE, SIG_IGN);
    *f = (struct fixture){0};
    uv_loop_init(&f->loop);
    cr_assert_eq(writer_init(&f->writer, &f->loop, fd, progress_cb, f), PS_OK);
    /* Nothing else keeps this loop turning. */
    uv_ref((uv_handle_t *)&f->writer.prepare);
}

static void stop(struct fixture *f)
{
    writer_deinit(&f->writer);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&f->loop), 0);
}

static void append(struct fixture *f, size_t size)
{
    char block[1000];

    memset(block, 'x', sizeof block);
    for (size_t at = 0; at < size; at += sizeof block)
        text_add(&f->writer.text, block, size - at < sizeof block ? size - at : sizeof block);
    writer_appended(&f->writer);
}

static size_t drain(int fd)
{
    static char block[1 << 20];
    ssize_t size = read(fd, block, sizeof block);

    return size > 0 ? (size_t)size : 0;
}

static void check_blocked(int read_fd, int write_fd)
{
    struct fixture f;
    int flags = fcntl(write_fd, F_GETFL);
    size_t got = 0;

    start(&f, write_fd);
    append(&f, 3000000);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_not(writer_idle(&f.writer));
    cr_assert_gt(f.told, 0);
    cr_assert_eq(writer_end(&f.writer), 3000000);
    cr_assert_eq(fcntl(write_fd, F_GETFL), flags);
    while (got < 3000000) {
        got += drain(read_fd);
        uv_run(&f.loop, UV_RUN_NOWAIT);
        cr_assert_geq(f.writer.written, got);
    }
    cr_assert(writer_idle(&f.writer));
    cr_assert_eq(f.writer.written, 3000000);
    stop(&f);
    cr_assert_eq(fcntl(write_fd, F_GETFL), flags);
    close(read_fd);
    close(write_fd);
    ASSERT_NO_LEAKS();
}

Test(writer, a_full_pipe_is_not_waited_for_and_keeps_its_flags)
{
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    check_blocked(fds[0], fds[1]);
}

Test(writer, a_full_socket_is_not_waited_for_and_keeps_its_flags)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    check_blocked(fds[0], fds[1]);
}

Test(writer, a_watched_reader_that_leaves_is_noticed_without_a_write)
{
    struct fixture f;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    start(&f, fds[1]);
    writer_watch(&f.writer);
    append(&f, 10);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.writer.state, WRITER_OPEN);
    cr_assert_eq(f.writer.written, 10);
    close(fds[0]);
    uv_run(&f.loop, UV_RUN_ONCE);
    cr_assert_eq(f.writer.state, WRITER_BROKEN);
    cr_assert_eq(f.writer.written, 10);
    cr_assert_eq(f.told, 2);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.told, 2);
    stop(&f);
    close(fds[1]);
    ASSERT_NO_LEAKS();
}

Test(writer, a_full_pipe_is_still_watched_once_there_is_room_again)
{
    struct fixture f;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    start(&f, fds[1]);
    writer_watch(&f.writer);
    append(&f, 100000);
    while (!writer_idle(&f.writer)) {
        uv_run(&f.loop, UV_RUN_NOWAIT);
        drain(fds[0]);
    }
    cr_assert_eq(f.writer.state, WRITER_OPEN);
    close(fds[0]);
    uv_run(&f.loop, UV_RUN_ONCE);
    cr_assert_eq(f.writer.state, WRITER_BROKEN);
    cr_assert_eq(f.writer.written, 100000);
    stop(&f);
    close(fds[1]);
    ASSERT_NO_LEAKS();
}

Test(writer, a_reader_that_left_is_a_broken_output)
{
    struct fixture f;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    start(&f, fds[1]);
    close(fds[0]);
    append(&f, 10);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.writer.state, WRITER_BROKEN);
    cr_assert_eq(f.writer.written, 0);
    cr_assert(writer_idle(&f.writer));
    cr_assert_eq(f.told, 1);
    stop(&f);
    close(fds[1]);
}

Test(writer, a_pipe_whose_reader_left_before_is_broken_too)
{
    struct fixture f;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    close(fds[0]);
    start(&f, fds[1]);
    append(&f, 10);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.writer.state, WRITER_BROKEN);
    stop(&f);
    close(fds[1]);
}

Test(writer, a_full_device_is_a_failed_output)
{
    struct fixture f;
    int fd = open("/dev/full", O_WRONLY);

    start(&f, fd);
    append(&f, 10);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    cr_assert_eq(f.writer.state, WRITER_FAILED);
    cr_assert_eq(f.writer.error, ENOSPC);
    stop(&f);
    close(fd);
}

Test(writer, a_file_is_written_where_it_stands)
{
    struct fixture f;
    char path[] = "/tmp/psctl-writer-XXXXXX", back[16] = "";
    int fd = mkstemp(path);

    cr_assert_eq(write(fd, "before ", 7), 7);
    start(&f, fd);
    text_put(&f.writer.text, "after");
    writer_appended(&f.writer);
    uv_run(&f.loop, UV_RUN_NOWAIT);
    stop(&f);
    cr_assert_eq(pread(fd, back, sizeof back, 0), 12);
    cr_assert_str_eq(back, "before after");
    unlink(path);
    close(fd);
}
