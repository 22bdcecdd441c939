#include "line_writer.h"
#include "log_sink.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static size_t lines_in(FILE *file, const char *part)
{
    char line[4096];
    size_t count = 0;

    rewind(file);
    while (fgets(line, sizeof line, file) != NULL)
        count += strstr(line, part) != NULL;
    return count;
}

Test(io_log_sink, repeats_of_an_event_are_held_back_and_others_are_not)
{
    FILE *file = tmpfile();
    struct log_sink sink;

    cr_assert_eq(log_sink_init(&sink, fileno(file)), 0);
    for (int i = 0; i < 1000; i++)
        log_sink_write(&sink, LOG_LEVEL_INFO, "time=x level=info event=noisy n=1");
    log_sink_write(&sink, LOG_LEVEL_INFO, "time=x level=info event=quiet");
    log_sink_deinit(&sink);
    cr_assert_leq(lines_in(file, "event=noisy"), (size_t)2 * LOG_SINK_BURST);
    cr_assert_geq(lines_in(file, "event=noisy"), (size_t)LOG_SINK_BURST);
    cr_assert_eq(lines_in(file, "event=quiet"), 1u);
    fclose(file);
}

Test(io_log_sink, a_text_without_time_gets_time_and_level)
{
    FILE *file = tmpfile();
    struct log_sink sink;
    char line[256];

    cr_assert_eq(log_sink_init(&sink, fileno(file)), 0);
    const struct logger logger = {log_sink_write, &sink, LOG_LEVEL_INFO};
    logger_line(&logger, LOG_LEVEL_DEBUG, "event=dropped");
    logger_line(&logger, LOG_LEVEL_WARNING, "event=checkpoint_busy wal=1");
    log_sink_deinit(&sink);
    rewind(file);
    cr_assert_not_null(fgets(line, sizeof line, file));
    int year, month, day, hour, minute, second, micro;
    cr_assert_eq(
        sscanf(line, "time=%d-%d-%dT%d:%d:%d.%6dZ", &year, &month, &day, &hour, &minute, &second, &micro), 7,
        "%s", line);
    cr_assert_not_null(strstr(line, "Z level=warning event=checkpoint_busy wal=1\n"));
    fclose(file);
}

Test(io_log_sink, a_line_too_long_is_cut_not_split)
{
    FILE *file = tmpfile();
    struct log_sink sink;
    char line[8000];

    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = '\0';
    cr_assert_eq(log_sink_init(&sink, fileno(file)), 0);
    log_sink_write(&sink, LOG_LEVEL_INFO, line);
    log_sink_deinit(&sink);
    cr_assert_eq(lines_in(file, "a"), 1u);
    fclose(file);
}

Test(io_log_sink, more_events_than_places_are_all_written)
{
    FILE *file = tmpfile();
    struct log_sink sink;
    char line[64];

    cr_assert_eq(log_sink_init(&sink, fileno(file)), 0);
    for (int i = 0; i < 5 * LOG_SINK_EVENTS; i++) {
        snprintf(line, sizeof line, "event=number_%d", i);
        log_sink_write(&sink, LOG_LEVEL_INFO, line);
    }
    log_sink_deinit(&sink);
    cr_assert_eq(lines_in(file, "event=number_"), (size_t)5 * LOG_SINK_EVENTS);
    fclose(file);
}

enum { FILLING_BYTES = 64 * 1024 };

/* A pipe that takes nothing more. */
static void make_full_pipe(int ends[2])
{
    static const char filling[FILLING_BYTES];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_gt(fcntl(ends[1], F_SETPIPE_SZ, (int)sizeof filling), 0);
    cr_assert_eq(write(ends[1], filling, sizeof filling), (ssize_t)sizeof filling);
}

/* Different events, so that none is held back; long and short, so that a short one would fit behind a long one. */
static void write_numbered(struct log_sink *sink, int from, int to)
{
    char line[1024];

    for (int i = from; i < to; i++) {
        snprintf(line, sizeof line, "event=number_%d text=%0*d", i, i % 2 > 0 ? 900 : 10, 0);
        log_sink_write(sink, LOG_LEVEL_INFO, line);
    }
}

Test(io_log_sink, a_descriptor_that_takes_nothing_holds_nobody_and_what_is_lost_is_counted, .timeout = 60)
{
    enum { LINES = 6 * LINE_WRITER_QUEUE_BYTES / 900 };
    static struct log_sink sink;
    int ends[2], number, next = 0, lost = 0;
    char line[4096], filling[FILLING_BYTES];

    make_full_pipe(ends);
    cr_assert_eq(log_sink_init(&sink, ends[1]), 0);
    write_numbered(&sink, 0, LINES);
    FILE *file = fdopen(ends[0], "r");
    cr_assert_eq(fread(filling, 1, sizeof filling, file), sizeof filling);
    /* A count for each time that the queue was full: twice where it was before a first line left it. */
    while (next < LINES && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "event=number_%d", &number) == 1) {
            cr_assert_eq(number, next++, "in order, without a hole but where lines are counted");
        } else {
            cr_assert_eq(sscanf(strstr(line, "event="), "event=log_lines_dropped count=%d", &lost), 1, "%s",
                         line);
            next += lost;
        }
    }
    cr_assert_gt(lost, 0);
    cr_assert_eq(next, LINES);
    write_numbered(&sink, LINES, LINES + 1);
    cr_assert_not_null(fgets(line, sizeof line, file));
    cr_assert_eq(sscanf(line, "event=number_%d", &number), 1, "%s", line);
    cr_assert_eq(number, LINES);
    log_sink_deinit(&sink);
    fclose(file);
    close(ends[1]);
}

Test(io_log_sink, the_end_does_not_wait_for_a_descriptor_that_takes_nothing, .timeout = 60)
{
    static struct log_sink sink;
    int ends[2];

    signal(SIGPIPE, SIG_IGN); /* as psbroker does */
    make_full_pipe(ends);
    cr_assert_eq(log_sink_init(&sink, ends[1]), 0);
    log_sink_write(&sink, LOG_LEVEL_INFO, "event=last");
    log_sink_deinit(&sink);
    close(ends[0]);
    close(ends[1]);
}
