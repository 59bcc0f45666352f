/* The verbs, in the order in which the help shows them. One line a verb; each lives in its own verb_*.c. */
#include "cli/verbs.h"

const struct cli_verb *const cli_verbs[] = {
    NULL,
};
