/* A command line, parsed and checked against the table of commands and options. */
#ifndef PSCTL_ARGS_H
#define PSCTL_ARGS_H

#include "bench_plan.h"
#include "psclient.h"

enum { ARGS_MAX_OPERANDS = 256, ARGS_MAX_HEADERS = 64, ARGS_ERROR_BYTES = 512, ARGS_HOST_BYTES = 256 };

enum seek_target { SEEK_NOT_SAID, SEEK_TO_OFFSET, SEEK_TO_BEGINNING, SEEK_TO_END };

struct command;

/* Strings point into argv and the environment. */
struct args {
    const struct command *command;
    const char *operands[ARGS_MAX_OPERANDS];
    unsigned operand_count;

    /* where to and how, for every command */
    const char *host; /* NULL: the library's default */
    const char *unix_path;
    int port; /* 0: the library's default */
    const char *id;
    uint32_t connect_timeout_ms; /* 0: the library's default */
    bool no_reconnect, json, quiet, verbose, nul;

    /* pub */
    bool lines;
    const char *file; /* shell too */
    const char *key;
    struct psc_header headers[ARGS_MAX_HEADERS];
    unsigned header_count;

    /* sub, get */
    const char *start_option; /* as given, for messages; NULL: none */
    enum psc_start start;
    uint64_t start_value;
    bool exit_at_end, has_count, no_newline;
    bool salvage; /* dump: leaves out what is damaged and goes on */
    uint64_t count;
    uint64_t idle_timeout_ms; /* 0: none */

    /* subs seek, topics delete */
    enum seek_target seek;
    uint64_t seek_offset;
    bool yes;
    bool check_offsets;

    struct bench_options bench;

    /* parsing */
    bool help, version, server_given, address_given;
    uint64_t given; /* bit n: row n of the option table was used */
    char host_buffer[ARGS_HOST_BYTES];
    char error[ARGS_ERROR_BYTES]; /* why ARGS_WRONG, one sentence */
};

enum args_result { ARGS_RUN, ARGS_HELP, ARGS_VERSION, ARGS_WRONG };

/* Reads the environment's variables through `variable` (getenv() or a test's), then the words behind argv[0].
 * Overwrites `args`, which then borrows the strings. ARGS_HELP: about args->command, or all when NULL. */
enum args_result args_parse(struct args *args, int argc, char **argv, char *(*variable)(const char *name));

/* The setters of the option table. Each borrows `value`; false: args->error says why not. */
typedef bool args_set_fn(struct args *args, const char *option, const char *value);
args_set_fn args_set_host, args_set_port, args_set_server, args_set_id, args_set_connect_timeout,
    args_set_no_reconnect, args_set_output, args_set_quiet, args_set_verbose, args_set_nul, args_set_lines,
    args_set_file, args_set_key, args_set_header, args_set_from_beginning, args_set_from_offset,
    args_set_last, args_set_count, args_set_exit_at_end, args_set_idle_timeout, args_set_to_offset,
    args_set_to_beginning, args_set_to_end, args_set_yes, args_set_no_newline, args_set_help,
    args_set_version, args_set_messages, args_set_size, args_set_topics, args_set_clients,
    args_set_subscribers, args_set_window, args_set_rate, args_set_duration, args_set_one_topic,
    args_set_check_offsets;

/* Decimal digits and nothing else, within 64 bits. */
bool args_number(const char *text, uint64_t *value);

/* "2", "2.5", "500ms", "5s", "1m", "1h": milliseconds, at least 1. */
bool args_duration(const char *text, uint64_t *ms);

#endif
