/* Options may stand anywhere, a word `--` ends them, `-` alone is an operand. Every option means the same with
 * every command that takes it, so the words can be sorted before the command is known; whether the command
 * takes the options that were given is checked afterwards. Flags go before the environment. */
#include "args.h"

#include "command.h"
#include "nearest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool wrong(struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct args *args, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(args->error, sizeof args->error, format, arguments);
    va_end(arguments);
    return false;
}

/* ------------------------------------------------------------------------------------------------ values */

bool args_number(const char *text, uint64_t *value)
{
    uint64_t number = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        unsigned digit = (unsigned)(*text - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *value = number;
    return true;
}

bool args_duration(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"h", 3600000}};
    size_t length = strspn(text, "0123456789.");
    char number[32], *end;

    if (length == 0 || length >= sizeof number)
        return false;
    memcpy(number, text, length);
    number[length] = '\0';
    double value = strtod(number, &end);
    if (*end != '\0')
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + length, units[i].unit) != 0)
            continue;
        value *= units[i].ms;
        if (value < 1 || value > 1e12)
            return false;
        *ms = (uint64_t)value;
        return true;
    }
    return false;
}

static bool set_number(struct args *args, const char *option, const char *text, uint64_t *value)
{
    if (args_number(text, value))
        return true;
    if (*text != '\0' && text[strspn(text, "0123456789")] == '\0')
        return wrong(args, "%s: %s is too large", option, text);
    return wrong(args, "%s: \"%s\" is not a number from 0 on", option, text);
}

static bool set_duration(struct args *args, const char *option, const char *text, uint64_t *ms)
{
    return args_duration(text, ms) ||
           wrong(args, "%s: \"%s\" is not a time from 1ms on, such as 500ms, 2.5s, 1m or 1h", option, text);
}

/* --------------------------------------------------------------------------------------- shared options */

bool args_set_host(struct args *args, const char *option, const char *value)
{
    if (*value == '\0')
        return wrong(args, "%s: an address is missing", option);
    args->host = value;
    args->address_given = true;
    return true;
}

static bool set_port(struct args *args, const char *option, const char *value)
{
    uint64_t port;

    if (!args_number(value, &port) || port < 1 || port > 65535)
        return wrong(args, "%s: \"%s\" is not a port from 1 to 65535", option, value);
    args->port = (int)port;
    return true;
}

bool args_set_port(struct args *args, const char *option, const char *value)
{
    args->address_given = true;
    return set_port(args, option, value);
}

