#include "sim/runner.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS (100 * NS_PER_MS)

struct sampler {
    struct run *run;
    uint64_t *payload; /* of each workload at the last sample */
    uint32_t n_works;
};

static void sample(struct sampler *x, struct sim *s)
{
    struct run *run = x->run;
    for (uint32_t w = 0; w < x->n_works; w++) {
        uint64_t payload = sim_payload(s, w);
        run->bps[run->n_samples * x->n_works + w] = (double)(payload - x->payload[w]) * 8e9 / (double)run->step_ns;
        x->payload[w] = payload;
    }
    run->n_samples++;
}

/* Up to the next sample, asking now and then whether to go on. */
static int stretch(struct sim *s, int64_t until, const struct runner_hooks *h, const char *what, int64_t began,
    int64_t *ticked, bool *ret_stop, struct error *err)
{
    int64_t piece = (until - sim_now(s)) / 64 + 1;
    int rc = 0;
    while (!rc && !*ret_stop && sim_now(s) < until) {
        int64_t next = sim_now(s) + piece;
        rc = sim_run(s, next < until ? next : until, err);
        int64_t real = clock_now_ns();
        if (h && h->tick && real - *ticked >= TICK_NS) {
            *ticked = real;
            *ret_stop = !h->tick(h->user, what, sim_now(s), sim_end(s), sim_events(s), (double)(real - began) * 1e-9);
        }
    }
    return rc;
}

static int go(struct run *run, struct sim *s, struct sampler *x, const struct runner_hooks *h, const char *what)
{
    int64_t began = clock_now_ns(), ticked = 0;
    bool stop = false;
    int rc = 0;
    run->step_ns = sim_end(s) / RUNNER_SAMPLES ? sim_end(s) / RUNNER_SAMPLES : 1;
    while (!rc && !stop && sim_now(s) < sim_end(s)) {
        int64_t until = sim_now(s) - sim_now(s) % run->step_ns + run->step_ns;
        rc = stretch(s, until < sim_end(s) ? until : sim_end(s), h, what, began, &ticked, &stop, &run->error);
        if (!rc && run->n_samples <= RUNNER_SAMPLES)
            sample(x, s);
    }
    run->whole = !rc && !stop;
    return rc;
}

int runner_run(struct run *ret, const struct plan *p, const struct sim_options *o, const struct runner_hooks *h,
    const char *what, struct error *err)
{
    struct sim *s;
    *ret = (struct run){0};
    int rc = sim_create(&s, p, o, err);
    if (rc)
        return rc;
    uint32_t n = p->scenario->n_workloads;
    struct sampler x = {.run = ret, .payload = calloc(n + 1, sizeof(*x.payload)), .n_works = n};
    ret->bps = calloc((size_t)(RUNNER_SAMPLES + 1) * (n + 1), sizeof(*ret->bps));
    if (!x.payload || !ret->bps)
        rc = error_set(err, ENOMEM, "no memory");
    if (!rc)
        ret->rc = go(ret, s, &x, h, what);
    if (!rc && sim_result(s, &ret->result))
        rc = error_set(err, ENOMEM, "no memory");
    free(x.payload);
    sim_free(s);
    if (rc)
        run_done(ret);
    return rc;
}

void run_done(struct run *r)
{
    sim_result_done(&r->result);
    free(r->bps);
    r->bps = NULL;
}

/* --- expectations --------------------------------------------------------------------------------------------------------------- */

static int alone(double *ret, uint32_t expect, const struct plan *p, const struct sim_options *o,
    const struct runner_hooks *h, struct error *err)
{
    const struct scenario_expect *e = &p->scenario->expect[expect];
    struct sim_options only = *o;
    struct run r;
    char what[96];
    snprintf(what, sizeof(what), "%s alone", p->scenario->workloads[e->workload].name);
    only.only = e->workload;
    only.trace = NULL;
    int rc = runner_run(&r, p, &only, h, what, err);
    if (rc)
        return rc;
    *ret = r.whole ? sim_metric(&r.result, e) : NAN;
    run_done(&r);
    return 0;
}

/* The same workload's other expectations have the same run: it is done once. */
static int alone_once(struct runner_verdict *v, uint32_t i, const struct plan *p, const struct sim_options *o,
    const struct runner_hooks *h, struct error *err)
{
    const struct scenario_expect *all = p->scenario->expect;
    for (uint32_t k = 0; k < i; k++)
        if (all[k].alone && all[k].workload == all[i].workload && all[k].metric == all[i].metric) {
            v[i].alone = v[k].alone;
            return 0;
        }
    return alone(&v[i].alone, i, p, o, h, err);
}

int runner_judge(struct runner_verdict *v, const struct run *r, const struct plan *p, const struct sim_options *o,
    const struct runner_hooks *h, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < p->scenario->n_expect && !rc; i++) {
        const struct scenario_expect *e = &p->scenario->expect[i];
        v[i] = (struct runner_verdict){.seen = sim_metric(&r->result, e), .alone = NAN};
        if (e->alone)
            rc = alone_once(v, i, p, o, h, err);
        v[i].met = !isnan(v[i].seen) && !(e->alone && isnan(v[i].alone)) && scenario_holds(e, v[i].seen, v[i].alone);
    }
    return rc;
}
