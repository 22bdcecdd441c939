/* psctl: reads the command line and runs one command. */
#include "help.h"
#include "report.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* The next file or socket would take the place of a closed one, and what is printed would go there. Input is empty
 * then, writing output fails, and errors are not seen. */
static bool occupy_standard_descriptors(void)
{
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY};

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct args args;

    if (!occupy_standard_descriptors())
        return EXIT_OTHER;
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a write that fails, and is named */
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
