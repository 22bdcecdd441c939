/* psctl: reads the command line and runs one command. */
#include "help.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

static int print_help(const struct command *command)
{
    struct text text = {0};

    if (command == NULL)
        help_overview(&text);
    else
        help_command(&text, command);
    fwrite(text_string(&text), 1, text_size(&text), stdout);
    text_deinit(&text);
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    static struct args args;

    switch (args_parse(&args, argc, argv, getenv)) {
    case ARGS_HELP:
        return print_help(args.command);
    case ARGS_VERSION:
        puts("psctl " PSBROKER_VERSION);
        return EXIT_OK;
    case ARGS_WRONG:
        report("%s", args.error);
        return EXIT_USAGE;
    case ARGS_RUN:
        break;
    }
    return args.command->run(&args);
}
