/* Streams over two cables joined back to back: rates, losses, marks, pauses, stalls. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "sim/stream.h"
#include "wire/pfc.h"

#include <string.h>

struct world {
    struct scenario *scenario;
    struct plan *plan;
    struct events events;
    struct slab slab;
    struct hosts hosts;
    double mark; /* share of packets marked on the way */
    uint64_t seen;
};

static struct world w;

/* What the router between them would do to a frame. */
static void relay(void *to, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now)
{
    struct cable *c = to;
    for (unsigned i = 0; i < n; i++) {
        uint8_t *f = packet_at(pkts[i], 0);
        if (bytes_get_be16(f + ETHER_TYPE) == ETHER_IP4) {
            memcpy(f, c->mac, 6);
            w.seen++;
            if ((f[ETHER_SIZE + 1] & 3) == 2 && w.mark > 0 && (double)(w.seen % 1000) < 1000 * w.mark)
                f[ETHER_SIZE + 1] |= 3;
        }
        cable_arrive(c, port, &pkts[i], 1, now);
    }
}

#define HEAD                                                                                                           \
    "name: t\nduration: 1 s\nrouters: [{name: r}]\nvpns: [{name: v}]\n"                                                \
    "hosts:\n- {name: a, router: r, vpn: v, rate: 10 Gbit/s, delay: 1 ms, mtu: 9000}\n"                                \
    "- {name: b, router: r, vpn: v, rate: 10 Gbit/s, delay: 1 ms, mtu: 9000}\n"

static void begin(const char *text)
{
    struct error err = {""};
    w = (struct world){0};
    events_init(&w.events);
    slab_init(&w.slab, 1u << 30);
    if (scenario_parse(&w.scenario, "test", text, strlen(text), &err) || plan_create(&w.plan, w.scenario, &err) ||
        hosts_create(&w.hosts, w.plan, &w.events, &w.slab, 1, SCENARIO_NONE, SCENARIO_LANES, &err) ||
        hosts_cable(&w.hosts, &w.hosts.cables[0], &w.hosts.cables[1], relay, &err) ||
        hosts_cable(&w.hosts, &w.hosts.cables[1], &w.hosts.cables[0], relay, &err))
        fail_msg("%s", err.text);
    hosts_start(&w.hosts);
}

static void run(int64_t until)
{
    while (event_step(&w.events, until)) {
    }
}

static void end(void)
{
    uint64_t lost = 0;
    for (uint32_t i = 0; i < 2; i++)
        lost += w.hosts.cables[i].up.lost[WIRE_LOST];
    /* Nothing is under way any more. */
    assert_true(w.hosts.sent == w.hosts.delivered + w.hosts.dropped + lost);
    hosts_free(&w.hosts);
    assert_true(w.slab.used == 0);
    slab_done(&w.slab);
    events_done(&w.events);
    plan_free(w.plan);
    scenario_free(w.scenario);
}

static void lossy(double loss)
{
    wire_set_quality(&w.hosts.cables[0].up, &(struct scenario_quality){.loss = loss});
}

static double goodput(const struct work *k)
{
    return (double)k->measured * 8e9 / (double)(k->last_ns - k->first_ns);
}

static void test_udp(void **state)
{
    begin(HEAD "workloads:\n- {name: s, type: udp, from: a, to: b, rate: 4 Gbit/s, packet: 1000, bytes: 97200 kB}\n"
               "- {name: o, type: udp, from: b, to: a, rate: 2 Gbit/s, packet: 1000, duration: 100 ms, burst: 1 ms,"
               " pause: 3 ms}\n");
    run(2 * NS_PER_S);
    struct work *s = &w.hosts.works[0], *o = &w.hosts.works[1];
    assert_true(s->sent == 100000 && s->delivered == 100000 && s->payload == 97200000 && s->finished == 1);
    /* 100,000 packets of 2 us each: from the first to the last 199.998 ms, to the nanosecond but for the phase. */
    assert_true(s->last_ns - s->first_ns == 199998000);
    assert_true(quantile_at(&s->latency, QUANTILE_P50) >= 1000800);
    assert_true(quantile_at(&s->latency, 1000000) < 1030000);
    /* A quarter of the time at 250 packets a millisecond. */
    assert_true(o->sent >= 6240 && o->sent <= 6260);
    assert_true(o->silence_ns >= 3 * NS_PER_MS && o->silence_ns < 4 * NS_PER_MS + 100000);
    end();
}

static void test_udp_keeps_little(void **state)
{
    begin(HEAD "workloads: [{name: s, type: udp, from: a, to: b, rate: 20 Gbit/s, packet: 9000, duration: 100 ms}]\n");
    run(2 * NS_PER_S);
    struct work *s = &w.hosts.works[0];
    /* The line takes half; the rest never left the host, and what waited there waited at most for 256 packets. */
    assert_true(s->held_back > 13000 && s->held_back < 14500 && s->sent + s->held_back > 27000);
    assert_true(quantile_at(&s->latency, 1000000) < 2 * NS_PER_MS + 257 * 7300);
    end();
}

