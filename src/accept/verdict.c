#include "accept/verdict.h"

#include "accept/json_path.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

const struct accept_run *accept_run_find(const char *name)
{
    for (size_t i = 0; i < accept_n_runs; i++)
        if (strcmp(accept_runs[i].name, name) == 0)
            return &accept_runs[i];
    return NULL;
}

const char *accept_label_name(enum accept_label l)
{
    static const char *const names[] = {"live", "lab", "emulated", "simulated"};
    return l < ACCEPT_LABELS ? names[l] : "?";
}

const char *accept_verdict_name(enum accept_verdict v)
{
    static const char *const names[] = {"met", "not met", "not demonstrable here", "not tried"};
    return v < ACCEPT_VERDICTS ? names[v] : "?";
}

static bool holds(const struct accept_check *c, double v)
{
    if (!isfinite(v))
        return false;
    switch (c->relation) {
    case ACCEPT_EQUAL:
        return v == c->bound;
    case ACCEPT_MOST:
        return v <= c->bound;
    case ACCEPT_LEAST:
        return v >= c->bound;
    default:
        return true;
    }
}

static bool number(
    const struct accept_run *run, const struct accept_check *c, const struct accept_outcome *o, double *ret)
{
    char path[200];
    if (run->form == ACCEPT_TEST) {
        *ret = 1;
        return true;
    }
    snprintf(path, sizeof(path), run->form == ACCEPT_FIGURES ? "[%s].value" : "%s", c->path);
    return json_path_number(yyjson_doc_get_root(o->result), path, ret);
}

static void ended_badly(struct accept_finding *f, const struct accept_run *run, const struct accept_outcome *o)
{
    if (o->end == ACCEPT_TOO_LONG)
        snprintf(f->why, sizeof(f->why), "%s ran %.0f s and was given up", run->name, o->seconds);
    else if (o->end == ACCEPT_SKIPPED)
        snprintf(f->why, sizeof(f->why), "%s cannot run here: %.200s", run->name, o->why);
    else
        snprintf(f->why, sizeof(f->why), "%s failed with status %d: %.200s", run->name, o->status, o->why);
}

static void find(struct accept_finding *f, const struct accept_check *c, const struct accept_run *run,
    const struct accept_outcome *o)
{
    if (o->end != ACCEPT_DONE) {
        f->there = run->form == ACCEPT_TEST && o->end == ACCEPT_FAILED;
        ended_badly(f, run, o);
        return;
    }
    f->there = number(run, c, o, &f->value);
    f->holds = f->there && holds(c, f->value);
    if (!f->there)
        snprintf(f->why, sizeof(f->why), "%s printed no number for \"%s\"", run->name, c->path);
    else if (!f->holds)
        snprintf(f->why, sizeof(f->why), "%s: %.6g, not %s %.6g", c->what, f->value,
            c->relation == ACCEPT_EQUAL  ? "equal to"
            : c->relation == ACCEPT_MOST ? "at most"
                                         : "at least",
            c->bound);
}

static void settle(struct accept_judgement *j, enum accept_verdict v, const char *why)
{
    if (j->verdict != ACCEPT_MET) /* the first reason stands */
        return;
    j->verdict = v;
    snprintf(j->why, sizeof(j->why), "%s", why);
}

void accept_judge(struct accept_judgement *ret, const struct accept_row *row, const struct accept_outcome *outcomes)
{
    *ret = (struct accept_judgement){.verdict = ACCEPT_MET, .label = ACCEPT_LIVE};
    bool untried = false;
    if (row->not_here)
        settle(ret, ACCEPT_NOT_HERE, row->not_here);
    if (row->missing)
        settle(ret, ACCEPT_NOT_MET, row->missing);
    for (const struct accept_check *c = row->checks; c < row->checks + ACCEPT_CHECKS && c->run; c++) {
        const struct accept_run *run = accept_run_find(c->run);
        const struct accept_outcome *o = &outcomes[run - accept_runs];
        struct accept_finding *f = &ret->findings[ret->n++];
        if (run->label > ret->label)
            ret->label = run->label;
        if (o->end == ACCEPT_NOT_RUN) {
            untried = true;
            snprintf(f->why, sizeof(f->why), "%s was not run", run->name);
            continue;
        }
        find(f, c, run, o);
        if (!f->holds)
            settle(ret, o->end == ACCEPT_SKIPPED ? ACCEPT_NOT_HERE : ACCEPT_NOT_MET, f->why);
    }
    if (untried)
        settle(ret, ACCEPT_UNTRIED, "not all of its runs were made: interrupted, or left to a full acceptance");
    if (!ret->n)
        settle(ret, ACCEPT_NOT_MET, "not built");
}
