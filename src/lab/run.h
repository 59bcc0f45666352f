/* A scenario from file to verdicts, with real processes. */
#ifndef MERIDIAN_LAB_RUN_H
#define MERIDIAN_LAB_RUN_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct lab_run_options {
    const char *program; /* the meridian program: routers and hosts are started from it */
    int64_t duration_ns; /* 0: the scenario's */
    unsigned mode;       /* enum scenario_mode + 1 instead of the scenario's; 0: the scenario's */
    bool keep;           /* the folder with configurations and logs stays */
    bool json;
    const volatile int *interrupted;
    FILE *out, *progress;
};

/* Prints the result to `out`. *ret_met: every expectation is met (one that cannot be known here is not). -EINTR when
 * interrupted; everything is tidied up in any case. */
int lab_run(const char *file, const struct lab_run_options *o, bool *ret_met, struct error *err);

#endif
