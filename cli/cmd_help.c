/* psctl help [COMMAND]: the same texts as --help. */
#include "help.h"
#include "report.h"

#include <stdio.h>

/* `command` NULL: there is no command of that name; else it has no such subcommand. */
static int unknown(const char *name, const struct command *command)
{
    const char *nearest = command == NULL ? command_nearest(name) : NULL;
    const char *quoted = report_quoted(bytes_of(name));

    if (command != NULL)
        report("%s has no %s: psctl %s --help tells what it has", command->name, quoted, command->name);
    else if (nearest != NULL)
        report("unknown command %s: did you mean %s?", quoted, nearest);
    else
        report("unknown command %s: psctl --help lists the commands", quoted);
    return EXIT_USAGE;
}

int cmd_help(const struct args *args)
{
    struct text text = {0};

    if (args->operand_count == 0) {
        help_overview(&text);
    } else {
        const char *verb = args->operand_count > 1 ? args->operands[1] : NULL;
        const struct command *command = command_find(args->operands[0], verb);
        if (command == NULL || (verb != NULL && command->verb == NULL)) {
            return unknown(command == NULL ? args->operands[0] : verb, command);
        }
        help_command(&text, command);
    }
    fwrite(text_string(&text), 1, text_size(&text), stdout);
    text_deinit(&text);
    return EXIT_OK;
}