static void test_tcp(void **state)
{
    begin(HEAD "workloads: [{name: s, type: tcp, from: a, to: b, bytes: 200 MB}]\n");
    run(20 * NS_PER_S);
    struct work *s = &w.hosts.works[0];
    assert_true(s->payload == 200000000 && s->finished == 1 && s->retransmitted == 0);
    assert_true(goodput(s) > 9e9);
    end();
}

static void test_tcp_loss(void **state)
{
    begin(HEAD "workloads: [{name: s, type: tcp, from: a, to: b, bytes: 50 MB, count: 4}]\n");
    lossy(0.001);
    run(60 * NS_PER_S);
    struct work *s = &w.hosts.works[0];
    assert_true(s->payload == 200000000 && s->finished == 4);
    assert_true(s->retransmitted >= 15 && s->retransmitted < 200);
    assert_true(goodput(s) > 0.5e9);
    lossy(0);
    end();
    begin(HEAD "workloads: [{name: s, type: tcp, from: a, to: b, bytes: 3 MB, duration: 500 s}]\n");
    lossy(0.2); /* much of it by timeouts */
    run(600 * NS_PER_S);
    assert_true(w.hosts.works[0].payload == 3000000);
    end();
}

static void test_tcp_marks(void **state)
{
    begin(HEAD "workloads: [{name: s, type: tcp, from: a, to: b, duration: 1 s}]\n");
    w.mark = 0.002;
    run(3 * NS_PER_S);
    struct work *s = &w.hosts.works[0];
    assert_true(s->retransmitted == 0 && s->marked > 10);
    assert_true(goodput(s) > 0.2e9 && goodput(s) < 9e9);
    end();
}

/* A reader that stops closes the window; nothing is lost and it goes on. */
static void test_tcp_stall(void **state)
{
    begin(HEAD "workloads: [{name: s, type: tcp, from: a, to: b, bytes: 300 MB}]\n");
    run(100 * NS_PER_MS);
    hosts_stall(&w.hosts, 1, true, 100 * NS_PER_MS);
    run(500 * NS_PER_MS);
    uint64_t before = w.hosts.works[0].payload;
    run(800 * NS_PER_MS);
    assert_true(w.hosts.works[0].payload == before && before < 200000000);
    hosts_stall(&w.hosts, 1, false, 800 * NS_PER_MS);
    run(20 * NS_PER_S);
    assert_true(w.hosts.works[0].payload == 300000000);
    end();
}

static void test_roce(void **state)
{
    begin(HEAD "workloads: [{name: s, type: roce, from: a, to: b, bytes: 100 MiB, count: 2}]\n");
    run(20 * NS_PER_S);
    struct work *s = &w.hosts.works[0];
    assert_true(s->payload == 200u << 20 && s->finished == 2);
    assert_true(goodput(s) > 9e9);
    end();
    begin(HEAD "workloads: [{name: s, type: roce, from: a, to: b, bytes: 20 MiB}]\n");
    lossy(0.001);
    run(20 * NS_PER_S);
    s = &w.hosts.works[0];
    hosts_finish(&w.hosts, 20 * NS_PER_S);
    assert_true(s->payload == 20u << 20 && s->retransmitted > 100); /* go back N */
    lossy(0);
    end();
}

/* A host that stalls sends PFC; the other one stops within a round trip, the pause is repeated, then all arrives. */
static void test_pause(void **state)
{
    begin(HEAD "workloads:\n- {name: s, type: roce, from: a, to: b, bytes: 100 MiB}\n"
               "- {name: o, type: udp, from: a, to: b, rate: 1 Gbit/s, class: bulk, duration: 500 ms}\n");
    run(50 * NS_PER_MS);
    hosts_stall(&w.hosts, 1, true, 50 * NS_PER_MS);
    run(60 * NS_PER_MS);
    uint64_t paused = w.hosts.works[0].sent, other = w.hosts.works[1].sent;
    run(90 * NS_PER_MS);
    assert_true(w.hosts.works[0].sent == paused);
    assert_true(w.hosts.works[1].sent == other); /* bulk is the same host's: paused as well */
    assert_true(w.hosts.cables[1].pauses_sent > 10);
    hosts_stall(&w.hosts, 1, false, 90 * NS_PER_MS);
    run(20 * NS_PER_S);
    assert_true(w.hosts.works[0].payload == 100u << 20);
    hosts_finish(&w.hosts, 20 * NS_PER_S);
    assert_true(w.hosts.works[0].retransmitted == 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp),
        cmocka_unit_test(test_udp_keeps_little),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_tcp_loss),
        cmocka_unit_test(test_tcp_marks),
        cmocka_unit_test(test_tcp_stall),
        cmocka_unit_test(test_roce),
        cmocka_unit_test(test_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
