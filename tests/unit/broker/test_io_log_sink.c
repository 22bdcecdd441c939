#include "log_sink.h"

#include <criterion/criterion.h>
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
    cr_assert_leq(lines_in(file, "event=noisy"), (size_t)2 * LOG_SINK_BURST);
    cr_assert_geq(lines_in(file, "event=noisy"), (size_t)LOG_SINK_BURST);
    cr_assert_eq(lines_in(file, "event=quiet"), 1u);
    log_sink_deinit(&sink);
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
    rewind(file);
    cr_assert_not_null(fgets(line, sizeof line, file));
    int year, month, day, hour, minute, second, micro;
    cr_assert_eq(
        sscanf(line, "time=%d-%d-%dT%d:%d:%d.%6dZ", &year, &month, &day, &hour, &minute, &second, &micro), 7,
        "%s", line);
    cr_assert_not_null(strstr(line, "Z level=warning event=checkpoint_busy wal=1\n"));
    log_sink_deinit(&sink);
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
    cr_assert_eq(lines_in(file, "a"), 1u);
    log_sink_deinit(&sink);
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
    cr_assert_eq(lines_in(file, "event=number_"), (size_t)5 * LOG_SINK_EVENTS);
    log_sink_deinit(&sink);
    fclose(file);
}
