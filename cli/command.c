/* A new command is a row here, a cmd_*.c, and its name in the meson file; see README.md. */
#include "command.h"

#include <string.h>

enum {
    EVERY = 0x3FFF,
    PRINTING = 1 << COMMAND_SUB | 1 << COMMAND_GET | 1 << COMMAND_SHELL,
    SUB = 1 << COMMAND_SUB,
    PUB = 1 << COMMAND_PUB,
    SEEK = 1 << COMMAND_SUBS_SEEK
};

const struct command command_table[] = {
    {COMMAND_PUB, "pub", NULL, "TOPIC [MESSAGE]", 1, 2,
     "publish a message, a file or lines; print the offsets",
     "Without MESSAGE, or with -, the whole of standard input is one message; with --lines each line is "
     "one.\n"
     "An offset is printed once the message is on stable storage. '' is an empty message.",
     "psctl pub sensors/kitchen 'it is 21 degrees'", cmd_pub},
    {COMMAND_SUB, "sub", NULL, "[FILTER...]", 0, ARGS_MAX_OPERANDS,
     "print messages as they come, or from history on",
     "A filter is a topic, or has + for one level and # for the rest. Begins with new messages unless a "
     "start\n"
     "option says otherwise. With -i the subscription is stored by the broker and goes on where its printed\n"
     "messages ended; without a FILTER all that is stored under the id is attached.",
     "psctl sub 'sensors/#' -v --from-beginning", cmd_sub},
    {COMMAND_GET, "get", NULL, "TOPIC OFFSET", 2, 2, "print one message", "", "psctl get sensors/kitchen 0",
     cmd_get},
    {COMMAND_TOPICS, "topics", NULL, "[list [FILTER]]", 0, 0,
     "list topics: name, first offset kept, next offset, subscribers", "", "psctl topics list 'sensors/#'",
     cmd_topics},
    {COMMAND_TOPICS_LIST, "topics", "list", "[FILTER]", 0, 1, NULL,
     "Prints name, first offset kept, next offset and number of subscribers.",
     "psctl topics list 'sensors/#'", cmd_topics},
    {COMMAND_TOPICS_DELETE, "topics", "delete", "NAME", 1, 1, "delete a topic and its messages",
     "Asks on a terminal; elsewhere --yes is needed. Offsets go on from where they were if the name is used "
     "again.",
     "psctl topics delete sensors/attic --yes", cmd_topics_delete},
    {COMMAND_SUBS, "subs", NULL, "[list]", 0, 0, "list stored subscriptions with committed offsets and lag",
     "", "psctl subs -i s1", cmd_subs},
    {COMMAND_SUBS_LIST, "subs", "list", "", 0, 0, NULL, "Prints id, filter, topic, committed offset and lag.",
     "psctl subs list -i s1", cmd_subs},
    {COMMAND_SUBS_SEEK, "subs", "seek", "FILTER", 1, 1, "move a stored subscription to another offset", "",
     "psctl subs seek sensors/kitchen -i s1 --to-offset 0", cmd_subs_seek},
    {COMMAND_UNSUB, "unsub", NULL, "FILTER", 1, 1, "forget a stored subscription", "",
     "psctl unsub sensors/kitchen -i s1", cmd_unsub},
    {COMMAND_PING, "ping", NULL, "", 0, 0, "measure one round trip to the broker", "", "psctl ping",
     cmd_ping},
    {COMMAND_INFO, "info", NULL, "", 0, 0, "print the broker's version, log id and counters", "",
     "psctl info -o json", cmd_info},
    {COMMAND_SHELL, "shell", NULL, "", 0, 0, "run a file of commands, then commands from the keyboard",
     "A line of the file is SECONDS, then one of: sub TOPIC [new|OFFSET], unsub TOPIC, pub TOPIC MESSAGE.\n"
     "SECONDS are waited first and may be fractional; from the keyboard a line is the command alone.\n"
     "A new subscription starts at the beginning of its topics.",
     "psctl shell -i s1 -f commands.txt", cmd_shell},
    {COMMAND_HELP, "help", NULL, "[COMMAND]", 0, 2, "print this, or help about one command", "",
     "psctl help sub", cmd_help},
};
const unsigned command_count = sizeof command_table / sizeof command_table[0];

