/* `meridian accept`: the acceptance of the network, clause by clause. */
#include "accept/accept.h"
#include "cli/common.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct shown {
    struct progress progress;
    const struct accept_rows *rows;
    bool json, quick;
    double done_s;
};

static double expected_s(const struct accept_run *run, bool quick)
{
    return quick && run->quick_s ? run->quick_s : run->full_s;
}

static void show(struct shown *s, const struct accept_run *run, double seconds)
{
    char figures[96], json[96];
    double most = expected_s(run, s->quick);
    snprintf(figures, sizeof(figures), "%s, %.0f s", run->name, seconds);
    snprintf(json, sizeof(json), "\"run\":\"%s\",\"run_seconds\":%.1f", run->name, seconds);
    progress_at(&s->progress, (uint64_t)(s->done_s + (seconds < most ? seconds : most)), figures, json);
}

static void before(void *user, const struct accept_run *run, unsigned at, unsigned n)
{
    struct shown *s = user;
    if (at == 0) {
        double total = 0;
        for (size_t i = 0; i < accept_n_runs; i++)
            total += accept_run_wanted(&accept_runs[i], s->rows, s->quick) ? expected_s(&accept_runs[i], s->quick) : 0;
        progress_start(
            &s->progress, s->json ? PROGRESS_JSON : PROGRESS_AUTO, "accepting", "s of work", (uint64_t)total);
    }
    show(s, run, 0);
}

static void tick(void *user, const struct accept_run *run, double seconds)
{
    show(user, run, seconds);
}

static void after(void *user, const struct accept_run *run, const struct accept_outcome *o)
{
    struct shown *s = user;
    s->done_s += expected_s(run, s->quick);
}

static void print(const struct accept_rows *rows, const struct accept_result *r)
{
    for (size_t i = 0; i < rows->n; i++) {
        const struct accept_judgement *j = &r->judgements[i];
        printf("%-4s %-52s %-10s %s\n", rows->row[i]->id, rows->row[i]->title, j->n ? accept_label_name(j->label) : "-",
            accept_verdict_name(j->verdict));
        if (j->verdict != ACCEPT_MET)
            printf("       %s\n", j->why);
    }
    if (r->count[ACCEPT_UNTRIED])
        printf("%u not tried\n", r->count[ACCEPT_UNTRIED]);
}

static int list(const struct accept_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        const struct accept_row *r = rows->row[i];
        printf("%-4s %s%s\n", r->id, r->title, r->missing ? " (not met yet)" : "");
        for (const struct accept_check *c = r->checks; c < r->checks + ACCEPT_CHECKS && c->run; c++)
            printf("       %s: %s\n", c->run, c->what);
    }
    return 0;
}

static int find_top(char *ret, size_t cap, struct error *err)
{
    if (!getcwd(ret, cap))
        return error_set(err, errno, "cannot tell the current folder: %s", strerror(errno));
    if (access("scenarios", R_OK) || access("bench/run", X_OK) || access("build/main/src/cli/meridian", X_OK))
        return error_set(err, ENOENT,
            "%s is not a built checkout of Meridian: acceptance runs its scenarios, tests and measurements; go to its "
            "top and "
            "type make accept",
            ret);
    return 0;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct accept_rows rows;
    struct accept_result r = {0};
    char top[4096];
    struct shown shown = {.rows = &rows, .json = cli_flag(args, "json"), .quick = cli_flag(args, "quick")};
    int rc = accept_rows_choose(&rows, cli_str(args, "only"), err);
    if (rc)
        return CLI_USAGE;
    if (cli_flag(args, "list")) {
        rc = list(&rows);
        accept_rows_done(&rows);
        return rc;
    }
    struct accept_config c = {.top = top,
        .out = cli_str(args, "out"),
        .quick = shown.quick,
        .interrupted = &cli_interrupted,
        .before = before,
        .tick = tick,
        .after = after,
        .user = &shown};
    rc = find_top(top, sizeof(top), err);
    rc = rc ? rc : accept_make(&r, &rows, &c, err);
    if (!rc) {
        progress_end(&shown.progress, (uint64_t)shown.done_s, "", "");
        if (shown.json)
            rc = accept_write_json(stdout, &rows, &r);
        else
            print(&rows, &r);
        fprintf(shown.json ? stderr : stdout,
            "report: %s/report.html, %s/report.json\n%u met, %u not met, %u not demonstrable here\n", c.out, c.out,
            r.count[ACCEPT_MET], r.count[ACCEPT_NOT_MET], r.count[ACCEPT_NOT_HERE]);
    }
    bool all = r.count[ACCEPT_MET] == rows.n;
    accept_result_done(&r);
    accept_rows_done(&rows);
    return rc ? rc : all ? 0 : CLI_QUIET;
}

const struct cli_verb verb_accept = {
    .section = "Planning and acceptance",
    .name = "accept",
    .summary = "accept the network, clause by clause of T/NIDA 010-2025",
    .operands = "",
    .about = "Runs scenarios in virtual time and in namespaces, measurements, and tests with real processes; judges a "
             "row for "
             "every clause and every figure of the plan; writes report.html and report.json with the evidence beside "
             "them. A row "
             "is met only if what ran here and now says so. Run it at the top of a built checkout, as root (make "
             "accept does "
             "both).\n\n"
             "Ends with 0 when every chosen row is met, otherwise with 1. ^C ends what runs and writes the report of "
             "what was "
             "reached.",
    .example = "meridian accept --quick\nmeridian accept --only L1,L2,F7",
    .options =
        (const struct cli_option[]){
            {"only", "IDS", NULL, "rows, parted by commas: clauses (L1), families (L), figures (F7)", 0},
            {"quick", NULL, NULL, "shorter runs, at most ten minutes", 0},
            {"out", "FOLDER", "build/accept", "where the report goes", 0},
            {"list", NULL, NULL, "say which rows there are and what they run", 0},
            {"json", NULL, NULL, "print report and progress as JSON, for machines", 0},
            {0},
        },
    .run = run,
};
