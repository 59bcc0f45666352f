/* Parsing a verb's command line against its table. */
#ifndef MERIDIAN_CLI_ARGS_H
#define MERIDIAN_CLI_ARGS_H

#include "cli/verb.h"

#define CLI_MAX_OPTIONS 48

struct cli_args {
    const struct cli_verb *verb;
    const char *values[CLI_MAX_OPTIONS]; /* by index in verb->options; NULL: not given */
    const char **operands;               /* into argv */
    size_t n_operands;
    bool help;
};

/* argv: what follows the verb's words. Values point into argv, which is permuted in place. CLI_USAGE with a sentence. */
int cli_args_parse(struct cli_args *ret, const struct cli_verb *verb, int argc, const char **argv, struct error *err);

/* The verb named by the first words of argv, *ret_words how many they were; NULL: none. */
const struct cli_verb *cli_verb_find(const char *const *argv, int argc, int *ret_words);
/* The verb whose name looks most like this, or NULL if none is near. */
const struct cli_verb *cli_verb_near(const char *const *argv, int argc);

void cli_help_verb(const struct cli_verb *verb); /* to stdout */
void cli_help_all(void);
void cli_help_man(void); /* mdoc source of meridian(1), to stdout */

#endif
