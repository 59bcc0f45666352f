/* The scenarios of the repository: every one can be read and planned, and those that run in seconds hold what they expect, for
 * as much virtual time as each needs; and the comparison modes show what they are there to show. */
#include "base/clock.h"
#include "base/test.h"
#include "sim/runner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void path_of(char *to, size_t size, const char *name)
{
    snprintf(to, size, "%s/scenarios/%s", getenv("SOURCE_ROOT"), name);
}

struct world {
    struct scenario *scenario;
    struct plan *plan;
};

static void begin(struct world *w, const char *file)
{
    struct error err = {""};
    char path[1024];
    path_of(path, sizeof(path), file);
    if (scenario_read(&w->scenario, path, &err) || plan_create(&w->plan, w->scenario, &err))
        fail_msg("%s", err.text);
}

static void end(struct world *w)
{
    plan_free(w->plan);
    scenario_free(w->scenario);
}

static void test_all_are_planned(void **state)
{
    char path[1024];
    path_of(path, sizeof(path), "");
    DIR *d = opendir(path);
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 5, ".yaml") != 0)
            continue;
        struct world w;
        begin(&w, e->d_name);
        assert_true(w.plan->n_flows > 0 || w.scenario->n_programs > 0); /* programs bring their own traffic */
        end(&w);
        n++;
    }
    closedir(d);
    assert_true(n >= 10);
}

static void holds(const char *file)
{
    struct world w;
    struct run r;
    struct error err = {""};
    begin(&w, file);
    struct sim_options o = {.mode = w.scenario->mode, .only = SCENARIO_NONE};
    struct runner_verdict *v = calloc(w.scenario->n_expect + 1, sizeof(*v));
    if (runner_run(&r, w.plan, &o, NULL, file, &err) || r.rc || runner_judge(v, &r, w.plan, &o, NULL, &err))
        fail_msg("%s: %s%s", file, err.text, r.error.text);
    assert_true(r.whole && w.scenario->n_expect > 0);
    for (uint32_t i = 0; i < w.scenario->n_expect; i++)
        if (!v[i].met)
            fail_msg("%s: %s: seen %g, alone %g", file, w.scenario->expect[i].text, v[i].seen, v[i].alone);
    free(v);
    run_done(&r);
    end(&w);
}

static void test_expectations_hold(void **state)
{
    static const char *const files[] = {"overload-2to1.yaml", "victim.yaml", "two-tenants-one-port.yaml",
        "ring-deadlock.yaml", "control-loss.yaml", "attribution.yaml", "slices.yaml", "one-plus-one.yaml", "drain.yaml",
        "long-haul.yaml", "reach-400g.yaml"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        holds(files[i]);
}

/* The ring with shared queues and pauses between routers stops for good; that is what lanes are held against. */
static void test_pauses_deadlock(void **state)
{
    struct world w;
    struct run r;
    struct error err = {""};
    begin(&w, "ring-deadlock.yaml");
    struct sim_options o = {.mode = SCENARIO_PFC, .only = SCENARIO_NONE};
    assert_int_equal(runner_run(&r, w.plan, &o, NULL, "pfc", &err), 0);
    for (uint32_t i = 0; i < r.result.n_works; i++) {
        assert_true(r.result.works[i].silence_ns > 50 * NS_PER_MS);
        assert_true(r.result.works[i].lost_routers == 0);
    }
    run_done(&r);
    end(&w);
}

/* The size that is tested: 64 routers, 992 lanes over up to 16 hops at 400 Gbit/s, as long as packets need to cross all of it. */
static void test_size(void **state)
{
    struct world w;
    struct run r;
    struct error err = {""};
    begin(&w, "backbone-64.yaml");
    struct sim_options o = {.mode = SCENARIO_LANES, .only = SCENARIO_NONE, .duration_ns = 30 * NS_PER_MS};
    if (runner_run(&r, w.plan, &o, NULL, "size", &err) || r.rc)
        fail_msg("%s%s", err.text, r.error.text);
    uint32_t slices = 0;
    for (uint32_t i = 0; i < w.scenario->n_routers; i++)
        slices += w.plan->routers[i].n_slices;
    assert_true(w.scenario->n_routers == 64 && slices == 992);
    assert_true(r.result.n_lanes > 992);
    assert_true(r.result.lane_drops == 0 && r.result.lost_links == 0 && r.result.works[0].lost_routers == 0);
    assert_true(r.result.peak_over_w > 0 && r.result.peak_over_w <= 1);
    assert_true(r.result.works[0].delivered > 10000 && r.result.checks >= 30);
    run_done(&r);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_planned),
        cmocka_unit_test(test_expectations_hold),
        cmocka_unit_test(test_pauses_deadlock),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
