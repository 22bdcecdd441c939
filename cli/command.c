/* A new command is a row here, a cmd_*.c, and its name in the meson file; see README.md. */
#include "command.h"

#include "nearest.h"

#include <string.h>

enum {
    EVERY = (2 << COMMAND_HELP) - 1,
    PRINTING = 1 << COMMAND_SUB | 1 << COMMAND_GET | 1 << COMMAND_SHELL,
    SUB = 1 << COMMAND_SUB,
    PUB = 1 << COMMAND_PUB,
    SEEK = 1 << COMMAND_SUBS_SEEK,
    BENCH = 1 << COMMAND_BENCH,
    NAMED = PUB | SUB | 1 << COMMAND_SHELL | 1 << COMMAND_LOAD,
    STORED = 1 << COMMAND_SUBS | 1 << COMMAND_SUBS_LIST | SEEK | 1 << COMMAND_UNSUB
};

const struct command command_table[] = {
    {COMMAND_PUB, "pub", NULL, "TOPIC [MESSAGE]", 1, 2,
     "publish a message, a file or lines; print the offsets",
     "Without MESSAGE, or with -, the whole of standard input is one message; with --lines each line is "
     "one.\n"
     "An offset is printed once the message is on stable storage. '' is an empty message. With -0 the lines "
     "and\n"
     "the offsets end with NUL.\n"
     "pub never sends anything twice: when the connection is lost it ends, and says what was stored and, "
     "unless an\n"
     "outcome is unknown (8), with which line to go on.",
     "psctl pub sensors/kitchen 'it is 21 degrees'", cmd_pub},
    {COMMAND_SUB, "sub", NULL, "[FILTER...]", 0, ARGS_MAX_OPERANDS,
     "print messages as they come, or from history on",
     "A filter is a topic, or has + for one level and # for the rest. Begins with new messages unless a "
     "start\n"
     "option says otherwise. With -i the subscription is stored by the broker and goes on where its printed\n"
     "messages ended; without a FILTER all that is stored under the id is attached. Printed means handed to\n"
     "standard output: what waits in a pipe counts. When nobody reads it any more, sub ends.\n"
     "One run prints no message twice, also over reconnects, overlapping filters and a subscription that is "
     "moved\n"
     "back. With -i delivery over runs is at least once: after a kill, or when sub ended with 8, the next "
     "run "
     "may\n"
     "begin with messages that were printed already.",
     "psctl sub 'sensors/#' -v --from-beginning", cmd_sub},
    {COMMAND_GET, "get", NULL, "TOPIC OFFSET", 2, 2, "print one message",
     "A payload is followed by a line feed; -N > FILE gives exactly its bytes.",
     "psctl get sensors/kitchen 0", cmd_get},
    {COMMAND_TOPICS, "topics", NULL, "[list [FILTER]]", 0, 0,
     "list topics: name, first offset kept, next offset, subscribers",
     "One a line, separated by tabs; on a terminal with a header. subscribers counts those that are "
     "attached.",
     "psctl topics list 'sensors/#'", cmd_topics},
    {COMMAND_TOPICS_LIST, "topics", "list", "[FILTER]", 0, 1, NULL,
     "Prints name, first offset kept, next offset and number of attached subscribers, separated by tabs.",
     "psctl topics list 'sensors/#'", cmd_topics},
    {COMMAND_TOPICS_DELETE, "topics", "delete", "NAME", 1, 1, "delete a topic and its messages",
     "Asks on a terminal; elsewhere --yes is needed. Offsets go on from where they were if the name is used "
     "again.",
     "psctl topics delete sensors/attic --yes", cmd_topics_delete},
    {COMMAND_SUBS, "subs", NULL, "[list]", 0, 0, "list stored subscriptions with committed offsets and lag",
     "One line for each topic: id, filter, topic, committed (the offset it will be given next) and lag (how "
     "many\n"
     "messages are behind that), separated by tabs; - where no topic matches the filter yet. On a terminal "
     "with a\n"
     "header; -o json says attached too. -i ID: of that id only.",
     "psctl subs -i s1", cmd_subs},
    {COMMAND_SUBS_LIST, "subs", "list", "", 0, 0, NULL,
     "Prints id, filter, topic, committed offset and lag, separated by tabs.", "psctl subs list -i s1",
     cmd_subs},
    {COMMAND_SUBS_SEEK, "subs", "seek", "FILTER -i ID", 1, 1, "move a stored subscription to another offset",
     "To print messages again, end the sub that is running first: it goes on from the new offset, but prints "
     "nothing\n"
     "a second time.",
     "psctl subs seek sensors/kitchen -i s1 --to-offset 0", cmd_subs_seek},
    {COMMAND_UNSUB, "unsub", NULL, "FILTER -i ID", 1, 1, "forget a stored subscription", "",
     "psctl unsub sensors/kitchen -i s1", cmd_unsub},
    {COMMAND_PING, "ping", NULL, "", 0, 0, "measure one round trip to the broker", "", "psctl ping",
     cmd_ping},
    {COMMAND_INFO, "info", NULL, "", 0, 0, "print the broker's version, log id and counters", "",
     "psctl info -o json", cmd_info},
    {COMMAND_VERIFY, "verify", NULL, "", 0, 0, "have the broker check its log, and list what is wrong",
     "Every record is read and compared with its checksum, its neighbours and the index; so are topics and "
     "committed\n"
     "offsets. The broker goes on working meanwhile. Prints a line for each problem, with topic and offset; "
     "exit code 9\n"
     "when there is one. psbroker verify does the same, and a little more, for a log that no broker has "
     "open.",
     "psctl verify", cmd_verify},
    {COMMAND_BACKUP, "backup", NULL, "FILE", 1, 1, "copy the log to a file while the broker works",
     "The copy holds all messages, subscriptions and committed offsets of one moment. FILE must not exist; "
     "until it is\n"
     "whole and on stable storage it is called FILE.partial. Prints its size in bytes and its mark: every "
     "message before\n"
     "that place in commit order is in it. To restore, put it as psbroker.db into an empty data directory.",
     "psctl backup 2026-01-31.db", cmd_backup},
    {COMMAND_SHELL, "shell", NULL, "[-i ID] [-f FILE]", 0, 0,
     "run a file of commands, then commands from the keyboard",
     "A line of the file is SECONDS, then one of: sub TOPIC [new|OFFSET], unsub TOPIC, pub TOPIC MESSAGE.\n"
     "SECONDS are waited first and may be fractional; from the keyboard a line is the command alone.\n"
     "Blank lines, and those that begin with #, are skipped; at the keyboard there are help and quit too.\n"
     "A new subscription starts at the beginning of its topics. With -i it is stored, and stays stored until "
     "unsub.\n"
     "No message is printed twice until its subscription ends: sub after unsub prints from the start again.\n"
     "What the broker or psctl refuses is told with its line, and the next line follows. A file is read "
     "while it "
     "runs,\n"
     "for it may be a pipe: when a line cannot be understood, those before it were carried out. It ends with "
     "2.",
     "psctl shell -i s1 -f commands.txt\n  printf 'sub A\\npub A hello\\n' | psctl shell", cmd_shell},
    {COMMAND_DUMP, "dump", NULL, "[FILTER...]", 0, ARGS_MAX_OPERANDS,
     "print everything kept as JSON, a message a line, to load it elsewhere",
     "From the first message kept to what is the end now; without a FILTER, of all topics. A topic's "
     "messages "
     "come in\n"
     "order; those of several topics are mixed. The lines are those of -o json.\n"
     "Damaged records are left out and named with topic and offsets; then it ends with 9.",
     "psctl dump > all.jsonl\n  psctl dump 'sensors/#' | gzip > sensors.jsonl.gz", cmd_dump},
    {COMMAND_LOAD, "load", NULL, "[FILE]", 0, 1, "publish what dump printed",
     "Reads FILE or standard input and publishes each line again, in order. Topic, key, headers and payload "
     "come "
     "back\n"
     "byte for byte. The time is that of loading, the publisher is the id given with -i, and offsets are "
     "counted by "
     "the\n"
     "broker: they are the same if the topics were empty and nothing was missing at their beginning. With\n"
     "--check-offsets load ends with 1 at the first that differs; that one, and what was on its way, is "
     "stored.\n"
     "The first line that is wrong or refused ends it and is named; what came before is stored, and the line "
     "to go "
     "on\n"
     "with is told.",
     "psctl load < all.jsonl\n  psctl -p 7420 dump | psctl -p 7421 load --check-offsets", cmd_load},
    {COMMAND_BENCH, "bench", NULL, "pub|replay|fanout|latency|e2e", 1, 1, "measure what a broker does here",
     "Works against any running broker, on topics of its own under psctl-bench/, which it deletes when it is "
     "done, also\n"
     "after an error or Ctrl-C. Messages count once they are on stable storage.\n"
     "  pub      clients publish: acknowledged messages, and the time to each acknowledgement\n"
     "  replay   publishes, unmeasured, then subscribers read from the beginning to the end\n"
     "  fanout   every subscriber is given every message, live: deliveries of all together\n"
     "  latency  publishes at a rate: the time from when a message was due to its delivery\n"
     "  e2e      to one live subscriber, end to end\n"
     "Every client and subscriber has a connection of its own. With --window 1 a client waits for each "
     "answer.\n"
     "fanout, latency and e2e keep at most a window ahead of the slowest subscriber. Unless --messages or\n"
     "--duration says otherwise pub, fanout and e2e end after 10 s at the latest, and latency after 10 s.",
     "psctl bench pub --clients 100 --window 1\n  psctl bench latency --rate 10000 --duration 30s -o json",
     cmd_bench},
    {COMMAND_HELP, "help", NULL, "[COMMAND]", 0, 2, "print this, or help about one command", "",
     "psctl help sub", cmd_help},
};
const unsigned command_count = sizeof command_table / sizeof command_table[0];

