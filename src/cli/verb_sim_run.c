/* `meridian sim run`: a scenario in virtual time, and what came of it. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "os/file.h"
#include "scenario/plan.h"
#include "scenario/units.h"
#include "sim/report.h"
#include "sim/runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shown {
    struct progress progress;
    bool json;
    const char *what; /* of the line that is shown */
};

static bool on_tick(void *user, const char *what, int64_t now_ns, int64_t end_ns, uint64_t events, double seconds)
{
    struct shown *s = user;
    char figures[96], rate[REPORT_TEXT], json[96];
    if (s->what != what) {
        s->what = what;
        progress_start(
            &s->progress, s->json ? PROGRESS_JSON : PROGRESS_AUTO, what, "us of virtual time", (uint64_t)end_ns / 1000);
    }
    double per_s = seconds > 0 ? (double)events / seconds : 0;
    snprintf(figures, sizeof(figures), "%s packet-hops/s", report_count(rate, per_s));
    snprintf(json, sizeof(json), "\"events_per_s\":%.0f", per_s);
    progress_at(&s->progress, (uint64_t)now_ns / 1000, figures, json);
    return !cli_interrupted;
}

static void end_progress(struct shown *s, const struct run *r)
{
    if (s->what)
        progress_end(&s->progress, (uint64_t)r->result.now_ns / 1000, "", "");
    s->what = NULL;
}

struct request {
    const struct cli_args *args;
    struct scenario *scenario;
    struct plan *plan;
    struct sim_options options;
    struct shown shown;
    struct runner_hooks hooks;
};

static int options_of(struct request *q, struct error *err)
{
    const char *until = cli_str(q->args, "for"), *mode = cli_str(q->args, "mode");
    uint64_t memory = 0;
    q->options = (struct sim_options){.mode = q->scenario->mode, .only = SCENARIO_NONE};
    int rc = cli_u64(q->args, "seed", 1, UINT64_MAX, &q->options.seed, err);
    rc = rc ? rc : cli_size(q->args, "memory", 1 << 20, 1ull << 40, &memory, err);
    q->options.memory = memory;
    q->options.sense = cli_flag(q->args, "sense");
    if (!rc && until && units_time(until, &q->options.duration_ns)) {
        error_set(err, EINVAL, "--for %s is no time; write for example --for \"50 ms\"", until);
        return CLI_USAGE;
    }
    if (!rc && mode) {
        unsigned m = 0;
        while (m < SCENARIO_MODES && strcmp(mode, scenario_mode_name((enum scenario_mode)m)) != 0)
            m++;
        if (m == SCENARIO_MODES) {
            error_set(err, EINVAL, "--mode %s is none of lanes, fifo, ecn, pfc", mode);
            return CLI_USAGE;
        }
        q->options.mode = (enum scenario_mode)m;
    }
    return rc;
}

static int open_trace(struct request *q, struct error *err)
{
    const char *path = cli_str(q->args, "trace");
    if (!path)
        return 0;
    q->options.trace = fopen(path, "w");
    return q->options.trace ? 0 : error_set(err, errno, "%s: cannot write: %s", path, strerror(errno));
}

/* One run, judged. */
static int single(struct request *q, struct error *err)
{
    struct run r;
    int rc = runner_run(&r, q->plan, &q->options, &q->hooks, q->scenario->name, err);
    if (rc)
        return rc;
    struct runner_verdict *v = calloc(q->scenario->n_expect + 1, sizeof(*v));
    bool judged = v && r.whole && q->scenario->n_expect;
    if (judged)
        rc = runner_judge(v, &r, q->plan, &q->options, &q->hooks, err);
    end_progress(&q->shown, &r);
    bool met = !r.rc && r.whole;
    for (uint32_t i = 0; judged && i < q->scenario->n_expect; i++)
        met = met && v[i].met;
    if (!rc && q->shown.json)
        rc = report_json(stdout, q->plan, &r, judged ? v : NULL);
    else if (!rc)
        report_print(stdout, q->plan, &r, judged ? v : NULL);
    free(v);
    run_done(&r);
    return rc ? rc : met ? 0 : CLI_QUIET;
}

