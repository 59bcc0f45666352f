/* Expectations: `metric(workload) op value [x alone]`. */
#include "scenario/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum scenario_unit unit;
    bool needs_workload, may_alone, of_program;
} metrics[SCENARIO_METRICS] = {
    [SCENARIO_LANE_DROPS] = {"lane_drops", SCENARIO_COUNT, false, false},
    [SCENARIO_DROPS] = {"drops", SCENARIO_COUNT, false, false},
    [SCENARIO_GOODPUT] = {"goodput", SCENARIO_RATE, true, true},
    [SCENARIO_P50] = {"p50", SCENARIO_TIME, true, true},
    [SCENARIO_P99] = {"p99", SCENARIO_TIME, true, true},
    [SCENARIO_P999] = {"p999", SCENARIO_TIME, true, true},
    [SCENARIO_JITTER] = {"jitter", SCENARIO_TIME, true, true},
    [SCENARIO_COMPLETED] = {"completed", SCENARIO_SHARE, true, false},
    [SCENARIO_RETRANSMIT] = {"retransmitted", SCENARIO_COUNT, false, false},
    [SCENARIO_REORDERED] = {"reordered", SCENARIO_COUNT, false, false},
    [SCENARIO_SILENCE] = {"silence", SCENARIO_TIME, true, false},
    [SCENARIO_RAMP] = {"ramp", SCENARIO_TIME, true, false},
    [SCENARIO_PEAK_OVER_W] = {"peak_over_w", SCENARIO_SHARE, false, false},
    [SCENARIO_UNACCOUNTED] = {"unaccounted", SCENARIO_COUNT, false, false},
    [SCENARIO_ENDED] = {"ended", SCENARIO_COUNT, false, false, true},
    [SCENARIO_STEPS] = {"steps", SCENARIO_COUNT, false, false, true},
    [SCENARIO_RESTARTS] = {"restarts", SCENARIO_COUNT, false, false, true},
    [SCENARIO_EFFICIENCY] = {"efficiency", SCENARIO_SHARE, false, false, true},
    [SCENARIO_TOKEN_P50] = {"token_p50", SCENARIO_TIME, false, false, true},
    [SCENARIO_TOKEN_P99] = {"token_p99", SCENARIO_TIME, false, false, true},
    [SCENARIO_TOKEN_MOST] = {"token_most", SCENARIO_TIME, false, false, true},
    [SCENARIO_FIRST_P99] = {"first_p99", SCENARIO_TIME, false, false, true},
    [SCENARIO_ANSWERS] = {"answers", SCENARIO_COUNT, false, false, true},
    [SCENARIO_BROKEN] = {"broken", SCENARIO_COUNT, false, false, true},
    [SCENARIO_CANARIES] = {"canaries", SCENARIO_COUNT, false, false, true},
};

static const struct {
    const char *text;
    enum scenario_op op;
} ops[] = {{"==", SCENARIO_EQ}, {"<=", SCENARIO_LE}, {">=", SCENARIO_GE}, {"<", SCENARIO_LT}, {">", SCENARIO_GT}};

enum scenario_unit scenario_metric_unit(enum scenario_metric m)
{
    return metrics[m].unit;
}

bool scenario_metric_of_program(enum scenario_metric m)
{
    return metrics[m].of_program;
}

static bool compare(enum scenario_op op, double a, double b)
{
    switch (op) {
    case SCENARIO_EQ:
        return a == b;
    case SCENARIO_LE:
        return a <= b;
    case SCENARIO_GE:
        return a >= b;
    case SCENARIO_LT:
        return a < b;
    case SCENARIO_GT:
        return a > b;
    }
    return false;
}

bool scenario_holds(const struct scenario_expect *e, double seen, double alone)
{
    return compare(e->op, seen, e->alone ? e->value * alone : e->value);
}

