/* The control plane in virtual time: what each kind of fault costs, that a run is a function of its seed, that 200 PEs with two
 * reflectors fit into seconds, and scenarios that cannot be run. With the argument "200": only the large one. */
#include "sim/control.h"

#include "base/clock.h"
#include "base/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct world {
    struct scenario *scenario;
    struct control *control;
    struct control_result result;
};

static void read_text(struct world *w, const char *text, size_t len)
{
    struct error err = {""};
    *w = (struct world){0};
    if (scenario_parse(&w->scenario, "test", text, len, &err))
        fail_msg("%s", err.text);
}

static void run(struct world *w, const struct control_options *o)
{
    struct error err = {""};
    if (control_create(&w->control, w->scenario, o, &err) || control_run(w->control, NULL, NULL, &err))
        fail_msg("%s", err.text);
    control_result(w->control, &w->result);
}

static void done(struct world *w)
{
    control_free(w->control);
    scenario_free(w->scenario);
}

static void make(struct world *w, const struct control_make *m, const struct control_options *o)
{
    struct buf text = {0};
    assert_int_equal(control_make(&text, m), 0);
    read_text(w, buf_str(&text), text.len);
    buf_done(&text);
    run(w, o);
}

static const struct control_window *window(const struct world *w, const char *what)
{
    for (uint32_t i = 0; i < w->result.n_windows; i++)
        if (strncmp(w->result.windows[i].what, what, strlen(what)) == 0)
            return &w->result.windows[i];
    fail_msg("nothing is called %s", what);
    return NULL;
}

static void costs(const struct world *w, const char *what, uint32_t affected, int64_t least_ms, int64_t most_ms)
{
    const struct control_window *x = window(w, what);
    if (x->affected != affected || x->unfinished ||
        (affected && (x->last_ns < least_ms * NS_PER_MS || x->last_ns > most_ms * NS_PER_MS)))
        fail_msg("%s: %u wrong, %u for good, the last right after %lld us", what, x->affected, x->unfinished,
            (long long)(x->last_ns / 1000));
}

/* The scenario of the repository: its comments are claims. */
static void test_what_faults_cost(void **state)
{
    struct world w = {0};
    struct error err = {""};
    char path[1024];
    (void)state;
    snprintf(path, sizeof(path), "%s/scenarios/control-reflectors.yaml", getenv("SOURCE_ROOT"));
    if (scenario_read(&w.scenario, path, &err))
        fail_msg("%s", err.text);
    run(&w, &(struct control_options){.octet_ns = 25});
    assert_int_equal(w.result.pes, 4);
    assert_int_equal(w.result.sessions, 8);
    assert_int_equal(w.result.routes, 5 + 5 * 20);
    costs(&w, "start", 4, 1, 2000);
    costs(&w, "kill rr1", 0, 0, 0);
    costs(&w, "restart rr1", 0, 0, 0);
    costs(&w, "kill pe2", 2, 10, 20); /* red's other two; silence is 10 ms, the way at most 4 */
    costs(&w, "restart pe2", 3, 10, 30);
    costs(&w, "cut pe1-p1", 0, 0, 0);
    costs(&w, "restore pe1-p1", 0, 0, 0);
    costs(&w, "reset pe3", 2, 1, 2000); /* blue */
    costs(&w, "reset rr2", 0, 0, 0);
    const struct control_window *shortly = NULL, *long_ = NULL;
    for (uint32_t i = 0; i < w.result.n_windows; i++)
        if (strcmp(w.result.windows[i].what, "restore pe4-p2") == 0)
            *(shortly ? &long_ : &shortly) = &w.result.windows[i];
    assert_true(shortly->affected == 3 && shortly->last_ns < 20 * NS_PER_MS); /* the sessions are still there */
    /* they are not: the PE dials again, and tells everything */
    assert_true(long_->affected == 3 && !long_->unfinished && long_->last_ns > shortly->last_ns);
    assert_true(long_->last_ns < 15 * NS_PER_S);
    assert_int_equal(w.result.unfinished, 0);
    done(&w);
}

/* Nobody is left to tell: what is not told stays wrong, and the run says so instead of waiting. */
static void test_without_reflectors_nothing_new_is_learnt(void **state)
{
    static const char text[] =
        "{name: t, duration: 60 s, bgp_hold: 3 s, bgp_restart: 0 s, routers: [{name: pe1, role: pe, routes: 3},"
        "{name: pe2, role: pe, routes: 4}, {name: r, role: reflector}], links: [{a: pe1, b: pe2, rate: 1 Gbit/s,"
        "length: 10 km}, {a: pe1, b: r, rate: 1 Gbit/s, length: 10 km}], vpns: [{name: v}], faults: [{at: 20 s,"
        "fault: kill, of: r}]}";
    struct world w;
    (void)state;
    read_text(&w, text, sizeof(text) - 1);
    run(&w, &(struct control_options){0});
    assert_int_equal(w.result.n_windows, 2);
    assert_int_equal(w.result.windows[0].affected, 2);
    assert_int_equal(w.result.windows[0].unfinished, 0);
    assert_int_equal(w.result.windows[1].affected, 2);
    assert_int_equal(w.result.windows[1].unfinished, 2);
    assert_true(w.result.windows[1].last_ns < 0);
    assert_int_equal(w.result.unfinished, 1);
    assert_int_equal(w.result.sessions, 0);
    done(&w);
}

