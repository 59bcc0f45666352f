/* Events, packets and wires, with a trivial node at each end. */
#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "lane/queue.h"
#include "sim/wire.h"
#include "wire/ip.h"

#include <stdlib.h>
#include <string.h>

/* --- events: against a list that is searched from the front ------------------------------------------------------------ */

#define SOURCES 200

struct thing {
    struct event_source source;
    int64_t at; /* -1: none */
    uint64_t order;
};

static struct thing things[SOURCES];
static struct events ev;
static uint64_t draws, orders;
static unsigned fired;

static void set(unsigned i, int64_t at)
{
    things[i].at = at;
    things[i].order = orders++;
    event_at(&ev, &things[i].source, at);
}

static void on_thing(struct event_source *s, int64_t now)
{
    unsigned i = s->id, best = SOURCES;
    for (unsigned k = 0; k < SOURCES; k++)
        if (things[k].at >= 0 && (best == SOURCES || things[k].at < things[best].at ||
                                     (things[k].at == things[best].at && things[k].order < things[best].order)))
            best = k;
    assert_int_equal(best, i);
    assert_true(things[i].at == now);
    things[i].at = -1;
    fired++;
    /* Something random happens to three sources, itself among them. */
    for (unsigned k = 0; k < 3; k++) {
        unsigned what = rng_below(7, draws++, 5), who = k ? rng_below(7, draws++, SOURCES) : i;
        if (what == 0) {
            event_never(&ev, &things[who].source);
            things[who].at = -1;
        } else if (what < 4) {
            set(who, now + rng_below(7, draws++, 50));
        }
    }
}

static void test_events(void **state)
{
    events_init(&ev);
    for (unsigned i = 0; i < SOURCES; i++) {
        assert_int_equal(event_add(&ev, &things[i].source, on_thing), 0);
        set(i, rng_below(7, draws++, 100));
    }
    while (fired < 20000 && event_step(&ev, 1000000)) {
    }
    assert_int_equal(fired, 20000);
    assert_true(ev.fired == 20000);
    events_done(&ev);
}

/* --- wires ------------------------------------------------------------------------------------------------------------------ */

struct world {
    struct events events;
    struct slab slab;
    struct wire wire;
    unsigned to_send, sent, arrived, lost, size, behind;
    bool control;
    uint64_t last;
    int64_t first_ns, last_ns;
};

static struct rte_mbuf *pull(void *user, uint16_t port, int64_t now, int64_t *ret_next)
{
    struct world *w = user;
    if (w->sent == w->to_send)
        return NULL;
    struct rte_mbuf *m = slab_small(&w->slab);
    m->pkt_len = w->size;
    m->data_len = ETHER_SIZE;
    memset(packet_at(m, 0), 0, ETHER_SIZE);
    bytes_put_be16(packet_at(m, ETHER_TYPE), w->control ? ETHER_LANE : ETHER_IP6);
    slab_note_set(m, &(struct slab_note){.flow = 0, .number = ++w->sent});
    return m;
}

static void sent(void *user, uint16_t port, struct rte_mbuf *m, int64_t now)
{
    slab_free(&((struct world *)user)->slab, m);
}

static void arrive(void *user, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now)
{
    struct world *w = user;
    for (unsigned i = 0; i < n; i++) {
        uint64_t number = slab_note(pkts[i]).number;
        if (!(slab_note(pkts[i]).kind & SLAB_COPY)) {
            w->behind += number < w->last;
            w->last = number > w->last ? number : w->last;
        }
        if (!w->arrived++)
            w->first_ns = now;
        w->last_ns = now;
        slab_free(&w->slab, pkts[i]);
    }
}

static void on_loss(void *user, struct wire *wire, struct rte_mbuf *m, enum wire_loss why, int64_t now)
{
    ((struct world *)user)->lost++;
}

static void begin(struct world *w, unsigned frames, unsigned size, const struct scenario_quality *q)
{
    *w = (struct world){.to_send = frames, .size = size};
    events_init(&w->events);
    slab_init(&w->slab, 1u << 30);
    struct wire_ends ends = {.from = w, .pull = pull, .sent = sent, .to = w, .arrive = arrive};
    assert_int_equal(wire_init(&w->wire, &w->events, &w->slab, &ends, 100000000000u, 5000000, 1), 0);
    w->wire.on_loss = on_loss;
    w->wire.user = w;
    if (q)
        wire_set_quality(&w->wire, q);
}

static void end(struct world *w)
{
    wire_done(&w->wire);
    assert_true(w->slab.used == 0);
    slab_done(&w->slab);
    events_done(&w->events);
}

static void run(struct world *w)
{
    wire_kick(&w->wire, 0);
    while (event_step(&w->events, INT64_MAX / 2)) {
    }
}

