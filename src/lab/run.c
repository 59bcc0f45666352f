#include "lab/run.h"

#include "base/clock.h"
#include "lab/fault.h"
#include "lab/heal.h"
#include "lab/journal.h"
#include "lab/program.h"
#include "lab/result.h"
#include "lab/watch.h"
#include "lab/work.h"
#include "lab/world.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_NS  (5 * NS_PER_MS)
#define SHORTEST (2 * NS_PER_S) /* real programs need time to begin */

struct run {
    const struct lab_run_options *o;
    const char *file;
    const struct scenario *s;
    struct plan *plan;
    int64_t duration_ns;
};

static void say(void *user, const char *line)
{
    const struct run *r = user;
    if (r->o->progress)
        fprintf(r->o->progress, "lab: %s\n", line);
}

static int apply_due(
    const struct run *r, struct lab_work *k, struct lab_programs *p, uint32_t *next, int64_t elapsed, struct error *err)
{
    int rc = 0;
    for (; *next < r->s->n_faults && r->s->faults[*next].at_ns <= elapsed && !rc; (*next)++) {
        char name[128], line[192];
        lab_fault_name(name, sizeof(name), r->s, &r->s->faults[*next]);
        snprintf(line, sizeof(line), "%.3f s: %s", (double)elapsed / 1e9, name);
        say((void *)(uintptr_t)r, line);
        rc = lab_fault_apply(k, p, &r->s->faults[*next], err);
    }
    return rc;
}

static void heal_look(const struct run *r, struct lab_heal *h, int64_t elapsed)
{
    char what[192], line[256];
    if (!lab_heal_look(h, what))
        return;
    snprintf(line, sizeof(line), "%.3f s: %s", (double)elapsed / 1e9, what);
    say((void *)(uintptr_t)r, line);
}

/* The scenario's time, in real time. Each tick also tells how late the kernel woke us. */
static int let_it_run(const struct run *r, struct lab_work *k, struct lab_programs *p, struct lab_heal *h,
    struct lab_watch *v, struct lab_result *result, struct error *err)
{
    int64_t begun = clock_now_ns(), due = begun, look_ns = begun, heal_ns = begun;
    uint32_t fault = 0;
    p->begun_ns = begun;
    int rc = 0;
    for (;;) {
        int64_t now = clock_now_ns(), elapsed = now - begun;
        quantile_add(&result->gaps, now - due);
        result->elapsed_ns = elapsed;
        if (*r->o->interrupted)
            return error_set(err, EINTR, "interrupted");
        rc = lab_world_check(k->world, err);
        rc = rc ? rc : lab_work_at(k, elapsed, err);
        rc = rc ? rc : apply_due(r, k, p, &fault, elapsed, err);
        rc = rc ? rc : lab_programs_at(p, elapsed, err);
        if (!rc && h && now >= heal_ns) {
            heal_look(r, h, elapsed);
            heal_ns = clock_now_ns() + LAB_HEAL_EVERY_NS;
        }
        if (!rc && now >= look_ns) {
            lab_watch_look(v);
            look_ns = clock_now_ns() + LAB_WATCH_EVERY_NS;
        }
        bool over = lab_work_over(k) && lab_programs_over(p) && fault == r->s->n_faults;
        if (rc || elapsed >= r->duration_ns || over)
            return rc;
        due = clock_now_ns() + TICK_NS;
        nanosleep(&(struct timespec){0, TICK_NS}, NULL);
    }
}

/* Builds the network, runs all workloads or one alone, and takes it down. */
static int run_once(const struct run *r, uint32_t only, struct lab_result *ret, struct error *err)
{
    const struct lab_world_options wo = {.scenario_file = r->file,
        .program = r->o->program,
        .interrupted = r->o->interrupted,
        .say = say,
        .user = (void *)(uintptr_t)r};
    struct lab_world *w = NULL;
    struct lab_work *k = NULL;
    struct lab_watch *v = NULL;
    struct lab_programs *p = NULL;
    struct lab_heal *h = NULL;
    char line[160];
    if (only != SCENARIO_NONE) {
        snprintf(line, sizeof(line), "first workload %s alone, to compare with", r->s->workloads[only].name);
        say((void *)(uintptr_t)r, line);
    }
    memset(ret, 0, sizeof(*ret));
    int rc = lab_world_create(&w, r->plan, &wo, r->o->keep, err);
    rc = rc ? rc : lab_work_create(&k, w, r->duration_ns, only, err);
    if (!rc && r->s->heal)
        rc = lab_heal_create(&h, w, r->plan, err);
    if (!rc && r->s->n_programs)
        say((void *)(uintptr_t)r, "hosts reach each other; making what programs need");
    rc = rc ? rc : lab_programs_create(&p, w, r->duration_ns, err);
    rc = rc ? rc : lab_watch_create(&v, w, err);
    if (!rc) {
        snprintf(line, sizeof(line), "running for %.1f s", (double)r->duration_ns / 1e9);
        say((void *)(uintptr_t)r, line);
        rc = let_it_run(r, k, p, h, v, ret, err);
        lab_work_stop(k);
        if (!rc && r->s->n_programs)
            say((void *)(uintptr_t)r, "its time is over: checks, then the end");
        int stopped = lab_programs_stop(p, !rc, rc ? NULL : err);
        rc = rc ? rc : stopped;
        lab_watch_look(v);
        lab_watch_totals(v, &ret->routers);
    }
    rc = rc ? rc : lab_result_read(ret, k, p, err);
    if (w && r->o->keep) {
        snprintf(line, sizeof(line), "kept: %s", lab_journal_folder(w->journal));
        say((void *)(uintptr_t)r, line);
    }
    lab_watch_free(v);
    lab_heal_free(h);
    lab_programs_free(p);
    lab_work_free(k);
    lab_world_free(w, r->o->keep);
    return rc;
}