const struct option option_table[] = {
    {'h', "host", "HOST", EVERY, args_set_host, "broker's address (127.0.0.1; environment PSCTL_HOST)"},
    {'p', "port", "PORT", EVERY, args_set_port, "broker's port (7420; PSCTL_PORT)"},
    {'s', "server", "unix:PATH|HOST:PORT", EVERY, args_set_server,
     "both in one, or a Unix socket (PSCTL_SERVER)"},
    {'i', "id", "ID", EVERY, args_set_id, "id of this publisher or subscriber; makes a subscription durable"},
    {0, "connect-timeout", "TIME", EVERY, args_set_connect_timeout,
     "try a refused first connect this long (2s)"},
    {0, "no-reconnect", NULL, EVERY, args_set_no_reconnect, "end when the connection is lost"},
    {'o', "output", "raw|json", EVERY, args_set_output, "form of the output (raw; PSCTL_OUTPUT)"},
    {'q', "quiet", NULL, EVERY, args_set_quiet, "no notices; pub prints no offsets"},
    {'l', "lines", NULL, PUB, args_set_lines, "each line of the input is a message"},
    {'f', "file", "FILE", PUB | 1 << COMMAND_SHELL, args_set_file,
     "read FILE (pub: instead of standard input)"},
    {'k', "key", "KEY", PUB, args_set_key, "key of each message"},
    {'H', "header", "NAME=VALUE", PUB, args_set_header, "a header of each message; may be given again"},
    {'v', "verbose", NULL, PRINTING, args_set_verbose, "print TOPIC, tab, OFFSET, tab, PAYLOAD"},
    {'0', "nul", NULL, PRINTING | PUB, args_set_nul, "records end with NUL (pub: those of the input too)"},
    {'N', "no-newline", NULL, 1 << COMMAND_SUB | 1 << COMMAND_GET, args_set_no_newline,
     "nothing behind a payload: its exact bytes (not on a terminal)"},
    {0, "from-beginning", NULL, SUB, args_set_from_beginning, "start at the first message kept"},
    {0, "from-offset", "N", SUB, args_set_from_offset, "start at offset N of the topic (no wildcard)"},
    {0, "last", "N", SUB, args_set_last, "start with the last N messages of each topic"},
    {'n', "count", "N", SUB, args_set_count, "end after N printed messages"},
    {'e', "exit-at-end", NULL, SUB, args_set_exit_at_end, "end at what was the end when subscribing"},
    {0, "idle-timeout", "TIME", SUB, args_set_idle_timeout, "end with 124 when nothing comes for so long"},
    {0, "to-offset", "N", SEEK, args_set_to_offset, "the next message will be offset N"},
    {0, "to-beginning", NULL, SEEK, args_set_to_beginning, "the next message will be the first kept"},
    {0, "to-end", NULL, SEEK, args_set_to_end, "the next message will be the next published"},
    {0, "yes", NULL, 1 << COMMAND_TOPICS_DELETE, args_set_yes, "do not ask"},
    {0, "help", NULL, EVERY, args_set_help, "print help (also -h without an argument)"},
    {0, "version", NULL, EVERY, args_set_version, "print psctl's version"},
};
const unsigned option_count = sizeof option_table / sizeof option_table[0];

_Static_assert(sizeof option_table / sizeof option_table[0] <= 64,
               "struct args keeps one bit for each option");
_Static_assert(EVERY == (1 << (COMMAND_HELP + 1)) - 1, "EVERY has a bit for each command");

const struct command *command_find(const char *name, const char *verb)
{
    const struct command *found = NULL;

    for (unsigned i = 0; i < command_count; i++) {
        if (strcmp(command_table[i].name, name) != 0)
            continue;
        if (command_table[i].verb == NULL)
            found = &command_table[i];
        else if (verb != NULL && strcmp(command_table[i].verb, verb) == 0)
            return &command_table[i];
    }
    return found;
}
