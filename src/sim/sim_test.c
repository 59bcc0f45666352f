/* The twin as a whole: a VPN over lanes from host to host, twice the same, nothing unaccounted, faults included. */
#include "base/clock.h"
#include "base/test.h"
#include "sim/sim.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct world {
    struct scenario *scenario;
    struct plan *plan;
    struct sim *sim;
    struct sim_result r;
};

static struct sim_options options(enum scenario_mode mode)
{
    return (struct sim_options){.mode = mode, .only = SCENARIO_NONE, .memory = 1u << 30};
}

static void begin(struct world *w, const char *text, const struct sim_options *o)
{
    struct error err = {""};
    *w = (struct world){0};
    if (scenario_parse(&w->scenario, "test", text, strlen(text), &err) || plan_create(&w->plan, w->scenario, &err) ||
        sim_create(&w->sim, w->plan, o, &err))
        fail_msg("%s", err.text);
}

static void run(struct world *w, int64_t until)
{
    struct error err = {""};
    if (sim_run(w->sim, until, &err))
        fail_msg("%s", err.text);
}

static struct sim_work_result *result(struct world *w)
{
    sim_result_done(&w->r);
    assert_int_equal(sim_result(w->sim, &w->r), 0);
    return w->r.works;
}

static void end(struct world *w)
{
    sim_result_done(&w->r);
    sim_free(w->sim);
    plan_free(w->plan);
    scenario_free(w->scenario);
}

#define LINE                                                                                                           \
    "name: t\nduration: 100 ms\n"                                                                                      \
    "routers: [{name: pe1, role: pe}, {name: p1}, {name: pe2, role: pe}]\n"                                            \
    "links:\n- {a: pe1, b: p1, rate: 10 Gbit/s, length: 20 km}\n- {a: p1, b: pe2, rate: 10 Gbit/s, length: 20 km}\n"   \
    "vpns: [{name: v}]\n"                                                                                              \
    "hosts:\n- {name: a, router: pe1, vpn: v, rate: 10 Gbit/s}\n- {name: b, router: pe2, vpn: v, rate: 10 Gbit/s}\n"

/* Hosts that send from the first moment, when no link is up yet: what comes waits for its lane, and nothing of it is lost. */
static void test_sends_from_the_beginning(void **state)
{
    (void)state;
    struct world w;
    struct sim_options o = options(SCENARIO_LANES);
    begin(&w,
        LINE "workloads:\n- {name: r, type: roce, from: a, to: b, bytes: 2 MiB, start: 0 s}\n"
             "- {name: u, type: udp, from: b, to: a, rate: 100 Mbit/s, start: 0 s, duration: 20 ms}\n",
        &o);
    run(&w, 100 * NS_PER_MS);
    const struct sim_work_result *of = result(&w);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(of[i].lost_links + of[i].lost_routers + of[i].lost_hosts == 0);
        assert_true(of[i].sent > 100);
        assert_int_equal(of[i].delivered, of[i].sent);
    }
    for (int i = 0; i < LOSS_REASONS; i++)
        assert_int_equal(w.r.by_reason[i], 0);
    end(&w);
}

/* The same over an encrypted VPN: ESP costs bytes, nothing is lost, and a router that starts again has new keys. */
static void test_encrypted_vpn(void **state)
{
#define SEALED                                                                                                         \
    "name: t\nduration: 400 ms\n"                                                                                      \
    "routers: [{name: pe1, role: pe}, {name: p1}, {name: pe2, role: pe}]\n"                                            \
    "links:\n- {a: pe1, b: p1, rate: 10 Gbit/s, length: 20 km}\n- {a: p1, b: pe2, rate: 10 Gbit/s, length: 20 km}\n"   \
    "vpns: [{name: v, encrypted: yes}]\n"                                                                              \
    "hosts:\n- {name: a, router: pe1, vpn: v, rate: 10 Gbit/s}\n- {name: b, router: pe2, vpn: v, rate: 10 Gbit/s}\n"
    for (int killed = 0; killed < 2; killed++) {
        struct world w;
        struct sim_options o = options(SCENARIO_LANES);
        begin(&w,
            killed ? SEALED
                "workloads:\n- {name: u, type: udp, from: a, to: b, rate: 1 Gbit/s, start: 250 ms, duration: 20 ms}\n"
                "- {name: x, type: udp, from: a, to: b, rate: 1 Gbit/s, start: 20 ms, duration: 20 ms}\n"
                "faults:\n- {at: 60 ms, fault: kill, of: pe1, for: 50 ms}\n"
                   : SEALED
                "workloads:\n- {name: u, type: udp, from: a, to: b, rate: 1 Gbit/s, start: 20 ms, duration: 20 ms}\n"
                "- {name: t, type: tcp, from: b, to: a, bytes: 2 MB, start: 20 ms}\n"
                "- {name: r, type: roce, from: a, to: b, bytes: 2 MiB, start: 20 ms}\n",
            &o);
        run(&w, 390 * NS_PER_MS);
        struct sim_work_result *r = result(&w);
        for (int i = 0; i < (killed ? 2 : 3); i++)
            assert_true(r[i].sent > 0 && r[i].delivered == r[i].sent && r[i].retransmitted == 0);
        assert_true(w.r.lane_drops == 0 && w.r.under_way == 0 && w.r.misdelivered == 0);
        assert_int_equal(w.r.by_reason[LOSS_NO_KEY] + w.r.by_reason[LOSS_REPLAY] + w.r.by_reason[LOSS_MALFORMED], 0);
        end(&w);
    }
}

