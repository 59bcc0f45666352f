/* The modes that lanes are compared with do what their names say: a full queue drops what comes last, marks slow a sender down
 * before it is full, pauses lose nothing and stop the innocent. The same overload in each: 2 x 10 Gbit/s into 10 Gbit/s. */
#include "base/clock.h"
#include "base/test.h"
#include "sim/sim.h"

#include <string.h>

#define NETWORK                                                                                                        \
    "name: t\nduration: 60 ms\n"                                                                                       \
    "routers: [{name: pe1, role: pe}, {name: pe2, role: pe}, {name: p, role: p}, {name: pe3, role: pe}]\n"             \
    "links:\n- {a: pe1, b: p, rate: 10 Gbit/s, length: 2 km}\n- {a: pe2, b: p, rate: 10 Gbit/s, length: 2 km}\n"       \
    "- {a: p, b: pe3, rate: 10 Gbit/s, length: 2 km}\n"                                                                \
    "vpns: [{name: v}]\n"                                                                                              \
    "hosts:\n- {name: a, router: pe1, vpn: v, rate: 10 Gbit/s}\n- {name: b, router: pe2, vpn: v, rate: 10 Gbit/s}\n"   \
    "- {name: c, router: pe3, vpn: v, rate: 10 Gbit/s}\n- {name: d, router: pe3, vpn: v, rate: 10 Gbit/s}\n"

#define UDP                                                                                                            \
    NETWORK "workloads:\n- {name: one, type: udp, from: a, to: c, rate: 9 Gbit/s, start: 10 ms}\n"                     \
            "- {name: two, type: udp, from: b, to: d, rate: 9 Gbit/s, start: 10 ms}\n"

#define TCP                                                                                                            \
    NETWORK "workloads:\n- {name: one, type: tcp, from: a, to: c, start: 10 ms}\n"                                     \
            "- {name: two, type: tcp, from: b, to: d, start: 10 ms}\n"

#define ROCE                                                                                                           \
    NETWORK "workloads:\n- {name: one, type: roce, from: a, to: c, start: 10 ms}\n"                                    \
            "- {name: two, type: roce, from: b, to: d, start: 10 ms}\n"

static struct sim_result ran(const char *text, enum scenario_mode mode)
{
    struct scenario *s;
    struct plan *p;
    struct sim *sim;
    struct sim_result r;
    struct error err = {""};
    struct sim_options o = {.mode = mode, .only = SCENARIO_NONE, .memory = 1u << 30};
    if (scenario_parse(&s, "test", text, strlen(text), &err) || plan_create(&p, s, &err) ||
        sim_create(&sim, p, &o, &err) || sim_run(sim, INT64_MAX, &err))
        fail_msg("%s: %s", scenario_mode_name(mode), err.text);
    assert_int_equal(sim_result(sim, &r), 0);
    sim_free(sim);
    plan_free(p);
    scenario_free(s);
    return r;
}

static double both(const struct sim_result *r)
{
    return r->works[0].goodput_bps + r->works[1].goodput_bps;
}

static uint64_t lost(const struct sim_result *r)
{
    return r->works[0].lost_routers + r->works[1].lost_routers;
}

/* 18 Gbit/s into 10: four packets of nine are lost once the queue is full, all of them at the tail of the one queue, and the link is full. */
static void test_fifo_drops_the_tail(void **state)
{
    struct sim_result r = ran(UDP, SCENARIO_FIFO);
    double share = (double)lost(&r) / (double)(r.works[0].sent + r.works[1].sent);
    assert_true(share > 0.35 && share < 0.45);
    assert_true(r.by_reason[LOSS_TAIL] == lost(&r) && r.works[0].marked + r.works[1].marked == 0);
    assert_true(both(&r) > 8.5e9 && both(&r) < 10e9);
    /* The queue is full: 10 ms of it before the slow link. */
    assert_true(r.works[0].p99_ns > 5 * NS_PER_MS && r.works[0].p99_ns < 15 * NS_PER_MS);
    sim_result_done(&r);
}

/* Marks instead of drops: no packet of a sender that listens is lost after its start, and the queue stays short. */
static void test_ecn_marks_reduce_the_rate(void **state)
{
    struct sim_result ecn = ran(TCP, SCENARIO_ECN), fifo = ran(TCP, SCENARIO_FIFO);
    assert_true(ecn.works[0].marked > 0 && ecn.works[1].marked > 0);
    assert_true(fifo.works[0].marked + fifo.works[1].marked == 0);
    assert_true(lost(&fifo) > 0 && lost(&ecn) * 10 < lost(&fifo));
    assert_true(both(&ecn) > 7e9);
    assert_true(ecn.works[0].p50_ns < fifo.works[0].p50_ns && ecn.works[1].p50_ns < fifo.works[1].p50_ns);
    sim_result_done(&ecn);
    sim_result_done(&fifo);
}

/* Who does not listen is not helped by marks: they fall off the tail as in a plain queue. */
static void test_ecn_does_not_stop_the_deaf(void **state)
{
    struct sim_result r = ran(UDP, SCENARIO_ECN);
    assert_true(lost(&r) > (r.works[0].sent + r.works[1].sent) / 3);
    sim_result_done(&r);
}

static void test_pfc_and_lanes_lose_nothing(void **state)
{
    static const enum scenario_mode modes[] = {SCENARIO_PFC, SCENARIO_LANES};
    for (unsigned m = 0; m < 2; m++) {
        struct sim_result r = ran(ROCE, modes[m]);
        assert_true(lost(&r) == 0 && r.works[0].retransmitted + r.works[1].retransmitted == 0);
        assert_true(both(&r) > 5e9);
        sim_result_done(&r);
    }
    struct sim_result r = ran(ROCE, SCENARIO_FIFO);
    assert_true(lost(&r) > 0 && r.works[0].retransmitted + r.works[1].retransmitted > 0);
    sim_result_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fifo_drops_the_tail),
        cmocka_unit_test(test_ecn_marks_reduce_the_rate),
        cmocka_unit_test(test_ecn_does_not_stop_the_deaf),
        cmocka_unit_test(test_pfc_and_lanes_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