/* Values of single workloads, each measured in a run of its own: alone[e] for expectation e. */
static int run_alone(const struct run *r, double *alone, struct error *err)
{
    struct lab_result *x = calloc(1, sizeof(*x));
    int rc = x ? 0 : error_set(err, ENOMEM, "out of memory");
    for (uint32_t w = 0; w < r->s->n_workloads && !rc; w++) {
        bool wanted = false;
        for (uint32_t e = 0; e < r->s->n_expect; e++)
            wanted |= r->s->expect[e].alone && r->s->expect[e].workload == w;
        if (!wanted)
            continue;
        rc = run_once(r, w, x, err);
        for (uint32_t e = 0; e < r->s->n_expect && !rc; e++)
            if (r->s->expect[e].alone && r->s->expect[e].workload == w)
                alone[e] = lab_result_metric(x, &r->s->expect[e]);
        if (!rc)
            lab_result_done(x);
    }
    free(x);
    return rc;
}

static bool judge(const struct run *r, const struct lab_result *result, const double *alone, struct lab_verdict *v)
{
    bool all = true;
    for (uint32_t e = 0; e < r->s->n_expect; e++) {
        const struct scenario_expect *x = &r->s->expect[e];
        v[e].seen = lab_result_metric(result, x);
        v[e].alone = alone[e];
        v[e].known = !isnan(v[e].seen) && !(x->alone && isnan(alone[e]));
        v[e].met = v[e].known && scenario_holds(x, v[e].seen, alone[e]);
        all &= v[e].met;
    }
    for (uint32_t w = 0; w < result->n_works; w++)
        all &= result->works[w].failed == 0;
    for (uint32_t p = 0; p < result->n_programs; p++)
        all &= result->programs[p].ended;
    return all;
}

static int run_all(const struct run *r, bool *ret_met, struct error *err)
{
    struct lab_result *result = calloc(1, sizeof(*result));
    struct lab_verdict *v = calloc(r->s->n_expect + 1, sizeof(*v));
    double *alone = malloc((r->s->n_expect + 1) * sizeof(*alone));
    int rc = result && v && alone ? 0 : error_set(err, ENOMEM, "out of memory");
    for (uint32_t e = 0; alone && e < r->s->n_expect; e++)
        alone[e] = NAN;
    rc = rc ? rc : run_alone(r, alone, err);
    rc = rc ? rc : run_once(r, SCENARIO_NONE, result, err);
    if (!rc) {
        *ret_met = judge(r, result, alone, v);
        if (r->o->json)
            rc = lab_result_json(r->o->out, r->plan, result, v) ? error_set(err, ENOMEM, "out of memory") : 0;
        else
            lab_result_print(r->o->out, r->plan, result, v);
        lab_result_done(result);
    }
    free(alone);
    free(v);
    free(result);
    return rc;
}

int lab_run(const char *file, const struct lab_run_options *o, bool *ret_met, struct error *err)
{
    struct scenario *s = NULL;
    struct run r = {.o = o, .file = file};
    struct lab_cleaned cleaned;
    int rc = scenario_read(&s, file, err);
    if (!rc && plan_create(&r.plan, s, err))
        rc = error_prefix(err, -EINVAL, "%s", file);
    if (!rc)
        plan_for_lab(r.plan);
    if (!rc && lab_clean(&cleaned, false, NULL) == 0 && cleaned.runs)
        say(&r, "tidied up after a run that had died");
    if (!rc) {
        r.s = s;
        s->mode = o->mode ? (enum scenario_mode)(o->mode - 1) : s->mode;
        r.duration_ns = o->duration_ns ? o->duration_ns : s->duration_ns;
        if (r.duration_ns < SHORTEST)
            say(&r, "this scenario is short for real programs: more is seen with --for");
        rc = run_all(&r, ret_met, err);
    }
    plan_free(r.plan);
    scenario_free(s);
    return rc;
}