/* HOST, HOST:PORT or [HOST]:PORT, the brackets for addresses that have colons themselves. */
static bool set_host_port(struct args *args, const char *option, const char *value)
{
    const char *host = value, *port = NULL;
    size_t length = strlen(value);

    if (strchr(value, '/') != NULL)
        return wrong(args, "%s: \"%s\" looks like a path: a Unix socket is written unix:%s", option, value,
                     value);
    if (value[0] == '[') {
        const char *close = strchr(value, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return wrong(args, "%s: \"%s\" is not [ADDRESS]:PORT", option, value);
        host = value + 1;
        length = (size_t)(close - host);
        port = close[1] == ':' ? close + 2 : NULL;
    } else if (strchr(value, ':') != NULL) {
        length = (size_t)(strchr(value, ':') - value);
        port = value + length + 1;
    }
    if (length == 0 || length >= sizeof args->host_buffer)
        return wrong(args, "%s: \"%s\" is neither unix:PATH nor HOST:PORT", option, value);
    memcpy(args->host_buffer, host, length);
    args->host_buffer[length] = '\0';
    args->host = args->host_buffer;
    args->port = 0;
    return port == NULL || set_port(args, option, port);
}

bool args_set_server(struct args *args, const char *option, const char *value)
{
    args->server_given = true;
    args->unix_path = NULL;
    if (strncmp(value, "unix:", 5) != 0)
        return set_host_port(args, option, value);
    if (value[5] == '\0')
        return wrong(args, "%s: a path is missing behind unix:", option);
    args->unix_path = value + 5;
    return true;
}

bool args_set_id(struct args *args, const char *option, const char *value)
{
    (void)option;
    args->id = value;
    return true;
}

bool args_set_connect_timeout(struct args *args, const char *option, const char *value)
{
    uint64_t ms;

    if (!set_duration(args, option, value, &ms))
        return false;
    args->connect_timeout_ms = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
    return true;
}

bool args_set_output(struct args *args, const char *option, const char *value)
{
    if (strcmp(value, "json") != 0 && strcmp(value, "raw") != 0)
        return wrong(args, "%s: \"%s\" is neither raw nor json", option, value);
    args->json = strcmp(value, "json") == 0;
    return true;
}

/* ------------------------------------------------------------------------------------ options that are flags */

#define FLAG(function, member)                                                                               \
    bool function(struct args *args, const char *option, const char *value)                                  \
    {                                                                                                        \
        (void)option;                                                                                        \
        (void)value;                                                                                         \
        args->member = true;                                                                                 \
        return true;                                                                                         \
    }
FLAG(args_set_no_reconnect, no_reconnect)
FLAG(args_set_quiet, quiet)
FLAG(args_set_verbose, verbose)
FLAG(args_set_nul, nul)
FLAG(args_set_lines, lines)
FLAG(args_set_exit_at_end, exit_at_end)
FLAG(args_set_no_newline, no_newline)
FLAG(args_set_yes, yes)
FLAG(args_set_check_offsets, check_offsets)
FLAG(args_set_help, help)
FLAG(args_set_version, version)
#undef FLAG

/* ------------------------------------------------------------------------------------ options of commands */

bool args_set_file(struct args *args, const char *option, const char *value)
{
    (void)option;
    args->file = value;
    return true;
}

bool args_set_key(struct args *args, const char *option, const char *value)
{
    (void)option;
    args->key = value;
    return true;
}

bool args_set_header(struct args *args, const char *option, const char *value)
{
    const char *equals = strchr(value, '=');

    if (equals == NULL || equals == value)
        return wrong(args, "%s: \"%s\" is not NAME=VALUE", option, value);
    if (args->header_count == ARGS_MAX_HEADERS)
        return wrong(args, "%s: a message has at most %d headers", option, ARGS_MAX_HEADERS);
    for (unsigned i = 0; i < args->header_count; i++) {
        struct psc_bytes name = args->headers[i].name;
        if (name.size == (size_t)(equals - value) && memcmp(name.data, value, name.size) == 0)
            return wrong(args, "%s: header \"%.*s\" is given twice", option, (int)name.size, value);
    }
    struct psc_header *header = &args->headers[args->header_count++];
    header->name = (struct psc_bytes){value, (size_t)(equals - value)};
    header->value = (struct psc_bytes){equals + 1, strlen(equals + 1)};
    return true;
}

static bool set_start(struct args *args, const char *option, enum psc_start start)
{
    if (args->start_option != NULL && strcmp(args->start_option, option) != 0)
        return wrong(args, "%s and %s cannot be combined", args->start_option, option);
    args->start_option = option;
    args->start = start;
    return true;
}

bool args_set_from_beginning(struct args *args, const char *option, const char *value)
{
    (void)value;
    return set_start(args, option, PSC_START_BEGINNING);
}

bool args_set_from_offset(struct args *args, const char *option, const char *value)
{
    return set_number(args, option, value, &args->start_value) && set_start(args, option, PSC_START_OFFSET);
}

bool args_set_last(struct args *args, const char *option, const char *value)
{
    return set_number(args, option, value, &args->start_value) && set_start(args, option, PSC_START_LAST);
}

bool args_set_count(struct args *args, const char *option, const char *value)
{
    args->has_count = true;
    if (args_number(value, &args->count) && args->count != 0)
        return true;
    return wrong(args, "%s: \"%s\" is not a number from 1 on", option, value);
}

bool args_set_idle_timeout(struct args *args, const char *option, const char *value)
{
    return set_duration(args, option, value, &args->idle_timeout_ms);
}

static bool set_seek(struct args *args, const char *option, enum seek_target target)
{
    if (args->seek != SEEK_NOT_SAID && args->seek != target)
        return wrong(args, "%s: only one of --to-offset, --to-beginning and --to-end", option);
    args->seek = target;
    return true;
}

bool args_set_to_offset(struct args *args, const char *option, const char *value)
{
    return set_number(args, option, value, &args->seek_offset) && set_seek(args, option, SEEK_TO_OFFSET);
}

bool args_set_to_beginning(struct args *args, const char *option, const char *value)
{
    (void)value;
    return set_seek(args, option, SEEK_TO_BEGINNING);
}

bool args_set_to_end(struct args *args, const char *option, const char *value)
{
    (void)value;
    return set_seek(args, option, SEEK_TO_END);
}

/* --------------------------------------------------------------------------------------------- the words */

/* Each option's name with its dashes, as messages show it. Static. */
static const char *spelled(const struct option *option, bool letter)
{
    static char names[64][2][40];
    size_t row = (size_t)(option - option_table);
    char *name = names[row][letter];

    if (letter)
        snprintf(name, sizeof names[0][0], "-%c", option->letter);
    else
        snprintf(name, sizeof names[0][0], "--%s", option->name);
    return name;
}

static bool apply(struct args *args, const struct option *option, bool letter, const char *value)
{
    args->given |= UINT64_C(1) << (option - option_table);
    return option->set(args, spelled(option, letter), value);
}

struct words {
    int count, next;
    char **at;
};

static bool long_option(struct args *args, struct words *words, const char *word)
{
    size_t length = strcspn(word, "=");
    struct nearest nearest;
    char name[64];

    for (unsigned i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (strlen(option->name) != length || strncmp(option->name, word, length) != 0)
            continue;
        if (option->value == NULL && word[length] == '=')
            return wrong(args, "--%s takes no value", option->name);
        if (option->value == NULL)
            return apply(args, option, false, NULL);
        if (word[length] == '=')
            return apply(args, option, false, word + length + 1);
        if (words->next == words->count)
            return wrong(args, "--%s needs a value: %s", option->name, option->value);
        return apply(args, option, false, words->at[words->next++]);
    }
    snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), word);
    nearest = nearest_to(name);
    for (unsigned i = 0; i < option_count; i++) {
        if (option_table[i].set != args_set_yes)
            nearest_offer(&nearest, option_table[i].name);
    }
    if (nearest.name == NULL)
        return wrong(args, "unknown option --%s", name);
    return wrong(args, "unknown option --%s: did you mean --%s?", name, nearest.name);
}

