/* A verb of the `meridian` command: what it is called, what it takes, an example, and the function behind it. Help texts
 * and the man page are printed from the same tables (help.c), so they cannot disagree with what is parsed. */
#ifndef MERIDIAN_CLI_VERB_H
#define MERIDIAN_CLI_VERB_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_option {
    const char *name;     /* without "--" */
    const char *arg;      /* what its value is called in the help, e.g. "FILE"; NULL: a switch without value */
    const char *fallback; /* used when not given; NULL: none (then cli_str gives NULL). Shown in the help */
    const char *help;     /* one sentence */
    char letter;          /* also as -x; 0: only spelled out */
};

struct cli_args;

struct cli_verb {
    const char *section;              /* heading in `meridian --help`, e.g. "Campus"; NULL: not shown anywhere */
    const char *name;                 /* one or two words: "cloud run" */
    const char *summary;              /* one line, no full stop */
    const char *operands;             /* as shown: "KIT", "[TEXT...]"; "" none */
    int min_operands, max_operands;   /* max -1: any number */
    const char *about;                /* paragraphs */
    const char *example;              /* command lines as typed, one a line */
    const struct cli_option *options; /* ends with a NULL name; NULL: none. --help is always there */
    /* 0, or -errno with one sentence in err; -EUSAGE (CLI_USAGE) for a wrong command line. Results go to stdout. */
    int (*run)(const struct cli_args *args, struct error *err);
};

#define CLI_USAGE (-100000) /* returned by run: err says what is wrong with the command line; exit status 2 */
#define CLI_QUIET (-100001) /* returned by run: failed, everything already said; exit status 1 */

/* All verbs, ends with NULL (verbs.c). */
extern const struct cli_verb *const cli_verbs[];

/* Values. Asking for an option that the verb does not declare is our mistake (assert). */
const char *cli_str(const struct cli_args *args, const char *option);
bool cli_flag(const struct cli_args *args, const char *option); /* switch given, or option given explicitly */
size_t cli_n_operands(const struct cli_args *args);
const char *cli_operand(const struct cli_args *args, size_t i); /* NULL beyond the end */

/* Numbers, with one clear error naming option and range (CLI_USAGE). Not given and no fallback: *ret untouched, 0.
 * cli_size takes suffixes k, M, G (powers of 1024). */
int cli_u64(
    const struct cli_args *args, const char *option, uint64_t least, uint64_t most, uint64_t *ret, struct error *err);
int cli_u32(
    const struct cli_args *args, const char *option, uint32_t least, uint32_t most, uint32_t *ret, struct error *err);
int cli_size(
    const struct cli_args *args, const char *option, uint64_t least, uint64_t most, uint64_t *ret, struct error *err);
int cli_f64(const struct cli_args *args, const char *option, double least, double most, double *ret, struct error *err);
/* An option that must be given: CLI_USAGE saying so when it is not. */
int cli_need(const struct cli_args *args, const char *option, const char **ret, struct error *err);

/* Raised by SIGINT or SIGTERM; long work looks at it and ends cleanly. A second ^C ends the process at once. */
extern volatile int cli_interrupted;

#endif
