/* Runs of a scenario as people want them: with progress, samples over time, the values that workloads have alone, and all
 * modes beside each other. */
#ifndef MERIDIAN_SIM_RUNNER_H
#define MERIDIAN_SIM_RUNNER_H

#include "sim/sim.h"

#define RUNNER_SAMPLES 200

struct runner_hooks {
    void *user;
    /* Now and then (about ten times a second of real time). False: end the run here. */
    bool (*tick)(void *user, const char *what, int64_t now_ns, int64_t end_ns, uint64_t events, double seconds);
};

struct run {
    struct sim_result result;
    bool whole;         /* it reached its end */
    struct error error; /* a violation: what the result shows is what was until then */
    int rc;
    int64_t step_ns;
    uint32_t n_samples;
    double *bps; /* goodput of workload w in sample k: [k * n_works + w] */
};

/* rc 0 also when a violation ended it (run.rc says so); negative when it could not begin. */
int runner_run(struct run *ret, const struct plan *p, const struct sim_options *o, const struct runner_hooks *h,
    const char *what, struct error *err);
void run_done(struct run *r);

/* What each expectation saw. alone: NAN where none was asked for or it did not apply. */
struct runner_verdict {
    double seen, alone;
    bool met;
};
/* Runs workloads alone where an expectation asks for it. ret: scenario.n_expect entries. */
int runner_judge(struct runner_verdict *ret, const struct run *r, const struct plan *p, const struct sim_options *o,
    const struct runner_hooks *h, struct error *err);

#endif
