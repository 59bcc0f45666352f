/* `meridian lab`: scenarios with real processes in network namespaces. */
#include "cli/verbs.h"
#include "lab/journal.h"

#include <stdio.h>

static int run_clean(const struct cli_args *args, struct error *err)
{
    struct lab_cleaned c;
    int rc = lab_clean(&c, true, err);
    if (rc)
        return rc;
    printf("removed %u runs: %u namespaces, %u processes; %u runs are alive and left alone\n", c.runs, c.namespaces,
        c.processes, c.alive);
    return 0;
}

const struct cli_verb verb_lab_clean = {
    .section = "Network",
    .name = "lab clean",
    .summary = "remove what lab runs left behind that ended badly, and folders that were kept",
    .operands = "",
    .about = "A run tidies up after itself, also after ^C, and should it be killed its janitor does so. This is for "
             "what is\n"
             "left when both were killed, and for runs kept with --keep. Runs that are alive are left alone.",
    .example = "meridian lab clean",
    .run = run_clean,
};
