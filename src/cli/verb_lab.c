/* `meridian lab`: scenarios with real processes in network namespaces. */
#include "cli/verbs.h"
#include "lab/journal.h"
#include "lab/run.h"
#include "scenario/scenario.h"
#include "scenario/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int run_run(const struct cli_args *args, struct error *err)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n < 0)
        return error_set(err, errno, "cannot find my own program");
    program[n] = 0;
    struct lab_run_options o = {.program = program,
        .keep = cli_flag(args, "keep"),
        .json = cli_flag(args, "json"),
        .interrupted = &cli_interrupted,
        .out = stdout,
        .progress = stderr};
    const char *mode = cli_str(args, "mode");
    for (unsigned m = 0; mode && m < SCENARIO_MODES; m++)
        if (!strcmp(mode, scenario_mode_name(m)))
            o.mode = m + 1;
    if (mode && !o.mode)
        return error_set(err, EINVAL, "--mode %s: it is lanes, fifo, ecn or pfc", mode), CLI_USAGE;
    const char *time = cli_str(args, "for");
    if (time && units_time(time, &o.duration_ns))
        return error_set(err, EINVAL, "--for \"%s\": write for example 30s", time), CLI_USAGE;
    bool met = false;
    int rc = lab_run(cli_operand(args, 0), &o, &met, err);
    return rc ? rc : met ? 0 : CLI_QUIET;
}

const struct cli_verb verb_lab_run = {
    .section = "Network",
    .name = "lab run",
    .summary = "run a scenario with real routers and hosts in network namespaces",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Starts a router process for each router of the scenario, joins them by shared memory, puts hosts into "
        "network\n"
        "namespaces, runs the workloads (iperf3, our own UDP and RoCE programs, any command), makes the faults "
        "happen,\n"
        "and says which expectations were met; it fails if one was not. Everything is gone afterwards, also after ^C\n"
        "or a crash. Needs root (tools/root shell is enough). `meridian sim run` runs the same file in virtual time.",
    .example = "meridian lab run scenarios/lab-two-campuses.yaml --for 10s",
    .options =
        (const struct cli_option[]){
            {"for", "TIME", NULL, "run so long instead of the scenario's duration"},
            {"mode", "NAME", NULL, "how routers treat packets instead of as the scenario says: lanes, fifo, ecn, pfc"},
            {"keep", NULL, NULL, "keep the folder with configurations, logs and what programs said"},
            {"json", NULL, NULL, "print the result as JSON, for machines"},
            {NULL},
        },
    .run = run_run,
};

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