/* Frames follow each other at exactly the wire's rate, after its delay. */
static void test_rate(void **state)
{
    struct world w;
    begin(&w, 100000, 1514, NULL);
    run(&w);
    assert_int_equal(w.arrived, 100000);
    assert_int_equal(w.behind, 0);
    double ns = (1514 + 24) * 8 / 100.0;
    assert_true(w.first_ns == (int64_t)ns + 5000000);
    int64_t right = (int64_t)(ns * 100000) + 5000000;
    assert_true(w.last_ns >= right - 1 && w.last_ns <= right);
    /* A hundred thousand frames: as many departures and arrivals, and one question that finds nothing. */
    assert_true(w.events.fired <= 200001);
    end(&w);
}

static bool near(double seen, double right, double off)
{
    return seen > right - off && seen < right + off;
}

static void test_faults(void **state)
{
    struct world w;
    begin(&w, 100000, 1000, &(struct scenario_quality){.loss = 0.1});
    run(&w);
    assert_true(w.arrived + w.lost == 100000 && near(w.lost, 10000, 300));
    assert_true(w.lost == w.wire.lost[WIRE_LOST]);
    end(&w);

    begin(&w, 100000, 1000, &(struct scenario_quality){.bit_errors = 1e-5});
    run(&w);
    assert_true(near(w.lost, 100000 * 0.0787, 300)); /* 1 - (1 - 1e-5)^(8 * 1024) */
    end(&w);

    begin(&w, 100000, 1000, &(struct scenario_quality){.duplicate = 0.05});
    run(&w);
    assert_true(near(w.arrived, 105000, 300) && w.behind == 0);
    end(&w);

    begin(&w, 100000, 1000, &(struct scenario_quality){.jitter_ns = 50000});
    run(&w);
    assert_true(w.arrived == 100000 && w.behind == 0);
    end(&w);

    begin(&w, 100000, 1000, &(struct scenario_quality){.jitter_ns = 50000, .reorder = 0.01});
    run(&w);
    assert_true(w.arrived == 100000 && w.behind > 500 && w.behind <= 1100);
    end(&w);

    begin(&w, 10000, 1000, &(struct scenario_quality){.control_loss = 0.5});
    run(&w);
    assert_int_equal(w.arrived, 10000);
    end(&w);
    begin(&w, 10000, 1000, &(struct scenario_quality){.control_loss = 0.5});
    w.control = true;
    run(&w);
    assert_true(near(w.wire.lost[WIRE_CONTROL_LOST], 5000, 200));
    end(&w);
}

static void test_cut(void **state)
{
    struct world w;
    begin(&w, 100000, 1000, NULL);
    wire_kick(&w.wire, 0);
    while (event_step(&w.events, 7000000)) {
    }
    unsigned before = w.arrived;
    assert_true(before > 0 && wire_in_flight(&w.wire) > 10000);
    wire_set_down(&w.wire, true, 7000000);
    while (event_step(&w.events, 8000000)) {
    }
    assert_int_equal(w.arrived, before);
    wire_set_down(&w.wire, false, 8000000);
    while (event_step(&w.events, INT64_MAX / 2)) {
    }
    assert_true(w.arrived > before && w.arrived + w.lost == 100000);
    assert_true(w.lost == w.wire.lost[WIRE_CUT]);
    end(&w);
}

/* Packets left on a wire when it ends are freed (end() looks). */
static void test_unfinished(void **state)
{
    struct world w;
    begin(&w, 1000, 1000, NULL);
    wire_kick(&w.wire, 0);
    while (event_step(&w.events, 20000)) {
    }
    assert_true(w.slab.used > 100);
    end(&w);
}

static void test_slab(void **state)
{
    struct slab s;
    slab_init(&s, 2u << 20);
    struct rte_mbuf *m = slab_small(&s);
    assert_true((uintptr_t)m % 64 == 0);
    assert_int_equal(m->data_off, PACKET_HEADROOM);
    m->pkt_len = 9000;
    m->data_len = 100;
    memset(packet_at(m, 0), 7, 100);
    struct rte_mbuf *c = slab_copy(&s, m);
    assert_true(c->pkt_len == 9000 && c->data_len == 100);
    assert_memory_equal(packet_at(c, 0), packet_at(m, 0), 100);
    m->refcnt++;
    slab_free(&s, m);
    assert_true(s.used == 2);
    slab_free(&s, m);
    slab_free(&s, c);
    assert_true(s.used == 0);
    /* No more than it may take. */
    unsigned n = 0;
    while (slab_small(&s))
        n++;
    assert_true(n > 1000 && s.refused == 1 && s.bytes <= 2u << 20);
    slab_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_slab),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_unfinished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
