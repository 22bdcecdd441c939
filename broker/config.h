/* The settings of psbroker, from one table of options that also makes the help. */
#ifndef PSBROKER_CONFIG_H
#define PSBROKER_CONFIG_H

#include "server.h"

#include <stdio.h>

enum config_result {
    CONFIG_RUN,     /* *config is complete */
    CONFIG_HELP,    /* --help was asked for */
    CONFIG_VERSION, /* --version was asked for */
    CONFIG_WRONG    /* `error` says what is wrong, with the nearest hint */
};

/* Defaults for everything, then the command line. Texts in *config are borrowed from argv. `error` has `error_size`
 * bytes. */
enum config_result config_parse(int argc, char **argv, struct server_config *config, char *error,
                                size_t error_size);

void config_print_help(FILE *out);

#endif