static uint64_t hash_of(const struct control_make *m, uint64_t seed)
{
    struct world w;
    make(&w, m, &(struct control_options){.seed = seed, .octet_ns = 25});
    uint64_t hash = w.result.hash;
    done(&w);
    return hash;
}

static void test_a_run_is_a_function_of_its_seed(void **state)
{
    struct control_make m = {.pes = 24, .reflectors = 2, .vpns = 2, .routes = 3, .faults = 6, .seed = 5}, other = m;
    (void)state;
    uint64_t hash = hash_of(&m, 0);
    assert_true(hash == hash_of(&m, 0));
    assert_true(hash == hash_of(&m, 5)); /* the scenario's own */
    assert_true(hash != hash_of(&m, 6)); /* the same network, another order of starting */
    other.seed = 6;
    assert_true(hash_of(&other, 0) != hash_of(&m, 6)); /* another network */
}

static void test_a_slow_processor_is_slower(void **state)
{
    struct control_make m = {.pes = 24, .reflectors = 2, .vpns = 1, .routes = 40, .faults = 1, .seed = 1};
    struct world fast, slow;
    (void)state;
    make(&fast, &m, &(struct control_options){.octet_ns = 1});
    make(&slow, &m, &(struct control_options){.octet_ns = 1000});
    assert_true(window(&slow, "restart")->last_ns > 2 * window(&fast, "restart")->last_ns);
    done(&fast);
    done(&slow);
}

static void refused(const char *text, const char *why)
{
    struct world w;
    struct error err = {""};
    read_text(&w, text, strlen(text));
    assert_int_equal(control_create(&w.control, w.scenario, &(struct control_options){0}, &err), -EINVAL);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    scenario_free(w.scenario);
}

static void test_what_cannot_be_run(void **state)
{
    (void)state;
    refused("{name: t, duration: 1 s, routers: [{name: a, role: pe}, {name: b, role: pe}], links: [{a: a, b: b, rate: "
            "1 Gbit/s}],"
            "vpns: [{name: v}]}",
        "at least one router of role reflector");
    refused("{name: t, duration: 1 s, routers: [{name: a, role: pe}, {name: b, role: pe}, {name: r, role: reflector}], "
            "links: [{a: a,"
            "b: r, rate: 1 Gbit/s}], vpns: [{name: v}]}",
        "nothing is announced");
    refused("{name: t, duration: 1 s, routers: [{name: a, role: pe, routes: 1}, {name: b, role: pe, routes: 1}, {name: "
            "r, role: "
            "reflector}], links: [{a: a, b: r, rate: 1 Gbit/s}]}",
        "has no VPN");
    struct scenario *s;
    struct error err;
    static const char wrong[] = "{name: t, duration: 1 s, bgp_hold: 2 s, routers: [{name: a}]}";
    assert_int_equal(scenario_parse(&s, "t", wrong, sizeof(wrong) - 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "bgp_hold"));
}

static void test_two_hundred_pes(void **state)
{
    struct control_make m = {.pes = 200, .reflectors = 2, .vpns = 1, .routes = 5, .faults = 6, .seed = 1};
    struct world w;
    (void)state;
    clock_t begin = clock();
    make(&w, &m, &(struct control_options){.octet_ns = 25});
    double took = (double)(clock() - begin) / CLOCKS_PER_SEC;
    assert_int_equal(w.result.sessions, 400);
    assert_int_equal(w.result.unfinished, 0);
    assert_true(w.result.p99_ns > 0 && w.result.p99_ns < 100 * NS_PER_MS);
    print_message("200 PEs: %.1f s of processor time, %zu bytes of tables, p99 %.3f ms\n", took, w.result.all_bytes,
        (double)w.result.p99_ns / 1e6);
    assert_true(took < 100);
    assert_true(w.result.all_bytes < 400u << 20);
    done(&w);
}

int main(int argc, char **argv)
{
    (void)argv;
    const struct CMUnitTest large[] = {cmocka_unit_test(test_two_hundred_pes)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_faults_cost),
        cmocka_unit_test(test_without_reflectors_nothing_new_is_learnt),
        cmocka_unit_test(test_a_run_is_a_function_of_its_seed),
        cmocka_unit_test(test_a_slow_processor_is_slower),
        cmocka_unit_test(test_what_cannot_be_run),
    };
    return argc > 1 ? cmocka_run_group_tests(large, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
