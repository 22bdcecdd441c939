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

static void option_lines(struct text *text, bool shared, enum command_id id)
{
    for (unsigned i = 0; i < option_count; i++) {
        bool takes = (option_table[i].commands >> id & 1) != 0;
        if (takes && (option_table[i].commands == every_command()) == shared)
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
    option_lines(text, true, COMMAND_HELP);
    text_put(text, "\nexit codes:\n");
    for (unsigned i = 0; (meaning = exit_meaning(i, &code)) != NULL; i++)
        text_format(text, "  %3d  %s\n", (int)code, meaning);
    text_put(text, "\nexample:\n  psctl pub A hello && psctl sub A --from-offset 0\n\n"
                   "psctl COMMAND --help tells about one command.\n");
}

void help_command(struct text *text, const struct command *command)
{
    const char *summary = command->summary;
    struct text own = {0};

    for (unsigned i = 0; i < command_count && summary == NULL; i++) {
        if (strcmp(command_table[i].name, command->name) == 0)
            summary = command_table[i].summary;
    }
    text_put(text, "usage: psctl ");
    words_of(text, command);
    text_format(text, " [OPTION...]\n\n%s\n", summary);
    if (command->details[0] != '\0')
        text_format(text, "\n%s\n", command->details);
    option_lines(&own, false, command->id);
    if (text_size(&own) != 0)
        text_format(text, "\noptions:\n%s", text_string(&own));
    text_deinit(&own);
    text_put(text, "\noptions of every command:\n");
    option_lines(text, true, command->id);
    text_format(text, "\nexample:\n  %s\n", command->example);
    for (unsigned i = 0; i < command_count; i++) {
        if (command->verb == NULL && command_table[i].verb != NULL &&
            strcmp(command_table[i].name, command->name) == 0)
            text_format(text, "  %s\n", command_table[i].example);
    }
}
