/* The one table of psctl's commands and options: it drives parsing, help and what runs. */
#ifndef PSCTL_COMMAND_H
#define PSCTL_COMMAND_H

#include "args.h"

enum command_id {
    COMMAND_PUB,
    COMMAND_SUB,
    COMMAND_GET,
    COMMAND_TOPICS,
    COMMAND_TOPICS_LIST,
    COMMAND_TOPICS_DELETE,
    COMMAND_SUBS,
    COMMAND_SUBS_LIST,
    COMMAND_SUBS_SEEK,
    COMMAND_UNSUB,
    COMMAND_PING,
    COMMAND_INFO,
    COMMAND_VERIFY,
    COMMAND_BACKUP,
    COMMAND_SHELL,
    COMMAND_BENCH,
    COMMAND_DUMP,
    COMMAND_LOAD,
    COMMAND_HELP
};

struct command {
    enum command_id id;
    const char *name;
    const char *verb;     /* second word; NULL: none */
    const char *operands; /* as the usage line shows them */
    unsigned min_operands, max_operands;
    const char *summary; /* one line; NULL: another spelling, not listed */
    const char *details; /* sentences for the command's own help, may be "" */
    const char *example;
    int (*run)(const struct args *args); /* returns the exit code */
};

struct option {
    char letter;       /* 0: none */
    const char *name;  /* without the dashes; NULL: only a letter */
    const char *value; /* what the help calls its value; NULL: takes none */
    uint32_t commands; /* bit n: allowed with the command of id n */
    args_set_fn *set;
    const char *help;
    uint32_t own; /* bit n: of an option that every command takes: the help of command n lists it too */
};

extern const struct command command_table[];
extern const unsigned command_count;
extern const struct option option_table[];
extern const unsigned option_count;

/* The row whose words these are; `verb` NULL or unknown: the row without one. NULL: no such command. */
const struct command *command_find(const char *name, const char *verb);

/* The command's name that a mistyped one most likely meant, none that removes anything. NULL: nothing is near. */
const char *command_nearest(const char *name);

/* One for each command, in a file of its own. */
int cmd_pub(const struct args *args);
int cmd_sub(const struct args *args);
int cmd_get(const struct args *args);
int cmd_topics(const struct args *args);
int cmd_topics_delete(const struct args *args);
int cmd_subs(const struct args *args);
int cmd_subs_seek(const struct args *args);
int cmd_unsub(const struct args *args);
int cmd_ping(const struct args *args);
int cmd_info(const struct args *args);
int cmd_verify(const struct args *args);
int cmd_backup(const struct args *args);
int cmd_shell(const struct args *args);
int cmd_bench(const struct args *args);
int cmd_dump(const struct args *args);
int cmd_load(const struct args *args);
int cmd_help(const struct args *args);

#endif