const struct option option_table[] = {
    {'h', "host", "HOST", EVERY, args_set_host, "broker's address (127.0.0.1; environment PSCTL_HOST)", 0},
    {'p', "port", "PORT", EVERY, args_set_port, "broker's port (7420; PSCTL_PORT)", 0},
    {'s', "server", "unix:PATH|HOST:PORT", EVERY, args_set_server,
     "both in one, or a Unix socket (PSCTL_SERVER)", 0},
    {'i', "id", "ID", EVERY, args_set_id, "id of this publisher or subscriber; makes a subscription durable",
     NAMED | STORED},
    {0, "connect-timeout", "TIME", EVERY, args_set_connect_timeout,
     "try a refused first connect this long (2s)", 0},
    {0, "no-reconnect", NULL, SUB | 1 << COMMAND_SHELL, args_set_no_reconnect,
     "end when the connection is lost", 0},
    {'o', "output", "raw|json", EVERY, args_set_output, "form of the output (raw; PSCTL_OUTPUT)", 0},
    {'q', "quiet", NULL, EVERY, args_set_quiet, "no notices; pub prints no offsets", 0},
    {'l', "lines", NULL, PUB, args_set_lines, "each line of the input is a message", 0},
    {'f', "file", "FILE", PUB | 1 << COMMAND_SHELL, args_set_file,
     "read FILE (pub: instead of standard input)", 0},
    {'k', "key", "KEY", PUB, args_set_key, "key of each message", 0},
    {'H', "header", "NAME=VALUE", PUB, args_set_header, "a header of each message; may be given again", 0},
    {'v', "verbose", NULL, PRINTING, args_set_verbose, "print TOPIC, tab, OFFSET, tab, PAYLOAD", 0},
    {'0', "nul", NULL, PRINTING | PUB, args_set_nul, "records end with NUL instead of a line feed", 0},
    {'N', "no-newline", NULL, 1 << COMMAND_SUB | 1 << COMMAND_GET, args_set_no_newline,
     "nothing behind a payload: its exact bytes (not on a terminal)", 0},
    {0, "from-beginning", NULL, SUB, args_set_from_beginning, "start at the first message kept", 0},
    {0, "from-offset", "N", SUB, args_set_from_offset, "start at offset N of the topic (no wildcard)", 0},
    {0, "last", "N", SUB, args_set_last, "start with the last N messages of each topic", 0},
    {'n', "count", "N", SUB, args_set_count, "end after N printed messages", 0},
    {'e', "exit-at-end", NULL, SUB, args_set_exit_at_end, "end at what was the end when subscribing", 0},
    {0, "idle-timeout", "TIME", SUB, args_set_idle_timeout, "end with 124 when nothing comes for so long", 0},
    {0, "to-offset", "N", SEEK, args_set_to_offset, "the next message will be offset N", 0},
    {0, "to-beginning", NULL, SEEK, args_set_to_beginning, "the next message will be the first kept", 0},
    {0, "to-end", NULL, SEEK, args_set_to_end, "the next message will be the next published", 0},
    {0, "yes", NULL, 1 << COMMAND_TOPICS_DELETE, args_set_yes, "do not ask", 0},
    {0, "check-offsets", NULL, 1 << COMMAND_LOAD, args_set_check_offsets,
     "end when an offset is not that of the line", 0},
    {0, "messages", "N", BENCH, args_set_messages, "publish so many (1000000; fanout 100000)", 0},
    {0, "size", "BYTES", BENCH, args_set_size,
     "payload of each message, such as 16K; at most the broker's max_message (100)", 0},
    {0, "topics", "N", BENCH, args_set_topics, "spread over so many topics at random (1)", 0},
    {0, "clients", "N", BENCH, args_set_clients, "publishing connections (1)", 0},
    {0, "subscribers", "N", BENCH, args_set_subscribers,
     "subscribing connections of replay, fanout, latency (1; fanout 10)", 0},
    {0, "window", "N", BENCH, args_set_window, "messages in flight per client (65536 for all together)", 0},
    {0, "rate", "N", BENCH, args_set_rate, "messages per second of all clients (latency: 10000)", 0},
    {0, "duration", "TIME", BENCH, args_set_duration,
     "publish for so long (with a rate: what is due in it); replay: read", 0},
    {0, "one-topic", NULL, BENCH, args_set_one_topic, "replay: read one topic after the other", 0},
    {0, "help", NULL, EVERY, args_set_help, "print help (also -h without an argument)", 0},
    {0, "version", NULL, EVERY, args_set_version, "print psctl's version", 0},
};
const unsigned option_count = sizeof option_table / sizeof option_table[0];

_Static_assert(sizeof option_table / sizeof option_table[0] <= 64,
               "struct args keeps one bit for each option");

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

const char *command_nearest(const char *name)
{
    struct nearest nearest = nearest_to(name);

    for (unsigned i = 0; i < command_count; i++) {
        if (command_table[i].id != COMMAND_UNSUB)
            nearest_offer(&nearest, command_table[i].name);
    }
    return nearest.name;
}