static void test_vpn_over_lanes(void **state)
{
    struct world w;
    struct sim_options o = options(SCENARIO_LANES);
    begin(&w,
        LINE "workloads:\n- {name: u, type: udp, from: a, to: b, rate: 1 Gbit/s, start: 20 ms, duration: 20 ms}\n"
             "- {name: t, type: tcp, from: b, to: a, bytes: 2 MB, start: 20 ms}\n"
             "- {name: r, type: roce, from: a, to: b, bytes: 2 MiB, start: 20 ms}\n",
        &o);
    run(&w, 90 * NS_PER_MS);
    struct sim_work_result *r = result(&w);
    for (int i = 0; i < 3; i++)
        assert_true(r[i].sent > 0 && r[i].delivered == r[i].sent && r[i].retransmitted == 0);
    assert_true(r[1].payload == 2000000 && r[2].payload == 2u << 20);
    /* 40 km of fibre, no queue on most of the way. */
    assert_true(r[0].p50_ns > 200 * NS_PER_US && r[0].p50_ns < 260 * NS_PER_US);
    assert_true(w.r.lane_drops == 0 && w.r.under_way == 0 && w.r.misdelivered == 0);
    assert_true(w.r.n_lanes == 4 && w.r.peak_over_w > 0 && w.r.peak_over_w <= 1);
    assert_true(w.r.checks >= 90);
    end(&w);
}

static uint64_t hash_of(const char *text, const struct sim_options *o)
{
    struct world w;
    begin(&w, text, o);
    run(&w, 60 * NS_PER_MS);
    uint64_t h = sim_hash(w.sim);
    end(&w);
    return h;
}

static void test_same_seed_same_run(void **state)
{
    static const char text[] = LINE "workloads: [{name: r, type: roce, from: a, to: b, start: 10 ms},"
                                    " {name: t, type: tcp, from: b, to: a, start: 10 ms}]\n"
                                    "faults: [{at: 0 s, fault: degrade, of: '*', loss: 0.1 %, jitter: 5 us}]\n";
    for (int m = 0; m < SCENARIO_MODES; m++) {
        struct sim_options o = options((enum scenario_mode)m), other = o;
        other.seed = 2;
        uint64_t first = hash_of(text, &o);
        assert_true(first == hash_of(text, &o));
        assert_true(first != hash_of(text, &other));
    }
}

/* Losses, copies, overtaking on every link: every packet is delivered, or lost somewhere that is known; and what links lost in
 * lanes is what the routers say was lost on that link. */
static void test_losses_are_attributed(void **state)
{
    struct world w;
    struct sim_options o = options(SCENARIO_LANES);
    begin(&w,
        LINE
        "workloads: [{name: u, type: udp, from: a, to: b, rate: 2 Gbit/s, packet: 1000, start: 20 ms, duration: 40 ms},"
        " {name: s, type: udp, from: b, to: a, rate: 1 Gbit/s, start: 20 ms, duration: 40 ms}]\n"
        "faults: [{at: 19 ms, fault: degrade, of: pe1-p1, loss: 1 %, for: 60 ms},"
        " {at: 19 ms, fault: degrade, of: p1-pe2, loss: 0.2 %, duplicate: 1 %, for: 60 ms}]\n",
        &o);
    run(&w, 100 * NS_PER_MS);
    struct sim_work_result *r = result(&w);
    assert_true(r[0].lost_links > 50 && r[0].sent == r[0].delivered + r[0].lost_links);
    assert_true(r[1].sent == r[1].delivered + r[1].lost_links);
    assert_true(w.r.unaccounted == 0 && w.r.by_reason[LOSS_LINK] > 50 && w.r.lane_drops == 0);
    end(&w);
}

/* A cut, a router that dies and comes back, a stalled sink: everything is still accounted for, and goes on. */
static void test_faults(void **state)
{
    struct world w;
    struct sim_options o = options(SCENARIO_LANES);
    o.duration_ns = 400 * NS_PER_MS;
    begin(&w,
        LINE "workloads: [{name: u, type: udp, from: a, to: b, rate: 1 Gbit/s, start: 20 ms, duration: 370 ms}]\n"
             "faults: [{at: 40 ms, fault: cut, of: pe1-p1, for: 30 ms}, {at: 140 ms, fault: kill, of: p1, for: 30 ms},"
             " {at: 250 ms, fault: stall, of: b, for: 10 ms}]\n",
        &o);
    run(&w, 139 * NS_PER_MS);
    uint64_t before = result(&w)->delivered;
    run(&w, 249 * NS_PER_MS);
    uint64_t after = result(&w)->delivered;
    assert_true(after > before + 1000);
    run(&w, 400 * NS_PER_MS);
    struct sim_work_result *r = result(&w);
    assert_true(r->delivered > after + 5000);
    assert_true(r->sent == r->delivered + r->lost_links + r->lost_routers + r->lost_hosts + r->under_way);
    assert_true(r->lost_hosts == 0 && w.r.lane_drops == 0);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vpn_over_lanes),
        cmocka_unit_test(test_sends_from_the_beginning),
        cmocka_unit_test(test_encrypted_vpn),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_losses_are_attributed),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