/* "name" or "name(workload)"; moves *at behind it. */
static int metric(const struct place *p, const struct scenario *s, const char **at, struct scenario_expect *e)
{
    char name[64] = "";
    size_t n = strcspn(*at, " (<>=");
    unsigned m = 0;
    while (m < SCENARIO_METRICS && !(strlen(metrics[m].name) == n && strncmp(metrics[m].name, *at, n) == 0))
        m++;
    if (m == SCENARIO_METRICS)
        return place_bad(p, "expectation", e->text, "begins with no metric (docs/scenarios.md lists them)");
    e->metric = (enum scenario_metric)m;
    e->workload = e->program = SCENARIO_NONE;
    *at += n;
    if (**at == '(') {
        n = strcspn(*at + 1, ")");
        if ((*at)[1 + n] != ')' || n >= sizeof(name))
            return place_bad(p, "expectation", e->text, "lacks the closing bracket");
        memcpy(name, *at + 1, n);
        if (metrics[m].of_program)
            e->program = scenario_program_find(s, name);
        else
            e->workload = scenario_workload_find(s, name);
        if (e->workload == SCENARIO_NONE && e->program == SCENARIO_NONE)
            return place_bad(p, "expectation", e->text,
                metrics[m].of_program ? "names no program of this scenario" : "names no workload of this scenario");
        *at += n + 2;
    }
    if (metrics[m].of_program && e->program == SCENARIO_NONE)
        return place_bad(p, "expectation", e->text, "must say of which program");
    if (metrics[m].needs_workload && e->workload == SCENARIO_NONE)
        return place_bad(p, "expectation", e->text, "must say of which workload");
    return 0;
}

static int bound(const struct place *p, const char *at, struct scenario_expect *e)
{
    char text[64];
    const char *rest;
    uint64_t rate;
    int64_t time;
    if (strlen(at) >= sizeof(text) || units_number(at, &rest, &e->value))
        return place_bad(p, "expectation", e->text, "ends with no value");
    if (strcmp(rest, "x alone") == 0) {
        e->alone = true;
        return metrics[e->metric].may_alone ? 0 : place_bad(p, "expectation", e->text, "has no value of its own alone");
    }
    int rc = 0;
    switch (metrics[e->metric].unit) {
    case SCENARIO_RATE:
        rc = units_rate(at, &rate);
        e->value = rc ? 0 : (double)rate;
        break;
    case SCENARIO_TIME:
        rc = units_time(at, &time);
        e->value = rc ? 0 : (double)time;
        break;
    case SCENARIO_SHARE:
        if (strcmp(rest, "%") == 0)
            e->value /= 100;
        else
            rc = *rest ? -EINVAL : 0;
        break;
    case SCENARIO_COUNT:
        rc = *rest ? -EINVAL : 0;
        break;
    }
    return rc ? place_bad(p, "expectation", e->text, "ends with a value in no unit of its metric") : 0;
}

static int one(struct scenario *s, const char *text, uint32_t i, struct error *err)
{
    struct place p = {"expect", i, NULL, err};
    struct scenario_expect *e = &s->expect[i];
    const char *at = text;
    e->text = text;
    int rc = metric(&p, s, &at, e);
    if (rc)
        return rc;
    at += strspn(at, " ");
    for (unsigned k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
        size_t n = strlen(ops[k].text);
        if (strncmp(at, ops[k].text, n) == 0) {
            e->op = ops[k].op;
            at += n;
            return bound(&p, at + strspn(at, " "), e);
        }
    }
    return place_bad(&p, "expectation", text, "compares with none of ==, <=, >=, <, >");
}

int resolve_expect(struct scenario *s, struct file_scenario *f, struct error *err)
{
    s->expect = calloc(f->expect.n + 1, sizeof(*s->expect));
    int rc = s->expect ? 0 : error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < f->expect.n && !rc; i++) {
        rc = one(s, f->expect.at[i], i, err);
        s->n_expect++;
    }
    return rc;
}