/* One word of letters: -v0, -p7420, -p 7420. */
static bool letters(struct args *args, struct words *words, const char *word)
{
    for (const char *at = word; *at != '\0'; at++) {
        const struct option *option = NULL;
        for (unsigned i = 0; i < option_count && option == NULL; i++) {
            if (option_table[i].letter == *at)
                option = &option_table[i];
        }
        if (option == NULL)
            return wrong(args, "unknown option -%c (a word that begins with - goes behind --)", *at);
        if (option->value == NULL) {
            if (!apply(args, option, true, NULL))
                return false;
            continue;
        }
        if (at[1] != '\0')
            return apply(args, option, true, at + 1);
        if (words->next < words->count && !(option->letter == 'h' && words->at[words->next][0] == '-'))
            return apply(args, option, true, words->at[words->next++]);
        if (option->letter == 'h')
            return args_set_help(args, "-h", NULL);
        return wrong(args, "-%c needs a value: %s", *at, option->value);
    }
    return true;
}

static bool operand(struct args *args, const char *word)
{
    if (args->operand_count == ARGS_MAX_OPERANDS)
        return wrong(args, "more than %d words", ARGS_MAX_OPERANDS);
    args->operands[args->operand_count++] = word;
    return true;
}

static bool sort_words(struct args *args, struct words *words)
{
    bool options_over = false;

    while (words->next < words->count) {
        const char *word = words->at[words->next++];
        bool ok;
        if (options_over || word[0] != '-' || word[1] == '\0')
            ok = operand(args, word);
        else if (strcmp(word, "--") == 0)
            ok = options_over = true;
        else if (word[1] == '-')
            ok = long_option(args, words, word + 2);
        else
            ok = letters(args, words, word + 1);
        if (!ok)
            return false;
    }
    return true;
}

/* ----------------------------------------------------------------------------------------------- checks */

static void drop_operands(struct args *args, unsigned count)
{
    args->operand_count -= count;
    memmove(args->operands, args->operands + count, args->operand_count * sizeof args->operands[0]);
}

/* Suggests nothing that removes anything. */
static bool unknown_verb(struct args *args, const struct command *command)
{
    struct nearest nearest = nearest_to(args->operands[0]);

    for (unsigned i = 0; i < command_count; i++) {
        if (command_table[i].verb != NULL && strcmp(command_table[i].name, command->name) == 0 &&
            command_table[i].id != COMMAND_TOPICS_DELETE)
            nearest_offer(&nearest, command_table[i].verb);
    }
    if (nearest.name != NULL)
        return wrong(args, "%s: unknown word \"%s\": did you mean %s?", command->name, args->operands[0],
                     nearest.name);
    return wrong(args, "%s: unknown word \"%s\": usage: psctl %s %s; psctl %s --help tells more",
                 command->name, args->operands[0], command->name, command->operands, command->name);
}

