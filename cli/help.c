#include "help.h"

#include "exits.h"

#include <stdio.h>

enum { COLUMN = 34 };

static uint32_t every_command(void)
{
    return (UINT32_C(1) << (COMMAND_HELP + 1)) - 1;
}

static void option_line(struct text *text, const struct option *option)
{
    char left[80], letter[8] = "    ";

    if (option->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name, option->value != NULL ? " " : "",
             option->value != NULL ? option->value : "");
    if (strlen(left) > COLUMN)
        text_format(text, "%s\n%*s  %s\n", left, COLUMN, "", option->help);
    else
        text_format(text, "%-*s  %s\n", COLUMN, left, option->help);
}

/* Those that a command has for itself, or that it is useful to see with it. */
static void own_options(struct text *text, enum command_id id)
{
    for (unsigned i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        uint32_t listed = option->commands == every_command() ? option->own : option->commands;
        if ((listed >> id & 1) != 0)
            option_line(text, option);
    }
}

static void shared_options(struct text *text)
{
    for (unsigned i = 0; i < option_count; i++) {
        if (option_table[i].commands == every_command())
            option_line(text, &option_table[i]);
    }
}

static void words_of(struct text *text, const struct command *command)
{
    text_put(text, command->name);
    if (command->verb != NULL)
        text_format(text, " %s", command->verb);
    if (command->operands[0] != '\0')
        text_format(text, " %s", command->operands);
}

void help_overview(struct text *text)
{
    const char *meaning;
    enum exit_code code;

    text_put(text, "psctl: publish to and subscribe from a psbroker, inspect and operate it\n\n"
                   "usage: psctl COMMAND [WORD...] [OPTION...]\n\ncommands:\n");
    for (unsigned i = 0; i < command_count; i++) {
        struct text left = {0};
        if (command_table[i].summary == NULL)
            continue;
        text_put(&left, "  ");
        words_of(&left, &command_table[i]);
        text_format(text, "%-*s  %s\n", COLUMN, text_string(&left), command_table[i].summary);
        text_deinit(&left);
    }
    text_put(text, "\noptions of every command:\n");
    shared_options(text);
    text_put(text, "\nexit codes:\n");
    for (unsigned i = 0; (meaning = exit_meaning(i, &code)) != NULL; i++)
        text_format(text, "  %3d  %s\n", (int)code, meaning);
    text_put(text, "\nexample:\n  psctl pub A hello && psctl sub A --from-offset 0\n\n"
                   "psctl COMMAND --help tells about one command.\n");
}

/* Whether `other` is a subcommand of `command` with a meaning of its own. */
static bool is_under(const struct command *other, const struct command *command)
{
    return command->verb == NULL && other->verb != NULL && other->summary != NULL &&
           strcmp(other->name, command->name) == 0;
}

static void usage(struct text *text, const struct command *command)
{
    text_put(text, "usage: psctl ");
    words_of(text, command);
    text_put(text, " [OPTION...]\n");
    for (unsigned i = 0; i < command_count; i++) {
        if (!is_under(&command_table[i], command))
            continue;
        text_put(text, "       psctl ");
        words_of(text, &command_table[i]);
        text_put(text, " [OPTION...]\n");
    }
}

static const char *summary_of(const struct command *command)
{
    for (unsigned i = 0; i < command_count && command->summary == NULL; i++) {
        if (strcmp(command_table[i].name, command->name) == 0)
            return command_table[i].summary;
    }
    return command->summary;
}

static void describe(struct text *text, const struct command *command)
{
    struct text own = {0};

    if (command->details[0] != '\0')
        text_format(text, "\n%s\n", command->details);
    own_options(&own, command->id);
    if (text_size(&own) != 0)
        text_format(text, "\noptions:\n%s", text_string(&own));
    text_deinit(&own);
}

void help_command(struct text *text, const struct command *command)
{
    usage(text, command);
    text_format(text, "\n%s\n", summary_of(command));
    describe(text, command);
    for (unsigned i = 0; i < command_count; i++) {
        if (!is_under(&command_table[i], command))
            continue;
        text_format(text, "\n%s %s: %s\n", command->name, command_table[i].verb, command_table[i].summary);
        describe(text, &command_table[i]);
    }
    text_put(text,
             "\npsctl --help lists what every command takes: where the broker is, the form of the output.\n");
    text_format(text, "\nexample:\n  %s\n", command->example);
    for (unsigned i = 0; i < command_count; i++) {
        if (is_under(&command_table[i], command))
            text_format(text, "  %s\n", command_table[i].example);
    }
}
