/* psbroker: the command line, signals and exit codes around a server. */
#include "config.h"
#include "line_writer.h"
#include "server.h"
#include "verify.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_OTHER = 1,
    EXIT_USAGE = 2,
    EXIT_IN_USE = 3,
    EXIT_FOREIGN = 4,
    EXIT_DAMAGED = 5,
    EXIT_STORAGE_FAILED = 6,
    EXIT_FOREIGN_WRITER = 7,
    EXIT_PROBLEMS = 9
};

static const int signal_numbers[2] = {SIGTERM, SIGINT};

struct program {
    uv_loop_t loop;
    struct server *server; /* NULL before it runs and when it is gone */
    enum ps_status result;
    uv_signal_t signals[2];
    bool stopping;
};

static enum exit_code exit_code_of(enum ps_status status)
{
    switch (status) {
    case PS_OK:
        return EXIT_OK;
    case PS_IN_USE:
        return EXIT_IN_USE;
    case PS_FOREIGN_FILE:
    case PS_NEWER_SCHEMA:
        return EXIT_FOREIGN;
    case PS_DAMAGED:
        return EXIT_DAMAGED;
    case PS_UNKNOWN:
    case PS_STORAGE_FAILED:
        return EXIT_STORAGE_FAILED;
    case PS_FOREIGN_WRITER:
        return EXIT_FOREIGN_WRITER;
    default:
        return EXIT_OTHER;
    }
}

static void signal_cb(uv_signal_t *signal, int number)
{
    struct program *program = signal->data;

    (void)number;
    if (program->stopping)
        _exit(EXIT_OTHER); /* what was acknowledged is on disk */
    program->stopping = true;
    server_stop(program->server);
}

static void stopped_cb(void *ctx, enum ps_status status)
{
    struct program *program = ctx;

    program->server = NULL;
    program->result = status;
    for (int i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&program->signals[i], NULL);
        signal(signal_numbers[i], SIG_IGN); /* the exit code is decided */
    }
}

static void watch_signals(struct program *program)
{
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&program->loop, &program->signals[i]);
        program->signals[i].data = program;
        uv_signal_start(&program->signals[i], signal_cb, signal_numbers[i]);
    }
}

/* Nobody may be reading stdout. */
static void print_listeners(const struct server *server, struct line_writer *out)
{
    char address[ADDRESS_TEXT_BYTES], line[ADDRESS_TEXT_BYTES + 16];

    for (unsigned i = 0; i < server_listeners(server); i++) {
        address_format(server_address(server, i), address, sizeof address);
        snprintf(line, sizeof line, "listening %s", address);
        line_writer_put(out, line);
    }
}

/* Connections are limited by descriptors: take all that we may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum exit_code run(struct server_config *config)
{
    struct program program = {.result = PS_OK};
    struct line_writer *out = NULL;
    char error[512];

    if (uv_loop_init(&program.loop) != 0) {
        fprintf(stderr, "psbroker: cannot make an event loop\n");
        return EXIT_OTHER;
    }
    if (line_writer_new(STDOUT_FILENO, &out) != 0) {
        fprintf(stderr, "psbroker: cannot start a thread\n");
        uv_loop_close(&program.loop);
        return EXIT_OTHER;
    }
    config->stopped = stopped_cb;
    config->ctx = &program;
    enum ps_status status = server_start(config, &program.loop, &program.server, error, sizeof error);
    if (status == PS_OK) {
        watch_signals(&program);
        print_listeners(program.server, out);
    } else {
        fprintf(stderr, "psbroker: %s\n", error);
        program.result = status;
    }
    uv_run(&program.loop, UV_RUN_DEFAULT);
    uv_loop_close(&program.loop);
    line_writer_free(out);
    return exit_code_of(program.result);
}

/* A socket or the database would take the place of a closed one, and log lines would go there. */
static bool occupy_standard_descriptors(void)
{
    static const int modes[] = {O_RDONLY, O_WRONLY, O_WRONLY};

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            return false;
    }
    return true;
}

static enum exit_code verify(int argc, char **argv)
{
    bool sound = false;

    if (argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        verify_print_help(stdout);
        return EXIT_OK;
    }
    if (argc != 3 || argv[2][0] == '-') {
        fprintf(stderr, "psbroker: usage: psbroker verify FILE|DIR; see psbroker verify --help\n");
        return EXIT_USAGE;
    }
    umask(0077);
    enum ps_status status = verify_file(argv[2], stdout, &sound);
    return status == PS_OK && !sound ? EXIT_PROBLEMS : exit_code_of(status);
}

int main(int argc, char **argv)
{
    struct server_config config;
    char error[512];

    if (!occupy_standard_descriptors())
        return EXIT_OTHER;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a write that fails, and is named */
    if (argc > 1 && strcmp(argv[1], "verify") == 0)
        return (int)verify(argc, argv);
    switch (config_parse(argc, argv, &config, error, sizeof error)) {
    case CONFIG_HELP:
        config_print_help(stdout);
        return EXIT_OK;
    case CONFIG_VERSION:
        printf("psbroker %s\n", PSBROKER_VERSION);
        return EXIT_OK;
    case CONFIG_WRONG:
        fprintf(stderr, "psbroker: %s\n", error);
        return EXIT_USAGE;
    case CONFIG_RUN:
        break;
    }
    umask(0077); /* what is published is its owner's */
    raise_descriptor_limit();
    return (int)run(&config);
}