static int write_comparison(struct request *q, const struct run *runs, struct error *err)
{
    char folder[512];
    bool plots = false;
    const char *out = cli_str(q->args, "out");
    snprintf(folder, sizeof(folder), "%s%s", out ? out : "sim-", out ? "" : q->scenario->name);
    int rc = file_make_dir(folder, 0755, err);
    rc = rc ? rc : report_files(folder, q->plan, runs, &plots, err);
    if (!rc && !q->shown.json)
        printf("written to %s: goodput.csv, summary.csv%s\n", folder,
            plots ? ", goodput.png, latency.png" : " (no pictures: gnuplot is missing, or nothing was measured)");
    return rc;
}

static int compare(struct request *q, struct error *err)
{
    struct run runs[SCENARIO_MODES] = {0};
    int rc = 0;
    unsigned done = 0;
    bool held = true, whole = true;
    for (; done < SCENARIO_MODES && !rc && !cli_interrupted; done++) {
        struct sim_options o = q->options;
        o.mode = (enum scenario_mode)done;
        rc = runner_run(&runs[done], q->plan, &o, &q->hooks, scenario_mode_name(o.mode), err);
        if (!rc) {
            end_progress(&q->shown, &runs[done]);
            held = held && !runs[done].rc;
            whole = whole && (runs[done].whole || runs[done].rc);
            if (q->shown.json)
                rc = report_json(stdout, q->plan, &runs[done], NULL);
            else if (runs[done].rc)
                printf("mode %s STOPPED: %s\n", scenario_mode_name(o.mode), runs[done].error.text);
        }
    }
    whole = whole && done == SCENARIO_MODES;
    if (!rc && !whole)
        fprintf(stderr, "interrupted in mode %s: a comparison needs all modes, nothing is written\n",
            scenario_mode_name((enum scenario_mode)(done ? done - 1 : 0)));
    if (!rc && whole) {
        if (!q->shown.json)
            report_compare(stdout, q->plan, runs);
        rc = write_comparison(q, runs, err);
    }
    for (unsigned i = 0; i < done; i++)
        run_done(&runs[i]);
    return rc ? rc : held && whole ? 0 : CLI_QUIET;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct request q = {.args = args};
    q.shown.json = cli_flag(args, "json");
    q.hooks = (struct runner_hooks){.user = &q.shown, .tick = on_tick};
    int rc = scenario_read(&q.scenario, cli_operand(args, 0), err);
    rc = rc ? rc : options_of(&q, err);
    if (!rc && plan_create(&q.plan, q.scenario, err))
        rc = error_prefix(err, -EINVAL, "%s", cli_operand(args, 0));
    if (!rc && cli_flag(args, "as-lab"))
        plan_for_lab(q.plan);
    rc = rc ? rc : open_trace(&q, err);
    if (!rc)
        rc = cli_flag(args, "compare") ? compare(&q, err) : single(&q, err);
    if (q.options.trace)
        fclose(q.options.trace);
    plan_free(q.plan);
    scenario_free(q.scenario);
    return rc;
}

static const struct cli_option options[] = {
    {"seed", "N", NULL, "of everything random (default: the scenario's)"},
    {"for", "TIME", NULL, "virtual time to run, e.g. \"50 ms\" (default: the scenario's duration)"},
    {"mode", "MODE", NULL, "lanes, fifo, ecn or pfc: how routers treat packets (default: the scenario's)"},
    {"compare", NULL, NULL, "run all four modes with one seed: a table, CSV files and plots"},
    {"out", "FOLDER", NULL, "where --compare writes (default: sim-NAME)"},
    {"trace", "FILE", NULL, "write losses and events of lanes and links, one a line"},
    {"as-lab", NULL, NULL,
        "windows, buffers, hellos and MTUs as `meridian lab run` asks for them: to compare with a lab"},
    {"sense", NULL, NULL, "measure the time from congestion to withholding upstream (slow; few lanes)"},
    {"memory", "SIZE", "8G", "most memory for packets under way"},
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_sim_run = {
    .section = "Network",
    .name = "sim run",
    .summary = "run a scenario in virtual time on the routers' own code",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Builds the scenario's network (docs/scenarios.md) out of the very code that `meridian router` runs, with "
        "simulated "
        "links and hosts, and runs it in virtual time. Every packet is accounted for, every lane is checked against "
        "its "
        "promises while it runs. The same seed gives the same run: its hash says so.\n\n"
        "Ends with 0 when everything that the scenario expects was met, otherwise with 1. ^C prints what was reached.",
    .example = "meridian sim run scenarios/overload-2to1.yaml\n"
               "meridian sim run --compare --out /tmp/victim scenarios/victim.yaml",
    .options = options,
    .run = run,
};