static bool find_command(struct args *args)
{
    const char *name = args->operands[0];
    const char *verb = args->operand_count > 1 ? args->operands[1] : NULL;
    const struct command *command = command_find(name, verb);

    if (command != NULL) {
        args->command = command;
        drop_operands(args, command->verb != NULL ? 2 : 1);
        return true;
    }
    const char *nearest = command_nearest(name);
    if (nearest == NULL)
        return wrong(args, "unknown command \"%s\": psctl --help lists the commands", name);
    return wrong(args, "unknown command \"%s\": did you mean %s?", name, nearest);
}

/* The n-th word of the usage line. */
static const char *operand_name(const struct command *command, unsigned n, size_t *length)
{
    const char *at = command->operands;

    for (; n != 0; n--)
        at += strcspn(at, " ") + 1;
    *length = strcspn(at, " ");
    return at;
}

static bool check_operands(struct args *args)
{
    const struct command *command = args->command;
    size_t length = 0;
    const char *name = "";

    if (args->operand_count >= command->min_operands && args->operand_count <= command->max_operands)
        return true;
    if (command->id == COMMAND_PUB && args->operand_count > command->max_operands)
        return wrong(args, "pub takes one MESSAGE, here are %u words: quote it, as in psctl pub %s '%s %s'",
                     args->operand_count - 1, args->operands[0], args->operands[1], args->operands[2]);
    if (args->operand_count != 0 && (command->id == COMMAND_TOPICS || command->id == COMMAND_SUBS))
        return unknown_verb(args, command);
    if (args->operand_count < command->min_operands)
        name = operand_name(command, args->operand_count, &length);
    return wrong(args, "%.*s%s: usage: psctl %s%s%s %s", (int)length, name,
                 length != 0 ? " is missing" : "too many words", command->name,
                 command->verb != NULL ? " " : "", command->verb != NULL ? command->verb : "",
                 command->operands);
}

static bool check_options(struct args *args)
{
    for (unsigned i = 0; i < option_count; i++) {
        if ((args->given >> i & 1) != 0 && (option_table[i].commands >> args->command->id & 1) == 0)
            return wrong(args, "%s does not take --%s", args->command->name, option_table[i].name);
    }
    if (args->server_given && args->address_given)
        return wrong(args, "--server and --host or --port cannot be combined");
    if (args->no_newline && args->nul)
        return wrong(args, "--no-newline and --nul cannot be combined");
    if (args->no_newline && args->json)
        return wrong(args, "--no-newline is for -o raw: objects of -o json stand one on a line");
    return true;
}

static bool read_environment(struct args *args, char *(*variable)(const char *))
{
    static const struct {
        const char *name;
        args_set_fn *set;
    } variables[] = {
        {"PSCTL_HOST", args_set_host},
        {"PSCTL_PORT", args_set_port},
        {"PSCTL_SERVER", args_set_server},
        {"PSCTL_OUTPUT", args_set_output},
    };

    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = variable(variables[i].name);
        if (value != NULL && *value != '\0' && !variables[i].set(args, variables[i].name, value))
            return false;
    }
    args->server_given = args->address_given = false;
    return true;
}

enum args_result args_parse(struct args *args, int argc, char **argv, char *(*variable)(const char *name))
{
    struct words words = {argc, 1, argv};

    *args = (struct args){0};
    if (!read_environment(args, variable))
        return ARGS_WRONG;
    const char *unix_path = args->unix_path;
    if (!sort_words(args, &words))
        return ARGS_WRONG;
    if (args->address_given && args->unix_path == unix_path)
        args->unix_path = NULL;
    if (args->version)
        return ARGS_VERSION;
    if (args->operand_count == 0) {
        if (args->help)
            return ARGS_HELP;
        wrong(args, "a command is missing: psctl --help lists the commands");
        return ARGS_WRONG;
    }
    if (!find_command(args))
        return ARGS_WRONG;
    if (args->help)
        return ARGS_HELP;
    return check_options(args) && check_operands(args) ? ARGS_RUN : ARGS_WRONG;
}
