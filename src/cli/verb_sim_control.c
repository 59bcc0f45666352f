/* `meridian sim control`: a scenario's control plane in virtual time, and how long it takes to be right again. */
#include "base/clock.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "os/file.h"
#include "scenario/units.h"
#include "sim/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct shown {
    struct progress progress;
};

static bool on_tick(void *user, int64_t now_ns, int64_t end_ns)
{
    struct shown *s = user;
    (void)end_ns;
    progress_at(&s->progress, (uint64_t)now_ns / 1000, "", "");
    return !cli_interrupted;
}

static int made(const struct cli_args *args, struct scenario **ret, struct error *err)
{
    struct control_make m = {.reflectors = 2, .vpns = 1, .routes = 5, .faults = 12};
    struct buf text = {0};
    int rc = cli_u32(args, "pes", 2, 500, &m.pes, err);
    rc = rc ? rc : cli_u32(args, "reflectors", 1, 16, &m.reflectors, err);
    rc = rc ? rc : cli_u32(args, "vpns", 1, 4000, &m.vpns, err);
    rc = rc ? rc : cli_u32(args, "routes", 1, 100000, &m.routes, err);
    rc = rc ? rc : cli_u32(args, "faults", 0, 10000, &m.faults, err);
    m.seed = 1;
    rc = rc ? rc : cli_u64(args, "seed", 1, UINT64_MAX, &m.seed, err);
    if (!rc && control_make(&text, &m))
        rc = error_set(err, ENOMEM, "no memory");
    if (!rc && cli_str(args, "write")) {
        FILE *f = fopen(cli_str(args, "write"), "w");
        if (!f || fwrite(text.data, 1, text.len, f) != text.len)
            rc = error_set(err, errno, "%s: cannot write: %s", cli_str(args, "write"), strerror(errno));
        if (f && fclose(f) && !rc)
            rc = error_set(err, errno, "%s: cannot write: %s", cli_str(args, "write"), strerror(errno));
    }
    rc = rc ? rc : scenario_parse(ret, "--pes", buf_str(&text), text.len, err);
    buf_done(&text);
    return rc;
}

static int source(const struct cli_args *args, struct scenario **ret, struct error *err)
{
    bool file = cli_n_operands(args) == 1;
    if (file == (cli_str(args, "pes") != NULL)) {
        error_set(err, EINVAL, "give either a scenario's FILE or --pes N");
        return CLI_USAGE;
    }
    return file ? scenario_read(ret, cli_operand(args, 0), err) : made(args, ret, err);
}

static int options_of(const struct cli_args *args, struct control_options *o, struct error *err)
{
    const char *until = cli_str(args, "for"), *trace = cli_str(args, "trace");
    char *end;
    int rc = cli_u64(args, "seed", 1, UINT64_MAX, &o->seed, err);
    o->octet_ns = strtod(cli_str(args, "octet-ns"), &end);
    if (!rc && (*end || !(o->octet_ns >= 0 && o->octet_ns <= 1e6))) {
        error_set(err, EINVAL, "--octet-ns %s is no number of nanoseconds", cli_str(args, "octet-ns"));
        return CLI_USAGE;
    }
    if (!rc && until && units_time(until, &o->duration_ns)) {
        error_set(err, EINVAL, "--for %s is no time; write for example --for \"50 s\"", until);
        return CLI_USAGE;
    }
    if (!rc && trace && !(o->trace = fopen(trace, "w")))
        rc = error_set(err, errno, "%s: cannot write: %s", trace, strerror(errno));
    return rc;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int show(const struct cli_args *args, const struct scenario *s, struct control *c, double spent)
{
    struct control_result r;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    size_t resident = (size_t)u.ru_maxrss * 1024;
    control_result(c, &r);
    if (cli_flag(args, "json"))
        return control_json(stdout, s, &r, spent, resident) ? -ENOMEM : r.unfinished ? CLI_QUIET : 0;
    control_print(stdout, s, &r);
    printf("%.1f s of processor time, %.0f MB of memory at most\n", spent, (double)resident / 1e6);
    return r.unfinished ? CLI_QUIET : 0;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct scenario *s = NULL;
    struct control *c = NULL;
    struct control_options o = {0};
    struct shown shown = {0};
    int rc = source(args, &s, err);
    rc = rc ? rc : options_of(args, &o, err);
    double begin = cpu_s();
    rc = rc ? rc : control_create(&c, s, &o, err);
    if (!rc) {
        int64_t end = o.duration_ns ? o.duration_ns : s->duration_ns;
        progress_start(&shown.progress, cli_flag(args, "json") ? PROGRESS_JSON : PROGRESS_AUTO, s->name,
            "us of virtual time", (uint64_t)end / 1000);
        rc = control_run(c, on_tick, &shown, err);
        progress_end(&shown.progress, (uint64_t)end / 1000, "", "");
    }
    if (!rc)
        rc = show(args, s, c, cpu_s() - begin);
    if (o.trace)
        fclose(o.trace);
    control_free(c);
    scenario_free(s);
    return rc;
}

static const struct cli_option options[] = {
    {"pes", "N", NULL, "make a scenario with so many PEs instead of reading one"},
    {"reflectors", "N", "2", "with --pes: route reflectors, each with a session of every PE"},
    {"vpns", "N", "1", "with --pes: VPNs, at every PE"},
    {"routes", "N", "5", "with --pes: routes of each PE in each VPN"},
    {"faults", "N", "12", "with --pes: how many, 30 s apart; most are undone after a while"},
    {"write", "FILE", NULL, "with --pes: write that scenario there too"},
    {"seed", "N", NULL, "of everything random (default: the scenario's, 1)"},
    {"for", "TIME", NULL, "virtual time to run (default: the scenario's duration)"},
    {"octet-ns", "NS", "25", "processor time that a speaker needs for an octet that it reads or writes"},
    {"trace", "FILE", NULL, "write faults, and who is right when, one a line"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_sim_control = {
    .section = "Network",
    .name = "sim control",
    .summary = "run a scenario's BGP speakers in virtual time and measure convergence",
    .operands = "[FILE]",
    .min_operands = 0,
    .max_operands = 1,
    .about = "A speaker for every PE and reflector of the scenario (docs/scenarios.md), the same code that routers "
             "run, over "
             "streams with\n"
             "the delays of its links. After each fault: how many PEs had a wrong set of routes, and how long until "
             "the last "
             "one was right.\n"
             "The same seed gives the same run: its hash says so. Ends with 1 when a PE stayed wrong after a fault.",
    .example = "meridian sim control --pes 200\n"
               "meridian sim control --trace /tmp/trace scenarios/control-reflectors.yaml",
    .options = options,
    .run = run,
};
