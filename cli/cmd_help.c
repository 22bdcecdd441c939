/* psctl help [COMMAND]: the same texts as --help. */
#include "help.h"
#include "report.h"

#include <stdio.h>

int cmd_help(const struct args *args)
{
    struct text text = {0};

    if (args->operand_count == 0) {
        help_overview(&text);
    } else {
        const char *verb = args->operand_count > 1 ? args->operands[1] : NULL;
        const struct command *command = command_find(args->operands[0], verb);
        if (command == NULL || (verb != NULL && command->verb == NULL)) {
            report("no such command: psctl --help lists them");
            return EXIT_USAGE;
        }
        help_command(&text, command);
    }
    fwrite(text_string(&text), 1, text_size(&text), stdout);
    text_deinit(&text);
    return EXIT_OK;
}
